//! Reading contrasts from the sections `[[contrast]]` of a file.

use super::{Contrast, Expect, Quantity};
use crate::config::nearest_word;
use std::collections::BTreeMap;
use toml::{Table, Value};

/// More statements than anyone reads.
const MOST: usize = 1000;
const KEYS: [&str; 8] = [
    "statement",
    "source",
    "of",
    "arms",
    "arm",
    "against",
    "expect",
    "margin",
];
/// Sums of weights that are as good as zero, beside the weights: thirds can be written.
const ROUNDING: f64 = 1e-6;

/// What is wrong where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Place: `contrast 2, arms`.
    pub key: String,
    /// The mistake.
    pub reason: String,
}

impl Mistake {
    fn new(number: usize, key: &str, reason: impl Into<String>) -> Self {
        let dot = if key.is_empty() { "" } else { ", " };
        Self {
            key: format!("contrast {number}{dot}{key}"),
            reason: reason.into(),
        }
    }
}

/// The contrasts of a list of sections.
///
/// # Errors
/// The first [`Mistake`].
pub fn read_all(sections: &Value) -> Result<Vec<Contrast>, Mistake> {
    let expected = |reason: &str| Mistake {
        key: "contrast".to_owned(),
        reason: reason.to_owned(),
    };
    let sections = sections.as_array();
    let sections = sections.ok_or_else(|| expected("expected sections [[contrast]]"))?;
    if sections.len() > MOST {
        return Err(expected(&format!("more than {MOST} contrasts")));
    }
    let read_one = |(index, section): (usize, &Value)| {
        let section = section.as_table();
        let section = section.ok_or_else(|| expected("expected sections [[contrast]]"))?;
        read(section, index + 1)
    };
    sections.iter().enumerate().map(read_one).collect()
}

/// Returns whether every contrast is of these arms, and each of other ones.
///
/// # Errors
/// The first [`Mistake`].
pub fn check<'a>(
    contrasts: &[Contrast],
    known: impl Iterator<Item = &'a str> + Clone,
) -> Result<(), Mistake> {
    for (index, contrast) in contrasts.iter().enumerate() {
        let before = &contrasts[..index];
        let same = |other: &Contrast| other.is_of_the_same_sum(contrast);
        if let Some(same) = before.iter().position(same) {
            let reason = format!("contrast {} is of the same arms already", same + 1);
            return Err(Mistake::new(index + 1, "arms", reason));
        }
        for arm in contrast.arms.keys() {
            if known.clone().any(|known| known == arm) {
                continue;
            }
            let hint = nearest_word(arm, known.clone());
            let hint = hint.map_or_else(String::new, |near| format!(": did you mean {near}?"));
            let reason = format!("there is no arm {arm}{hint}");
            return Err(Mistake::new(index + 1, "arms", reason));
        }
    }
    Ok(())
}

fn read(section: &Table, number: usize) -> Result<Contrast, Mistake> {
    let wrong = |key: &str, reason: &str| Mistake::new(number, key, reason);
    if let Some(key) = section.keys().find(|key| !KEYS.contains(&key.as_str())) {
        let hint = nearest_word(key, KEYS);
        let hint = hint.map_or_else(String::new, |near| format!(": did you mean {near}?"));
        return Err(wrong(key, &format!("there is no such key{hint}")));
    }
    let text = |key: &str| match section.get(key) {
        None => Ok(None),
        Some(Value::String(text)) if !text.trim().is_empty() => Ok(Some(text.clone())),
        Some(_) => Err(wrong(key, "expected a text")),
    };
    let statement = text("statement")?;
    let statement = statement.ok_or_else(|| wrong("statement", "it is missing"))?;
    let of = text("of")?.map(|of| Quantity::ALL.into_iter().find(|one| one.to_string() == of));
    let of = of.unwrap_or(Some(Quantity::Loss));
    let of = of.ok_or_else(|| wrong("of", "expected loss or accuracy"))?;
    let expect = text("expect")?;
    let expect = Expect::ALL
        .into_iter()
        .find(|one| Some(one.to_string()) == expect);
    let expect = expect.ok_or_else(|| wrong("expect", "expected lower, higher or equal"))?;
    let margin = match section.get("margin") {
        None => None,
        Some(value) => {
            let margin = number_of(value).filter(|margin| *margin > 0.0);
            let unit = match of {
                Quantity::Loss => "in the unit of the loss",
                Quantity::Accuracy => "in percentage points",
            };
            let reason = format!("expected a number above 0, {unit}");
            Some(margin.ok_or_else(|| wrong("margin", &reason))?)
        }
    };
    if expect == Expect::Equal && margin.is_none() {
        let reason = "expect = \"equal\" needs one: differences below it are as good as none";
        return Err(wrong("margin", reason));
    }
    let arms = match (section.get("arms"), text("arm")?, text("against")?) {
        (Some(arms), None, None) => weights(arms).map_err(|reason| wrong("arms", &reason))?,
        (None, Some(arm), Some(against)) if arm != against => {
            BTreeMap::from([(arm, 1.0), (against, -1.0)])
        }
        _ => {
            let reason = "expected arms = { NAME = weight, ... }, or two arms as arm and against";
            return Err(wrong("arms", reason));
        }
    };
    Ok(Contrast {
        statement,
        source: text("source")?,
        of,
        arms,
        expect,
        margin,
    })
}

