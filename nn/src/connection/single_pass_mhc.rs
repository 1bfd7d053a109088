//! Single-Pass mHC, the connection of DeepSeek-V4.1: a site reads with the weights that the site
//! before has predicted.
//!
//! ```text
//! (pre_k, post_k, comb_k) of H_k, as mhc_v4
//! u_k     = sum_i pre_{k-1, i} H_k,i               pre_{-1} = e_0
//! H_{k+1} = comb_kᵀ H_k + post_k ⊗ T(u_k)
//! end     = sum_i pre_{last, i} H_end,i
//! ```
//! So the write of one site and the read of the next can be one pass over the streams.

use super::{
    Connection, Cost, MhcV4Config, Site, Spec, State, Sublayer,
    mhc_v4::V4Predictor,
    streams::{
        delayed_read::{delayed_read, first_read},
        ops::{Slots, read, write},
        pending::seen,
        slots::WriteForm,
    },
};
use crate::{
    hooks,
    settings::{Setting, SettingError, Value},
};
use engine::{params::Builder, tape::Var};
use serde::Serialize;

/// Single-Pass mHC: mHC as [`MhcV4Config`] has it, with every read delayed by one sublayer, the
/// first from stream 0 alone, and the last read instead of a head; equations in `docs/connections.md`. Settings
/// and start are those of [`MhcV4Config`].
///
/// Source: DeepSeek-AI, Single-Pass mHC, 2026, arXiv 2609.19969, and `deepseek_v41` of
/// transformers.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct SinglePassMhcConfig(pub MhcV4Config);

impl Setting for SinglePassMhcConfig {
    fn read(value: &Value) -> Result<Self, SettingError> {
        MhcV4Config::read(value).map(Self)
    }
}

impl Spec for SinglePassMhcConfig {
    fn build(&self, site: Site, b: &mut Builder) -> Box<dyn Connection> {
        Box::new(SinglePassMhc {
            predictor: V4Predictor::new(&self.0, site, b),
            rate: self.0.rate,
            dim: site.dim,
            is_last: site.index + 1 == site.count,
        })
    }

    fn label(&self) -> String {
        format!("single-pass mHC x{}", self.0.rate)
    }

    fn citation(&self) -> &'static str {
        "DeepSeek-AI, Single-Pass mHC, 2026, arXiv 2609.19969, as in deepseek_v41 of transformers"
    }

    fn validate(&self, dim: usize) -> Result<(), String> {
        self.0.validate(dim)
    }
}

/// `memory` holds the coefficients of the site before; its first column is the read.
#[derive(Debug)]
struct SinglePassMhc {
    predictor: V4Predictor,
    rate: usize,
    dim: usize,
    is_last: bool,
}

impl Connection for SinglePassMhc {
    fn expand<'t>(&self, embedding: Var<'t>) -> State<'t> {
        State {
            memory: vec![first_read(embedding.tape(), self.rate)],
            ..State::new(self.predictor.expand(embedding))
        }
    }

    fn apply<'t>(&self, mut state: State<'t>, sublayer: &Sublayer<'_, 't>) -> State<'t> {
        let hidden = state.hidden;
        let slots = Slots::of_streams("single_pass_mhc", hidden, 1);
        let mut coefficients = self.predictor.coefficients(slots, hidden);
        let before = state.memory.pop().expect("the read of the site before");
        state.memory.push(coefficients.alpha);
        coefficients.alpha = delayed_read(before, coefficients.alpha);
        let input = read(slots, hidden, coefficients.alpha);
        let (coefficients, input, _) = seen(slots, hidden, coefficients, input);
        let tape = hidden.tape();
        tape.probe(hooks::STOCHASTIC_ALPHA, coefficients.alpha);
        let output = sublayer.pre_normed(input);
        state.hidden = write(slots, WriteForm::Full, hidden, coefficients, output);
        state
    }

    fn reduce<'t>(&self, state: State<'t>) -> Var<'t> {
        let (hidden, last) = (state.hidden, state.memory[0]);
        let slots = Slots::of_streams("single_pass_mhc", hidden, 1);
        let tape = hidden.tape();
        if tape.is_probing() {
            let width = last.shape().width();
            let reads: Vec<f32> =
                last.with_value(|alpha| alpha.iter().step_by(width).copied().collect());
            tape.probe(
                hooks::HEAD,
                tape.constant(last.shape().with_width(1), &reads),
            );
        }
        read(slots, hidden, last)
    }

    /// As for `mhc_v4`, and the coefficients once more; the last sublayer also counts the read at
    /// the end.
    fn cost(&self) -> Cost {
        let (n, d, last) = (self.rate, self.dim, usize::from(self.is_last));
        let Cost { flops, saved } = self.predictor.cost();
        Cost::new(flops + last * 2 * d * n, saved + n * (n + 1) + last * d)
    }
}
