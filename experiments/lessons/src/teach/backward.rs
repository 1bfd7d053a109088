//! Lesson 2: the gradient of everything, against finite differences.

use super::{
    board::{Board, largest_difference},
    hand::{ByHand, DIM, Stage, exact},
    token::{Token, gradient_from_above},
};
use engine::{
    params::{Builder, Gradients},
    rng::Key,
    tape::{Tape, Var},
};
use figures::terminal::scientific;
use std::io;

/// Place that can be nudged.
#[derive(Clone, Copy)]
enum Place {
    Leaf(usize),
    Stage(Stage),
}

const NUDGE: f64 = 1e-5;

/// The slopes of the loss `<G, Ĥ>` at a place of `len` numbers, by central differences.
fn finite_differences(parts: &[Vec<f64>; 8], g: &[f64], place: Place, len: usize) -> Vec<f64> {
    let loss = |at: usize, nudge: f64| -> f64 {
        let mut parts = parts.clone();
        if let Place::Leaf(leaf) = place {
            parts[leaf][at] += nudge;
        }
        let steps = ByHand::new(&parts, |stage, values| {
            if matches!(place, Place::Stage(here) if here == stage) {
                values[at] += nudge;
            }
        });
        steps.next.iter().zip(g).map(|(x, g)| x * g).sum()
    };
    let slope = |at| (loss(at, NUDGE) - loss(at, -NUDGE)) / (2.0 * NUDGE);
    (0..len).map(slope).collect()
}

/// Prints the backward of lesson 1.
pub fn run(board: &mut Board<'_>, key: Key) -> io::Result<()> {
    let token = Token::new(key.named("token"));
    let parts = token.exact();
    let g = gradient_from_above(key);
    let exact_g = exact(&g);
    let mut tape = Tape::new();
    tape.set_keeping();
    let on_tape = token.on_tape(&tape);
    let mut gradients = Gradients::new(&Builder::new(key).finish());
    tape.backward_from(&[(on_tape.next, &g)], &mut gradients);

    let mut worst = 0.0_f64;
    let mut compare = |board: &mut Board<'_>, labels: &[&str], var: Var<'_>, place: Place| {
        let ours = tape.grad(var);
        let differences = finite_differences(&parts, &exact_g, place, ours.len());
        worst = worst.max(largest_difference(&ours, &differences));
        board.heads("tape", "finite diff.", ours.len() / labels.len())?;
        board.both(labels, &ours, &differences)
    };
    let stage = Place::Stage;

    board.step("What arrives from above")?;
    board.text(
        "The token of lesson 1. The loss is L = <G, Ĥ> for a fixed G, so that the gradient \
         of Ĥ is G itself. dX stands for the gradient of L with respect to X. Right of every \
         gradient stand finite differences: the loss by hand, in f64, with one number \
         nudged up and down by 0.00001.",
    )?;
    let streams = ["dĤ 1", "dĤ 2"].map(String::from);
    let columns: Vec<String> = (1..=DIM).map(|i| format!("{i}")).collect();
    board.matrix("G = dĤ", &streams, &columns, |r, c| {
        Some(exact_g[r * DIM + c])
    })?;

    board.step("Through the write")?;
    board.equation("of Eq. 5", "dH'_j = dĤ_j")?;
    compare(
        board,
        &["dH' 1", "dH' 2"],
        on_tape.mixed,
        stage(Stage::Mixed),
    )?;
    board.equation("of Eq. 5", "do = sum_j B_j dĤ_j      with o = T h0")?;
    compare(board, &["do"], on_tape.output, stage(Stage::Output))?;
    board.equation("of Eq. 5", "dB_j = <o, dĤ_j>")?;
    compare(
        board,
        &["dB"],
        on_tape.coefficients.beta,
        stage(Stage::Beta),
    )?;

    board.step("Through the layer")?;
    board.equation("", "T(x) = tanh(W norm(x)):  dW = (1 - o²) do norm(h0)ᵀ")?;
    let rows = ["dW 1", "dW 2", "dW 3", "dW 4"];
    compare(board, &rows, on_tape.leaves[7], Place::Leaf(7))?;
    board.equation("", "dh0 = norm'(h0)ᵀ Wᵀ (1 - o²) do")?;
    compare(board, &["dh0"], on_tape.input, stage(Stage::Input))?;
    let sum: f32 = tape.grad(on_tape.input).iter().sum();
    board.claim(
        sum.abs() < 1e-5,
        &format!(
            "dh0 adds up to 0 ({sum}): a norm does not see a shift of its input",
            sum = scientific(sum, 0)
        ),
    )?;

    board.step("Through the read and the mix")?;
    board.equation("of Eq. 3", "dA_m[i]    = <H_i, dh0>")?;
    board.equation("of Eq. 4", "dA_r[i, j] = <H_i, dH'_j>")?;
    let rows = ["from 1", "from 2"];
    compare(
        board,
        &rows,
        on_tape.coefficients.alpha,
        stage(Stage::Alpha),
    )?;

    board.step("Through the predictors")?;
    board.equation(
        "of Eq. 12, 13",
        "d static = dA      the static part gets it whole",
    )?;
    compare(board, &rows, on_tape.leaves[1], Place::Leaf(1))?;
    board.equation("of Eq. 12, 13", "ds_alpha = sum tanh(z) dA")?;
    compare(board, &["ds_alpha"], on_tape.leaves[5], Place::Leaf(5))?;
    compare(board, &["ds_beta"], on_tape.leaves[6], Place::Leaf(6))?;
    board.equation(
        "of Eq. 12, 13",
        "d[W_m | W_r] = H̄ᵀ (s_alpha (1 - tanh²(z)) dA)",
    )?;
    let rows = ["chan. 1", "chan. 2", "chan. 3", "chan. 4"];
    compare(board, &rows, on_tape.leaves[3], Place::Leaf(3))?;
    board.equation("of Eq. 11", "dW_beta = H̄ᵀ (s_beta (1 - tanh²(z)) dB)")?;
    compare(board, &["dW_beta"], on_tape.leaves[4], Place::Leaf(4))?;

    board.step("Back at the streams: three roads meet")?;
    board.equation("", "dH_i = A_m[i] dh0 + sum_j A_r[i, j] dH'_j + norm'(...)")?;
    compare(board, &["dH 1", "dH 2"], on_tape.leaves[0], Place::Leaf(0))?;
    board.claim(
        worst < 2e-5,
        &format!(
            "tape and finite differences differ by {worst} at most",
            worst = scientific(worst, 1)
        ),
    )?;
    board.question(
        "At initialisation W_m = W_r = 0. What is ds_alpha then, whatever the loss? And \
         which of s_alpha and W_m has to move first? (Lesson 6 counts it out.) `graph \
         lesson` draws this tape with these gradients.",
        "ds_alpha is the sum of tanh(z) dA, and z = H̄ W = 0: zero, whatever the loss. W has to move \
         first. Its gradient is H̄ᵀ (s_alpha dA), and s_alpha starts at 0.01, not at 0.",
    )
}
