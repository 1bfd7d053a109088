//! Hyper-connections beside other ways to widen or rearrange the residual stream: the paper's
//! Table 4, with parallel blocks and post-norm, which the paper compares in its text.

use super::{Ablation, Arm, arm::dhc};
use crate::{paper::TABLE_4, preset::Body};
use nn::connection::{
    AltUpConfig, ConnectionConfig, ParallelConfig, PostNormConfig, ResidualDualConfig,
};

pub(super) const ABLATION: Ablation = Ablation {
    name: "ablation-related",
    title: "related methods with two streams",
    paper: Some(&TABLE_4),
    body: Body::Decoder,
    arms: |tanh| {
        let residual_dual = ConnectionConfig::ResidualDual(ResidualDualConfig::default());
        let altup = ConnectionConfig::Altup(AltUpConfig::default());
        let post_norm = ConnectionConfig::PostNorm(PostNormConfig::default());
        let parallel = ConnectionConfig::Parallel(ParallelConfig::default());
        let mut arms = vec![
            Arm::pre_norm(),
            Arm::of("post-norm", "post-norm", &post_norm),
            Arm::of("parallel", "parallel", &parallel),
            Arm::of("residual-dual", "ResiDual", &residual_dual).paper(TABLE_4.row("ResiDual")),
            Arm::of("altup-x2", "AltUp x2", &altup).paper(TABLE_4.row("Altup×2")),
        ];
        for &tanh in tanh.values() {
            arms.push(Arm::hyper(&dhc(2, tanh)).beside(&TABLE_4));
        }
        arms
    },
};
