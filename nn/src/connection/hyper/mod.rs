//! Hyper-connections (Zhu et al., ICLR 2025, arXiv 2409.19606).
//!
//! The hidden state is a matrix H of n streams. Sublayer k reads a mixture of them,
//! `h0 = A_mᵀ H`, carries them past itself mixed, `H' = A_rᵀ H`, and writes its output
//! to all of them, `Ĥ = Bᵀ T(h0)ᵀ + H'` (Eq. 2 to 5). In every matrix that is stored or
//! shown the row is the source stream and the column the destination stream.

mod config;
pub mod kernels;
pub mod ops;

pub use config::{FrozenPart, HyperConfig, OutputInitScale, PredictorNorm, ReadInit};

use super::{
    Account, Connection, Site, State, Sublayer,
    dynamic::Dynamic,
    reduction::Reducer,
    slots::{Slots, edited, write},
};
use engine::{
    ops::replicate,
    params::{Builder, Decay, Init, ParamId},
    tape::{Tape, Var},
};
use kernels::slots::WriteForm;
use ops::{
    Coefficients, DynamicParams, PredictorNormParams, depth_connection, freeze_columns, read,
    read_static, width_connection, write_then_read, write_then_read_static, write_then_sum,
};

/// A write that has not been carried out: the next connection does it together with
/// its own read, in one pass over the streams.
#[derive(Clone, Copy, Debug)]
pub struct PendingWrite<'t> {
    /// The coefficients of the sublayer that has run.
    pub coefficients: Coefficients<'t>,
    /// Its output, `[.., d]`.
    pub output: Var<'t>,
}

impl<'t> PendingWrite<'t> {
    /// The next state by itself, from the state that the sublayer has read:
    /// `Ĥ = Bᵀ oᵀ + A_rᵀ H` (Eq. 5).
    #[track_caller]
    pub fn carry_out(&self, state: Var<'t>) -> Var<'t> {
        let (_, mixed) = width_connection(state, self.coefficients.alpha);
        depth_connection(mixed, self.coefficients.beta, self.output)
    }
}

/// The hyper-connection of one sublayer.
#[derive(Debug)]
pub struct Hyper {
    config: HyperConfig,
    dim: usize,
    eps: f32,
    static_alpha: ParamId,
    static_beta: ParamId,
    dynamic: Option<Dynamic>,
    reducer: Reducer,
}

impl Hyper {
    pub(super) fn new(config: &HyperConfig, site: Site, b: &mut Builder) -> Self {
        let (n, dim) = (config.rate, site.dim);
        let freezes = |part| config.freezes(part);
        let width_frozen = freezes(FrozenPart::Read) && freezes(FrozenPart::Mix);
        let write_frozen = freezes(FrozenPart::Write);
        let static_alpha = b.frozen_if(width_frozen, |b| {
            let start = initial_alpha(n, site.index, config.read_init);
            b.param("static_alpha", [n, n + 1], Decay::No, Init::Values(start))
        });
        let static_beta = b.frozen_if(write_frozen, |b| {
            b.param("static_beta", [n], Decay::No, Init::Ones)
        });
        let dynamic = config.dynamic.then(|| {
            let none = freezes(FrozenPart::Dynamic);
            let scale = Init::Constant(config.scale_init);
            let (alpha_fn, alpha_scale) = b.frozen_if(none || width_frozen, |b| {
                (
                    b.param("dynamic_alpha_fn", [dim, n + 1], Decay::Yes, Init::Zeros),
                    b.param("dynamic_alpha_scale", [1], Decay::No, scale.clone()),
                )
            });
            let (beta_fn, beta_scale) = b.frozen_if(none || write_frozen, |b| {
                (
                    b.param("dynamic_beta_fn", [dim], Decay::Yes, Init::Zeros),
                    b.param("dynamic_beta_scale", [1], Decay::No, scale),
                )
            });
            let nothing_moves = none || (width_frozen && write_frozen);
            let norm = b.frozen_if(nothing_moves, |b| config.norm.register(b, dim));
            Dynamic {
                alpha_fn,
                beta_fn,
                alpha_scale,
                beta_scale,
                norm,
            }
        });
        Self {
            config: config.clone(),
            dim,
            eps: site.eps,
            static_alpha,
            static_beta,
            dynamic,
            reducer: Reducer::new(config.reduction, n, site, b),
        }
    }

