//! The expansion rate: the paper's Table 1.

use super::{Ablation, Arm, arm::dhc};
use crate::{paper::TABLE_1, preset::Body};

pub(super) const ABLATION: Ablation = Ablation {
    name: "ablation-rate",
    title: "expansion rate of dynamic hyper-connections",
    paper: Some(&TABLE_1),
    body: Body::Decoder,
    arms: |tanh| {
        let mut arms = vec![Arm::pre_norm()];
        for &tanh in tanh.values() {
            let arm = |rate| Arm::hyper(&dhc(rate, tanh)).beside(&TABLE_1);
            arms.extend([1, 2, 4, 8].map(arm));
        }
        arms
    },
};