fn weights(arms: &Value) -> Result<BTreeMap<String, f64>, String> {
    let table = arms.as_table().ok_or("expected { NAME = weight, ... }")?;
    let mut weights = BTreeMap::new();
    for (arm, weight) in table {
        let weight = number_of(weight).filter(|weight| *weight != 0.0);
        let weight = weight.ok_or_else(|| format!("the weight of {arm} is no number but 0"))?;
        weights.insert(arm.clone(), weight);
    }
    let sum: f64 = weights.values().sum();
    let size: f64 = weights.values().map(|weight| weight.abs()).sum();
    match sum.abs() <= ROUNDING * size {
        _ if weights.len() < 2 => Err("expected at least two arms".to_owned()),
        true => Ok(weights),
        false => Err(format!("the weights sum to {sum}, expected 0")),
    }
}

fn number_of(value: &Value) -> Option<f64> {
    let number = value.as_float().or(value.as_integer().map(|n| n as f64));
    number.filter(|number| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Contrast>, Mistake> {
        let table: Table = text.parse().expect("TOML");
        read_all(&table["contrast"])
    }

    const TWO: &str = "[[contrast]]\nstatement = \"4 is better\"\narm = \"x4\"\nagainst = \"x2\"\n\
        expect = \"lower\"\n";

    #[test]
    fn two_arms_or_a_sum_of_arms() {
        let sum = "[[contrast]]\nstatement = \"as good\"\nsource = \"us\"\nexpect = \"equal\"\n\
            margin = 0.01\narms = { a = 0.3333333, b = 0.3333333, c = 0.3333334, d = -1 }\n";
        let read = read(&format!("{TWO}{sum}")).expect("both");
        assert_eq!(read[0].sum(), "x4 − x2");
        assert_eq!((read[0].expect, read[0].margin), (Expect::Lower, None));
        assert_eq!((read[1].arms.len(), read[1].margin), (4, Some(0.01)));
        assert_eq!(read[1].source.as_deref(), Some("us"));
        let known = ["x2", "x4", "a", "b", "c", "d"];
        assert_eq!(check(&read, known.into_iter()), Ok(()));
        let accuracy = TWO.replace("expect", "of = \"accuracy\"\nexpect");
        let both = self::read(&format!("{TWO}{accuracy}")).expect("both");
        assert_eq!([both[0].of, both[1].of], Quantity::ALL);
        assert_eq!(check(&both, known.into_iter()), Ok(()));
        let error = check(&read, ["x2", "x8"].into_iter()).expect_err("no x4");
        assert_eq!(error.key, "contrast 1, arms");
        assert!(error.reason.contains("there is no arm x4"), "{error:?}");
    }

    #[test]
    fn every_mistake_says_where() {
        let with = |from: &str, to: &str| TWO.replace(from, to);
        let arms = |arms: &str| with("arm = \"x4\"\nagainst = \"x2\"", &format!("arms = {arms}"));
        for (text, key, said) in [
            (with("4 is better", " "), "contrast 1, statement", "a text"),
            (
                with("statement = \"4 is better\"\n", ""),
                "contrast 1, statement",
                "missing",
            ),
            (with("lower", "equal"), "contrast 1, margin", "needs one"),
            (with("lower", "less"), "contrast 1, expect", "lower, higher"),
            (
                with("expect", "of = \"speed\"\nexpect"),
                "contrast 1, of",
                "loss or accuracy",
            ),
            (with("against", "agains"), "contrast 1, agains", "against?"),
            (with("\"x2\"", "\"x4\""), "contrast 1, arms", "expected"),
            (arms("{ x4 = 1, x2 = -2 }"), "contrast 1, arms", "sum to -1"),
            (
                arms("{ x4 = 1, x2 = nan }"),
                "contrast 1, arms",
                "x2 is no number",
            ),
            (arms("{}"), "contrast 1, arms", "two arms"),
            (arms("3"), "contrast 1, arms", "NAME"),
            (
                TWO.to_owned() + "margin = 0\n",
                "contrast 1, margin",
                "above 0",
            ),
            (
                format!("{TWO}{TWO}"),
                "contrast 2, arms",
                "contrast 1 is of",
            ),
            ("contrast = 3".to_owned(), "contrast", "sections"),
        ] {
            let read = read(&text);
            let checked = read.and_then(|read| check(&read, ["x2", "x4"].into_iter()));
            let error = checked.expect_err("a mistake");
            assert_eq!(error.key, key, "{text}");
            assert!(error.reason.contains(said), "{text}: {error:?}");
        }
    }
}