    /// The columns of `[A_m | A_r]` that are not trained although others are.
    fn with_frozen_columns<'t>(&self, alpha: Var<'t>) -> Var<'t> {
        match (
            self.config.freezes(FrozenPart::Read),
            self.config.freezes(FrozenPart::Mix),
        ) {
            (true, false) => freeze_columns(alpha, 0..1),
            (false, true) => freeze_columns(alpha, 1..self.config.rate + 1),
            _ => alpha,
        }
    }

    fn static_coefficients<'t>(&self, tape: &'t Tape) -> Coefficients<'t> {
        Coefficients {
            alpha: self.with_frozen_columns(tape.param(self.static_alpha)),
            beta: tape.param(self.static_beta),
        }
    }

    fn dynamic_params<'t>(&self, tape: &'t Tape, dynamic: &Dynamic) -> DynamicParams<'t> {
        let statics = self.static_coefficients(tape);
        DynamicParams {
            static_alpha: statics.alpha,
            static_beta: statics.beta,
            dynamic_alpha_fn: self.with_frozen_columns(tape.param(dynamic.alpha_fn)),
            dynamic_beta_fn: tape.param(dynamic.beta_fn),
            dynamic_alpha_scale: tape.param(dynamic.alpha_scale),
            dynamic_beta_scale: tape.param(dynamic.beta_scale),
            norm: PredictorNormParams::of(tape, dynamic.norm),
            eps: self.eps,
            tanh: self.config.tanh,
        }
    }

    /// Carries out the pending write, if any, and reads: the state, the coefficients of
    /// this sublayer, and its input h0.
    fn read<'t>(&self, state: State<'t>) -> (Var<'t>, Coefficients<'t>, Var<'t>) {
        let tape = state.hidden.tape();
        match (&self.dynamic, state.pending) {
            (None, None) => {
                let coefficients = self.static_coefficients(tape);
                let input = read_static(state.hidden, coefficients.alpha);
                (state.hidden, coefficients, input)
            }
            (None, Some(write)) => {
                let coefficients = self.static_coefficients(tape);
                let (hidden, input) =
                    write_then_read_static(state.hidden, &write, coefficients.alpha);
                (hidden, coefficients, input)
            }
            (Some(dynamic), None) => {
                let (coefficients, input) = read(state.hidden, &self.dynamic_params(tape, dynamic));
                (state.hidden, coefficients, input)
            }
            (Some(dynamic), Some(write)) => {
                let params = self.dynamic_params(tape, dynamic);
                write_then_read(state.hidden, &write, &params)
            }
        }
    }
}

/// `[A_m | A_r]` of Eq. 14 for sublayer k: `A_m = e_{k mod n}`, `A_r = I`.
fn initial_alpha(rate: usize, index: usize, read: ReadInit) -> Vec<f32> {
    let mut alpha = vec![0.0; rate * (rate + 1)];
    for (i, row) in alpha.chunks_exact_mut(rate + 1).enumerate() {
        row[0] = match read {
            ReadInit::OneHot => f32::from(i == index % rate),
            ReadInit::Uniform => 1.0 / rate as f32,
        };
        row[1 + i] = 1.0;
    }
    alpha
}

impl Connection for Hyper {
    fn expand<'t>(&self, embedding: Var<'t>) -> State<'t> {
        State::new(replicate(embedding, self.config.rate))
    }

    fn apply<'t>(&self, state: State<'t>, sublayer: &Sublayer<'_, 't>) -> State<'t> {
        let (hidden, mut coefficients, mut input) = self.read(state);
        let tape = hidden.tape();
        let slots = Slots::of_streams("hyper", hidden, 1);
        if let Some(edited) = edited(slots, hidden, coefficients.alpha, coefficients.beta) {
            (coefficients.alpha, coefficients.beta) = (edited.alpha, edited.beta);
            input = edited.input;
        }
        tape.probe("hidden", hidden);
        tape.probe("alpha", coefficients.alpha);
        tape.probe("beta", coefficients.beta);
        let output = sublayer.pre_normed(input);
        let mut next = State::new(hidden);
        next.pending = Some(PendingWrite {
            coefficients,
            output,
        });
        next
    }

    fn reduce<'t>(&self, state: State<'t>) -> Var<'t> {
        match state.pending {
            Some(write) if self.reducer.is_sum() => write_then_sum(state.hidden, &write),
            Some(pending) => {
                let slots = Slots::of_streams("hyper", state.hidden, 1);
                let Coefficients { alpha, beta } = pending.coefficients;
                let form = WriteForm::Full;
                let next = write(slots, form, state.hidden, alpha, beta, pending.output);
                self.reducer.reduce(next)
            }
            None => self.reducer.reduce(state.hidden),
        }
    }

    /// Read, mix and write, `2 d n (n + 1) + 2 d n`; the predictors as much again, and
    /// their norm about 8 per element of the state.
    fn account(&self) -> Account {
        let (n, d) = (self.config.rate, self.dim);
        let products = 2 * d * n * (n + 1) + 2 * d * n;
        let (predictor, coefficients) = match &self.dynamic {
            Some(dynamic) => {
                let norm = if dynamic.norm.is_some() { 8 * n * d } else { 0 };
                let tails = 3 * n * (n + 2);
                (
                    2 * d * n * (n + 2) + norm + tails,
                    n * (n + 2) + n * (n + 4),
                )
            }
            None => (0, 0),
        };
        Account {
            flops: products + predictor,
            saved: n * d + d + coefficients,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_matrix_reads_one_stream_in_turn_or_the_mean_and_mixes_nothing() {
        let first = |index, read| initial_alpha(2, index, read);
        for turn in [0, 2] {
            assert_eq!(
                first(turn, ReadInit::OneHot),
                [1.0, 1.0, 0.0, 0.0, 0.0, 1.0]
            );
            assert_eq!(
                first(turn + 1, ReadInit::OneHot),
                [0.0, 1.0, 0.0, 1.0, 0.0, 1.0]
            );
        }
        assert_eq!(first(3, ReadInit::Uniform), [0.5, 1.0, 0.0, 0.5, 0.0, 1.0]);
    }
}
