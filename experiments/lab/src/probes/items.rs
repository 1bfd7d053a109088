//! Which places of a text the probes ask about.

use super::{Answer, CLOSING, Kind, Probes, Question, Window};
use crate::data::Corpus;
use engine::rng::Key;
use rand::RngExt;
use std::collections::HashMap;

/// Numbers of bytes of the end of a line.
const ENDS: [usize; 2] = [4, 6];
/// A line has so many bytes behind its indentation at least.
const SHORTEST_LINE: usize = 12;
/// Lines whose end is asked for.
const LINES: usize = 512;
/// Closing brackets of each kind.
const BRACKETS: usize = 96;
/// Bytes from an opening bracket to its closing one at least.
const APART: usize = 8;
/// Beginnings of lines of each kind.
const BEGINNINGS: usize = 80;
/// Random sequences.
const SEQUENCES: usize = 64;
/// With fewer items of a kind there is no probe.
const FEWEST: usize = 16;
/// With shorter contexts there are no probes.
const SHORTEST_CONTEXT: usize = 16;

/// An item: the place of the text that its context ends before, and the answer.
type Item = (usize, Answer);

impl Probes {
    /// The probes of a network with contexts of `seq` bytes; `None` if the corpus is of tokens. Where
    /// the text has no positions for a probe, it has no items.
    pub fn of(corpus: &Corpus, seq: usize) -> Option<Self> {
        let text = corpus.validation.as_bytes()?;
        let mut probes = Self {
            seq,
            kinds: Vec::new(),
            windows: Vec::new(),
        };
        let long = seq >= SHORTEST_CONTEXT;
        let text = if long { text } else { &[] };
        probes.add_line_ends(corpus, &spread(&line_ends(text, seq), LINES));
        let items = balanced(brackets(text, seq), BRACKETS);
        probes.add("brackets", most_frequent(&items), corpus, items);
        let items = balanced(beginnings(text, seq), BEGINNINGS);
        // A third is indented as the line before.
        let chance = most_frequent(&items).max(1.0 / 3.0);
        probes.add("indentation", chance, corpus, items);
        probes.add_copying(if long { SEQUENCES } else { 0 });
        Some(probes)
    }

    /// Adds a probe without items; returns its index.
    fn add_kind(&mut self, name: &str, chance: f64) -> usize {
        let name = name.to_owned();
        self.kinds.push(Kind { name, chance });
        self.kinds.len() - 1
    }

    /// Adds a probe with an item a window.
    fn add(&mut self, name: &str, chance: f64, corpus: &Corpus, items: Vec<Item>) {
        let probe = self.add_kind(name, chance);
        for (end, answer) in items {
            self.ask(corpus, end, vec![Question { probe, answer }]);
        }
    }

    /// Adds the probes of the ends of lines, one window for all of a line.
    fn add_line_ends(&mut self, corpus: &Corpus, ends: &[usize]) {
        let text = corpus.validation.as_bytes().expect("a text");
        let answers = ENDS.map(|last| -> Vec<Item> {
            let bytes = |&end: &usize| (end, Answer::Bytes(text[end + 1 - last..=end].to_vec()));
            ends.iter().map(bytes).collect()
        });
        let probes = [0, 1].map(|i| {
            let name = format!("last {} bytes", ENDS[i]);
            self.add_kind(&name, most_frequent(&answers[i]))
        });
        for (line, &end) in ends.iter().enumerate() {
            let question = |i: usize| Question {
                probe: probes[i],
                answer: answers[i][line].1.clone(),
            };
            self.ask(corpus, end, vec![question(0), question(1)]);
        }
    }

    /// Adds the window that ends before a place.
    fn ask(&mut self, corpus: &Corpus, end: usize, questions: Vec<Question>) {
        let text = corpus.validation.as_bytes().expect("a text");
        let inputs = text[end - self.seq..end].iter();
        self.windows.push(Window {
            inputs: inputs.map(|&byte| byte.into()).collect(),
            source: corpus.validation_file(end).to_owned(),
            questions,
        });
    }

