//! MUDD: multiway dynamic dense connections.

use super::{Connection, Cost, Site, Spec, State, Sublayer, ops::depth_mix, shown};
use crate::{attention::AttentionInput, hooks, linear::Linear};
use engine::{
    ops::{gelu, rms_norm},
    params::{Builder, Decay, Init, ParamId},
    tape::Var,
};

settings! {
    /// Before block i, for each of four uses c, query, key, value and residual,
    ///
    /// ```text
    /// a    = W2 gelu(W1 RMSNorm(X_i)) + a0             a weight per token, use and source
    /// X^c  = sum over j <= i of a_cj X_j               X_0 the embedding, X_j the output of block j
    /// h    = X^r + attention(norm X^q, norm X^k, norm X^v)
    /// X_{i+1} = h + feed_forward(norm h)
    /// ```
    /// with as many hidden numbers as weights; the end is one more such sum. a0 starts one-hot on the last
    /// output and W2 at zero, so that the network starts as pre-norm; W1 starts normal with standard
    /// deviation `1 / sqrt(d)`. The first block reads the embedding alone. Sublayers alternate between
    /// attention and feed-forward.
    ///
    /// Source: Xiao et al., MUDDFormer: Breaking Residual Bottlenecks in Transformers via Multiway
    /// Dynamic Dense Connections, ICML 2025, arXiv 2502.12170.
    pub struct MuddConfig {}
}

/// Query, key, value and residual.
const USES: usize = 4;

impl Spec for MuddConfig {
    fn build(&self, site: Site, b: &mut Builder) -> Box<dyn Connection> {
        let (block, opens_block) = (site.index / 2, site.index.is_multiple_of(2));
        let is_last = site.index + 1 == site.count;
        Box::new(Mudd {
            opens_block,
            mix: (opens_block && block > 0).then(|| Weights::new(b, site, USES, block + 1)),
            last: is_last.then(|| b.scope("last", |b| Weights::new(b, site, 1, block + 2))),
            dim: site.dim,
        })
    }

    fn label(&self) -> String {
        "MUDD".into()
    }

    fn citation(&self) -> &'static str {
        "Xiao et al., MUDDFormer: Breaking Residual Bottlenecks in Transformers via Multiway \
         Dynamic Dense Connections, ICML 2025, arXiv 2502.12170"
    }
}

/// What makes the weights of some sums over the outputs so far.
#[derive(Debug)]
struct Weights {
    uses: usize,
    sources: usize,
    eps: f32,
    first: Linear,
    second: Linear,
    statics: ParamId,
}

impl Weights {
    fn new(b: &mut Builder, site: Site, uses: usize, sources: usize) -> Self {
        let (d, all) = (site.dim, uses * sources);
        let start = Init::Normal {
            std: 1.0 / (d as f32).sqrt(),
        };
        let one_hot = (0..all).map(|at| f32::from(at % sources == sources - 1));
        let one_hot = Init::Values(one_hot.collect());
        Self {
            uses,
            sources,
            eps: site.eps,
            first: Linear::new(b, "w1", d, all, start),
            second: Linear::new(b, "w2", all, all, Init::Zeros),
            statics: b.param("static_weights", [uses, sources], Decay::No, one_hot),
        }
    }

    /// The sums over all outputs so far, the last of which decides.
    fn mix<'t, const C: usize>(&self, outputs: &[Var<'t>]) -> [Var<'t>; C] {
        let last = *outputs.last().expect("the embedding");
        let tape = last.tape();
        let normed = rms_norm(last, None, self.eps);
        let dynamic = self.second.forward(gelu(self.first.forward(normed)));
        let statics = tape.param(self.statics);
        tape.probe(hooks::DEPTH_WEIGHTS, statics);
        depth_mix(dynamic, statics, outputs)
    }

    /// The norm, 4 per number, both products, 10 for each gelu, and the sums.
    fn cost(&self, d: usize) -> Cost {
        let all = self.uses * self.sources;
        Cost::new(
            4 * d + 2 * d * all + 10 * all + 2 * all * all + all + 2 * all * d,
            d + 1 + 3 * all + self.uses * d,
        )
    }
}

/// `memory` holds the embedding and the outputs of all blocks so far.
#[derive(Debug)]
struct Mudd {
    opens_block: bool,
    /// Of the attention of blocks after the first.
    mix: Option<Weights>,
    /// Of the end of the network.
    last: Option<Weights>,
    dim: usize,
}

impl Connection for Mudd {
    fn expand<'t>(&self, embedding: Var<'t>) -> State<'t> {
        State {
            memory: vec![embedding],
            ..State::new(embedding)
        }
    }

    fn apply<'t>(&self, mut state: State<'t>, sublayer: &Sublayer<'_, 't>) -> State<'t> {
        let Some(weights) = &self.mix else {
            state.hidden = state.hidden + sublayer.pre_normed(state.hidden);
            if !self.opens_block {
                state.memory.push(state.hidden);
            }
            return state;
        };
        let attention = sublayer
            .attention
            .expect("mudd: sublayers alternate between attention and feed-forward");
        let [query, key, value, residual] = weights.mix(&state.memory);
        let output = shown(query, |query| {
            let inputs = [query, key, value].map(|x| (sublayer.norm)(x));
            attention(AttentionInput::Apart(inputs), &|qkv| qkv)
        });
        state.hidden = residual + output;
        state
    }

    fn reduce<'t>(&self, state: State<'t>) -> Var<'t> {
        let last = self.last.as_ref().expect("the last sublayer");
        let [output] = last.mix(&state.memory);
        output
    }

    /// The sum of the branch; where there is a mix also its weights and sums, and two more norms.
    fn cost(&self) -> Cost {
        let d = self.dim;
        let mut cost = Cost::new(d, d);
        for weights in self.mix.iter().chain(&self.last) {
            cost = cost + weights.cost(d);
        }
        if self.mix.is_some() {
            cost.saved += 2 * (d + 2);
        }
        cost
    }
}
