//! What the routers of an arm do with the validation data.

use super::{ArmResult, show::number};
use crate::run_dir::RouterSummary;
use figures::{stats::mean, table::Table};
use serde::Serialize;

/// Means over seeds and blocks.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RouterMeans {
    /// The load of the busiest expert of a block, relative to an even share: 1 at best, the
    /// number of experts at worst.
    pub busiest: f64,
    /// Relative load of the idlest expert: 1 at best, 0 at worst.
    pub idlest: f64,
    /// Mean entropy of the probabilities, relative to that of an even choice: between 0 and 1.
    pub entropy: f64,
    /// Assignments that no expert carried out, in all.
    pub dropped: u64,
}

impl RouterMeans {
    /// Means over the routers of several runs; `None` without any.
    pub fn of<'r>(runs: impl Iterator<Item = &'r [RouterSummary]>) -> Option<Self> {
        let routers: Vec<&RouterSummary> = runs.flatten().collect();
        let over = |value: &dyn Fn(&RouterSummary) -> f64| {
            mean(
                &routers
                    .iter()
                    .map(|router| value(router))
                    .collect::<Vec<_>>(),
            )
        };
        let experts = |router: &RouterSummary| router.load.len() as f64;
        (!routers.is_empty()).then(|| Self {
            busiest: over(&|r| experts(r) * r.load.iter().copied().fold(0.0, f64::max)),
            idlest: over(&|r| experts(r) * r.load.iter().copied().fold(1.0, f64::min)),
            entropy: over(&|r| r.entropy / experts(r).ln()),
            dropped: routers
                .iter()
                .fold(0, |sum, router| sum.saturating_add(router.dropped)),
        })
    }

    /// A row for each arm; `None` if no arm has routers.
    pub fn table(arms: &[ArmResult]) -> Option<Table> {
        if arms.iter().all(|arm| arm.routers.is_none()) {
            return None;
        }
        let mean = |arm: &ArmResult, of: fn(&Self) -> f64| {
            number(arm.routers.as_ref(), |means| format!("{:.3}", of(means)))
        };
        let table = Table::of(arms)
            .left("arm", |arm| &arm.label)
            .right("busiest expert", |arm| mean(arm, |means| means.busiest))
            .right("idlest expert", |arm| mean(arm, |means| means.idlest))
            .right("router entropy", |arm| mean(arm, |means| means.entropy))
            .right("dropped", |arm| {
                number(arm.routers.as_ref(), |means| means.dropped.to_string())
            });
        Some(table.table())
    }

    /// Note on the columns.
    pub const NOTE: &str = "routers: load of the busiest and of the idlest expert relative to an even share, and entropy of the router relative to an even choice, on the validation data, means over blocks and seeds; dropped: assignments that no expert carried out.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_are_relative_to_an_even_share() {
        let router = |load: [f64; 4], entropy| RouterSummary {
            site: "blocks.0.ffn".into(),
            load: load.to_vec(),
            entropy,
            dropped: 1,
        };
        let even = [router([0.25; 4], 4.0_f64.ln())];
        let one = [router([1.0, 0.0, 0.0, 0.0], 0.0)];
        let means = RouterMeans::of([&even[..], &one[..]].into_iter()).expect("two routers");
        assert_eq!((means.busiest, means.idlest), (2.5, 0.5));
        assert_eq!((means.entropy, means.dropped), (0.5, 2));
        assert_eq!(RouterMeans::of([&[][..]].into_iter()), None);
    }
}
