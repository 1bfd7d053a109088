//! A mixture of SwiGLU experts as in OLMoE (Muennighoff et al., 2024): softmax over all
//! experts, the `top_k` most probable work on a token, weighted with their probabilities
//! as they are. Dropless: no expert has a capacity.

mod experts;
pub mod kernels;
mod router;

pub use experts::{ExpertWeights, experts};
pub use router::{Choice, choose, load_balance, router_z};

use crate::{hooks, linear::Linear};
use engine::{
    ops::{scale, softmax},
    params::{Builder, Decay, Init, ParamId},
    tape::Var,
};
use serde::{Deserialize, Serialize};

/// The reduction of the losses of all routers of a network to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OverLayers {
    /// Their mean over the layers, as in OLMoE and megablocks: coefficients mean the same at
    /// every depth.
    Mean,
    /// Their sum: L times as much in a network of L blocks.
    Sum,
}

words!(OverLayers);

settings! {
    /// The shape of a mixture of experts and the weights of its auxiliary losses.
    pub struct MoeConfig {
        /// Number of experts.
        pub experts: usize = 8,
        /// The width between the projections of one expert.
        pub hidden: usize = 64,
        /// Number of experts that work on a token.
        pub top_k: usize = 2,
        /// Coefficient of the load-balance loss.
        pub load_balance_coef: f32 = 0.01,
        /// Coefficient of the router z-loss.
        pub router_z_coef: f32 = 0.001,
        /// Mean or sum of both over the layers.
        pub router_losses: OverLayers [absent: OverLayers::Sum] = OverLayers::Mean,
    }
}

impl MoeConfig {
    /// Says what cannot be built.
    ///
    /// # Errors
    /// The key, its value and what is expected.
    pub fn validate(&self) -> Result<(), String> {
        for (key, value) in [("experts", self.experts), ("hidden", self.hidden)] {
            if value == 0 {
                return Err(format!("{key} is 0, expected at least 1"));
            }
        }
        if self.top_k == 0 || self.top_k > self.experts {
            return Err(format!(
                "top_k is {}, expected 1 to experts {}: a token chooses among them",
                self.top_k, self.experts
            ));
        }
        for (key, value) in [
            ("load_balance_coef", self.load_balance_coef),
            ("router_z_coef", self.router_z_coef),
        ] {
            if !(value.is_finite() && value >= 0.0) {
                return Err(format!("{key} is {value}, expected 0 or a positive number"));
            }
        }
        Ok(())
    }
}

/// The auxiliary losses of one or several routers, not yet weighted, and their weighted
/// sum.
///
/// Both are statistics of the tokens on the tape: where a batch is cut into
/// micro-batches, each balances its own tokens, and the loss is the mean over them.
#[derive(Clone, Copy, Debug)]
pub struct RouterLosses<'t> {
    /// `experts * sum_e f_e P_e`.
    pub load_balance: Var<'t>,
    /// The mean of `logsumexp²` of the router's logits.
    pub router_z: Var<'t>,
    /// The term that is added to the loss.
    pub weighted: Var<'t>,
}

impl<'t> RouterLosses<'t> {
    /// The losses of the routers of both.
    pub fn plus(self, other: Self) -> Self {
        Self {
            load_balance: self.load_balance + other.load_balance,
            router_z: self.router_z + other.router_z,
            weighted: self.weighted + other.weighted,
        }
    }

    /// All of them times a factor.
    pub fn scaled(self, factor: f32) -> Self {
        Self {
            load_balance: scale(self.load_balance, factor),
            router_z: scale(self.router_z, factor),
            weighted: scale(self.weighted, factor),
        }
    }
}

/// A mixture of E SwiGLU experts, `y = sum over the chosen e of p_e E_e(x)` with
/// `p = softmax(x W_routerᵀ)`; the `top_k` largest p are chosen and not normalised again:
/// `[.., dim]` to `[.., dim]` (OLMoE, Muennighoff et al., 2024).
#[derive(Debug)]
pub struct MixtureOfExperts {
    config: MoeConfig,
    router: Linear,
    gate: ParamId,
    up: ParamId,
    down: ParamId,
}

impl MixtureOfExperts {
    /// Registers `router.weight` and `experts.{gate,up,down}.weight` below `name`.
    pub fn new(
        b: &mut Builder,
        name: &str,
        dim: usize,
        config: &MoeConfig,
        init: &Init,
        output_init: Init,
    ) -> Self {
        let (experts, hidden) = (config.experts, config.hidden);
        b.scope(name, |b| {
            let router = Linear::new(b, "router", dim, experts, init.clone());
            let mut weight = |name: &str, [rows, columns]: [usize; 2], init: &Init| {
                let name = format!("experts.{name}.weight");
                b.param(&name, [experts, rows, columns], Decay::Yes, init.clone())
            };
            Self {
                config: config.clone(),
                router,
                gate: weight("gate", [hidden, dim], init),
                up: weight("up", [hidden, dim], init),
                down: weight("down", [dim, hidden], &output_init),
            }
        })
    }

