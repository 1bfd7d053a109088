//! Lesson 6: how far a dynamic coefficient can go, and what gets back through it.

use super::{
    board::Board,
    hand::EPS,
    stack::{apart, normal},
};
use engine::{
    params::{Builder, Gradients},
    rng::Key,
    tape::Tape,
};
use figures::terminal::scientific;
use nn::connection::{
    PredictorNorm,
    hyper::ops::coefficients,
    streams::predictor::{Predictor, PredictorForm},
};
use std::io;

const TOKENS: usize = 64;
const RATE: usize = 2;
const DIM: usize = 8;
const STATIC_ALPHA: [f32; 6] = [1.0, 1.0, 0.0, 0.0, 0.0, 1.0];

/// Streams and predictors of one connection.
#[derive(Clone)]
struct Setting {
    state: Vec<f32>,
    predictors: Vec<f32>,
    scale: f32,
    tanh: bool,
}

/// Coefficients of a setting, and the gradient of `<G, alpha>`.
struct Measured {
    alpha: Vec<f32>,
    /// The largest distance of a coefficient from its static part.
    reach: f64,
    /// The share of coefficients beyond 99 % of what tanh allows.
    saturated: f64,
    /// The norm of the gradient of `[W_m | W_r]`.
    predictor_gradient: f64,
    /// The gradient of s_alpha.
    scale_gradient: f64,
}

impl Setting {
    fn measure(&self, g: &[f32]) -> Measured {
        let mut tape = Tape::new();
        tape.set_keeping();
        let predictors = tape.input([DIM, RATE + 1], &self.predictors);
        let scale = tape.input([1], &[self.scale]);
        let params = Predictor {
            form: PredictorForm {
                norm: PredictorNorm::LayerNorm,
                eps: EPS,
                tanh: self.tanh,
            },
            static_alpha: tape.constant([RATE, RATE + 1], &STATIC_ALPHA),
            static_beta: tape.constant([RATE], &[1.0; RATE]),
            alpha_fn: predictors,
            beta_fn: tape.constant([DIM], &[0.0; DIM]),
            alpha_scale: scale,
            beta_scale: tape.constant([1], &[self.scale]),
            norm_weight: Some(tape.constant([DIM], &[1.0; DIM])),
            norm_bias: Some(tape.constant([DIM], &[0.0; DIM])),
        };
        let state = tape.constant([TOKENS, RATE, DIM], &self.state);
        let alpha = coefficients(state, &params).alpha;
        let values = alpha.value();
        let statics = STATIC_ALPHA.iter().cycle();
        let distances = values
            .iter()
            .zip(statics)
            .map(|(a, s)| f64::from((a - s).abs()));
        let mut gradients = Gradients::new(&Builder::new(Key::new(0)).finish());
        tape.backward_from(&[(alpha, g)], &mut gradients);
        let squares = tape
            .grad(predictors)
            .into_iter()
            .map(|x| f64::from(x).powi(2));
        let far = 0.99 * f64::from(self.scale);
        Measured {
            reach: distances.clone().fold(0.0, f64::max),
            saturated: distances.filter(|&x| x > far).count() as f64 / values.len() as f64,
            predictor_gradient: squares.sum::<f64>().sqrt(),
            scale_gradient: tape.grad(scale)[0].into(),
            alpha: values,
        }
    }
}

