//! Probes: what a decoder of bytes does with text that it was not trained on, beside its loss.
//!
//! | probe | an item | right |
//! |---|---|---|
//! | `last 4 bytes`, `last 6 bytes` | the end of a line, its line break included | every one of the bytes is the most probable after those before: greedy decoding writes the end of the line |
//! | `brackets` | a closing bracket whose opening one is in the context, 8 bytes or more before | it is the most probable of `)`, `]` and `}` |
//! | `indentation` | the beginning of a line | greedy decoding that breaks no line writes its number of blanks and then something else |
//! | `copying` | a letter of a random sequence that is in the context a second time | it is the most probable letter |
//!
//! Items are of the validation part alone, spread evenly over it, and a function of the data and of the
//! length of the context: the same for every arm and seed. There are as many items of each kind of
//! bracket, and as many lines that are indented more, less and as the line before.

mod items;
#[cfg(test)]
mod tests;

use crate::run_dir::ProbeScores;
use models::weights::hex;
use sha2::{Digest, Sha256};
use std::ops::Range;

/// The brackets that close.
const CLOSING: [u8; 3] = *b")]}";

/// The windows of all probes and their items.
#[derive(Debug, Clone, PartialEq)]
pub struct Probes {
    seq: usize,
    kinds: Vec<Kind>,
    windows: Vec<Window>,
}

/// A probe.
#[derive(Debug, Clone, PartialEq)]
struct Kind {
    name: String,
    /// Share of the items that whoever does not look at their context gets right at best.
    chance: f64,
}

/// A context as long as the network's, and what is asked at its end.
#[derive(Debug, Clone, PartialEq)]
struct Window {
    inputs: Vec<u32>,
    /// The file that the answers are in, or the name of the sequence.
    source: String,
    questions: Vec<Question>,
}

#[derive(Debug, Clone, PartialEq)]
struct Question {
    /// Index of the probe.
    probe: usize,
    answer: Answer,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Answer {
    /// The bytes that the last positions predict.
    Bytes(Vec<u8>),
    /// The closing bracket that the last position predicts.
    Bracket(u8),
    /// The number of blanks that the last positions predict before something else, which is no line
    /// break: the line is not empty.
    Blanks(usize),
    /// The letter that a position predicts.
    Letter { at: usize, letter: u8 },
}

/// The first of the most probable of some bytes.
fn most_probable(logits: &[f32], among: impl IntoIterator<Item = u8>) -> u8 {
    let better = |best: u8, byte: u8| match logits[byte as usize] > logits[best as usize] {
        true => byte,
        false => best,
    };
    let best = among.into_iter().reduce(better);
    best.expect("bytes to choose from")
}

impl Answer {
    /// Returns whether logits `[positions, vocabulary]` of a window give this answer.
    fn is_given_by(&self, logits: &[f32], vocabulary: usize) -> bool {
        let positions = logits.len() / vocabulary;
        let at = |position: usize| &logits[position * vocabulary..][..vocabulary];
        let greedy = |position: usize| most_probable(at(position), 0..=u8::MAX);
        match self {
            Self::Bytes(bytes) => {
                let last = positions - bytes.len()..positions;
                last.zip(bytes)
                    .all(|(position, &byte)| greedy(position) == byte)
            }
            Self::Bracket(bracket) => most_probable(at(positions - 1), CLOSING) == *bracket,
            Self::Blanks(blanks) => {
                let bytes = || (0..=u8::MAX).filter(|byte| !matches!(byte, b'\n' | b'\r'));
                let greedy = |position: usize| most_probable(at(position), bytes());
                let end = positions - 1;
                (end - blanks..end).all(|position| greedy(position) == b' ')
                    && !greedy(end).is_ascii_whitespace()
            }
            Self::Letter { at: place, letter } => most_probable(at(*place), b'a'..=b'z') == *letter,
        }
    }
}

impl Probes {
    /// Number of windows.
    pub fn windows(&self) -> usize {
        self.windows.len()
    }

    /// Length of a window.
    pub fn seq(&self) -> usize {
        self.seq
    }

    /// The tokens of some windows, row by row.
    pub fn inputs(&self, windows: Range<usize>) -> Vec<u32> {
        let windows = self.windows[windows].iter();
        windows.flat_map(|window| &window.inputs).copied().collect()
    }

    /// Which questions of these windows are answered rightly by logits `[windows, seq, vocabulary]`.
    ///
    /// # Panics
    /// If the logits are not of so many windows, or the vocabulary is smaller than that of bytes.
    #[track_caller]
    pub fn answers(&self, windows: Range<usize>, logits: &[f32]) -> Vec<bool> {
        let rows = windows.len() * self.seq;
        let vocabulary = logits.len() / rows;
        assert!(
            vocabulary * rows == logits.len() && vocabulary > usize::from(u8::MAX),
            "probes: {} logits of {rows} positions, expected 256 or more of each",
            logits.len()
        );
        let each = logits.chunks_exact(self.seq * vocabulary);
        let given = self.windows[windows].iter().zip(each);
        let given = given.flat_map(|(window, logits)| {
            let questions = window.questions.iter();
            questions.map(|question| question.answer.is_given_by(logits, vocabulary))
        });
        given.collect()
    }

    /// The results of every probe from the answers to all questions in order.
    ///
    /// # Panics
    /// If there are fewer answers than questions.
    pub fn results(&self, answers: &[bool]) -> Vec<ProbeScores> {
        let none = |kind: &Kind| ProbeScores {
            name: kind.name.clone(),
            chance: kind.chance,
            items_sha256: String::new(),
            right: Vec::new(),
        };
        let mut results: Vec<ProbeScores> = self.kinds.iter().map(none).collect();
        let mut digests = vec![Sha256::new(); results.len()];
        let mut answers = answers.iter();
        for window in &self.windows {
            for Question { probe, answer } in &window.questions {
                let right = *answers.next().expect("an answer to every question");
                digests[*probe].update(format!("{:?} {answer:?}\n", window.inputs));
                let by_source = &mut results[*probe].right;
                if by_source
                    .last()
                    .is_none_or(|(last, _)| *last != window.source)
                {
                    by_source.push((window.source.clone(), String::new()));
                }
                let digits = &mut by_source.last_mut().expect("just added").1;
                digits.push(if right { '1' } else { '0' });
            }
        }
        for (result, digest) in results.iter_mut().zip(digests) {
            result.items_sha256 = hex(&digest.finalize());
        }
        results
    }
}
