//! Weight decay of the static parts: never, as in the paper, or of every parameter.

use super::{
    Ablation, Arm,
    arm::{dhc, shc},
};
use crate::preset::Body;

pub(super) const ABLATION: Ablation = Ablation {
    name: "ablation-decay",
    title: "weight decay of every parameter, static parts included",
    paper: None,
    body: Body::Decoder,
    arms: |tanh| {
        let decaying = |arm: Arm| {
            arm.with("optim", "decay_everything", true)
                .named("decay-all", "decay all")
        };
        let mut pre_norm = decaying(Arm::pre_norm());
        pre_norm.baseline = Some(Arm::pre_norm().name);
        let mut arms = vec![Arm::pre_norm(), pre_norm];
        let dynamic = tanh.values().iter().map(|&tanh| dhc(4, tanh));
        for config in std::iter::once(shc(4)).chain(dynamic) {
            arms.push(Arm::hyper(&config));
            arms.push(decaying(Arm::hyper(&config)));
        }
        arms
    },
};
