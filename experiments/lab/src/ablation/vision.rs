//! Hyper-connections in vision transformers: the paper's Table 11.

use super::{
    Ablation, Arm,
    arm::{dhc, shc},
};
use crate::{paper::VISION, preset::Body};

pub(super) const ABLATION: Ablation = Ablation {
    name: "ablation-vit",
    title: "static and dynamic hyper-connections in vision transformers",
    paper: Some(&VISION),
    body: Body::Vision,
    arms: |tanh| {
        let dynamic = tanh.values().iter().map(|&tanh| dhc(2, tanh));
        let configs = std::iter::once(shc(2)).chain(dynamic);
        let arms = configs.map(|config| Arm::hyper(&config).beside(&VISION));
        std::iter::once(Arm::pre_norm()).chain(arms).collect()
    },
};
