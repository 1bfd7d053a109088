//! `report`: tables, plots and a page from the files of runs.

use super::output::{Failure, print, say, usage, write_into};
use figures::{
    plot::PngError,
    table::in_markdown,
    terminal::{Colour, stdout_width},
};
use lab::{
    ablation::Report,
    report::{Recorded, RecordedError, page, plots},
};
use std::path::{Path, PathBuf};

/// Pixels of a PNG for each of the plot.
const PNG_SCALE: f32 = 2.0;

/// Prints the table of a directory of runs and writes report.html (one file that needs no
/// network), report.md, report.csv and the plots as SVG. Everything is rebuilt from the files of
/// the runs; unfinished, missing and damaged ones are named.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Sweep directories such as runs/ablation-rate-small, or directories of single runs
    #[arg(required = true, value_name = "DIR")]
    directories: Vec<PathBuf>,
    /// The arm that others are compared with [default: that of the sweep, or pre-norm]
    #[arg(long, value_name = "ARM")]
    baseline: Option<String>,
    /// Where to write; of several directories, each gets a folder there [default: DIR/report]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Write the plots as PNG too
    #[arg(long)]
    png: bool,
}

impl Args {
    /// Reads, prints and writes.
    pub fn run(self) -> Result<(), Failure> {
        for directory in &self.directories {
            let recorded = Recorded::read(directory, self.baseline.as_deref());
            let recorded = recorded.map_err(|error| match error {
                RecordedError::NoSuchArm { .. } => usage(format!("--baseline: {error}")),
                error => Failure::Failed(error.to_string()),
            })?;
            let out = match &self.out {
                None => directory.join("report"),
                Some(out) if self.directories.len() == 1 => out.clone(),
                Some(out) => out.join(directory.file_name().unwrap_or(directory.as_os_str())),
            };
            let command = recorded.command();
            let report = recorded.report(&command);
            print(&report.to_text(stdout_width(), Colour::for_stdout()))?;
            for remark in &recorded.remarks {
                say(&format!("note: {remark}"))?;
            }
            let written = self.write(&recorded, &report, &out)?.join(", ");
            say(&format!("written: {written}"))?;
            print("\n")?;
        }
        Ok(())
    }

    fn write(
        &self,
        recorded: &Recorded,
        report: &Report<'_>,
        out: &Path,
    ) -> Result<Vec<String>, Failure> {
        let plots = plots(recorded);
        let mut markdown = report.to_markdown();
        for remark in &recorded.remarks {
            markdown.push_str(&format!("- note: {}\n", in_markdown(remark)));
        }
        let mut files: Vec<(String, Vec<u8>)> = vec![
            ("report.html".into(), page(recorded, &plots).into_bytes()),
            ("report.csv".into(), report.csv().into_bytes()),
        ];
        let titled = report.titled_csv();
        files.extend(titled.map(|(name, text)| (name.to_owned(), text.into_bytes())));
        for plot in &plots {
            let (name, caption) = (plot.name, in_markdown(&plot.caption));
            markdown.push_str(&format!("\n![{caption}]({name}.svg)\n"));
            files.push((format!("{name}.svg"), plot.picture.to_svg().into_bytes()));
            if self.png {
                let png = plot.picture.to_png(PNG_SCALE);
                let png = png.map_err(|error| match error {
                    PngError::FeatureOff => usage(format!("--png: {error}")),
                    error => Failure::Failed(error.to_string()),
                })?;
                files.push((format!("{name}.png"), png));
            }
        }
        files.push(("report.md".into(), markdown.into_bytes()));
        write_into(out, files)
    }
}
