//! How DHC x4 starts: the scale of the output projections (the paper's sqrt(n) rule, which it
//! states without a direction), the read weights A_m, and the scales s of the dynamic parts.

use super::{Ablation, Arm, arm::dhc};
use crate::preset::Body;
use nn::connection::{
    HyperConfig,
    hyper::{OutputInitScale, ReadInit},
};

pub(super) const ABLATION: Ablation = Ablation {
    name: "ablation-init",
    title: "initialisation of DHC x4",
    paper: None,
    body: Body::Decoder,
    arms: |tanh| {
        let mut arms = vec![Arm::pre_norm()];
        for &tanh in tanh.values() {
            let usual = || dhc(4, tanh);
            let output = |output_init_scale| HyperConfig {
                output_init_scale,
                ..usual()
            };
            let scaled = |scale_init| HyperConfig {
                scale_init,
                ..usual()
            };
            let uniform = HyperConfig {
                read_init: ReadInit::Uniform,
                ..usual()
            };
            arms.extend([
                Arm::hyper(&usual()),
                Arm::hyper(&output(OutputInitScale::InvSqrtRate)).named("out-div-sqrt", "out /√n"),
                Arm::hyper(&output(OutputInitScale::SqrtRate)).named("out-mul-sqrt", "out ·√n"),
                Arm::hyper(&uniform).named("uniform-read", "A_m 1/n"),
                Arm::hyper(&scaled(0.1)).named("scale-0.1", "s 0.1"),
                Arm::hyper(&scaled(1.0)).named("scale-1", "s 1"),
            ]);
        }
        arms
    },
};
