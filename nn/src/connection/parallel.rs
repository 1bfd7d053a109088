//! Parallel transformer blocks: attention and feed-forward read the same input.

use super::{Connection, Cost, Site, Spec, State, Sublayer, shown};
use engine::params::Builder;

settings! {
    /// `x + attention(norm_a x) + feed_forward(norm_f x)` for every block: two norms, as in
    /// GPT-NeoX. With `shared_norm`, both read `norm_a x`, as in GPT-J and PaLM.
    ///
    /// Source: Black et al., GPT-NeoX-20B, 2022; Wang and Komatsuzaki, GPT-J-6B, 2021; Chowdhery et
    /// al., PaLM, JMLR 2023.
    pub struct ParallelConfig {
        /// One norm for attention and feed-forward of a block.
        pub shared_norm: bool = false,
    }
}

impl Spec for ParallelConfig {
    fn build(&self, site: Site, _: &mut Builder) -> Box<dyn Connection> {
        Box::new(Parallel {
            opens_block: site.index.is_multiple_of(2),
            shared_norm: self.shared_norm,
            dim: site.dim,
        })
    }

    fn label(&self) -> String {
        match self.shared_norm {
            true => "parallel block, one norm".into(),
            false => "parallel block".into(),
        }
    }

    fn citation(&self) -> &'static str {
        "Black et al., GPT-NeoX-20B, 2022; Wang and Komatsuzaki, GPT-J-6B, 2021; Chowdhery et al., \
         PaLM, JMLR 2023"
    }

    fn shares_norm(&self) -> bool {
        self.shared_norm
    }
}

/// The first sublayer of a block remembers the block's input, normed if that is shared, and the
/// second reads it.
#[derive(Debug)]
struct Parallel {
    opens_block: bool,
    shared_norm: bool,
    dim: usize,
}

impl Connection for Parallel {
    fn apply<'t>(&self, mut state: State<'t>, sublayer: &Sublayer<'_, 't>) -> State<'t> {
        let x = state.hidden;
        let output = if !self.opens_block {
            sublayer.pre_normed(state.memory.pop().expect("the input of the block"))
        } else if self.shared_norm {
            shown(x, |x| {
                let normed = (sublayer.norm)(x);
                state.memory.push(normed);
                (sublayer.layer)(normed)
            })
        } else {
            state.memory.push(x);
            sublayer.pre_normed(x)
        };
        state.hidden = x + output;
        state
    }

    fn cost(&self) -> Cost {
        Cost::new(self.dim, self.dim)
    }
}
