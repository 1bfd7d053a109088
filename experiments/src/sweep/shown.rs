//! Output of a sweep while it runs, and the files of its results.

use figures::terminal::{Colour, stderr_width};
use lab::{
    ablation::{Progress, Report, Results, Study, contrasts_of},
    run_dir::{RunError, write_atomically},
};
use serde_json::json;

/// Output after the table.
#[derive(Debug, Default)]
pub(super) struct Beside {
    /// Printed text.
    pub(super) text: String,
    /// The name and the content of a file.
    pub(super) file: Option<(&'static str, String)>,
}

/// Output while and after the runs.
pub(super) struct Shown<'a> {
    pub(super) study: &'a Study<'a>,
    pub(super) command: &'a str,
    pub(super) preset: &'a str,
}

impl Shown<'_> {
    pub(super) fn results(&self) -> Result<Results, RunError> {
        let sweep = self.study.sweep;
        let seeds = sweep.all_seeds()?;
        let contrasts = contrasts_of(&sweep.path(), &sweep.contrasts, &sweep.seeds)?;
        let results = Results::collect(
            &sweep.root,
            &sweep.name,
            &sweep.arms,
            &seeds,
            sweep.measure(),
        );
        Ok(results?.with_statements(&contrasts))
    }

    pub(super) fn report<'r>(&'r self, results: &'r Results) -> Report<'r> {
        Report {
            sweep: self.study.sweep,
            results,
            data: self.study.data,
            command: self.command,
        }
    }

    /// The table so far. A file that cannot be read now is an error at the end.
    pub(super) fn live(&self, progress: &Progress) {
        if let Ok(results) = self.results() {
            let table = self.report(&results).loss_table();
            progress.table(&table.to_text(stderr_width(), Colour::Off));
        }
    }

    /// `results.json`, `.jsonl`, `.csv`, `.md`, `sweep.toml` and the files of the titled tables in the
    /// sweep directory, and what there is beside them.
    pub(super) fn write(&self, results: &Results, beside: &Beside) -> Result<(), RunError> {
        self.study.declare()?;
        let sweep = self.study.sweep;
        let report = self.report(results);
        let (subject, data) = (&sweep.subject, self.study.data);
        let document = json!({
            "ablation": subject.name,
            "title": subject.title,
            "preset": self.preset,
            "command": self.command,
            "data": { "name": data.account().name, "fingerprint": data.account().fingerprint },
            "paper": subject.paper.as_ref().map(|paper| {
                json!({ "place": paper.place, "scale": paper.scale, "columns": paper.columns })
            }),
            "results": results,
        });
        let json = format!("{document:#}\n");
        let lines: String = results
            .runs()
            .map(|run| format!("{}\n", json!(run)))
            .collect();
        let path = sweep.path();
        for (name, text) in [
            ("results.json", json),
            ("results.jsonl", lines),
            ("results.csv", report.csv()),
            ("results.md", report.to_markdown()),
        ] {
            write_atomically(&path.join(name), text.as_bytes())?;
        }
        for (name, text) in report.titled_csv() {
            write_atomically(&path.join(name), text.as_bytes())?;
        }
        if let Some((name, text)) = &beside.file {
            write_atomically(&path.join(name), text.as_bytes())?;
        }
        self.study.write_settings(&results.seeds)
    }
}