/// Sweeps the predictors and the scale of a real `coefficients` operation.
pub fn run(board: &mut Board<'_>, key: Key) -> io::Result<()> {
    let unit = normal(key.named("W"), DIM * (RATE + 1), 1.0);
    let with_predictors = |factor: f32| -> Setting {
        Setting {
            state: normal(key.named("H"), TOKENS * RATE * DIM, 1.0),
            predictors: unit.iter().map(|w| w * factor).collect(),
            scale: 0.01,
            tanh: true,
        }
    };
    let g = normal(key.named("G"), TOKENS * RATE * (RATE + 1), 1.0);

    board.step("The start: nothing moves yet")?;
    board.equation(
        "Eq. 12, 13",
        "alpha = s_alpha tanh(H̄ [W_m | W_r]) + [A_m | A_r]",
    )?;
    board.text(&format!(
        "{TOKENS} tokens, n = {RATE}, d = {DIM}. At the start W = 0 and s_alpha = 0.01. The \
         loss is <G, alpha> for a random G."
    ))?;
    let start = with_predictors(0.0).measure(&g);
    board.line(&format!(
        "largest |alpha - static|   {}",
        scientific(start.reach, 1)
    ))?;
    board.line(&format!(
        "gradient of s_alpha        {}",
        scientific(start.scale_gradient, 1)
    ))?;
    board.line(&format!(
        "norm of the gradient of W  {:.4}",
        start.predictor_gradient
    ))?;
    board.claim(
        start.reach == 0.0 && start.scale_gradient == 0.0 && start.predictor_gradient > 0.0,
        "tanh(0) = 0, so dynamic equals static and s_alpha gets no gradient; W gets one, \
         times s_alpha. W moves first. Had s_alpha started at 0 as well, nothing ever would",
    )?;

    board.step("The range")?;
    board.text("Larger and larger predictors, s_alpha = 0.01:")?;
    board.line("             with tanh                              without")?;
    board.line("W times   reach     saturated  |gradient of W|   reach     |gradient of W|")?;
    let mut rows = Vec::new();
    for factor in [0.01, 0.1, 1.0, 10.0, 100.0] {
        let bounded = with_predictors(factor);
        let free = Setting {
            tanh: false,
            ..bounded.clone()
        };
        let (bounded, free) = (bounded.measure(&g), free.measure(&g));
        board.line(&format!(
            "{factor:>7}   {:<9.6} {:>7.0} %   {:>12.5}      {:<9.5} {:>12.5}",
            bounded.reach,
            100.0 * bounded.saturated,
            bounded.predictor_gradient,
            free.reach,
            free.predictor_gradient
        ))?;
        rows.push((bounded, free));
    }
    let within = rows.iter().all(|(bounded, _)| bounded.reach < 0.010_001);
    board.claim(
        within,
        "with tanh a coefficient never leaves static +- s_alpha",
    )?;
    let (last_bounded, last_free) = &rows[4];
    board.claim(
        last_free.reach > 0.1,
        &format!(
            "without it there is no bound: {:.2} at the last row",
            last_free.reach
        ),
    )?;
    board.equation("gradient", "dW = H̄ᵀ (s_alpha (1 - tanh²(z)) dA)")?;
    let small = rows[0].0.predictor_gradient;
    board.claim(
        last_bounded.predictor_gradient < 0.2 * small && last_free.predictor_gradient > 0.9 * small,
        &format!(
            "the price: a saturated tanh lets through {:.0} % of the gradient; without tanh \
             all of it",
            100.0 * last_bounded.predictor_gradient / small
        ),
    )?;

    board.step("The scale s_alpha")?;
    board.text("Now W times 0.3, and s_alpha from very small to large:")?;
    board.line("s_alpha    reach      |gradient of W|   gradient of s_alpha")?;
    let mut measured = Vec::new();
    for scale in [0.001, 0.01, 0.1, 1.0] {
        let setting = Setting {
            scale,
            ..with_predictors(0.3)
        };
        let m = setting.measure(&g);
        board.line(&format!(
            "{scale:<8}   {:<9.6}  {:>12.5}   {:>12.4}",
            m.reach, m.predictor_gradient, m.scale_gradient
        ))?;
        measured.push(m);
    }
    let (first, last) = (&measured[0], &measured[3]);
    let growth = last.predictor_gradient / first.predictor_gradient;
    let same = (last.scale_gradient - first.scale_gradient).abs();
    board.claim(
        (growth - 1000.0).abs() < 1.0 && same < 1e-3 * first.scale_gradient.abs().max(1e-2),
        "s_alpha multiplies both the reach and the gradient of W, and its own gradient does \
         not depend on it: a trained s_alpha is a learned bound on how dynamic a layer is",
    )?;

    board.step("Who decides about whom")?;
    board.text(
        "H̄ W is taken row by row: what happens to stream i is predicted from stream i alone \
         (mHC flattens all streams instead).",
    )?;
    board.text("Replace stream 2 of every token:")?;
    let before = with_predictors(1.0);
    let mut after = before.clone();
    let other = normal(key.named("other"), TOKENS * DIM, 1.0);
    let tokens = after.state.chunks_mut(RATE * DIM);
    for (token, other) in tokens.zip(other.chunks(DIM)) {
        token[DIM..].copy_from_slice(other);
    }
    let (before, after) = (before.measure(&g).alpha, after.measure(&g).alpha);
    let row = |alpha: &[f32], i: usize| -> Vec<f32> {
        let tokens = alpha.chunks(RATE * (RATE + 1));
        tokens
            .flat_map(|token| token[i * (RATE + 1)..][..RATE + 1].to_vec())
            .collect()
    };
    let change = [0, 1].map(|i| apart(&row(&before, i), &row(&after, i)));
    board.line(&format!(
        "largest change of row 1: {}",
        scientific(change[0], 1)
    ))?;
    board.line(&format!(
        "largest change of row 2: {}",
        scientific(change[1], 1)
    ))?;
    board.claim(
        change[0] == 0.0 && change[1] > 1e-4,
        "row 1 has not moved: no stream looks at another one's contents",
    )?;
    board.question(
        "The paper finds the network without tanh as good or better (Table 1). What keeps \
         H̄ W from growing without bound there? Which parameters does weight decay act on, \
         and which must it leave alone? (Lesson 8 breaks this.)",
        "H̄ is normalised, so only W can grow, and W is decayed like any matrix. Decay must leave A_m, \
         A_r and B alone: it would pull the carried streams to 0, layer by layer. Of s_alpha and \
         s_beta the paper says nothing; here they are not decayed.",
    )
}
