//! Lesson 1: every number between H and Ĥ.

use super::{
    board::{Board, largest_difference},
    hand::{self, ByHand, DIM, EPS, RATE},
    token::Token,
};
use engine::{ops::layer_norm, rng::Key, tape::Tape};
use figures::terminal::scientific;
use std::io;

/// Prints one token's way through one hyper-connection.
pub fn run(board: &mut Board<'_>, key: Key) -> io::Result<()> {
    let token = Token::new(key.named("token"));
    let parts = token.exact();
    let steps = ByHand::new(&parts, |_, _| {});
    let tape = Tape::new();
    let on_tape = token.on_tape(&tape);
    let [state, static_alpha, static_beta, alpha_fn, beta_fn, ..] = &token.parts;
    let mut worst = 0.0_f64;
    let mut both = |board: &mut Board<'_>, labels: &[&str], tape: Vec<f32>, by_hand: &[f64]| {
        worst = worst.max(largest_difference(&tape, by_hand));
        board.both(labels, &tape, by_hand)
    };

    board.step("The token and the connection")?;
    board.text(
        "A residual network carries one vector per token. A hyper-connection carries n of \
         them, the streams, as the rows of a matrix H (n x d). Read every matrix of \
         coefficients so: row = the stream it comes from, column = where it goes.",
    )?;
    board.text(
        "Here n = 2 and d = 4. The equations come in the order in which their numbers are \
         needed, which is not the order of the paper: first the coefficients that this token \
         gets (Eq. 10 to 13), then what they do with it (Eq. 3 to 5, in one line Eq. 2).",
    )?;
    let columns = |count| (1..=count).map(|i| format!("{i}")).collect::<Vec<_>>();
    let streams = ["stream 1", "stream 2"].map(String::from);
    board.matrix(
        "H, a few layers after the embedding was copied n times",
        &streams,
        &columns(DIM),
        |r, c| Some(state[r * DIM + c].into()),
    )?;
    let heads = ["A_m", "to 1", "to 2"].map(String::from);
    let caption = "(A_m | A_r), static part: row = from, column = to";
    board.matrix(caption, &streams, &heads, |r, c| {
        Some(static_alpha[r * 3 + c].into())
    })?;
    board.matrix("B, static part", &["B".into()], &columns(RATE), |_, c| {
        Some(static_beta[c].into())
    })?;
    let channels: Vec<String> = (1..=DIM).map(|k| format!("channel {k}")).collect();
    let heads = ["W_m", "W_r 1", "W_r 2", "W_beta"].map(String::from);
    let caption = "(W_m | W_r | W_beta), the predictors, d x (n + 2)";
    board.matrix(caption, &channels, &heads, |r, c| {
        Some(
            if c < 3 {
                alpha_fn[r * 3 + c]
            } else {
                beta_fn[r]
            }
            .into(),
        )
    })?;
    let [s_alpha, s_beta] = [token.parts[5][0], token.parts[6][0]];
    board.line(&format!(
        "s_alpha = {s_alpha}, s_beta = {s_beta} (both start at 0.01; larger here, to see them)"
    ))?;

    board.step("Norm of every stream")?;
    board.equation(
        "Eq. 10",
        "H̄ = norm(H): each row minus its mean, over its deviation",
    )?;
    board.heads("tape", "by hand, f64", DIM)?;
    let normed = layer_norm(on_tape.leaves[0], None, None, EPS).value();
    both(board, &["H̄ 1", "H̄ 2"], normed, &steps.normed)?;

    board.step("The coefficients of this token")?;
    board.equation("Eq. 11", "B(H)   = s_beta  tanh(H̄ W_beta) + B")?;
    board.equation("Eq. 12", "A_m(H) = s_alpha tanh(H̄ W_m) + A_m")?;
    board.equation("Eq. 13", "A_r(H) = s_alpha tanh(H̄ W_r) + A_r")?;
    board.text(
        "Row i is predicted from stream i alone: H̄ (W_m | W_r | W_beta), through tanh, times s, \
         plus the static part.",
    )?;
    let heads = ["m", "r 1", "r 2", "beta"].map(String::from);
    let caption = "H̄ (W_m | W_r | W_beta)";
    board.matrix(caption, &streams, &heads, |r, c| {
        Some(if c < 3 {
            steps.alpha_z[r * 3 + c]
        } else {
            steps.beta_z[r]
        })
    })?;
    board.heads("A_m, A_r: tape", "by hand", 3)?;
    let (alpha, beta) = (on_tape.coefficients.alpha, on_tape.coefficients.beta);
    both(board, &["from 1", "from 2"], alpha.value(), &steps.alpha)?;
    both(board, &["B"], beta.value(), &steps.beta)?;

    board.step("All of it as one matrix")?;
    board.equation(
        "Eq. 1",
        "HC = [ 0    B  ]   row 0: what the layer's output gives",
    )?;
    board.equation(
        "",
        "     [ A_m  A_r ]   column 0: what the layer's input takes",
    )?;
    let rows = ["T output", "stream 1", "stream 2"].map(String::from);
    let heads = ["T input", "to 1", "to 2"].map(String::from);
    let caption = "HC: row = from, column = to";
    board.matrix(caption, &rows, &heads, |r, c| match (r, c) {
        (0, 0) => Some(0.0),
        (0, c) => Some(steps.beta[c - 1]),
        (r, c) => Some(steps.alpha[(r - 1) * 3 + c]),
    })?;
    board.equation("Eq. 6", "DC = [ B ; diag(A_r) ]")?;
    let rows = ["B", "diag(A_r)"].map(String::from);
    let caption = "DC, the depth connections: B, and the diagonal of A_r";
    board.matrix(caption, &rows, &columns(RATE), |r, c| {
        Some(if r == 0 {
            steps.beta[c]
        } else {
            steps.alpha[c * 3 + 1 + c]
        })
    })?;

    board.step("Read and carry: the width connections")?;
    board.equation("Eq. 3", "h0ᵀ = A_mᵀ H     what the layer sees")?;
    board.equation("Eq. 4", "H'  = A_rᵀ H     what goes past it")?;
    let (a, h) = (&steps.alpha, &parts[0]);
    board.line(&format!(
        "first entry of h0: {:.4} x {:.2} + {:.4} x {:.2} = {:.4}",
        a[0], h[0], a[3], h[DIM], steps.input[0]
    ))?;
    board.heads("tape", "by hand", DIM)?;
    both(board, &["h0"], on_tape.input.value(), &steps.input)?;
    both(
        board,
        &["H' 1", "H' 2"],
        on_tape.mixed.value(),
        &steps.mixed,
    )?;

    board.step("The layer")?;
    board.equation("", "T(x) = tanh(W norm(x)): any layer, its own norm inside")?;
    board.heads("tape", "by hand", DIM)?;
    both(board, &["T h0"], on_tape.output.value(), &steps.output)?;

    board.step("Write: the depth connections")?;
    board.equation("Eq. 5", "Ĥ = Bᵀ (T h0)ᵀ + H'")?;
    board.heads("tape", "by hand", DIM)?;
    both(board, &["Ĥ 1", "Ĥ 2"], on_tape.next.value(), &steps.next)?;

    board.step("The same in one line")?;
    board.equation("Eq. 2", "Ĥ = Bᵀ (T (Hᵀ A_m))ᵀ + A_rᵀ H")?;
    let (_, carried) = hand::width(RATE, DIM, &parts[0], &steps.alpha);
    let at_once = hand::depth(DIM, &carried, &steps.beta, &steps.output);
    let apart = at_once.iter().zip(&steps.next).all(|(a, b)| a == b);
    board.claim(apart, "Eq. 2 is Eq. 3, 4 and 5 put together")?;
    board.claim(
        worst < 2e-6,
        &format!(
            "tape (f32) and hand (f64) differ by {worst} at most",
            worst = scientific(worst, 1)
        ),
    )?;
    board.question(
        "Which entries of HC must be 0, and which 1, for stream 2 to carry the \
         embedding past every layer unread and untouched? Is the token then still one that \
         a plain residual network could have made? (Lesson 3 has the matrix of that network.)",
        "A_m[2] = 0, B_2 = 0, A_r[2, 2] = 1 and A_r[1, 2] = A_r[2, 1] = 0. With ones for stream 1 the \
         layers make what a plain residual network makes, and the final sum holds the embedding \
         once more. One stream cannot do that: what counts twice at its end counts twice for \
         every layer.",
    )
}
