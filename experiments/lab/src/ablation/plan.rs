//! What a sweep would cost, without running it: `--dry-run`.

use super::{Sweep, Workers, clock, seconds, show::number};
use crate::{
    data::Data,
    train::{TrainError, Trainer},
};
use engine::params::Decay;
use figures::{
    table::Table,
    terminal::{Colour, wrapped},
};
use std::{
    collections::BTreeSet,
    fmt::Write,
    time::{Duration, Instant},
};

/// Steps that are timed for each arm, after one that warms up.
const TIMED_STEPS: usize = 3;

/// Costs of the arms of a sweep.
#[derive(Debug, Clone)]
pub struct Plan {
    arms: Vec<ArmPlan>,
    never_decayed: BTreeSet<String>,
    decayed: BTreeSet<String>,
}

#[derive(Debug, Clone)]
struct ArmPlan {
    label: String,
    baseline: Option<usize>,
    parameters: u64,
    flops: u64,
    /// Decayed, never decayed, frozen.
    groups: [u64; 3],
    step: Duration,
    run: Duration,
}

impl Plan {
    /// Builds the network of every arm and times a few of its steps on one thread.
    ///
    /// # Errors
    /// As [`Trainer::new`].
    pub fn of(sweep: &Sweep, data: &Data) -> Result<Self, TrainError> {
        let mut plan = Self {
            arms: Vec::new(),
            never_decayed: BTreeSet::new(),
            decayed: BTreeSet::new(),
        };
        for (arm, config) in sweep.arms.iter().zip(&sweep.configs) {
            let mut trainer = Trainer::new(config, data)?;
            let account = trainer.account();
            let baseline = arm.baseline.as_ref();
            let mut planned = ArmPlan {
                label: arm.label.clone(),
                baseline: baseline
                    .and_then(|name| sweep.arms.iter().position(|arm| &arm.name == name)),
                parameters: account.parameters.trained,
                flops: account.flops.total(),
                groups: [0; 3],
                step: Duration::ZERO,
                run: Duration::ZERO,
            };
            let decays_all = config.optim.decay_everything;
            for (_, param) in trainer.params().iter() {
                let elements = param.shape.len() as u64;
                let kinds = param.parts.iter().map(|part| kind(&part.name));
                if !param.trainable {
                    planned.groups[2] += elements;
                } else if decays_all || param.decay == Decay::Yes {
                    planned.groups[0] += elements;
                    plan.decayed.extend(kinds);
                } else {
                    planned.groups[1] += elements;
                    plan.never_decayed.extend(kinds);
                }
            }
            let train = &config.train;
            let measure = || {
                trainer.step();
                let begun = Instant::now();
                for _ in 0..TIMED_STEPS {
                    trainer.step();
                }
                let step = begun.elapsed() / TIMED_STEPS as u32;
                let begun = Instant::now();
                trainer.evaluate();
                (step, begun.elapsed())
            };
            let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build();
            let (step, evaluation) = one_thread
                .expect("a thread can be started")
                .install(measure);
            let evaluations = match train.eval_every {
                0 => 1,
                every => train.steps.div_ceil(every),
            };
            planned.step = step;
            let run = step.as_secs_f64() * train.steps as f64;
            planned.run = seconds(run + evaluation.as_secs_f64() * evaluations as f64);
            plan.arms.push(planned);
        }
        Ok(plan)
    }

    /// The seconds of one run of every arm.
    fn once(&self) -> f64 {
        self.arms.iter().map(|arm| arm.run.as_secs_f64()).sum()
    }

