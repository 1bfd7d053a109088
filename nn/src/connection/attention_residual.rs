//! Attention residuals: every sublayer attends over the outputs of those before it.

use super::{Connection, Cost, Site, Spec, State, Sublayer, expect_positive, ops::depth_attention};
use engine::{
    params::{Builder, Decay, Init, ParamId},
    tape::Var,
};
use serde::{Deserialize, Serialize};

/// The vectors that are attended over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DepthSources {
    /// The embedding and the output of every sublayer before.
    #[default]
    Full,
    /// The embedding, the sum of outputs of every group of sublayers before, and of this
    /// group so far.
    Block,
}

words!(DepthSources);

settings! {
    /// Sublayer k reads `h_k = sum_s p_s y_s`, `p = softmax over s of <w_k, RMSNorm(y_s)>`:
    /// y_0 the embedding, y_s the output of sublayer s (or a sum of them), w_k a learned
    /// query that all tokens share. The network's output is one more such average.
    ///
    /// The queries start at zero: every average is then the plain mean, which is what a
    /// pre-norm network sums, over the number of sources; the norm of the sublayer removes
    /// that factor, so the network starts as pre-norm. The weight that RMSNorm has in the
    /// paper is left out: it multiplies w_k and cannot move while that is zero.
    ///
    /// Source: Kimi Team, Attention Residuals, 2026, arXiv 2603.15031.
    pub struct AttentionResidualConfig {
        /// The vectors that are attended over.
        pub sources: DepthSources = DepthSources::default(),
        /// Number of groups of sublayers, if blocks are attended over.
        pub blocks: usize = 8,
    }
}

impl Spec for AttentionResidualConfig {
    fn build(&self, site: Site, b: &mut Builder) -> Box<dyn Connection> {
        let group = match self.sources {
            DepthSources::Full => 1,
            DepthSources::Block => site.count.div_ceil(self.blocks),
        };
        let is_last = site.index + 1 == site.count;
        let query = |b: &mut Builder, name| b.param(name, [site.dim], Decay::No, Init::Zeros);
        Box::new(AttentionResidual {
            // A single source has weight one whatever the query.
            query: (site.index > 0).then(|| query(b, "query")),
            output_query: is_last.then(|| query(b, "output_query")),
            opens_group: site.index.is_multiple_of(group),
            sources: 1 + site.index.div_ceil(group),
            dim: site.dim,
            eps: site.eps,
        })
    }

    fn label(&self) -> String {
        match self.sources {
            DepthSources::Full => "attention residuals".into(),
            DepthSources::Block => format!("attention residuals, {} blocks", self.blocks),
        }
    }

    fn citation(&self) -> &'static str {
        "Kimi Team, Attention Residuals, 2026, arXiv 2603.15031"
    }

    fn validate(&self, _: usize) -> Result<(), String> {
        expect_positive("blocks", self.blocks)
    }
}

/// `memory` holds the sources, `hidden` the newest of them.
#[derive(Debug)]
struct AttentionResidual {
    query: Option<ParamId>,
    output_query: Option<ParamId>,
    opens_group: bool,
    sources: usize,
    dim: usize,
    eps: f32,
}

impl Connection for AttentionResidual {
    fn expand<'t>(&self, embedding: Var<'t>) -> State<'t> {
        State {
            memory: vec![embedding],
            ..State::new(embedding)
        }
    }

    fn apply<'t>(&self, mut state: State<'t>, sublayer: &Sublayer<'_, 't>) -> State<'t> {
        let tape = state.hidden.tape();
        let input = match self.query {
            Some(query) => depth_attention(tape.param(query), &state.memory, self.eps),
            None => state.hidden,
        };
        let output = sublayer.pre_normed(input);
        if self.opens_group {
            state.memory.push(output);
            state.hidden = output;
        } else {
            let group = state.memory.last_mut().expect("the sum of this group");
            *group = *group + output;
            state.hidden = *group;
        }
        state
    }

    fn reduce<'t>(&self, state: State<'t>) -> Var<'t> {
        let query = self.output_query.expect("the last sublayer");
        depth_attention(state.hidden.tape().param(query), &state.memory, self.eps)
    }

    /// Of every source its norm, its product with the query and its share of the average,
    /// 6 per element; the last sublayer also counts the average of the output.
    fn cost(&self) -> Cost {
        let averages = usize::from(self.query.is_some());
        let (last, d, s) = (
            usize::from(self.output_query.is_some()),
            self.dim,
            self.sources,
        );
        let after = s + usize::from(self.opens_group);
        Cost::new(
            averages * 6 * s * d + usize::from(!self.opens_group) * d + last * 6 * after * d,
            averages * (d + 3 * s + 1) + d + last * (d + 3 * after + 1),
        )
    }
}
