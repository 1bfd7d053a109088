//! Lesson 3: the residual connections of old are hyper-connections with n = 1.

use super::{
    board::Board,
    hand::EPS,
    stack::{Stack, apart, difference, normal},
};
use engine::{
    ops::{layer_norm, replicate},
    rng::Key,
    tape::{Tape, Var},
};
use figures::terminal::scientific;
use nn::connection::{
    PostNormConfig, PreNormConfig,
    hyper::ops::{depth_connection, width_connection},
};
use std::io;

const LAYERS: usize = 6;
const DIM: usize = 8;
const TOKENS: usize = 12;
/// So many of them are printed.
const SHOWN: usize = 3;

/// `x` minus its mean, row by row.
fn centred<'t>(x: Var<'t>) -> Var<'t> {
    let d = x.shape().width();
    let eye_minus_mean: Vec<f32> = (0..d * d)
        .map(|i| f32::from(i / d == i % d) - 1.0 / d as f32)
        .collect();
    engine::ops::matmul(x, x.tape().constant([d, d], &eye_minus_mean))
}

/// Mean of the products of two rows that are centred.
fn covariance(a: &[f32], b: &[f32]) -> f64 {
    let products = a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b));
    products.sum::<f64>() / a.len() as f64
}

/// Wires a stack by matrices and compares it with the connections of `nn`.
pub fn run(board: &mut Board<'_>, key: Key) -> io::Result<()> {
    let data = normal(key.named("tokens"), TOKENS * DIM, 1.0);
    let tape = Tape::new();
    let rows: Vec<String> = ["T output", "stream 1"].map(String::from).into();
    let columns: Vec<String> = ["T input", "to 1"].map(String::from).into();

    board.step("Pre-norm")?;
    board.text(&format!(
        "{LAYERS} feed-forward layers, d = {DIM}, {TOKENS} tokens. T stands for norm, then \
         layer. Once they run under the pre-norm connection, x + T(x); once under a \
         hyper-connection with one stream and this fixed matrix:"
    ))?;
    board.equation("Eq. 15", "HC = [0 1; 1 1]")?;
    board.matrix("HC: row = from, column = to", &rows, &columns, |r, c| {
        Some(if r + c == 0 { 0.0 } else { 1.0 })
    })?;
    let pre = Stack::new(key.named("stack"), LAYERS, DIM, &PreNormConfig::default());
    tape.bind(&pre.params);
    let x = tape.constant([TOKENS, DIM], &data);
    let wired = pre.wired(&tape, x, |_| &[&[0.0, 1.0], &[1.0, 1.0]]);
    let mut plain = x;
    let mut largest = 0.0_f64;
    for (k, [state, _]) in wired.iter().enumerate() {
        plain = plain + pre.layer(k, plain);
        let apart = difference(plain, *state);
        largest = largest.max(apart);
        board.line(&format!(
            "after layer {}: token 1 starts {:.4?}, difference {apart}",
            k + 1,
            &state.value()[..3],
            apart = scientific(apart, 0)
        ))?;
    }
    let connected = pre.connected(x);
    largest = largest.max(difference(connected, wired[LAYERS - 1][0]));
    board.claim(
        largest < 1e-5,
        &format!(
            "the matrix, x + T(x), and nn's pre_norm differ by {largest} at most",
            largest = scientific(largest, 0)
        ),
    )?;

    board.step("Post-norm: the norm comes after the sum")?;
    board.equation("", "x' = norm(x + f(x))")?;
    board.text(
        "Dividing by a deviation is a multiplication, so it can move into the matrix; the \
         mean is taken off x and off f(x) each on its own (C f). The deviation of a sum of \
         centred vectors is made of their variances and their covariance:",
    )?;
    board.equation("Eq. 16", "HC = [0 1/s; 1 1/s]")?;
    board.equation("", "s = sqrt(var(x) + var(C f) + 2 cov(x, C f))")?;
    board.text("The entries are not trained, but each token has its own.")?;
    let post = Stack::new(key.named("stack"), LAYERS, DIM, &PostNormConfig::default());
    tape.bind(&post.params);
    let start = layer_norm(x, None, None, EPS);
    let (mut plain, mut largest) = (start, 0.0_f64);
    let mut state = replicate(start, 1);
    let mut deviations = Vec::new();
    for k in 0..LAYERS {
        plain = layer_norm(plain + post.bare(k, plain), None, None, EPS);
        // A read of 1 is the stream itself, whatever s.
        let ones = tape.constant([1, 2], &[1.0, 1.0]);
        let (input, _) = width_connection(state, ones);
        let output = centred(post.bare(k, input));
        let (x, o) = (input.value(), output.value());
        let tokens = x.chunks(DIM).zip(o.chunks(DIM));
        let s: Vec<f64> = tokens
            .map(|(x, o)| {
                let variance = covariance(x, x) + covariance(o, o) + 2.0 * covariance(x, o);
                (variance + f64::from(EPS)).sqrt()
            })
            .collect();
        let inverse: Vec<f32> = s.iter().map(|s| (1.0 / s) as f32).collect();
        let alpha: Vec<f32> = inverse.iter().flat_map(|&r| [1.0, r]).collect();
        let (_, mixed) = width_connection(state, tape.constant([TOKENS, 1, 2], &alpha));
        state = depth_connection(mixed, tape.constant([TOKENS, 1], &inverse), output);
        largest = largest.max(apart(&plain.value(), &state.value()));
        deviations.push(s);
    }
    let tokens: Vec<String> = (1..=SHOWN).map(|i| format!("token {i}")).collect();
    let layers: Vec<String> = (1..=LAYERS).map(|k| format!("1/s of {k}")).collect();
    board.matrix("1/s of every layer and token", &layers, &tokens, |k, i| {
        Some(1.0 / deviations[k][i])
    })?;
    largest = largest.max({
        let connected = post.connected(start);
        apart(&connected.value(), &state.value())
    });
    board.claim(
        largest < 1e-4,
        &format!(
            "the matrix, the formula, and nn's post_norm differ by {largest} at most",
            largest = scientific(largest, 0)
        ),
    )?;

    board.step("What this says about depth")?;
    board.text("The share of the first layer's output in the state after the last one:")?;
    let share = |token: usize| deviations.iter().map(|s| 1.0 / s[token]).product::<f64>();
    let logarithms = (0..TOKENS).map(|token| share(token).ln());
    let decay = (logarithms.sum::<f64>() / TOKENS as f64).exp();
    let factors = |factor: &dyn Fn(usize) -> f64| -> String {
        let all: Vec<String> = (0..LAYERS).map(|k| format!("{:.3}", factor(k))).collect();
        all.join(" x ")
    };
    board.line(&format!("pre-norm   {} = 1.000", factors(&|_| 1.0)))?;
    let of_first = factors(&|k| 1.0 / deviations[k][0]);
    board.line(&format!(
        "post-norm  {of_first} = {:.3} (token 1)",
        share(0)
    ))?;
    board.line(&format!(
        "post-norm  {decay:.3} geometric mean over all tokens"
    ))?;
    board.claim(
        decay < 1.0,
        "post-norm fades what is early; pre-norm keeps it all, and a new layer changes the \
         growing sum ever less: the two ends of a seesaw that the matrix makes a choice",
    )?;
    board.question(
        "With n = 1, can one matrix fade the outputs of layers 2 and 3 but keep that of \
         layer 1? Try with two streams: which one would you never scale? (Lesson 5.)",
        "No: the factor that fades layers 2 and 3 is on the whole stream, layer 1 included. With two \
         streams, layer 1 writes to both, every layer reads both, and stream 2, which no later \
         layer writes to, is never scaled.",
    )
}
