//! The time of a step: by operation and by scope.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// Accumulated times of one operation in one scope.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    /// Number of times that the forward ran.
    pub calls: u64,
    /// Time in forwards.
    pub forward: Duration,
    /// Time in backwards.
    pub backward: Duration,
}

/// Times by operation and scope.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    times: BTreeMap<(&'static str, Option<Arc<str>>), Times>,
}

impl Profile {
    pub(crate) fn forward(&mut self, op: &'static str, scope: Option<&Arc<str>>, time: Duration) {
        let times = self.times.entry((op, scope.cloned())).or_default();
        times.calls += 1;
        times.forward += time;
    }

    pub(crate) fn backward(&mut self, op: &'static str, scope: Option<&Arc<str>>, time: Duration) {
        self.times.entry((op, scope.cloned())).or_default().backward += time;
    }

    /// Adds the times of another profile (of another shard).
    pub fn merge(&mut self, other: &Profile) {
        for (key, times) in &other.times {
            let sum = self.times.entry(key.clone()).or_default();
            sum.calls += times.calls;
            sum.forward += times.forward;
            sum.backward += times.backward;
        }
    }

    /// Operation, scope and times, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, Option<&str>, Times)> {
        self.times
            .iter()
            .map(|((op, scope), times)| (*op, scope.as_deref(), *times))
    }
}
