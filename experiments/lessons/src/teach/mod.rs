//! Lessons that compute: every number that they print comes from the operations that
//! the networks are made of, beside the same number worked out by hand in f64.
//!
//! Adding one: a file with a `run`, and one line in [`LESSONS`].

mod arrangements;
mod backward;
mod board;
pub mod break_it;
mod dynamic;
mod forward;
mod hand;
mod norms;
mod sinkhorn;
mod stack;
pub mod symmetry;
pub mod token;
mod unfolding;

pub use board::{Board, Claim, Passage};

use engine::rng::Key;
use std::io;

/// One lesson.
pub struct Lesson {
    /// Subject, in one line.
    pub title: &'static str,
    /// Computes and prints it.
    pub run: fn(&mut Board<'_>, Key) -> io::Result<()>,
}

/// Every lesson, in the order of the course; they are numbered from 1.
pub const LESSONS: &[Lesson] = &[
    lesson("One token through one hyper-connection", forward::run),
    lesson("The same, backward", backward::run),
    lesson("Pre-norm and post-norm are fixed matrices", norms::run),
    lesson("Sequential or parallel: only the matrix", arrangements::run),
    lesson(
        "Why one stream fails, why the read is one-hot",
        symmetry::run,
    ),
    lesson("Dynamic coefficients and the tanh", dynamic::run),
    lesson("A network as one dense matrix", unfolding::run),
    lesson("Break it: known bugs, and what notices", break_it::run),
    lesson("Sinkhorn and the doubly stochastic mix", sinkhorn::run),
];

const fn lesson(title: &'static str, run: fn(&mut Board<'_>, Key) -> io::Result<()>) -> Lesson {
    Lesson { title, run }
}

#[cfg(test)]
mod tests {
    use super::*;
    use unicode_width::UnicodeWidthStr;

    fn taught(lesson: &Lesson, seed: u64) -> (String, Vec<Claim>) {
        taught_on(lesson, seed, 80)
    }

    fn taught_on(lesson: &Lesson, seed: u64, width: usize) -> (String, Vec<Claim>) {
        let mut out = Vec::new();
        let mut board = Board::new(&mut out).with_width(width);
        (lesson.run)(&mut board, Key::new(seed)).unwrap();
        let claims = board.into_claims();
        (String::from_utf8(out).unwrap(), claims)
    }

    #[test]
    fn every_lesson_keeps_its_promises_for_several_seeds() {
        for lesson in LESSONS {
            for seed in [0, 1, 7] {
                let (text, claims) = taught(lesson, seed);
                assert!(!claims.is_empty(), "{} claims nothing", lesson.title);
                for claim in claims {
                    let title = lesson.title;
                    assert!(claim.holds, "{title}, seed {seed}: {}\n{text}", claim.text);
                }
            }
        }
    }

    #[test]
    fn every_lesson_fits_a_narrow_terminal_and_ends_with_a_question() {
        for lesson in LESSONS {
            for width in [40, 60, 80] {
                for line in taught_on(lesson, 0, width).0.lines() {
                    assert!(line.width() <= width, "{}: {line}", lesson.title);
                }
            }
            let (text, _) = taught(lesson, 0);
            assert!(text.contains("To try:"), "{}", lesson.title);
            assert!(!text.contains('\x1b'), "{}", lesson.title);
        }
    }

    #[test]
    fn zeros_are_plain_and_what_is_not_plain_is_explained() {
        for lesson in LESSONS {
            let (text, _) = taught(lesson, 0);
            let words = text.split(|c: char| c.is_whitespace() || "();,".contains(c));
            let zero = |word: &&str| {
                let number = word.trim_start_matches('-');
                number.contains('e') && number.parse::<f64>() == Ok(0.0)
            };
            assert_eq!(words.into_iter().find(zero), None, "{}", lesson.title);
        }
        let one_line = |lesson: usize| {
            let (text, _) = taught(&LESSONS[lesson - 1], 0);
            text.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        assert!(one_line(1).contains("which is not the order of the paper"));
        assert!(one_line(9).contains("Gain = the forward gain"));
    }

    #[test]
    fn a_lesson_is_the_same_every_time_and_another_with_another_seed() {
        for lesson in LESSONS {
            assert_eq!(taught(lesson, 3).0, taught(lesson, 3).0);
            assert_ne!(taught(lesson, 3).0, taught(lesson, 4).0);
        }
    }
}
