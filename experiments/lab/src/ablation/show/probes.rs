//! The tables of the probes.

use super::{
    Report,
    cells::{number, p, with_interval},
    csv::to_csv,
};
use crate::{
    ablation::{ArmResult, Delta, ProbeResult},
    measure::Measure,
    run_dir::{ProbeScores, Status},
};
use figures::table::{Cell, Table};
use serde_json::{Value, json};

/// Columns for other programs, with where the JSON of an arm's probe has them.
const COLUMNS: [(&str, &str); 19] = [
    ("probe", "/name"),
    ("arm", "/arm"),
    ("baseline", "/baseline"),
    ("seeds", "/seeds"),
    ("diverged", "/diverged"),
    ("items", "/items"),
    ("clusters", "/clusters"),
    ("chance", "/chance"),
    ("right", "/right"),
    ("delta", "/delta/mean"),
    ("delta_low", "/delta/interval/0"),
    ("delta_high", "/delta/interval/1"),
    ("delta_seeds_low", "/delta/seed_interval/0"),
    ("delta_seeds_high", "/delta/seed_interval/1"),
    ("text_se", "/delta/text_se"),
    ("text_clusters", "/delta/text_clusters"),
    ("p_value", "/delta/p_value"),
    ("p_holm", "/delta/p_holm"),
    ("verdict", "/verdict"),
];

impl Report<'_> {
    /// A table for each probe, under a title with its chance level; none where no run was probed.
    pub fn probes(&self) -> Vec<(String, Table)> {
        let arms = &self.results.arms;
        let titled = |first: &ProbeResult| {
            let ProbeResult {
                name,
                items,
                clusters,
                chance,
                ..
            } = first;
            let chance = 100.0 * chance;
            let title =
                format!("Probe {name}: {items} items in {clusters} clusters, chance {chance:.1} %");
            (title, self.probe_table(name))
        };
        names(arms).into_iter().map(titled).collect()
    }

    fn probe_table(&self, name: &str) -> Table {
        fn delta<'a>(arm: &'a ArmResult, name: &str) -> Option<&'a Delta> {
            arm.probe(name)?.delta.as_ref()
        }
        let table = Table::of(&self.results.arms)
            .left("arm", |arm| &arm.label)
            .right("right (%)", |arm| {
                number(arm.probe(name), |probe| {
                    format!("{:.2}", 100.0 * probe.right)
                })
            })
            .right("Δ ours ± 95 %", |arm| match delta(arm, name) {
                Some(delta) => Cell::from(with_interval(delta, 100.0, 2)),
                None if arm.probe(name).is_some() => self.baseline_cell(arm),
                None => Cell::from(""),
            });
        self.with_errors(table, |arm| delta(arm, name), 100.0, 2)
            .right("p (Holm)", |arm| {
                number(delta(arm, name).and_then(|delta| delta.p_holm), p)
            })
            .left("verdict", |arm| {
                let verdict = arm.probe(name).and_then(|probe| probe.verdict);
                self.verdict_cell(arm, verdict.filter(|_| delta(arm, name).is_some()))
            })
            .table()
            .without_empty_columns()
    }

    /// One row for each arm and probe, for other programs; `None` where no run was probed.
    pub fn probes_csv(&self) -> Option<String> {
        let arms = &self.results.arms;
        let rows = names(arms).into_iter().flat_map(|first| {
            arms.iter().filter_map(|arm| {
                let probe = arm.probe(&first.name)?;
                let mut row = json!(probe);
                row["arm"] = json!(arm.name);
                row["baseline"] = json!(arm.baseline);
                row["diverged"] = json!(arm.diverged_runs);
                Some(row)
            })
        });
        let rows: Vec<Value> = rows.collect();
        (!rows.is_empty()).then(|| to_csv(&rows, &COLUMNS))
    }

    /// What the tables of the probes mean, and what is not in them.
    pub(super) fn probe_notes(&self) -> Vec<String> {
        let runs = || self.results.runs().filter(|run| run.status == Status::Ok);
        let probed = runs().filter(|run| run.probes().is_some()).count();
        let mut lines = Vec::new();
        if probed > 0 {
            lines.push("probes: shares of held-out items that are right after the last step, the same items for all arms and seeds; Δ in percentage points, paired by seed, its errors and the verdict as for losses, Holm's correction over the arms, each probe by itself; text s.e. is over files or, of copying, random sequences. last k bytes: greedy decoding writes the end of a line; brackets: of ), ] and } the one that closes what is open, as many of each; indentation: greedy decoding without line breaks writes the blanks at the beginning of a line, as many lines with more, fewer and as many as the line before; copying: the second half of random letters that are there twice. chance: the most frequent answer, of indentation also that of the line before, of copying one of 26 letters.".to_owned());
        }
        let mut without: Vec<&str> = Vec::new();
        let empty = |probe: &&ProbeScores| probe.share().is_none();
        let all = runs().filter_map(|run| run.probes()).flatten();
        for probe in all.filter(empty) {
            if !without.contains(&&*probe.name) {
                without.push(&probe.name);
            }
        }
        if !without.is_empty() {
            lines.push(format!(
                "no such positions in this text, or too few, for the probes: {}.",
                without.join(", ")
            ));
        }
        let missing = runs().count() - probed;
        if missing > 0 && self.sweep.measure() == Measure::Bytes {
            lines.push(format!(
                "{missing} of {} runs that have ended are not probed; probe DIR does it.",
                missing + probed
            ));
        }
        lines
    }
}

/// The probes that some arm has, each as the first arm with it has it.
fn names(arms: &[ArmResult]) -> Vec<&ProbeResult> {
    let mut names: Vec<&ProbeResult> = Vec::new();
    for probe in arms.iter().flat_map(|arm| &arm.probes) {
        if names.iter().all(|known| known.name != probe.name) {
            names.push(probe);
        }
    }
    names
}
