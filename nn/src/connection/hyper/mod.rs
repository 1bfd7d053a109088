//! Hyper-connections (Zhu et al., ICLR 2025, arXiv 2409.19606).
//!
//! The hidden state is a matrix H of n streams. Sublayer k reads a mixture of them,
//! `h0 = A_mᵀ H`, carries them past itself mixed, `H' = A_rᵀ H`, and writes its output
//! to all of them, `Ĥ = Bᵀ T(h0)ᵀ + H'` (Eq. 2 to 5). In every matrix that is stored or
//! shown the row is the source stream and the column the destination stream.

mod config;
pub mod kernels;
pub mod ops;

pub use config::{FrozenPart, HyperConfig, OutputInitScale, ReadInit};

use super::{
    Connection, Cost, Site, State, Sublayer,
    reduction::Reducer,
    streams::{
        delayed_read::{delayed_read, first_read},
        expansion::Expander,
        freeze::freeze_columns,
        ops::{Coefficients, Slots, read_stream, write},
        pending::{PendingWrite, seen},
        predictor::{Predictor, PredictorForm},
        slots::WriteForm,
    },
};
use engine::{
    params::{Builder, Decay, Init, ParamId},
    shape::Shape,
    tape::{Tape, Var},
};
use ops::{read, write_then_read, write_then_read_static, write_then_sum};

/// The hyper-connection of one sublayer.
#[derive(Debug)]
pub struct Hyper {
    config: HyperConfig,
    dim: usize,
    static_alpha: ParamId,
    static_beta: ParamId,
    predictor: Option<Predictor<ParamId>>,
    expander: Expander,
    reducer: Reducer,
}

impl Hyper {
    pub(super) fn new(config: &HyperConfig, site: Site, b: &mut Builder) -> Self {
        let (n, dim) = (config.rate, site.dim);
        let freezes = |part| config.freezes(part);
        let width_frozen = freezes(FrozenPart::Read) && freezes(FrozenPart::Mix);
        let write_frozen = freezes(FrozenPart::Write);
        let static_alpha = b.frozen_if(width_frozen, |b| {
            // The next sublayer reads with what this one predicts if reads are delayed.
            let reader = site.index + usize::from(config.delayed_reads);
            let start = initial_alpha(n, reader, config.read_init);
            b.param("static_alpha", [n, n + 1], Decay::No, Init::Values(start))
        });
        let static_beta = b.frozen_if(write_frozen, |b| {
            b.param("static_beta", [n], Decay::No, Init::Ones)
        });
        let predictor = config.dynamic.then(|| {
            let none = freezes(FrozenPart::Dynamic);
            let mut family = |frozen: bool, name: &str, shape: Shape| {
                b.frozen_if(none || frozen, |b| {
                    let projection = format!("dynamic_{name}_fn");
                    let scale = (format!("dynamic_{name}_scale"), config.scale_init);
                    (
                        b.param(&projection, shape, Decay::Yes, Init::Zeros),
                        b.param(&scale.0, [1], Decay::No, Init::Constant(scale.1)),
                    )
                })
            };
            let (alpha_fn, alpha_scale) = family(width_frozen, "alpha", [dim, n + 1].into());
            let (beta_fn, beta_scale) = family(write_frozen, "beta", [dim].into());
            let nothing_moves = none || (width_frozen && write_frozen);
            let [norm_weight, norm_bias] =
                b.frozen_if(nothing_moves, |b| config.norm.register(b, dim));
            Predictor {
                form: PredictorForm {
                    norm: config.norm,
                    eps: site.eps,
                    tanh: config.tanh,
                },
                static_alpha,
                static_beta,
                alpha_fn,
                beta_fn,
                alpha_scale,
                beta_scale,
                norm_weight,
                norm_bias,
            }
        });
        Self {
            config: config.clone(),
            dim,
            static_alpha,
            static_beta,
            predictor,
            expander: Expander::new(config.expansion, n, site, b),
            reducer: Reducer::new(config.reduction, n, site, b),
        }
    }

