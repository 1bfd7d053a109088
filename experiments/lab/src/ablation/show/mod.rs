//! The tables of an ablation and what has to be said with them, for a terminal, Markdown and CSV.

mod cells;
mod costs;
mod csv;
mod horizons;
mod probes;
mod prose;
mod stability;
mod statements;
mod tables;

pub(super) use cells::number;
pub(crate) use cells::signed;

use super::{Results, RouterMeans, Sweep};
use crate::{
    config::RunConfig,
    data::{Data, Windows},
    paper::{PaperTable, Quantity},
};
use figures::{
    table::{Table, in_markdown},
    terminal::{Colour, wrapped},
};
use std::fmt::{self, Write};

/// Everything beside the numbers that a reader needs to judge them.
#[derive(Debug, Clone)]
pub struct Report<'a> {
    /// The sweep.
    pub sweep: &'a Sweep,
    /// Results of the runs that have ended.
    pub results: &'a Results,
    /// Training and validation data.
    pub data: &'a dyn Learnt,
    /// The command line.
    pub command: &'a str,
}

impl Report<'_> {
    /// The whole report for a terminal of `width` columns.
    pub fn to_text(&self, width: usize, colour: Colour) -> String {
        let table = |table: Table| table.to_text(width, colour);
        let mut text = String::new();
        for line in self.heading() {
            text.push_str(&wrapped(&line, width));
        }
        for one in self.tables() {
            let _ = write!(text, "\n{}", table(one));
        }
        for (title, one) in self.titled_tables() {
            let _ = write!(text, "\n{}{}", wrapped(&title, width), table(one));
        }
        text.push('\n');
        for line in self.notes() {
            text.push_str(&wrapped(&line, width));
        }
        text
    }

    /// The whole report in Markdown.
    pub fn to_markdown(&self) -> String {
        let mut heading = self.heading().into_iter();
        let title = heading.next().unwrap_or_default();
        let mut text = format!("# {}\n\n", in_markdown(&title));
        for line in heading {
            let _ = writeln!(text, "- {}", in_markdown(&line));
        }
        for table in self.tables() {
            let _ = write!(text, "\n{}", table.to_markdown());
        }
        for (title, table) in self.titled_tables() {
            let _ = write!(text, "\n## {title}\n\n{}", table.to_markdown());
        }
        text.push('\n');
        for line in self.notes() {
            let _ = writeln!(text, "- {}", in_markdown(&line));
        }
        text
    }

    /// All tables, that of the losses first. Where nothing is compared, they have no columns of
    /// differences.
    pub fn tables(&self) -> impl Iterator<Item = Table> {
        let arms = &self.results.arms;
        let alone = arms.iter().all(|arm| arm.baseline.is_none());
        let routers = RouterMeans::table(arms);
        let tables = [Some(self.loss_table()), self.accuracy_table(), routers];
        let tables = tables.into_iter().flatten().chain([self.cost_table()]);
        tables.map(move |table| match alone {
            true => table.without_empty_columns(),
            false => table,
        })
    }

    /// The tables that have a title: statements, lengths of training, probes, stability, as far as
    /// there are any.
    pub fn titled_tables(&self) -> impl Iterator<Item = (String, Table)> {
        let statements = self.statements().into_iter();
        let statements = statements.map(|(title, table)| (title.to_owned(), table));
        let horizons = statements.chain(self.horizon_tables());
        horizons.chain(self.probes()).chain(self.stability())
    }

    /// Their rows for other programs, with the names of the files.
    pub fn titled_csv(&self) -> impl Iterator<Item = (&'static str, String)> {
        let files = [
            ("contrasts.csv", self.statements_csv()),
            ("horizons.csv", self.horizons_csv()),
            ("probes.csv", self.probes_csv()),
            ("stability.csv", self.stability_csv()),
        ];
        files
            .into_iter()
            .filter_map(|(name, text)| Some((name, text?)))
    }

    /// The paper's table if it is of this quantity and has a number for one of the arms.
    fn paper(&self, quantity: Quantity) -> Option<&PaperTable> {
        let table = self.sweep.subject.paper.as_ref();
        let numbers = self
            .results
            .arms
            .iter()
            .any(|arm| arm.paper_delta.is_some());
        table.filter(|table| numbers && table.quantity == quantity)
    }
}

/// Data that networks have been trained on, as far as it is known.
pub trait Learnt: fmt::Debug {
    /// Name.
    fn name(&self) -> &str;

    /// SHA-256.
    fn fingerprint(&self) -> &str;

    /// Sizes of the training and the validation part.
    fn sizes(&self) -> Option<String>;

    /// The part of the data that the validation loss of this configuration is the mean over.
    fn validation(&self, config: &RunConfig) -> Option<String>;
}

impl Learnt for Data {
    fn name(&self) -> &str {
        &self.account().name
    }

    fn fingerprint(&self) -> &str {
        &self.account().fingerprint
    }

    fn sizes(&self) -> Option<String> {
        Some(self.account().sizes())
    }

    fn validation(&self, config: &RunConfig) -> Option<String> {
        let corpus = match self {
            Self::Text(corpus) => corpus,
            Self::Images(set) => {
                return Some(format!("all {} validation images", set.test.len()));
            }
        };
        // As many windows as are asked for, or whole batches of them that fit into the text.
        let (tokens, train) = (config.model.tokens(), &config.train);
        let batches = Windows::new(corpus, tokens)
            .and_then(|windows| windows.validation_batches(train.eval_batches, train.batch));
        let windows: usize = batches.map_or(0, |batches| batches.iter().map(|b| b.rows).sum());
        Some(format!(
            "{windows} fixed windows of {tokens} {}, spread evenly over the validation text",
            self.account().unit.name()
        ))
    }
}

#[cfg(test)]
mod tests;
