//! One token through one dynamic hyper-connection, on a tape.

use super::hand::{DIM, EPS, RATE, exact};
use engine::{
    ops::{layer_norm, linear, tanh},
    rng::Key,
    tape::{Tape, Var},
};
use nn::connection::{
    PredictorNorm,
    hyper::ops::coefficients,
    streams::{
        ops::{Coefficients, depth_connection, width_connection},
        predictor::{Predictor, PredictorForm},
    },
};
use rand_distr::{Distribution, StandardNormal};

/// The leaves, in the order of [`Token::parts`]: name and shape.
pub const PARTS: [(&str, &[usize]); 8] = [
    ("H", &[RATE, DIM]),
    ("static_alpha", &[RATE, RATE + 1]),
    ("static_beta", &[RATE]),
    ("dynamic_alpha_fn", &[DIM, RATE + 1]),
    ("dynamic_beta_fn", &[DIM]),
    ("s_alpha", &[1]),
    ("s_beta", &[1]),
    ("layer.weight", &[DIM, DIM]),
];

/// The state of one token and everything that a connection knows.
pub struct Token {
    /// The elements of every leaf of [`PARTS`].
    pub parts: [Vec<f32>; 8],
}

/// The way of the token, on a tape.
pub struct OnTape<'t> {
    /// The leaves of [`PARTS`].
    pub leaves: [Var<'t>; 8],
    /// `[A_m | A_r]` and B of this token (Eq. 11 to 13).
    pub coefficients: Coefficients<'t>,
    /// h0 (Eq. 3).
    pub input: Var<'t>,
    /// H' (Eq. 4).
    pub mixed: Var<'t>,
    /// `T h0`.
    pub output: Var<'t>,
    /// Ĥ (Eq. 5).
    pub next: Var<'t>,
}

/// `count` normal numbers, rounded so that they can be copied from the page.
pub fn draw(key: Key, count: usize, scale: f32) -> Vec<f32> {
    let mut rng = key.rng();
    let mut one = || {
        let x: f32 = StandardNormal.sample(&mut rng);
        (x * scale * 100.0).round() / 100.0
    };
    (0..count).map(|_| one()).collect()
}

/// The gradient of Ĥ in lesson 2 and its drawing: G of the loss `<G, Ĥ>`.
pub fn gradient_from_above(key: Key) -> Vec<f32> {
    draw(key.named("G"), RATE * DIM, 1.0)
}

impl Token {
    /// A token and a connection as they may be after some training.
    pub fn new(key: Key) -> Self {
        let mut parts = PARTS.map(|(name, shape)| {
            let scale = match name {
                "H" => 1.0,
                "static_alpha" | "static_beta" => 0.2,
                _ => 0.5,
            };
            draw(key.named(name), shape.iter().product(), scale)
        });
        // Around the start of Eq. 14: A_m = e_1, A_r = I, B = 1.
        for (x, start) in parts[1].iter_mut().zip([1.0, 1.0, 0.0, 0.0, 0.0, 1.0]) {
            *x += start;
        }
        parts[2].iter_mut().for_each(|x| *x += 1.0);
        (parts[5], parts[6]) = (vec![0.3], vec![0.2]);
        Self { parts }
    }

    /// Sends the token through `T(x) = tanh(W norm(x))` and its connection.
    pub fn on_tape<'t>(&self, tape: &'t Tape) -> OnTape<'t> {
        let leaves = std::array::from_fn(|i| {
            let leaf = tape.input(PARTS[i].1, &self.parts[i]);
            tape.probe(PARTS[i].0, leaf);
            leaf
        });
        let [
            state,
            static_alpha,
            static_beta,
            alpha_fn,
            beta_fn,
            s_alpha,
            s_beta,
            weight,
        ] = leaves;
        let params = Predictor {
            form: PredictorForm {
                norm: PredictorNorm::LayerNorm,
                eps: EPS,
                tanh: true,
            },
            static_alpha,
            static_beta,
            alpha_fn,
            beta_fn,
            alpha_scale: s_alpha,
            beta_scale: s_beta,
            norm_weight: Some(tape.constant([DIM], &[1.0; DIM])),
            norm_bias: Some(tape.constant([DIM], &[0.0; DIM])),
        };
        let coefficients = coefficients(state, &params);
        let (input, mixed) = width_connection(state, coefficients.alpha);
        let output = {
            let _scope = tape.enter(&"layer".into());
            tanh(linear(layer_norm(input, None, None, EPS), weight, None))
        };
        let next = depth_connection(mixed, coefficients.beta, output);
        for (name, var) in [
            ("alpha", coefficients.alpha),
            ("beta", coefficients.beta),
            ("h0", input),
            ("H'", mixed),
            ("T h0", output),
            ("Ĥ", next),
        ] {
            tape.probe(name, var);
        }
        OnTape {
            leaves,
            coefficients,
            input,
            mixed,
            output,
            next,
        }
    }

    /// The leaves in f64.
    pub fn exact(&self) -> [Vec<f64>; 8] {
        std::array::from_fn(|i| exact(&self.parts[i]))
    }
}
