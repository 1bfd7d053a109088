//! Lesson 4: one stack, one set of weights, two arrangements.

use super::{
    board::Board,
    stack::{HyperMatrix, Stack, difference, normal, spread},
};
use engine::{
    ops::{scale, sum_streams},
    rng::Key,
    tape::Tape,
};
use figures::terminal::scientific;
use nn::connection::PreNormConfig;
use std::io;

const LAYERS: usize = 4;
const DIM: usize = 8;
const TOKENS: usize = 3;

/// Eq. 17.
const SEQUENTIAL: HyperMatrix<'static> = &[&[0., 1., 1.], &[1., 1., 0.], &[0., 0., 1.]];
/// Eq. 18: layers 1, 3, ...
const PARALLEL_ODD: HyperMatrix<'static> = &[&[0., 1., 0.], &[1., 1., 1.], &[1., 1., 1.]];
/// Eq. 19: layers 2, 4, ...
const PARALLEL_EVEN: HyperMatrix<'static> = &[&[0., 0., 1.], &[0., 1., 0.], &[1., 0., 1.]];

fn show(board: &mut Board<'_>, matrix: HyperMatrix<'_>) -> io::Result<()> {
    let rows = ["T output", "stream 1", "stream 2"].map(String::from);
    let columns = ["T input", "to 1", "to 2"].map(String::from);
    board.matrix("HC: row = from, column = to", &rows, &columns, |r, c| {
        Some(matrix[r][c].into())
    })
}

/// Runs the same layers in sequence and in parallel.
pub fn run(board: &mut Board<'_>, key: Key) -> io::Result<()> {
    let stack = Stack::new(key.named("stack"), LAYERS, DIM, &PreNormConfig::default());
    let tape = Tape::new();
    tape.bind(&stack.params);
    let x = tape.constant(
        [TOKENS, DIM],
        &normal(key.named("tokens"), TOKENS * DIM, 1.0),
    );
    let start = |token: &[f32]| format!("{:.4?}", &token[..3]);

    board.step("In sequence")?;
    board.text(&format!(
        "{LAYERS} layers T_1 .. T_{LAYERS} (norm inside), n = 2 streams, both start as the \
         embedding h. This matrix at every layer:"
    ))?;
    board.equation("Eq. 17", "HC = [0 1 1; 1 1 0; 0 0 1]")?;
    show(board, SEQUENTIAL)?;
    board
        .text("Stream 1 is read, both are written, nothing is mixed. Token 1 after each layer:")?;
    let sequence = stack.wired(&tape, x, |_| SEQUENTIAL);
    let (mut residual, mut largest, mut streams) = (x, 0.0_f64, 0.0_f64);
    for (k, [state, input]) in sequence.iter().enumerate() {
        largest = largest.max(difference(residual, *input));
        residual = residual + stack.layer(k, residual);
        streams = streams.max(spread(*state));
        let (state, plain) = (state.value(), residual.value());
        board.line(&format!("layer {}: stream 1  {}", k + 1, start(&state)))?;
        board.line(&format!("         stream 2  {}", start(&state[DIM..])))?;
        board.line(&format!("         residual  {}", start(&plain)))?;
    }
    let total = sum_streams(sequence[LAYERS - 1][0]);
    largest = largest.max(difference(total, scale(residual, 2.0)));
    board.claim(
        largest < 1e-5 && streams == 0.0,
        &format!(
            "two equal copies of the plain residual network, sum = twice it (largest \
             difference {largest})",
            largest = scientific(largest, 0)
        ),
    )?;

    board.step("In parallel, two at a time")?;
    board.equation("Eq. 18", "odd layers:  HC = [0 1 0; 1 1 1; 1 1 1]")?;
    show(board, PARALLEL_ODD)?;
    board.equation("Eq. 19", "even layers: HC = [0 0 1; 0 1 0; 1 0 1]")?;
    show(board, PARALLEL_EVEN)?;
    board.text(
        "Odd: both streams become their sum s; T reads s and writes to stream 1. Even: T \
         reads stream 2, which is still s, and writes to stream 2. Neither sees the other.",
    )?;
    board.equation("Eq. 53", "s' = (T_odd(s) + s) + (T_even(s) + s)")?;
    let parallel = stack.wired(&tape, x, |k| {
        if k.is_multiple_of(2) {
            PARALLEL_ODD
        } else {
            PARALLEL_EVEN
        }
    });
    let (mut sum, mut largest, mut same_input) = (scale(x, 2.0), 0.0_f64, 0.0_f64);
    for (pair, layers) in parallel.chunks(2).enumerate() {
        let [[_, first], [state, second]] = [layers[0], layers[1]];
        same_input = same_input.max(difference(first, second));
        largest = largest.max(difference(first, sum));
        let (a, b) = (2 * pair, 2 * pair + 1);
        board.line(&format!("layer {} reads {}", a + 1, start(&first.value())))?;
        board.line(&format!("layer {} reads {}", b + 1, start(&second.value())))?;
        sum = (stack.layer(a, sum) + sum) + (stack.layer(b, sum) + sum);
        let streams = sum_streams(state);
        largest = largest.max(difference(streams, sum));
        board.line(&format!("sum of streams {}", start(&streams.value())))?;
        board.line(&format!("by Eq. 53      {}", start(&sum.value())))?;
    }
    board.claim(
        same_input == 0.0,
        "the two layers of a pair read the very same numbers: they could run side by side",
    )?;
    let relative = largest
        / sum
            .value()
            .iter()
            .fold(1.0, |m: f64, x| m.max(x.abs().into()));
    board.claim(
        relative < 1e-5,
        &format!(
            "the streams add up to Eq. 53 (largest relative difference {relative})",
            relative = scientific(relative, 0)
        ),
    )?;

    board.step("Only the matrix has changed")?;
    let apart = difference(total, sum);
    board.claim(
        apart > 1e-2,
        &format!(
            "same weights, same tokens, another network: outputs differ by {apart:.2}. As the \
             entries are trained, a network can settle anywhere in between, at every layer \
             and (dynamic) for every token"
        ),
    )?;
    board.question(
        "Eq. 53 carries 2 s where a parallel block carries s. Why does the next layer not \
         notice, and who does? Change one entry of Eq. 19 so that T_even reads T_odd's \
         output as well: which arrangement is that?",
        "The next layer begins with a norm, which removes the factor 2. The sum notices: what is added \
         to 2 s later counts half as much beside it. Set A_m[1] of Eq. 19 to 1: T_even then reads \
         (T_odd(s) + s) + s, so it comes after T_odd, in sequence, with the past counted twice.",
    )
}
