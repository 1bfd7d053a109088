//! Lesson 8: known bugs, switched on one at a time, and what notices each.

mod diagnostics;

pub use diagnostics::{DIAGNOSTICS, Diagnostic};

use super::{board::Board, hand::exact, stack::normal};
use crate::known_bugs::{
    Bug,
    sinkhorn::{
        Rule, by_hand, finite_differences, gradient, off_by, on_tape, one_by_n, wrong_axis,
    },
};
use diagnostics::Patient;
use engine::rng::Key;
use figures::terminal::scientific;
use std::io;

/// A bug, where it has been seen or how it comes about, and the diagnostics that must
/// notice it.
pub struct Case {
    /// The bug.
    pub bug: Bug,
    /// Name of the bug.
    pub name: &'static str,
    /// Where it has been seen and what it does.
    pub story: &'static str,
    noticed_by: &'static [&'static str],
}

/// Every bug of a network.
pub const CASES: &[Case] = &[
    Case {
        bug: Bug::DeadMix,
        name: "dead A_r",
        story: "The streams are carried as they are. In a popular library for a year: A_r = I \
                at the start hides it from every test at initialisation.",
        noticed_by: &["hand", "nudge", "grad"],
    },
    Case {
        bug: Bug::TransposedMix,
        name: "A_r transposed",
        story: "H' = A_r H instead of A_rᵀ H. It trains, it learns, it is another network; \
                weights loaded from elsewhere give wrong logits. A symmetric test matrix \
                shows nothing.",
        noticed_by: &["hand"],
    },
    Case {
        bug: Bug::UniformRead,
        name: "uniform read",
        story: "A_m starts as 1/n. The streams stay equal for ever (lesson 5).",
        noticed_by: &["spread", "reads"],
    },
    Case {
        bug: Bug::IndexPerBlock,
        name: "index per block",
        story: "e_(k mod n) with k counting blocks: attention and feed-forward of a block \
                start on the same stream.",
        noticed_by: &["reads"],
    },
    Case {
        bug: Bug::DecayOnStatic,
        name: "decay on static",
        story: "Weight decay pulls B and A_r to 0: the sum of streams fades layer by layer. \
                The paper's first author named it as the cause of a NaN. 'Decay every matrix' \
                rules do this silently.",
        noticed_by: &["drift"],
    },
    Case {
        bug: Bug::NormBeforeSum,
        name: "norm before sum",
        story: "The final norm is applied to each stream and the streams are added after it: \
                logits n times too large at the start.",
        noticed_by: &["start"],
    },
    Case {
        bug: Bug::ExpandPerBlock,
        name: "expand per block",
        story: "Every block makes its own copies and averages them at its end. Nothing is \
                carried from block to block in more than one stream.",
        noticed_by: &["spread"],
    },
    Case {
        bug: Bug::NormOverStreams,
        name: "norm over all",
        story: "Eq. 10 with one norm over all n d numbers (mHC's) instead of one for each \
                stream: streams look at each other.",
        noticed_by: &["hand", "own"],
    },
    Case {
        bug: Bug::StaticNotTrained,
        name: "static is no param",
        story: "[A_m | A_r] was put together from pieces and is no parameter any more: it \
                keeps its first value.",
        noticed_by: &["nudge", "grad"],
    },
];

/// A number that a diagnostic has read, and whether it is an alarm.
type Reading = (f64, bool);

/// Readings of all [`DIAGNOSTICS`] on a network with this bug, or none.
pub fn examine(key: Key, bug: Option<Bug>) -> Vec<Reading> {
    let patient = Patient::new(key, bug);
    let read = |diagnostic: &Diagnostic| {
        let value = (diagnostic.measure)(&patient);
        (value, (diagnostic.fires)(value))
    };
    DIAGNOSTICS.iter().map(read).collect()
}

fn marks(readings: &[Reading]) -> String {
    let mark = |(_, fires): &Reading| format!("{:>7}", if *fires { "!" } else { "." });
    readings.iter().map(mark).collect()
}

/// Prints which diagnostic notices which bug.
pub fn run(board: &mut Board<'_>, key: Key) -> io::Result<()> {
    board.step("The diagnostics, on a correct network")?;
    board.text(
        "Four layers, d = 8, n = 2, dynamic; a plain second implementation of the connection \
         with one line changed for each bug. These are measured:",
    )?;
    let healthy = examine(key, None);
    for (diagnostic, (value, _)) in DIAGNOSTICS.iter().zip(&healthy) {
        let (name, about) = (diagnostic.name, diagnostic.about);
        board.item(name, &format!("{about}. Here: {}", scientific(*value, 1)))?;
    }
    board.claim(
        healthy.iter().all(|(_, fires)| !fires),
        "a correct network raises no alarm",
    )?;

    let mut table = Vec::new();
    for case in CASES {
        board.step(&format!("Bug: {}", case.name))?;
        board.text(case.story)?;
        let readings = examine(key, Some(case.bug));
        let alarms = DIAGNOSTICS.iter().zip(&readings).zip(&healthy);
        let mut fired = Vec::new();
        for ((diagnostic, (value, _)), (healthy, _)) in alarms.filter(|((_, r), _)| r.1) {
            board.line(&format!(
                "! {:<7} reads {:>8}   (correct network: {})",
                diagnostic.name,
                scientific(*value, 1),
                scientific(*healthy, 1)
            ))?;
            fired.push(diagnostic.name);
        }
        let silent = DIAGNOSTICS.len() - fired.len();
        board.claim(
            fired == case.noticed_by,
            &format!(
                "noticed by {}; the other {silent} see nothing",
                case.noticed_by.join(", ")
            ),
        )?;
        table.push((case.name, readings));
    }

    board.step("Bugs of the doubly stochastic mix (lesson 9)")?;
    examine_mixes(board, key)?;

    board.step("Who notices what")?;
    let heads: String = DIAGNOSTICS
        .iter()
        .map(|d| format!("{:>7}", d.name))
        .collect();
    board.line(&format!("{:<19}{heads}", ""))?;
    board.line(&format!("{:<19}{}", "correct", marks(&healthy)))?;
    for (name, readings) in &table {
        board.line(&format!("{name:<19}{}", marks(readings)))?;
    }
    let only_at_start = table.iter().filter(|(_, readings)| readings[0].1).count();
    board.claim(
        only_at_start == 1,
        &format!(
            "'equals pre-norm at initialisation' notices 1 of {} bugs: it is where A_r = I, \
             W = 0 and all streams are equal that everything looks right",
            CASES.len()
        ),
    )?;
    board.question(
        "Six rows have a single '!'. Take one away with its column: would you ever have found \
         out? Which second test would you write for it? And which bug would still pass if the numbers of 'hand' were drawn \
         with A_r symmetric?",
        "Not from the loss: with every one of these bugs a network trains. A second test reads the \
         same fault elsewhere: numbers of another implementation beside 'hand', the list of \
         decayed parameters beside 'drift'. With A_r symmetric the transposed A_r would pass.",
    )
}

