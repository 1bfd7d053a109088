//! The gain against the number of sublayers, n = 1 included: each depth has its own baseline.

use super::{Ablation, Arm, arm::dhc};
use crate::preset::Body;

/// Blocks of two sublayers.
const LAYERS: [usize; 4] = [2, 4, 8, 16];

pub(super) const ABLATION: Ablation = Ablation {
    name: "ablation-depth",
    title: "gain against the number of sublayers",
    paper: None,
    body: Body::Decoder,
    arms: |tanh| {
        let mut arms = Vec::new();
        for layers in LAYERS {
            let sublayers = 2 * layers;
            let at_depth = |arm: Arm| {
                arm.with("model", "layers", layers as i64)
                    .named(&format!("depth{sublayers}"), &format!("({sublayers})"))
            };
            let baseline = at_depth(Arm::pre_norm());
            let compared_with = baseline.name.clone();
            arms.push(baseline);
            for &tanh in tanh.values() {
                arms.extend([1, 4].map(|rate| {
                    let mut arm = at_depth(Arm::hyper(&dhc(rate, tanh)));
                    arm.baseline = Some(compared_with.clone());
                    arm
                }));
            }
        }
        arms
    },
};
