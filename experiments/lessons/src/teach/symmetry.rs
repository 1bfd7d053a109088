//! Lesson 5: what one stream cannot do, and why n streams need an uneven start.

use super::{
    board::Board,
    stack::{normal, spread},
};
use engine::{
    params::Gradients,
    rng::Key,
    tape::{Tape, Var},
};
use figures::{
    terminal::scientific,
    unfold::{LayerCoefficients, unfold},
};
use models::{
    config::FfnConfig,
    transformer::{Transformer, TransformerConfig},
};
use nn::hooks;
use nn::{
    connection::{ConnectionConfig, HyperConfig, hyper::ReadInit},
    norm::NormConfig,
    optim::{AdamW, AdamWConfig},
};
use std::io;

const STEPS: usize = 60;
const SEQ: usize = 16;
const BATCH: usize = 4;
const VOCABULARY: usize = 16;

/// The loss and the spread between the streams before the last sublayer.
struct Moment {
    step: usize,
    loss: f32,
    spread: f64,
}

/// The connections of a start: two streams, dynamic.
pub fn connection(read_init: ReadInit) -> HyperConfig {
    HyperConfig {
        rate: 2,
        read_init,
        ..HyperConfig::default()
    }
}

/// Trains a tiny decoder on a sequence in which a token follows from the two before it; `observe`
/// sees the loss and the tape's probes at every step, before its update.
pub fn train<T>(
    key: Key,
    connection: HyperConfig,
    observe: impl Fn(usize, f32, &[(String, Var<'_>)]) -> T,
) -> Vec<T> {
    let config = TransformerConfig {
        vocab_size: VOCABULARY,
        dim: 16,
        layers: 2,
        heads: 2,
        seq: SEQ,
        init_std: 0.1,
        // With an eps of nothing the norm would remove the factor that the first read is, and
        // Adam would make steps of its rounding errors, which no symmetry keeps alike.
        norm: NormConfig {
            eps: 1e-5,
            ..NormConfig::default()
        },
        ffn: FfnConfig::SwiGlu { hidden: 24 },
        connection: ConnectionConfig::Hyper(connection),
        ..TransformerConfig::default()
    };
    let (model, mut params) =
        Transformer::new(&config, key.named("model")).expect("a valid network");
    let mut tokens: Vec<u32> = vec![1, 2];
    for i in 2..=BATCH * SEQ {
        tokens.push((tokens[i - 1] * 3 + tokens[i - 2] * 5 + 1) % VOCABULARY as u32);
    }
    let mut optimiser = AdamW::new(&params, AdamWConfig::default());
    let mut gradients = Gradients::new(&params);
    let mut tape = Tape::new();
    tape.set_probing();
    let mut moments = Vec::new();
    for step in 0..=STEPS {
        tape.reset();
        tape.bind(&params);
        let loss = model.loss(&tape, &tokens[..BATCH * SEQ], &tokens[1..], SEQ);
        let probes = tape.probes();
        moments.push(observe(step, loss.item(), &probes));
        gradients.clear();
        tape.backward(loss, &mut gradients);
        gradients.settle(&params);
        drop(probes);
        tape.reset();
        optimiser.update(&mut params, &gradients, 1e-2);
    }
    moments
}

/// The values that the lesson prints of a step.
fn moment(step: usize, loss: f32, probes: &[(String, Var<'_>)]) -> Moment {
    let mut hidden = probes
        .iter()
        .filter(|(name, _)| name.ends_with(hooks::HIDDEN));
    let (_, last) = hidden.next_back().expect("a probed state");
    Moment {
        step,
        loss,
        spread: spread(*last),
    }
}

/// Random coefficients of `count` layers.
fn random_layers(key: Key, rate: usize, count: usize) -> Vec<LayerCoefficients> {
    let layer = |k: usize| LayerCoefficients {
        alpha: normal(key.at(k as u64).named("alpha"), rate * (rate + 1), 1.0),
        beta: normal(key.at(k as u64).named("beta"), rate, 1.0),
    };
    (0..count).map(layer).collect()
}

/// The largest `|c_kj c_ml - c_kl c_mj|` of rows k, m below columns j, l, relative to the
/// products: zero if the ratio of two columns is the same in every row.
fn largest_minor(c: &[Vec<f64>]) -> f64 {
    let mut largest = 0.0_f64;
    for (k, upper) in c.iter().enumerate() {
        for lower in &c[k + 1..] {
            for j in 0..=k {
                for l in j + 1..=k {
                    let (a, b) = (upper[j] * lower[l], upper[l] * lower[j]);
                    largest = largest.max((a - b).abs() / (a.abs() + b.abs()).max(1e-30));
                }
            }
        }
    }
    largest
}

/// Counts what n = 1 can express and trains with an even and an uneven start.
pub fn run(board: &mut Board<'_>, key: Key) -> io::Result<()> {
    board.step("What one stream cannot do")?;
    board.text(
        "Unfolded (Eq. 27, lesson 7), row k says what sublayer k takes of the output of every \
         earlier sublayer j; column 0 is the embedding. Four sublayers, random coefficients, n = 1.",
    )?;
    board.equation("Eq. 27", "c_{k,j} = B^(j) A_r^(j+1) ... A_r^(k-1) A_m^(k)")?;
    let names = |last: &str| -> Vec<String> {
        let mut rows: Vec<String> = (1..=4).map(|k| format!("sublayer {k}")).collect();
        rows.push(last.into());
        rows
    };
    let columns: Vec<String> = (0..=4).map(|j| format!("T {j}")).collect();
    let show = |board: &mut Board<'_>, c: &[Vec<f64>]| {
        let caption = "C: row = who reads, column = whose output";
        board.matrix(caption, &names("sum"), &columns, |k, j| {
            (j <= k).then(|| c[k][j])
        })
    };
    let one = unfold(&random_layers(key.named("one"), 1, 4), &[1.0]).inputs;
    show(board, &one)?;
    let ratio = |k: usize| one[k][0] / one[k][1];
    board.line(&format!(
        "column 0 over column 1:  {:.4}  {:.4}  {:.4}  {:.4}",
        ratio(1),
        ratio(2),
        ratio(3),
        ratio(4)
    ))?;
    board.text(
        "The ratio of two columns never changes from row to row: with one stream all that is past \
         is scaled together. A sublayer cannot ask for more of the embedding and less of sublayer 1.",
    )?;
    let minor = largest_minor(&one);
    board.claim(
        minor < 1e-9,
        &format!(
            "n = 1: every 2 x 2 minor below the diagonal is 0 (largest {minor})",
            minor = scientific(minor, 0)
        ),
    )?;
    let two = unfold(&random_layers(key.named("two"), 2, 4), &[1.0; 2]).inputs;
    board.text("The same with n = 2.")?;
    show(board, &two)?;
    let minor = largest_minor(&two);
    board.claim(
        minor > 1e-2,
        &format!("n = 2: they are not (largest {minor:.2} of its products)"),
    )?;

    board.step("Two streams that are always the same are one")?;
    board.text(
        "The streams start as copies. Suppose every read starts even, A_m = 1/n, with B = 1 \
         and A_r = I. Swap two streams: nothing changes, neither the loss nor its gradient. \
         So equal streams get equal gradients, stay equal (only rounding could ever part them), \
         and HC x n is HC x 1. The paper \
         starts with one-hot reads instead:",
    )?;
    board.equation("Eq. 14", "A_m = e_(k mod n) at sublayer k, A_r = I, B = 1")?;
    board.text(&format!(
        "A decoder of 2 blocks, d = 16, dynamic, n = 2, AdamW, {STEPS} steps, twice. The norms have an \
         eps of 1e-5: with the usual 1e-12 AdamW makes steps of the rounding of gradients that are \
         zero, and even copies part."
    ))?;
    board.text("Spread = the largest difference between streams before the last sublayer:")?;
    let run = |read_init| train(key, connection(read_init), moment);
    let (uniform, one_hot) = (run(ReadInit::Uniform), run(ReadInit::OneHot));
    board.line("        uniform read             one-hot read")?;
    board.line("step    loss     spread          loss     spread")?;
    for (u, o) in uniform.iter().zip(&one_hot) {
        if [0, 1, 2, 5, 10, 20, 40, 60].contains(&u.step) {
            board.line(&format!(
                "{:>4}  {:>8.4}  {:>9}      {:>8.4}  {:>9}",
                u.step,
                u.loss,
                scientific(u.spread, 1),
                o.loss,
                scientific(o.spread, 1)
            ))?;
        }
    }
    let widest = |moments: &[Moment]| moments.iter().map(|m| m.spread).fold(0.0, f64::max);
    let (even, uneven) = (widest(&uniform), widest(&one_hot));
    board.claim(
        even < 1e-4,
        &format!(
            "uniform: streams never part (spread {even}: rounding at most)",
            even = scientific(even, 0)
        ),
    )?;
    board.claim(
        uneven > 1e-2,
        &format!("one-hot: they part within a few steps (spread up to {uneven:.2})"),
    )?;
    board.claim(
        (uniform[0].loss - one_hot[0].loss).abs() < 1e-4,
        "both start as the same function: no test at initialisation tells them apart",
    )?;
    board.question(
        "Which tiny change to a uniform start would let streams part: noise on B, on A_m, or \
         on the embedding before it is copied? One of the three does nothing: which, and why?",
        "Noise on the embedding does nothing: it is copied with it, and the streams are equal as \
         before. Noise on B makes their contents differ, noise on A_m their gradients, and from \
         then on all the rest.",
    )
}
