//! Parallel transformer blocks: attention and feed-forward read the same input.

use super::{Account, Connection, Site, Spec, State, Sublayer};
use engine::{params::Builder, tape::Var};
use serde::{Deserialize, Serialize};

/// `x + attention(norm_a x) + feed_forward(norm_f x)` for every block.
///
/// Source: Wang and Komatsuzaki, GPT-J-6B, 2021; Chowdhery et al., PaLM, JMLR 2023.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParallelConfig {}

impl Spec for ParallelConfig {
    fn build(&self, site: Site, _: &mut Builder) -> Box<dyn Connection> {
        Box::new(Parallel {
            opens_block: site.index.is_multiple_of(2),
            dim: site.dim,
        })
    }

    fn label(&self) -> String {
        "parallel block".into()
    }

    fn citation(&self) -> &'static str {
        "Wang and Komatsuzaki, GPT-J-6B, 2021; Chowdhery et al., PaLM, JMLR 2023"
    }
}

/// The first sublayer of a block remembers the block's input, the second reads it.
#[derive(Debug)]
struct Parallel {
    opens_block: bool,
    dim: usize,
}

impl Connection for Parallel {
    fn expand<'t>(&self, embedding: Var<'t>) -> State<'t> {
        State::new(embedding)
    }

    fn apply<'t>(&self, mut state: State<'t>, sublayer: &Sublayer<'_, 't>) -> State<'t> {
        let block_input = if self.opens_block {
            state.memory.push(state.hidden);
            state.hidden
        } else {
            state.memory.pop().expect("the input of the block")
        };
        state.hidden = state.hidden + sublayer.pre_normed(block_input);
        state
    }

    fn reduce<'t>(&self, state: State<'t>) -> Var<'t> {
        state.hidden
    }

    fn account(&self) -> Account {
        Account {
            flops: self.dim,
            saved: self.dim,
        }
    }
}
