//! The norm before the predictors of dynamic coefficients, and the place of the norm in networks
//! without hyper-connections.

use super::{Ablation, Arm, arm::dhc};
use crate::preset::Body;
use nn::connection::{ConnectionConfig, PostNormConfig, hyper::PredictorNorm};

pub(super) const ABLATION: Ablation = Ablation {
    name: "ablation-norm",
    title: "norm of the predictors of DHC x4; pre-norm and post-norm",
    paper: None,
    body: Body::Decoder,
    arms: |tanh| {
        let post_norm = ConnectionConfig::PostNorm(PostNormConfig::default());
        let mut arms = vec![
            Arm::pre_norm(),
            Arm::of("post-norm", "post-norm", &post_norm),
        ];
        for &tanh in tanh.values() {
            let with = |norm, name, label| {
                let config = nn::connection::HyperConfig {
                    norm,
                    ..dhc(4, tanh)
                };
                Arm::hyper(&config).named(name, label)
            };
            arms.extend([
                with(PredictorNorm::LayerNorm, "layernorm", "layernorm"),
                with(PredictorNorm::RmsNorm, "rmsnorm", "rmsnorm"),
                with(PredictorNorm::None, "no-norm", "no norm"),
            ]);
        }
        arms
    },
};