const N: usize = 4;
/// Few, so that the iteration has not converged and every step of it counts.
const ITERATIONS: usize = 3;
const BATCH: usize = 3;

/// A mix, the gradient of `<G, mix>`, and the measurements that must notice its bug.
struct Attempt {
    name: &'static str,
    story: &'static str,
    mix_and_gradient: (Vec<f64>, Vec<f64>),
    noticed_by: &'static [&'static str],
}

/// Prints row sums, column sums and gradient errors of a right and three wrong mixes.
fn examine_mixes(board: &mut Board<'_>, key: Key) -> io::Result<()> {
    board.text(&format!(
        "{BATCH} matrices 4 x 4, logits of deviation 2, {ITERATIONS} iterations. Read: the \
         largest |sum of a row - 1|, the largest |sum of a column - 1|, and the relative error \
         of the gradient against finite differences."
    ))?;
    let logits = normal(key.named("logits"), BATCH * N * N, 2.0);
    let g = normal(key.named("slopes"), BATCH * N * N, 1.0);
    let (exact_logits, exact_g) = (exact(&logits), exact(&g));
    let right = on_tape(&[BATCH], N, ITERATIONS, &logits, &g);
    let sinkhorn = |logits: &[f64]| by_hand(N, ITERATIONS, logits);
    let expected = finite_differences(&exact_logits, &exact_g, sinkhorn);
    // The right gradient of the wrong mix.
    let wrong = |forward: &dyn Fn(&[f64]) -> Vec<f64>| {
        let slopes = finite_differences(&exact_logits, &exact_g, forward);
        (forward(&exact_logits), slopes)
    };
    let final_matrix = gradient(N, ITERATIONS, &exact_logits, &exact_g, Rule::FinalMatrix);
    let attempts = [
        Attempt {
            name: "correct",
            story: "",
            mix_and_gradient: (exact(&right.mix), exact(&right.gradient)),
            noticed_by: &[],
        },
        Attempt {
            name: "wrong axis",
            story: "'columns' are summed over the batch; a test of row sums passes",
            mix_and_gradient: wrong(&|logits| wrong_axis(N, ITERATIONS, logits)),
            noticed_by: &["columns", "gradient"],
        },
        Attempt {
            name: "1 x n matrices",
            story: "a reshape makes matrices of one row: all ones, every stream the sum of all",
            mix_and_gradient: wrong(&|logits| one_by_n(N, logits)),
            noticed_by: &["rows", "columns", "gradient"],
        },
        Attempt {
            name: "last matrix only",
            story: "backward as if every iteration had seen the final matrix; fine once converged",
            mix_and_gradient: (sinkhorn(&exact_logits), final_matrix),
            noticed_by: &["gradient"],
        },
    ];
    let [_, slack] = off_by(N, &by_hand(N, ITERATIONS, &exact_logits));
    board.line(&format!(
        "{:<19}{:>10}{:>10}{:>10}",
        "", "rows", "columns", "gradient"
    ))?;
    let size = expected.iter().map(|x| x * x).sum::<f64>().sqrt();
    let mut rows = Vec::new();
    for attempt in &attempts {
        let (mix, gradient) = &attempt.mix_and_gradient;
        let [row, column] = off_by(N, mix);
        let misses = gradient.iter().zip(&expected);
        let error = misses.map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt() / size;
        board.line(&format!(
            "{:<19}{row:>10}{column:>10}{error:>10}",
            attempt.name,
            row = scientific(row, 1),
            column = scientific(column, 1),
            error = scientific(error, 1)
        ))?;
        // Three iterations leave the columns off by what they leave by hand.
        rows.push([row > 1e-4, column > slack + 1e-4, error > 1e-3]);
    }
    for (attempt, fires) in attempts.iter().zip(&rows) {
        let names = ["rows", "columns", "gradient"].iter().zip(fires);
        let fired: Vec<_> = names
            .filter(|(_, fires)| **fires)
            .map(|(n, _)| *n)
            .collect();
        let text = match attempt.name {
            "correct" => {
                "correct: no alarm (columns are off as far as 3 iterations leave them)".into()
            }
            name => format!(
                "{name}: {} ({})",
                attempt.story,
                attempt.noticed_by.join(", ")
            ),
        };
        board.claim(fired == attempt.noticed_by, &text)?;
    }
    Ok(())
}
