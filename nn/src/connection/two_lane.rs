//! Two lanes from a block on: attention reads one, feed-forward the other.

use super::{
    Connection, Cost, Site, Spec, State, Sublayer,
    ops::one_hot_read,
    reduction::{Reducer, Reduction},
    streams::{
        ops::{Coefficients, Slots, read, write},
        pending::seen,
        slots::WriteForm,
    },
};
use engine::{
    ops::replicate,
    params::{Builder, Decay, Init, ParamId},
    tape::Var,
};

settings! {
    /// From block `first_block` on the state has two lanes, copies at first: attention reads lane 0,
    /// feed-forward lane 1, and each output is added to both,
    ///
    /// ```text
    /// L_j <- g_j L_j + w_j f(norm L_lane)
    /// ```
    /// with learned scalars g and w for every sublayer. The blocks before are pre-norm, the end is the
    /// mean of the lanes. So it is a static hyper-connection with n = 2, reads that are fixed one-hot and
    /// a diagonal mix, for a part of the network. All g and w start at 1: as pre-norm.
    ///
    /// Where they are `parallel`, both sublayers of a block read its inputs, and g acts once,
    ///
    /// ```text
    /// L_j <- g_j L_j + v_j attention(norm L_0) + w_j feed_forward(norm L_1)
    /// ```
    /// so that the network starts as parallel blocks.
    ///
    /// Source: M. Sisovic, "Parallel Residuals", modded-nanogpt #230, 2026; `parallel`: parameter-golf
    /// #1529, 2026.
    pub struct TwoLaneConfig {
        /// The first block with two lanes, from 0; 7 of 11 of the depth, as in the source, if not set.
        pub first_block: Option<usize> = None,
        /// Both sublayers of a block with lanes read the inputs of the block.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        pub parallel: bool = false,
    }
}

/// Number of lanes.
const LANES: usize = 2;

impl TwoLaneConfig {
    /// The first block with two lanes of a network of so many.
    fn first_block(&self, blocks: usize) -> usize {
        self.first_block.unwrap_or(blocks * 7 / 11)
    }

    /// Returns whether two lanes come in at this sublayer.
    pub fn has_lanes_before(&self, site: Site) -> bool {
        site.index > 2 * self.first_block(site.count / 2)
    }
}

impl Spec for TwoLaneConfig {
    fn build(&self, site: Site, b: &mut Builder) -> Box<dyn Connection> {
        let (first, sublayer) = (2 * self.first_block(site.count / 2), site.index);
        let mut scalars = |name| b.param(name, [LANES], Decay::No, Init::Ones);
        let lane = sublayer % LANES;
        let lanes = (sublayer >= first).then(|| Lanes {
            gain: (!self.parallel || lane == 0).then(|| scalars("lane_gain")),
            write: scalars("lane_write"),
        });
        Box::new(TwoLane {
            dim: site.dim,
            opens: sublayer == first,
            parallel: self.parallel,
            lane,
            lanes,
            reducer: Reducer::new(Reduction::Mean, LANES, site, b),
        })
    }

    fn label(&self) -> String {
        let mut label = match self.first_block {
            Some(block) => format!("two lanes from block {block}"),
            None => "two lanes".into(),
        };
        if self.parallel {
            label.push_str(", parallel");
        }
        label
    }

    fn citation(&self) -> &'static str {
        match self.parallel {
            true => "M. Sisovic, Improved Parallel Residuals, parameter-golf #1529, 2026",
            false => "M. Sisovic, Parallel Residuals, modded-nanogpt #230, 2026",
        }
    }

    fn validate_depth(&self, blocks: usize) -> Result<(), String> {
        match self.first_block {
            Some(block) if block >= blocks => Err(format!(
                "first_block is {block}, expected below the {blocks} of the network, counted from 0"
            )),
            _ => Ok(()),
        }
    }
}

/// The scalars of both lanes.
#[derive(Debug)]
struct Lanes {
    /// `None` where the sublayer before has multiplied the lanes already.
    gain: Option<ParamId>,
    write: ParamId,
}

/// Where sublayers are parallel, `memory` holds the lanes in front of the block.
#[derive(Debug)]
struct TwoLane {
    dim: usize,
    /// True of the first sublayer with lanes.
    opens: bool,
    parallel: bool,
    /// The lane that this sublayer reads.
    lane: usize,
    lanes: Option<Lanes>,
    reducer: Reducer,
}

impl Connection for TwoLane {
    fn apply<'t>(&self, mut state: State<'t>, sublayer: &Sublayer<'_, 't>) -> State<'t> {
        let x = state.hidden;
        let Some(lanes) = &self.lanes else {
            state.hidden = x + sublayer.pre_normed(x);
            return state;
        };
        let tape = x.tape();
        let hidden = match self.opens {
            true => replicate(x, LANES),
            false => x,
        };
        let slots = Slots::of_streams("two_lane", hidden, 1);
        let gain = match lanes.gain {
            Some(gain) => tape.param(gain),
            None => tape.constant([LANES], &[1.0; LANES]),
        };
        let mut coefficients = Coefficients {
            alpha: one_hot_read(gain, self.lane),
            beta: tape.param(lanes.write),
        };
        let from = match self.lane {
            1 if self.parallel => state.memory.pop().expect("the inputs of the block"),
            _ => hidden,
        };
        let mut input = read(slots, from, coefficients.alpha);
        if !self.parallel {
            (coefficients, input, _) = seen(slots, hidden, coefficients, input);
        } else if self.lane == 0 {
            state.memory.push(hidden);
        }
        let output = sublayer.pre_normed(input);
        state.hidden = write(slots, WriteForm::Full, hidden, coefficients, output);
        state
    }

    fn reduce<'t>(&self, state: State<'t>) -> Var<'t> {
        self.reducer.reduce(state.hidden)
    }

    /// The sum; of two lanes read, mix and write as for static hyper-connections.
    fn cost(&self) -> Cost {
        let (n, d) = (LANES, self.dim);
        match &self.lanes {
            None => Cost::new(d, d),
            Some(_) => {
                let opens = usize::from(self.opens);
                Cost::new(2 * d * n * (n + 1) + 2 * d * n, (1 + opens) * n * d + d)
            }
        }
    }
}