    /// `[A_m | A_r]` without the gradient of what is frozen in it.
    fn with_frozen_columns<'t>(&self, alpha: Var<'t>) -> Var<'t> {
        let frozen = self.config.frozen_columns();
        match frozen.is_empty() {
            true => alpha,
            false => freeze_columns(alpha, frozen),
        }
    }

    fn static_coefficients<'t>(&self, tape: &'t Tape) -> Coefficients<'t> {
        Coefficients {
            alpha: self.with_frozen_columns(tape.param(self.static_alpha)),
            beta: tape.param(self.static_beta),
        }
    }

    fn on_tape<'t>(&self, tape: &'t Tape, predictor: &Predictor<ParamId>) -> Predictor<Var<'t>> {
        let params = predictor.on_tape(tape);
        Predictor {
            static_alpha: self.with_frozen_columns(params.static_alpha),
            alpha_fn: self.with_frozen_columns(params.alpha_fn),
            ..params
        }
    }

    /// Carries out the pending write, if any, and reads: the state, the coefficients of
    /// this sublayer, and its input h0.
    fn read<'t>(&self, state: State<'t>) -> (Var<'t>, Coefficients<'t>, Var<'t>) {
        let tape = state.hidden.tape();
        let Some(predictor) = &self.predictor else {
            let coefficients = self.static_coefficients(tape);
            let (hidden, input) = match state.pending {
                None => (state.hidden, read_stream(state.hidden, coefficients.alpha)),
                Some(write) => write_then_read_static(state.hidden, &write, coefficients.alpha),
            };
            return (hidden, coefficients, input);
        };
        let params = self.on_tape(tape, predictor);
        match state.pending {
            None => {
                let (coefficients, input) = read(state.hidden, &params);
                (state.hidden, coefficients, input)
            }
            Some(write) => write_then_read(state.hidden, &write, &params),
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
        let mut state = State::new(self.expander.expand(embedding));
        if self.config.delayed_reads {
            state
                .memory
                .push(first_read(embedding.tape(), self.config.rate));
        }
        state
    }

    fn apply<'t>(&self, mut state: State<'t>, sublayer: &Sublayer<'_, 't>) -> State<'t> {
        let before = state.memory.pop();
        let (hidden, mut coefficients, mut input) = self.read(state);
        let slots = Slots::of_streams("hyper", hidden, 1);
        let predicted = coefficients.alpha;
        if let Some(before) = before {
            coefficients.alpha = delayed_read(before, predicted);
            input = read_stream(hidden, coefficients.alpha);
        }
        let (coefficients, input, _) = seen(slots, hidden, coefficients, input);
        let output = sublayer.pre_normed(input);
        let mut next = State::new(hidden);
        next.pending = Some(PendingWrite {
            coefficients,
            output,
        });
        next.memory.extend(before.map(|_| predicted));
        next
    }

    fn reduce<'t>(&self, state: State<'t>) -> Var<'t> {
        match state.pending {
            Some(write) if self.reducer.is_sum() => write_then_sum(state.hidden, &write),
            Some(PendingWrite {
                coefficients,
                output,
            }) => {
                let slots = Slots::of_streams("hyper", state.hidden, 1);
                let next = write(slots, WriteForm::Full, state.hidden, coefficients, output);
                self.reducer.reduce(next)
            }
            None => self.reducer.reduce(state.hidden),
        }
    }

    /// Read, mix and write, `2 d n (n + 1) + 2 d n`; the predictors as much again, and
    /// their norm about 8 per element of the state.
    fn cost(&self) -> Cost {
        let (n, d) = (self.config.rate, self.dim);
        let products = 2 * d * n * (n + 1) + 2 * d * n;
        let (predictor, coefficients) = match &self.predictor {
            Some(predictor) => {
                let norm = predictor.form.norm.cost(n * d);
                let tails = 3 * n * (n + 2);
                (
                    2 * d * n * (n + 2) + norm + tails,
                    n * (n + 2) + n * (n + 4),
                )
            }
            None => (0, 0),
        };
        let (flops, saved) = match self.config.delayed_reads {
            // A read that is not used, and the coefficients once more.
            true => (2 * d * n, n * (n + 1) + d),
            false => (0, 0),
        };
        let cost = Cost::new(
            products + predictor + self.expander.flops() + flops,
            n * d + d + coefficients + saved,
        );
        cost + self.reducer.cost()
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
