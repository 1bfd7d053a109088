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

/// Text as HTML: escaped, with the indices of one letter (`A_r`, `s_alpha`, `c_{2,1}`), powers
/// (`2^j`) and numbers of sublayers (`B^(j)`) in their places.
fn marked(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let letter = |at: Option<usize>| {
        at.and_then(|at| chars.get(at))
            .filter(|c| c.is_alphabetic())
    };
    let (mut out, mut at) = (String::new(), 0);
    while let Some(&c) = chars.get(at) {
        let before = at.checked_sub(1);
        let tag = match c {
            '^' => Some("sup"),
            // Of a longer word only if the word is the derivative by one letter.
            '_' if letter(before).is_some() => {
                let first = letter(at.checked_sub(2));
                first.is_none_or(|&first| first == 'd').then_some("sub")
            }
            _ => None,
        };
        let raised = match chars.get(at + 1) {
            Some('{') => chars[at + 2..]
                .iter()
                .position(|&c| c == '}')
                .map(|end| (at + 2, at + 2 + end, 1)),
            Some('(') if c == '^' => chars[at + 1..]
                .iter()
                .position(|&c| c == ')')
                .map(|end| (at + 1, at + 2 + end, 0)),
            _ => {
                let rest = &chars[at + 1..];
                let end = rest
                    .iter()
                    .position(|c| !c.is_alphanumeric())
                    .unwrap_or(rest.len());
                (end > 0).then_some((at + 1, at + 1 + end, 0))
            }
        };
        match (tag, raised) {
            (Some(tag), Some((from, to, brace))) => {
                let index: String = chars[from..to].iter().collect();
                let index = index.replace("alpha", "α").replace("beta", "β");
                out += &format!("<{tag}>{index}</{tag}>");
                at = to + brace;
            }
            _ => {
                match c {
                    '&' => out += "&amp;",
                    '<' => out += "&lt;",
                    '>' => out += "&gt;",
                    c => out.push(c),
                }
                at += 1;
            }
        }
    }
    out
}

fn html(passage: &Passage) -> String {
    let mut out = String::new();
    let written = match passage {
        Passage::Step(title) => writeln!(out, "<h2>{}</h2>", marked(title)),
        Passage::Claim(text) => writeln!(out, "<p class=\"claim\">{}</p>", marked(text)),
        Passage::Text(text) => writeln!(out, "<p>{}</p>", marked(text)),
        Passage::Equation(number, formula) => writeln!(
            out,
            "<p class=\"equation\"><code>{}</code><span>{}</span></p>",
            marked(formula),
            marked(number)
        ),
        Passage::Question(question, answer) => writeln!(
            out,
            "<section class=\"question\"><h2>A question to end with</h2><p>{}</p>\
             <details><summary>Answer</summary><p>{}</p></details></section>",
            marked(question),
            marked(answer)
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
    fn indices_and_powers_are_marked() {
        for (text, html) in [
            ("A_m of T_1", "A<sub>m</sub> of T<sub>1</sub>"),
            (
                "c_kj = B^j A_r^{j+1}",
                "c<sub>kj</sub> = B<sup>j</sup> A<sub>r</sub><sup>j+1</sup>",
            ),
            ("ds_alpha, W_beta", "ds<sub>α</sub>, W<sub>β</sub>"),
            ("A_m^(k)", "A<sub>m</sub><sup>(k)</sup>"),
            ("read_init < e_(k mod n)", "read_init &lt; e_(k mod n)"),
            ("c_{2,1} = 0_", "c<sub>2,1</sub> = 0_"),
        ] {
            assert_eq!(marked(text), html);
        }
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
