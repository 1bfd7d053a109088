//! DenseFormer: after a block, a learned average of the outputs of all earlier ones.

use super::{Connection, Cost, Site, Spec, State, Sublayer, expect_positive, ops::weighted_sum};
use crate::hooks;
use engine::{
    params::{Builder, Decay, Init, ParamId},
    tape::Var,
};

settings! {
    /// `y_i = sum over j <= i of a_ij x_j`: x_0 the embedding, x_i the output of block i (an
    /// ordinary pre-norm block) that read y_{i-1}.
    ///
    /// `a_i` starts as one-hot at j = i, so that the network starts as pre-norm. With dilation
    /// k only j = i, i - k, i - 2k, .. take part; with period p only every p-th block is
    /// followed by an average.
    ///
    /// Source: Pagliardini et al., DenseFormer: Enhancing Information Flow in Transformers
    /// via Depth Weighted Averaging, NeurIPS 2024, arXiv 2402.02622.
    pub struct DenseFormerConfig {
        /// The distance k between the blocks that are averaged.
        pub dilation: usize = 1,
        /// The distance p between the averages.
        pub period: usize = 1,
        /// Weight decay of the weights of the averages, as in the authors' code; the paper
        /// does not say.
        pub decay: bool = false,
    }
}

impl Spec for DenseFormerConfig {
    fn build(&self, site: Site, b: &mut Builder) -> Box<dyn Connection> {
        // Blocks count from 1: what comes before the first is x_0.
        let (block, ends_block) = (site.index / 2 + 1, site.index % 2 == 1);
        let averages = ends_block && block.is_multiple_of(self.period);
        let terms = block / self.dilation + 1;
        let weights = averages.then(|| {
            let mut one_hot = vec![0.0; terms];
            one_hot[terms - 1] = 1.0;
            let decay = if self.decay { Decay::Yes } else { Decay::No };
            b.param("depth_weights", [terms], decay, Init::Values(one_hot))
        });
        Box::new(DenseFormer {
            ends_block,
            weights,
            first: block % self.dilation,
            dilation: self.dilation,
            terms: weights.map_or(0, |_| terms),
            dim: site.dim,
        })
    }

    fn label(&self) -> String {
        match (self.dilation, self.period) {
            (1, 1) => "DenseFormer".into(),
            (dilation, period) => format!("DenseFormer {dilation}x{period}"),
        }
    }

    fn citation(&self) -> &'static str {
        "Pagliardini et al., DenseFormer: Enhancing Information Flow in Transformers via \
         Depth Weighted Averaging, NeurIPS 2024, arXiv 2402.02622"
    }

    fn validate(&self, _: usize) -> Result<(), String> {
        expect_positive("dilation", self.dilation)?;
        expect_positive("period", self.period)
    }
}

/// `memory` holds x_0, x_1, ..; `hidden` is what the next sublayer reads.
#[derive(Debug)]
struct DenseFormer {
    ends_block: bool,
    /// The weights of the average after this sublayer, oldest block first.
    weights: Option<ParamId>,
    /// The oldest block of the average.
    first: usize,
    dilation: usize,
    terms: usize,
    dim: usize,
}

impl Connection for DenseFormer {
    fn expand<'t>(&self, embedding: Var<'t>) -> State<'t> {
        State {
            memory: vec![embedding],
            ..State::new(embedding)
        }
    }

    fn apply<'t>(&self, mut state: State<'t>, sublayer: &Sublayer<'_, 't>) -> State<'t> {
        let tape = state.hidden.tape();
        state.hidden = state.hidden + sublayer.pre_normed(state.hidden);
        if self.ends_block {
            state.memory.push(state.hidden);
        }
        if let Some(weights) = self.weights {
            let weights = tape.param(weights);
            tape.probe(hooks::DEPTH_WEIGHTS, weights);
            let averaged = state.memory.iter().skip(self.first).step_by(self.dilation);
            let averaged: Vec<Var<'t>> = averaged.copied().collect();
            state.hidden = weighted_sum(None, weights, &averaged);
        }
        state
    }

    fn cost(&self) -> Cost {
        let average = usize::from(self.weights.is_some());
        Cost::new(
            self.dim + 2 * self.terms * self.dim,
            self.dim + average * self.dim,
        )
    }
}
