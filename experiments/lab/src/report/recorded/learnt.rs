//! The data of runs, as far as their files name it.

use super::push_new;
use crate::{
    ablation::{Learnt, RunResult},
    config::RunConfig,
    measure::Measure,
};

/// The data of runs, as far as their files name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LearntFrom {
    name: String,
    fingerprint: String,
}

impl Learnt for LearntFrom {
    fn name(&self) -> &str {
        &self.name
    }

    fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    fn sizes(&self) -> Option<String> {
        None
    }

    fn validation(&self, config: &RunConfig) -> Option<String> {
        let measure = Measure::of(config);
        matches!(measure, Measure::Bytes | Measure::Tokens).then(|| {
            let windows = config.train.eval_batches.saturating_mul(config.train.batch);
            let (tokens, unit) = (config.model.tokens(), measure.tokens());
            format!("up to {windows} fixed windows of {tokens} {unit}, as many as the text has")
        })
    }
}

pub(super) fn data_of<'r>(
    runs: impl Iterator<Item = &'r RunResult>,
    remarks: &mut Vec<String>,
) -> LearntFrom {
    let mut data: Vec<LearntFrom> = Vec::new();
    for run in runs {
        let summary = run.summary();
        let one = LearntFrom {
            name: summary.corpus.clone(),
            fingerprint: summary.corpus_fingerprint.clone(),
        };
        push_new(&mut data, Some(one));
    }
    if data.len() > 1 {
        remarks.push(format!(
            "the runs learnt from {} different texts or sets of images: their losses do not compare",
            data.len()
        ));
    }
    let unknown = || "unknown".to_owned();
    data.into_iter().next().unwrap_or_else(|| LearntFrom {
        name: unknown(),
        fingerprint: unknown(),
    })
}