    /// Adds random letters, half a context of them, that begin again when they end. The second
    /// occurrence of the first is not asked for: nothing says that it comes.
    fn add_copying(&mut self, sequences: usize) {
        let probe = self.add_kind("copying", 1.0 / 26.0);
        let period = self.seq / 2;
        for number in 0..sequences {
            let mut rng = Key::new(0)
                .named("probe of copying")
                .at(number as u64)
                .rng();
            let letters: Vec<u8> = (0..period).map(|_| rng.random_range(b'a'..=b'z')).collect();
            let questions = (period..2 * period - 1).map(|at| Question {
                probe,
                answer: Answer::Letter {
                    at,
                    letter: letters[at + 1 - period],
                },
            });
            let inputs = letters.iter().cycle().take(self.seq);
            self.windows.push(Window {
                inputs: inputs.map(|&letter| letter.into()).collect(),
                source: format!("sequence {number}"),
                questions: questions.collect(),
            });
        }
    }
}

/// As many as `most` of them, spread evenly.
fn spread<T: Clone>(all: &[T], most: usize) -> Vec<T> {
    let taken = all.len().min(most);
    let place = |i: usize| (all.len() - 1) * i / (taken - 1).max(1);
    (0..taken).map(|i| all[place(i)].clone()).collect()
}

/// As many of each kind, `most` at most, in the order of the text; none if there are too few of one.
fn balanced(kinds: [Vec<Item>; 3], most: usize) -> Vec<Item> {
    let each = kinds.iter().map(Vec::len).min().unwrap_or(0).min(most);
    if each < FEWEST {
        return Vec::new();
    }
    let mut items: Vec<Item> = kinds.iter().flat_map(|kind| spread(kind, each)).collect();
    items.sort_by_key(|(end, _)| *end);
    items
}

/// Share of the most frequent answer.
fn most_frequent(items: &[Item]) -> f64 {
    let mut counts: HashMap<&Answer, usize> = HashMap::new();
    for (_, answer) in items {
        *counts.entry(answer).or_default() += 1;
    }
    let most = counts.into_values().max().unwrap_or(0);
    most as f64 / items.len().max(1) as f64
}

/// The line breaks of lines that are long enough, with a context before them; none of few.
fn line_ends(text: &[u8], seq: usize) -> Vec<usize> {
    let mut begin = 0;
    let mut ends = Vec::new();
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        let end = begin + line.len() - 1;
        let long = line.trim_ascii_start().len() >= SHORTEST_LINE;
        if line.ends_with(b"\n") && long && end >= seq {
            ends.push(end);
        }
        begin += line.len();
    }
    if ends.len() < FEWEST {
        Vec::new()
    } else {
        ends
    }
}

/// The closing brackets by their kind whose opening ones are in the context and not near.
fn brackets(text: &[u8], seq: usize) -> [Vec<Item>; 3] {
    CLOSING.map(|bracket| {
        let places = (seq..text.len()).filter(|&place| text[place] == bracket);
        let closes = |&place: &usize| {
            let open = innermost_open(&text[place - seq..place]);
            open.is_some_and(|(apart, closing)| closing == bracket && apart >= APART)
        };
        let item = |place| (place, Answer::Bracket(bracket));
        places.filter(closes).map(item).collect()
    })
}

/// The last bracket of a text that is not closed: how far from the end it is, and what closes it.
fn innermost_open(text: &[u8]) -> Option<(usize, u8)> {
    let mut closed = Vec::new();
    for (after, &byte) in text.iter().rev().enumerate() {
        let closing = match byte {
            b'(' => b')',
            b'[' => b']',
            b'{' => b'}',
            b')' | b']' | b'}' => {
                closed.push(byte);
                continue;
            }
            _ => continue,
        };
        match closed.pop() {
            None => return Some((after + 1, closing)),
            Some(inner) if inner != closing => return None,
            Some(_) => {}
        }
    }
    None
}

/// Lines indented less than the line before, more, and as it, by blanks. Both have something else
/// in them, and the context holds the line before.
fn beginnings(text: &[u8], seq: usize) -> [Vec<Item>; 3] {
    let mut kinds = [const { Vec::new() }; 3];
    let mut before: Option<(usize, usize)> = None;
    let mut begin = 0;
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        let blanks = line.iter().take_while(|&&byte| byte == b' ').count();
        let has_more = line
            .get(blanks)
            .is_some_and(|byte| !byte.is_ascii_whitespace());
        let end = begin + blanks;
        if let (Some((begun, as_before)), true) = (before, has_more)
            && end >= seq
            && begun >= end - seq
        {
            let kind = match blanks.cmp(&as_before) {
                std::cmp::Ordering::Less => 0,
                std::cmp::Ordering::Greater => 1,
                std::cmp::Ordering::Equal => 2,
            };
            kinds[kind].push((end, Answer::Blanks(blanks)));
        }
        before = has_more.then_some((begin, blanks));
        begin += line.len();
    }
    kinds
}
