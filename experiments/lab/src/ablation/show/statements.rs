//! The table of statements: what was declared before the runs, and apart from it what was not.

use super::{
    Report, cells,
    cells::{number, of_seeds, of_text, seeds_needed, with_interval},
    csv::to_csv,
};
use crate::ablation::{Outcome, Quantity, Statement};
use figures::table::{Cell, Table, Tone};
use serde_json::{Value, json};

/// Titles of the two tables.
const TITLES: [&str; 2] = [
    "Statements declared before the runs",
    "EXPLORATORY, not declared before the first run had ended: uncorrected, nothing is claimed",
];

/// Columns for other programs, with where a statement's JSON has them.
const COLUMNS: [(&str, &str); 20] = [
    ("statement", "/statement"),
    ("source", "/source"),
    ("contrast", "/contrast"),
    ("expect", "/expect"),
    ("margin", "/margin"),
    ("declared", "/declared"),
    ("outcome", "/outcome"),
    ("seeds", "/estimate/seeds"),
    ("estimate", "/estimate/mean"),
    ("estimate_low", "/estimate/interval/0"),
    ("estimate_high", "/estimate/interval/1"),
    ("seeds_low", "/estimate/seed_interval/0"),
    ("seeds_high", "/estimate/seed_interval/1"),
    ("text_se", "/estimate/text_se"),
    ("text_clusters", "/estimate/text_clusters"),
    ("p_value", "/p_value"),
    ("p_holm", "/p_holm"),
    ("seeds_needed_low", "/seeds_needed/0"),
    ("seeds_needed_high", "/seeds_needed/1"),
    ("of", "/of"),
];

impl Report<'_> {
    /// The statements with their outcomes, under their titles; empty where none was written down.
    pub fn statements(&self) -> Vec<(&'static str, Table)> {
        let titled = [true, false].into_iter().zip(TITLES);
        let of_kind = |(declared, title)| {
            let all = self.results.statements.iter();
            let some: Vec<&Statement> = all.filter(|one| one.declared == declared).collect();
            (!some.is_empty()).then(|| (title, table(&some, declared)))
        };
        titled.filter_map(of_kind).collect()
    }

    /// One row for each statement, for other programs; `None` without statements.
    pub fn statements_csv(&self) -> Option<String> {
        let all = &self.results.statements;
        let statements: Vec<Value> = all.iter().map(|one| json!(one)).collect();
        (!all.is_empty()).then(|| to_csv(&statements, &COLUMNS))
    }

    /// What the words of the table of statements mean.
    pub(super) fn statement_note(&self) -> Option<String> {
        (!self.results.statements.is_empty()).then(|| {
            let accuracies = self.results.statements.iter().any(of_accuracy);
            let accuracies = if accuracies { " or, in percentage points, the accuracy" } else { "" };
            let declared = self.results.statements.iter().find_map(|one| one.declared_seeds.as_ref());
            let seeds = declared.map_or_else(String::new, |seeds| {
                let seeds: Vec<String> = seeds.iter().map(u64::to_string).collect();
                format!(" Only the seeds declared with the statements count, {}; unfinished: a run with one of them is missing.", seeds.join(" "))
            });
            format!("statements: contrast in the loss{accuracies}, paired by seed. confirmed / contrary: the stated sign, or the other one, is shown; of equal: the difference is shown to be within the margin (two one-sided tests at 5 %), or beyond it. equivalent: a difference was stated, and one within the margin is shown. undecided: none of these.{seeds} diverged, few seeds: nothing is claimed. p is that of what the outcome says, of undecided that of the statement, corrected over all declared statements (Shaffer's form of Holm's method); exploratory ones are uncorrected. seeds needed: fresh ones, under another --name, if the difference is what it is here, before the correction.")
        })
    }
}

fn of_accuracy(statement: &Statement) -> bool {
    statement.of == Quantity::Accuracy.to_string()
}

fn table(statements: &[&Statement], declared: bool) -> Table {
    let p = if declared { "p (corrected)" } else { "p" };
    let tone = |outcome| match outcome {
        Outcome::Confirmed => Tone::Good,
        Outcome::Contrary | Outcome::Diverged => Tone::Bad,
        Outcome::Equivalent | Outcome::Undecided => Tone::Plain,
        Outcome::FewSeeds | Outcome::Unfinished | Outcome::Exploratory => Tone::Faint,
    };
    let digits = |one: &Statement| if of_accuracy(one) { 2 } else { 4 };
    let table = Table::of(statements)
        .left("statement", |one| &one.statement)
        .left("source", |one| one.source.as_deref().unwrap_or_default())
        .left("contrast", |one| &one.contrast)
        .left("expected", |one| &one.expected)
        .left("outcome", |one| {
            Cell::new(one.outcome.to_string(), tone(one.outcome))
        })
        .right("estimate ± 95 %", |one| {
            let delta = one.estimate.as_ref();
            number(delta, |delta| with_interval(delta, 1.0, digits(one)))
        })
        .right("over seeds", |one| {
            let delta = one.estimate.as_ref();
            let cell = delta.and_then(|delta| of_seeds(delta, 1.0, digits(one)));
            number(cell, |text| text)
        })
        .right("text s.e.", |one| {
            let delta = one.estimate.as_ref();
            let cell = delta.and_then(|delta| of_text(delta, 1.0, digits(one)));
            number(cell, |text| text)
        })
        .right(p, |one| {
            let p = if declared { one.p_holm } else { one.p_value };
            number(p, cells::p)
        })
        .right("seeds needed", |one| number(one.seeds_needed, seeds_needed));
    table.table().without_empty_columns()
}
