//! What the routers of mixtures of experts do with the validation data.

use super::Trainer;
use crate::run_dir::RouterSummary;
use engine::tape::Tape;
use models::config::FfnConfig;

impl Trainer {
    /// One summary for each block, over all validation rows; none without experts.
    pub fn routers(&self) -> Vec<RouterSummary> {
        if !matches!(self.config.model.ffn(), FfnConfig::Moe(_)) {
            return Vec::new();
        }
        let rows = self.task.validation_rows();
        let mut tape = Tape::new();
        tape.set_recording(false);
        tape.set_probing();
        let mut sums: Vec<RouterSummary> = Vec::new();
        for first in (0..rows).step_by(self.config.train.micro_batch) {
            let here = first..(first + self.config.train.micro_batch).min(rows);
            let share = here.len() as f64 / rows as f64;
            tape.bind(&self.params);
            self.task.validate(&tape, here);
            for (name, var) in tape.probes() {
                let Some((site, probe)) = name.rsplit_once('.') else {
                    continue;
                };
                let values = var.value();
                let last = sums.iter().rposition(|sum| sum.site == site);
                match (probe, last) {
                    ("load", None) => sums.push(RouterSummary {
                        site: site.to_owned(),
                        load: values.iter().map(|&v| share * f64::from(v)).collect(),
                        entropy: 0.0,
                        dropped: 0,
                    }),
                    ("load", Some(index)) => {
                        for (sum, &v) in sums[index].load.iter_mut().zip(&values) {
                            *sum += share * f64::from(v);
                        }
                    }
                    ("entropy", Some(index)) => sums[index].entropy += share * f64::from(values[0]),
                    ("dropped", Some(index)) => sums[index].dropped += values[0] as u64,
                    _ => {}
                }
            }
            tape.reset();
        }
        sums
    }
}