    /// `[.., dim]` to the same shape, and the losses of the router.
    ///
    /// Probes: `load` `[experts]`, each expert's share of the assignments; `entropy`,
    /// the mean entropy of the router's probabilities in nats; `dropped`, the number of
    /// assignments that no expert carried out.
    #[track_caller]
    pub fn forward<'t>(&self, x: Var<'t>) -> (Var<'t>, RouterLosses<'t>) {
        let tape = x.tape();
        let logits = self.router.forward(x);
        let probabilities = softmax(logits);
        let choice = choose(probabilities, logits, self.config.top_k);
        if tape.is_probing() {
            self.probe(probabilities, &choice);
        }
        let weights = ExpertWeights {
            gate: tape.param(self.gate),
            up: tape.param(self.up),
            down: tape.param(self.down),
        };
        let y = experts(x, &choice, &weights);
        let (load_balance, router_z) = (load_balance(probabilities, choice.load), router_z(logits));
        let losses = RouterLosses {
            load_balance,
            router_z,
            weighted: scale(load_balance, self.config.load_balance_coef)
                + scale(router_z, self.config.router_z_coef),
        };
        (y, losses)
    }

    fn probe<'t>(&self, probabilities: Var<'t>, choice: &Choice<'t>) {
        let tape = probabilities.tape();
        tape.probe(hooks::LOAD, choice.load);
        let rows = probabilities.shape().rows();
        let entropy = probabilities.with_value(|p| {
            let terms = p.iter().filter(|&&p| p > 0.0).map(|&p| {
                let p = f64::from(p);
                -p * p.ln()
            });
            terms.sum::<f64>() / rows as f64
        });
        tape.probe(hooks::ENTROPY, tape.constant([], &[entropy as f32]));
        let experts = self.config.experts;
        let carried_out = choice.plan.with_value(|bits| {
            let plan = kernels::Plan::new(bits, experts);
            (0..experts).map(|e| plan.places(e).len()).sum::<usize>()
        });
        let dropped = choice.gates.shape().len() - carried_out;
        tape.probe(hooks::DROPPED, tape.constant([], &[dropped as f32]));
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod layer_tests {
    use super::*;
    use engine::{
        params::{Gradients, Params},
        rng::Key,
        tape::Tape,
    };

    fn mixture(config: &MoeConfig) -> (MixtureOfExperts, Params) {
        let mut b = Builder::new(Key::new(4));
        let init = Init::Normal { std: 0.3 };
        let layer = MixtureOfExperts::new(&mut b, "ffn", 12, config, &init, init.clone());
        (layer, b.finish())
    }

    #[test]
    fn statistics_of_the_router_are_recorded() {
        let (layer, params) = mixture(&MoeConfig::default());
        let mut tape = Tape::new();
        tape.set_probing();
        tape.bind(&params);
        let x: Vec<f32> = (0..20 * 12).map(|i| (i as f32 * 0.7).sin()).collect();
        let (_, losses) = layer.forward(tape.constant([2, 10, 12], &x));
        let probes: Vec<(String, Vec<f32>)> = tape
            .probes()
            .into_iter()
            .map(|(name, var)| (name, var.value()))
            .collect();
        let names: Vec<&str> = probes.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["load", "entropy", "dropped"]);
        let load: f32 = probes[0].1.iter().sum();
        assert!((load - 1.0).abs() < 1e-6, "{load}");
        assert!(probes[1].1[0] > 0.0 && probes[1].1[0] <= 8.0_f32.ln());
        assert_eq!(probes[2].1, [0.0]);
        assert!(losses.load_balance.item() >= 0.9);
    }

    #[test]
    fn experts_that_nobody_chose_get_a_gradient_of_zero() {
        let config = MoeConfig {
            experts: 16,
            top_k: 1,
            ..MoeConfig::default()
        };
        let (layer, params) = mixture(&config);
        let tape = Tape::new();
        tape.bind(&params);
        let x: Vec<f32> = (0..3 * 12).map(|i| (i as f32 * 0.7).sin()).collect();
        let (y, _) = layer.forward(tape.constant([3, 12], &x));
        let mut gradients = Gradients::new(&params);
        gradients.slab_mut().fill(f32::NAN);
        tape.backward(engine::ops::sum(y), &mut gradients);
        let range = params
            .part("ffn.experts.down.weight")
            .expect("the weight")
            .range
            .clone();
        let working = gradients.slab()[range]
            .chunks(12 * config.hidden)
            .filter(|expert| {
                assert!(expert.iter().all(|g| g.is_finite()));
                expert.iter().any(|&g| g != 0.0)
            });
        assert!((1..=3).contains(&working.count()));
    }

    #[test]
    fn impossible_choices_are_named() {
        let config = MoeConfig {
            top_k: 9,
            ..MoeConfig::default()
        };
        let message = config.validate().expect_err("nine of eight");
        assert!(message.contains("top_k is 9, expected 1 to experts 8"));
    }
}
