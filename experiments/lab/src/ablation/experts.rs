//! Hyper-connections around mixtures of experts: the paper's OLMoE.

use super::{Ablation, Arm, arm::dhc};
use crate::{paper::OLMOE, preset::Body};

pub(super) const ABLATION: Ablation = Ablation {
    name: "ablation-moe",
    title: "dynamic hyper-connections around mixtures of experts",
    paper: Some(&OLMOE),
    body: Body::Experts,
    arms: |tanh| {
        let mut arms = vec![Arm::pre_norm()];
        for &tanh in tanh.values() {
            arms.extend([2, 4].map(|rate| Arm::hyper(&dhc(rate, tanh)).beside(&OLMOE)));
        }
        arms
    },
};
