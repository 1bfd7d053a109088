//! Static hyper-connections in diffusion transformers: the paper's Table 10.

use super::{
    Ablation, Arm,
    arm::{dhc, shc},
};
use crate::{paper::DIFFUSION, preset::Body};

pub(super) const ABLATION: Ablation = Ablation {
    name: "ablation-dit",
    title: "hyper-connections in diffusion transformers",
    paper: Some(&DIFFUSION),
    body: Body::Diffusion,
    arms: |tanh| {
        let dynamic = tanh.values().iter().map(|&tanh| dhc(2, tanh));
        let configs = std::iter::once(shc(2)).chain(dynamic);
        let arms = configs.map(|config| Arm::hyper(&config).beside(&DIFFUSION));
        std::iter::once(Arm::pre_norm()).chain(arms).collect()
    },
};
