//! An inspection as one page that needs nothing else: no network, no other file.

use super::{inspection::Inspection, trace::Trace};
use crate::{coefficients::SiteCoefficients, run_dir::CoefficientRecord};
use figures::unfold::Unfolded;
use serde_json::{Value, json};

const TEMPLATE: &str = include_str!("page.html");
/// Where the template has room for the data.
const PLACE: &str = "/*DATA*/";
/// Letters of the text whose coefficients the page has: what keeps it below a megabyte.
pub(super) const LETTERS: usize = 192;
/// Records over training that the page has.
const STEPS: usize = 64;

/// The page: heat-maps, a slider over what was recorded in training, the first letters of the
/// text with their coefficients, charts by depth. Coefficients over training and of letters are
/// rounded to 1/1000, all other numbers to six digits; the page shows no digit that it has not got.
/// `inspection.json` has all of them.
pub fn page(
    found: &Inspection,
    trace: &Trace,
    records: &[CoefficientRecord],
    text: Option<(&[u8], usize)>,
) -> String {
    let mut data = serde_json::to_value(found).expect("plain data becomes JSON");
    let unfolded = found.unfolded.as_ref();
    let matrices = unfolded.map(|unfolded| {
        let Unfolded { inputs, streams } = &unfolded.mean_of_tokens;
        [inputs].into_iter().chain(streams).collect::<Vec<_>>()
    });
    data["contributions"] = json!(unfolded.map(|unfolded| &unfolded.contributions));
    data["patterns"] = json!(unfolded.map(|unfolded| &unfolded.patterns));
    data["unfolded"] = json!(matrices);
    data["last"] = json!(trace.mean_last());
    let similarities = found.similarities();
    data["similarity"] = similarities
        .map(|(name, bands)| json!({"name": name, "bands": bands}))
        .collect();
    data["training"] = Value::Null;
    round(&mut data, six_digits);
    let mut steps = json!(thinned(records, found.layers.len()));
    let mut text = json!(text.and_then(|(text, window)| letters(trace, text, window)));
    round(&mut steps, thousandths);
    round(&mut text, thousandths);
    data["steps"] = steps;
    data["text"] = text;
    filled(&data)
}

/// The page of rounded data.
pub(super) fn filled(data: &Value) -> String {
    // Inside of a script element no tag may begin.
    let data = data.to_string().replace('<', "\\u003c");
    TEMPLATE.replace(PLACE, &data)
}

/// At most [`STEPS`] of the records, evenly, with the first and the last.
fn thinned(records: &[CoefficientRecord], layers: usize) -> Vec<&CoefficientRecord> {
    let fitting: Vec<_> = records.iter().filter(|r| r.mean.len() == layers).collect();
    let count = fitting.len().min(STEPS);
    let place = |i: usize| i * (fitting.len() - 1) / (count - 1).max(1);
    (0..count).map(|i| fitting[place(i)]).collect()
}

/// The first letters, the coefficients that they have, and after how many a window of the text ends.
fn letters(trace: &Trace, text: &[u8], window: usize) -> Option<Value> {
    let count = text.len().min(LETTERS);
    let of_site = |site: &SiteCoefficients| {
        let tokens = count.min(site.tokens());
        let alpha = tokens * site.rate * (site.rate + 1);
        json!({"alpha": &site.alpha[..alpha], "beta": &site.beta[..tokens * site.rate]})
    };
    let sites: Option<Vec<Value>> = trace
        .layers
        .iter()
        .map(|layer| layer.coefficients.as_ref().map(of_site))
        .collect();
    let letter = |&byte: &u8| match byte {
        b'\n' | b' '..=b'~' => char::from(byte).to_string(),
        byte => format!("\\x{byte:02x}"),
    };
    let letters: Vec<String> = text[..count].iter().map(letter).collect();
    Some(json!({"letters": letters, "window": window, "sites": sites?}))
}

pub(super) fn thousandths(x: f64) -> f64 {
    (x * 1e3).round() / 1e3
}

pub(super) fn six_digits(x: f64) -> f64 {
    format!("{x:.5e}").parse().expect("a number")
}

/// Rounds every fraction in it.
pub(super) fn round(value: &mut Value, to: fn(f64) -> f64) {
    match value {
        Value::Array(all) => all.iter_mut().for_each(|value| round(value, to)),
        Value::Object(all) => all.values_mut().for_each(|value| round(value, to)),
        Value::Number(number) if number.is_f64() => {
            let exact = number.as_f64().expect("a fraction");
            *value = json!(to(exact));
        }
        _ => {}
    }
}
