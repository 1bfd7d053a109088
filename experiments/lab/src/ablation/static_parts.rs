//! Static against dynamic hyper-connections: the paper's Table 2.

use super::{
    Ablation, Arm,
    arm::{dhc, shc},
};
use crate::{paper::TABLE_2, preset::Body};

pub(super) const ABLATION: Ablation = Ablation {
    name: "ablation-static",
    title: "static and dynamic hyper-connections",
    paper: Some(&TABLE_2),
    body: Body::Decoder,
    arms: |tanh| {
        let mut arms = vec![Arm::pre_norm()];
        for rate in [2, 4] {
            let dynamic = tanh.values().iter().map(|&tanh| dhc(rate, tanh));
            let configs = std::iter::once(shc(rate)).chain(dynamic);
            arms.extend(configs.map(|config| Arm::hyper(&config).beside(&TABLE_2)));
        }
        arms
    },
};
