//! Delta Attention Residuals: a residual stream, and attention over the changes before beside it.

use super::{Connection, Cost, Site, Spec, State, Sublayer, ops::depth_attention};
use engine::{
    params::{Builder, Decay, Init, ParamId},
    tape::Var,
};

settings! {
    /// `h_k = x_k + sum_s p_s y_s`, `p = softmax over s of <w_k, RMSNorm(y_s)>`, `x_{k+1} = x_k + f(norm
    /// h_k)`: y_0 the embedding, y_s the change that sublayer s has made, its output; w_k a learned query
    /// that all tokens share. The first sublayer reads x alone, and the end is x.
    ///
    /// Attention residuals attend over the same outputs, but read their average instead of a state, and
    /// end in one. The queries start at zero: the average is then a share of x, and as the norm of the
    /// sublayer removes a factor the network starts as pre-norm. The weight that RMSNorm has in the paper
    /// is left out: it multiplies w_k and cannot move while that is zero.
    ///
    /// Source: Luo et al., Delta Attention Residuals, 2026, arXiv 2605.18855, and its code, mode `delta`.
    pub struct DeltaAttentionResidualConfig {}
}

impl Spec for DeltaAttentionResidualConfig {
    fn build(&self, site: Site, b: &mut Builder) -> Box<dyn Connection> {
        let query = |b: &mut Builder| b.param("query", [site.dim], Decay::No, Init::Zeros);
        Box::new(DeltaAttentionResidual {
            query: (site.index > 0).then(|| query(b)),
            is_last: site.index + 1 == site.count,
            sources: 1 + site.index,
            dim: site.dim,
            eps: site.eps,
        })
    }

    fn label(&self) -> String {
        "delta attention residuals".into()
    }

    fn citation(&self) -> &'static str {
        "Luo et al., Delta Attention Residuals, 2026, arXiv 2605.18855"
    }
}

/// `memory` holds the changes, `hidden` their sum.
#[derive(Debug)]
struct DeltaAttentionResidual {
    /// The query of sublayers after the first.
    query: Option<ParamId>,
    is_last: bool,
    sources: usize,
    dim: usize,
    eps: f32,
}

impl Connection for DeltaAttentionResidual {
    fn expand<'t>(&self, embedding: Var<'t>) -> State<'t> {
        State {
            memory: vec![embedding],
            ..State::new(embedding)
        }
    }

    fn apply<'t>(&self, mut state: State<'t>, sublayer: &Sublayer<'_, 't>) -> State<'t> {
        let (x, tape) = (state.hidden, state.hidden.tape());
        let input = match self.query {
            Some(query) => x + depth_attention(tape.param(query), &state.memory, self.eps),
            None => x,
        };
        let output = sublayer.pre_normed(input);
        if !self.is_last {
            state.memory.push(output);
        }
        state.hidden = x + output;
        state
    }

    /// The sum, and where there is a query, of every source its norm, its product with the query and
    /// its share of the average, 6 per element, and the sum with the state.
    fn cost(&self) -> Cost {
        let (d, s) = (self.dim, self.sources);
        let averages = usize::from(self.query.is_some());
        Cost::new(
            d + averages * (6 * s * d + d),
            d + averages * (2 * d + 3 * s + 1),
        )
    }
}
