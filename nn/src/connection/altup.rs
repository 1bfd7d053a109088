//! AltUp: a state of K blocks of which one at a time is computed, the others predicted.

use super::{
    Connection, Cost, Site, Spec, State, Sublayer, check_streams,
    ops::with_read,
    streams::ops::{depth_connection, read_stream, width_connection},
};
use crate::hooks;
use engine::{
    ops::{replicate, sum_streams},
    params::{Builder, Decay, Init, ParamId},
    tape::Var,
};
use serde::{Deserialize, Serialize};

/// Which block a sublayer computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockSelection {
    /// Block `k mod K` in sublayer k.
    #[default]
    Alternating,
    /// The first one, always.
    Same,
}

words!(BlockSelection);

settings! {
    /// With K blocks x_i and the block s that is computed: predict `x̂_i = sum_j p_ij x_j`,
    /// compute `x̃ = x_s + f(norm x_s)`, correct `x_i' = x̂_i + g_i (x̃ - x̂_s)`. The parameter
    /// `prediction` is the transpose of p, the source in the row as in all matrices here.
    ///
    /// The embedding enters every block and the output is their sum (what the paper calls
    /// recycled AltUp, the variant without wider embedding tables). A layer of the paper is a
    /// sublayer here. The prediction starts as the identity and the corrections at one, so
    /// that the network starts as pre-norm with all blocks alike.
    ///
    /// Source: Baykal et al., Alternating Updates for Efficient Transformers, NeurIPS 2023,
    /// arXiv 2301.13310.
    pub struct AltUpConfig {
        /// K: how many blocks.
        pub blocks: usize = 2,
        /// Which of them a sublayer computes.
        pub selection: BlockSelection = BlockSelection::default(),
    }
}

impl Spec for AltUpConfig {
    fn build(&self, site: Site, b: &mut Builder) -> Box<dyn Connection> {
        let blocks = self.blocks;
        let mut identity = vec![0.0; blocks * blocks];
        identity
            .iter_mut()
            .step_by(blocks + 1)
            .for_each(|p| *p = 1.0);
        let start = Init::Values(identity);
        Box::new(AltUp {
            prediction: b.param("prediction", [blocks, blocks], Decay::No, start),
            correction: b.param("correction", [blocks], Decay::No, Init::Ones),
            blocks,
            computed: match self.selection {
                BlockSelection::Alternating => site.index % blocks,
                BlockSelection::Same => 0,
            },
            dim: site.dim,
        })
    }

    fn label(&self) -> String {
        format!("AltUp x{}", self.blocks)
    }

    fn citation(&self) -> &'static str {
        "Baykal et al., Alternating Updates for Efficient Transformers, NeurIPS 2023, \
         arXiv 2301.13310"
    }

    fn validate(&self, _: usize) -> Result<(), String> {
        check_streams("blocks", self.blocks)
    }
}

#[derive(Debug)]
struct AltUp {
    /// `p_ij` at row j (the source), column i (the destination).
    prediction: ParamId,
    /// `g_i`.
    correction: ParamId,
    blocks: usize,
    /// s.
    computed: usize,
    dim: usize,
}

impl Connection for AltUp {
    fn expand<'t>(&self, embedding: Var<'t>) -> State<'t> {
        State::new(replicate(embedding, self.blocks))
    }

    fn apply<'t>(&self, state: State<'t>, sublayer: &Sublayer<'_, 't>) -> State<'t> {
        let tape = state.hidden.tape();
        tape.probe(hooks::HIDDEN, state.hidden);
        let alpha = with_read(tape.param(self.prediction), self.computed);
        let (x, predicted) = width_connection(state.hidden, alpha);
        let computed = x + sublayer.pre_normed(x);
        let error = computed - read_stream(predicted, alpha);
        let correction = tape.param(self.correction);
        State::new(depth_connection(predicted, correction, error))
    }

    fn reduce<'t>(&self, state: State<'t>) -> Var<'t> {
        sum_streams(state.hidden)
    }

    fn cost(&self) -> Cost {
        let (k, d) = (self.blocks, self.dim);
        Cost::new(
            2 * d * k * (k + 1) + 2 * d * k + 2 * d * k + 2 * d,
            2 * k * d + 4 * d,
        )
    }
}
