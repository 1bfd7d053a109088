//! Lesson 7: what every sublayer takes from every earlier one, as one matrix.

use super::{
    board::Board,
    stack::{Stack, normal},
};
use engine::{rng::Key, tape::Tape};
use figures::{
    terminal::scientific,
    unfold::{LayerCoefficients, unfold},
};
use nn::connection::HyperConfig;
use nn::hooks;
use std::io;

const LAYERS: usize = 4;
const DIM: usize = 8;
const TOKENS: usize = 5;
const RATE: usize = 2;

/// A forward pass, with what the connections show of themselves.
struct Seen {
    /// Per layer, `[tokens, n, n + 1]`.
    alpha: Vec<Vec<f32>>,
    /// Per layer, `[tokens, n]`.
    beta: Vec<Vec<f32>>,
    /// Of the embedding and every layer, `[tokens, d]`.
    outputs: Vec<Vec<f32>>,
    /// Of every layer, and what follows the last one, `[tokens, d]`.
    inputs: Vec<Vec<f32>>,
}

fn look(stack: &Stack, data: &[f32]) -> Seen {
    let mut tape = Tape::new();
    tape.set_probing();
    tape.bind(&stack.params);
    let x = tape.constant([TOKENS, DIM], data);
    let sum = stack.connected(x).value();
    let probes = tape.probes();
    let all = |what: &str| -> Vec<Vec<f32>> {
        let named = |k: usize| format!("{k}.{what}");
        let of_layer = |k| probes.iter().find(|(name, _)| *name == named(k));
        (0..LAYERS)
            .map(|k| of_layer(k).expect("a probe of every layer").1.value())
            .collect()
    };
    let (mut inputs, mut outputs) = (all(hooks::INPUT), vec![data.to_vec()]);
    inputs.push(sum);
    outputs.extend(all(hooks::OUTPUT));
    Seen {
        alpha: all(hooks::ALPHA),
        beta: all(hooks::BETA),
        outputs,
        inputs,
    }
}

impl Seen {
    fn matrix_of(&self, token: usize) -> Vec<Vec<f64>> {
        let of_token = |x: &[f32], len: usize| x[token * len..(token + 1) * len].to_vec();
        let layers: Vec<_> = self
            .alpha
            .iter()
            .zip(&self.beta)
            .map(|(alpha, beta)| LayerCoefficients {
                alpha: of_token(alpha, RATE * (RATE + 1)),
                beta: of_token(beta, RATE),
            })
            .collect();
        unfold(&layers, &[1.0; RATE]).inputs
    }

    /// `sum_j c_kj T_j` of one channel.
    fn unfolded(&self, c: &[Vec<f64>], k: usize, at: usize) -> f64 {
        let terms = c[k].iter().zip(&self.outputs);
        terms.map(|(c, output)| c * f64::from(output[at])).sum()
    }

    /// The largest difference between a layer's input and the sum.
    fn largest_error(&self, k: usize) -> f64 {
        let error = |at: usize| {
            let c = self.matrix_of(at / DIM);
            (self.unfolded(&c, k, at) - f64::from(self.inputs[k][at])).abs()
        };
        (0..TOKENS * DIM).map(error).fold(0.0, f64::max)
    }
}

