//! The words of the lessons, put into pages.
//!
//! A page has places for them in double braces: `{{text 7.1.2}}` is the second paragraph of step 1
//! of lesson 7, `{{equation 7.1.2}}` its second line of formulas, `{{claim 7.2.1}}` its first claim,
//! `{{step 7.1}}` the title and all paragraphs and formulas of the step, `{{question 7}}` the
//! question with its answer.

use crate::teach::{Board, LESSONS, Passage};
use engine::rng::Key;
use std::{fmt::Write, io};

/// The words of every lesson.
pub struct Words {
    lessons: Vec<Vec<Passage>>,
}

impl Words {
    /// Computes every lesson for its words.
    pub fn new() -> io::Result<Self> {
        let of_lesson = |lesson: &crate::teach::Lesson| {
            let mut out = io::sink();
            let mut board = Board::new(&mut out);
            (lesson.run)(&mut board, Key::new(0))?;
            Ok(board.into_words())
        };
        let lessons: io::Result<_> = LESSONS.iter().map(of_lesson).collect();
        Ok(Self { lessons: lessons? })
    }

    /// A page with the words in their places.
    ///
    /// # Panics
    /// If a place names words that no lesson has.
    pub fn put_into(&self, page: &str) -> String {
        let mut parts = page.split("{{");
        let mut out = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (place, rest) = part.split_once("}}").expect("a place that ends");
            let words = self.of_place(place);
            out += &words.unwrap_or_else(|| panic!("no lesson has the words {{{{{place}}}}}"));
            out += rest;
        }
        out
    }

    fn of_place(&self, place: &str) -> Option<String> {
        let (kind, address) = place.split_once(' ')?;
        let numbers: Result<Vec<usize>, _> = address.split('.').map(str::parse).collect();
        let numbers = numbers.ok()?;
        let lesson = self.lessons.get(numbers.first()?.checked_sub(1)?)?;
        match (kind, &numbers[1..]) {
            ("question", []) => lesson.iter().find_map(|passage| match passage {
                Passage::Question(..) => Some(html(passage)),
                _ => None,
            }),
            ("step", &[step]) => {
                let passages = of_step(lesson, step)?.iter();
                let words = passages.filter(|passage| !matches!(passage, Passage::Claim(_)));
                Some(words.map(html).collect())
            }
            ("text" | "equation" | "claim", &[step, count]) => {
                let wanted = |passage: &&Passage| match passage {
                    Passage::Text(_) => kind == "text",
                    Passage::Claim(_) => kind == "claim",
                    Passage::Equation(..) => kind == "equation",
                    _ => false,
                };
                let mut passages = of_step(lesson, step)?.iter().filter(wanted);
                passages.nth(count.checked_sub(1)?).map(html)
            }
            _ => None,
        }
    }
}

/// A step from its title to the next, counted from 1.
fn of_step(lesson: &[Passage], step: usize) -> Option<&[Passage]> {
    let mut steps = lesson
        .iter()
        .enumerate()
        .filter(|(_, passage)| matches!(passage, Passage::Step(_)))
        .map(|(at, _)| at);
    let start = steps.nth(step.checked_sub(1)?)?;
    let end = lesson[start + 1..]
        .iter()
        .position(|passage| matches!(passage, Passage::Step(_) | Passage::Question(..)));
    Some(&lesson[start..end.map_or(lesson.len(), |length| start + 1 + length)])
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// A sentence in which A_m and its like have subscripts.
fn sentence(text: &str) -> String {
    let mut text = escaped(text);
    for name in ["A_m", "A_r", "W_m", "W_r"] {
        let (letter, index) = name.split_once('_').expect("a name with an index");
        text = text.replace(name, &format!("{letter}<sub>{index}</sub>"));
    }
    text
}

fn html(passage: &Passage) -> String {
    let mut out = String::new();
    let written = match passage {
        Passage::Step(title) => writeln!(out, "<h2>{}</h2>", sentence(title)),
        Passage::Claim(text) => writeln!(out, "<p class=\"claim\">{}</p>", sentence(text)),
        Passage::Text(text) => writeln!(out, "<p>{}</p>", sentence(text)),
        Passage::Equation(number, formula) => writeln!(
            out,
            "<p class=\"equation\"><code>{}</code><span>{}</span></p>",
            escaped(formula),
            escaped(number)
        ),
        Passage::Question(question, answer) => writeln!(
            out,
            "<section class=\"question\"><h2>A question to end with</h2><p>{}</p>\
             <details><summary>Answer</summary><p>{}</p></details></section>",
            sentence(question),
            sentence(answer)
        ),
    };
    written.expect("a string");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words() -> Words {
        let texts = ["one", "two < three"].map(|text| Passage::Text(text.into()));
        let [one, two] = texts;
        Words {
            lessons: vec![vec![
                Passage::Step("First".into()),
                one.clone(),
                Passage::Step("Second".into()),
                Passage::Equation("Eq. 1".into(), "a = b".into()),
                two,
                Passage::Question("Why?".into(), "Because.".into()),
            ]],
        }
    }

    #[test]
    fn places_get_the_words_that_they_name() {
        let page = words().put_into("a {{text 1.2.1}} b {{question 1}}");
        assert!(page.starts_with("a <p>two &lt; three</p>"), "{page}");
        assert!(page.contains("<p>Why?</p>") && page.contains("<p>Because.</p>"));
        let step = words().put_into("{{step 1.1}}");
        assert_eq!(step, "<h2>First</h2>\n<p>one</p>\n");
    }

    #[test]
    fn places_without_words_are_none() {
        for place in [
            "text 1.1.2",
            "text 2.1.1",
            "step 1.3",
            "step 1.0",
            "text",
            "word 1.1",
            "text 0.1.1",
        ] {
            assert_eq!(words().of_place(place), None, "{place}");
        }
    }
}