    /// The plan for a terminal of `width` columns.
    pub fn to_text(&self, sweep: &Sweep, pending: usize, workers: Workers, width: usize) -> String {
        let base = |arm: &ArmPlan| arm.baseline.map(|index| &self.arms[index]);
        let more = |arm: &ArmPlan, of: fn(&ArmPlan) -> f64| {
            number(base(arm), |base| {
                format!("{:+.2}", 100.0 * (of(arm) / of(base) - 1.0))
            })
        };
        let costs = Table::of(&self.arms)
            .left("arm", |arm| &arm.label)
            .right("parameters", |arm| arm.parameters.to_string())
            .right("extra", |arm| {
                number(base(arm), |base| {
                    format!("{:+}", arm.parameters as i64 - base.parameters as i64)
                })
            })
            .right("(%)", |arm| more(arm, |arm| arm.parameters as f64))
            .right("kFLOPs per token", |arm| {
                format!("{:.1}", arm.flops as f64 / 1e3)
            })
            .right("extra (%)", |arm| more(arm, |arm| arm.flops as f64))
            .right("step (ms)", |arm| {
                format!("{:.1}", 1e3 * arm.step.as_secs_f64())
            })
            .right("run", |arm| clock(arm.run))
            .table();
        let groups = Table::of(&self.arms)
            .left("arm", |arm| &arm.label)
            .right("decayed", |arm| arm.groups[0].to_string())
            .right("never decayed", |arm| arm.groups[1].to_string())
            .right("frozen", |arm| arm.groups[2].to_string())
            .table();
        let runs = sweep.seeds.len() * self.arms.len();
        let all = self.once() * sweep.seeds.len() as f64;
        let left = all * pending as f64 / runs.max(1) as f64;
        let together = workers.jobs.min(workers.threads) as f64;
        let names = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(", ");
        let mut text = costs.to_text(width, Colour::Off);
        let _ = write!(text, "\n{}\n", groups.to_text(width, Colour::Off));
        for line in [
            format!("decayed: {}", names(&self.decayed)),
            format!("never decayed: {}", names(&self.never_decayed)),
            format!(
                "{} arms, {} seeds, {pending} of {runs} runs to do, {} at a time: about {} (step times measured now, on one thread)",
                self.arms.len(),
                sweep.seeds.len(),
                workers.jobs,
                clock(seconds(left / together))
            ),
            format!("files would be in {}", sweep.path().display()),
        ] {
            text.push_str(&wrapped(&line, width));
        }
        text
    }
}

/// `static_alpha` of `blocks.3.attn_connection.static_alpha`; with the layer where the last
/// name alone says little, `attn.qkv.weight`.
fn kind(path: &str) -> String {
    let named: Vec<&str> = path
        .split('.')
        .filter(|part| *part != "blocks" && part.parse::<usize>().is_err())
        .collect();
    named
        .join(".")
        .replace("attn_connection", "connection")
        .replace("ffn_connection", "connection")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ablation::{ABLATIONS, Tanh},
        data::{Corpus, DataAccount},
        preset::PRESETS,
    };
    use std::sync::Arc;

    #[test]
    fn the_plan_tells_static_parts_from_decayed_ones_and_counts_every_parameter() {
        let ablation = ABLATIONS
            .iter()
            .find(|a| a.name == "ablation-components")
            .expect("it is there");
        let common = PRESETS[0].layers();
        let place = ("runs".into(), "test".to_owned());
        let arms = ablation.arms(Tanh::On);
        let sweep =
            Sweep::new(ablation.into(), arms, &common, &[], vec![0, 1], place).expect("smoke");
        let text: Vec<u8> = (0..40_000_u32).map(|i| (i * i % 251) as u8).collect();
        let corpus = Arc::new(Corpus {
            train: text[..30_000].to_vec().into(),
            validation: text[30_000..].to_vec().into(),
            vocabulary: 256,
            vocabulary_from: String::new(),
            account: DataAccount {
                name: "text".into(),
                fingerprint: "00".into(),
                ..DataAccount::default()
            },
        });
        let plan = Plan::of(&sweep, &Data::from(&corpus)).expect("it can be trained");
        assert!(
            plan.never_decayed.contains("connection.static_alpha"),
            "{plan:?}"
        );
        assert!(!plan.decayed.contains("connection.static_alpha"));
        for arm in &plan.arms {
            let [decayed, never_decayed, _] = arm.groups;
            assert_eq!(decayed + never_decayed, arm.parameters, "{}", arm.label);
        }
        assert!(plan.arms.iter().any(|arm| arm.groups[2] > 0));
        let workers = Workers {
            jobs: 2,
            threads: 2,
        };
        let text = plan.to_text(&sweep, 4, workers, 80);
        assert!(text.contains("4 of 8 runs to do, 2 at a time"), "{text}");
    }
}