/// Unfolds a stack of dynamic hyper-connections and rebuilds every input from it.
pub fn run(board: &mut Board<'_>, key: Key) -> io::Result<()> {
    let config = HyperConfig {
        rate: RATE,
        ..HyperConfig::default()
    };
    let mut stack = Stack::new(key.named("stack"), LAYERS, DIM, &config);
    let data = normal(key.named("tokens"), TOKENS * DIM, 1.0);
    let mut rows: Vec<String> = (1..=LAYERS).map(|k| format!("input of {k}")).collect();
    rows.push("final sum".into());
    let columns: Vec<String> = (0..=LAYERS)
        .map(|j| {
            if j == 0 {
                "embed".into()
            } else {
                format!("T_{j}")
            }
        })
        .collect();
    let show = |board: &mut Board<'_>, token: usize, c: &[Vec<f64>]| {
        let caption = format!("C of token {token}: row = who reads, column = whose output");
        board.matrix(&caption, &rows, &columns, |k, j| (j <= k).then(|| c[k][j]))
    };

    board.step("Follow one output")?;
    board.text(
        "Sublayer j writes B^(j) of its output to the streams; every sublayer t after it mixes \
         them with A_r^(t); sublayer k reads A_m^(k) of what has become of it. (A number in \
         brackets says whose matrix it is; nothing is raised to a power.) So h_k, the input of \
         sublayer k, is a sum over the embedding x and all earlier outputs, with one number for each:",
    )?;
    board.equation(
        "Eq. 27",
        "h_k = c_{k,x} x + c_{k,1} T_1(h_1) + ... + c_{k,k-1} T_{k-1}(h_{k-1})",
    )?;
    board.equation("", "c_{k,j} = B^(j) A_r^(j+1) ... A_r^(k-1) A_m^(k)")?;
    board.text(
        "For x, which every stream starts as a copy of, the row of ones stands in place of B^(j), and \
         all mixes before k follow. The last row is the sum of the streams at the end: its A_m is \
         a column of ones.",
    )?;

    board.step("At the start")?;
    board.text(&format!(
        "{LAYERS} sublayers, d = {DIM}, dynamic, n = {RATE}, initialised by Eq. 14."
    ))?;
    let c = look(&stack, &data).matrix_of(0);
    show(board, 1, &c)?;
    let is_pre_norm = c.iter().enumerate().all(|(k, row)| {
        let entry = if k == LAYERS { RATE as f64 } else { 1.0 };
        row[..=k].iter().all(|&x| x == entry)
    });
    board.claim(
        is_pre_norm,
        "all ones: every sublayer takes all that is before it, which is pre-norm; n in the last \
         row, which the final norm does not see",
    )?;

    board.step("After (pretended) training")?;
    board.text("Every number of every connection moved at random.")?;
    stack.move_connections(key, 0.4);
    let seen = look(&stack, &data);
    let c = seen.matrix_of(0);
    show(board, 1, &c)?;
    let second = seen.matrix_of(1);
    show(board, 2, &second)?;
    board.claim(
        c != second,
        "dynamic coefficients: every token has a matrix of its own",
    )?;

    board.step("It is the network")?;
    let k = 2;
    board.text("Channel 1 of the input of sublayer 3, token 1, from the matrix:")?;
    for (j, output) in seen.outputs[..=k].iter().enumerate() {
        let term = c[k][j] * f64::from(output[0]);
        board.line(&format!(
            "{:>8}: {:>8.4} x {:>8.4} = {term:>8.4}",
            columns[j], c[k][j], output[0]
        ))?;
    }
    let (sum, actual) = (seen.unfolded(&c, k, 0), seen.inputs[k][0]);
    board.line(&format!("{:>8}: {sum:>30.6}", "sum"))?;
    board.line(&format!("{:>8}: {actual:>30.6}", "tape"))?;
    board.text("All tokens, all channels, largest difference to what the sublayer really saw:")?;
    let mut largest = 0.0_f64;
    for (k, row) in rows.iter().enumerate() {
        let error = seen.largest_error(k);
        largest = largest.max(error);
        board.line(&format!("{row:<12} {error}", error = scientific(error, 1)))?;
    }
    let size = seen
        .inputs
        .concat()
        .iter()
        .fold(1.0, |m: f64, x| m.max(x.abs().into()));
    board.claim(
        largest < 1e-5 * size,
        &format!(
            "the sum is every sublayer's input to float precision ({largest} of \
             numbers up to {size:.0})",
            largest = scientific(largest, 0)
        ),
    )?;

    board.step("What to look for")?;
    board.text(
        "In trained networks the paper finds: columns that fade downwards (post-norm-like) \
         except the first ones (pre-norm-like); a final row that leaves out the embedding; \
         pairs with c_{k+1,k} near 0, which run in parallel. A sublayer whose column is 0 \
         everywhere is wasted:",
    )?;
    let weakest = (1..=LAYERS)
        .map(|j| {
            let column = (j..=LAYERS).map(|k| c[k][j].abs());
            (j, column.fold(0.0, f64::max))
        })
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .expect("a layer");
    board.line(&format!(
        "least used here: sublayer {} (largest |c| {:.4})",
        weakest.0, weakest.1
    ))?;
    board.question(
        "Write down B, A_m and A_r of two sublayers so that c_{2,1} = 0, yet both read \
         the embedding and reach the final sum: that is a parallel block. Can you do it with n = 1?",
        "n = 2: B^(1) = (1, 0), A_m^(2) = (0, 1), A_r = I. T_1 writes to stream 1, T_2 reads \
         stream 2. The entries of B^(2) must not add up to 0, or the final sum, which adds the \
         streams, has nothing of T_2; those of A_m^(1) neither, or T_1 reads nothing of the \
         embedding, which is in both streams alike. n = 1: c_{2,1} = B^(1) A_m^(2), two numbers. \
         Either B^(1) = 0, and T_1 is lost for everybody, or A_m^(2) = 0, and T_2 reads nothing \
         at all.",
    )
}
