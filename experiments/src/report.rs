//! `report`: tables, plots and a page from the files of runs.

use super::Failure;
use figures::{
    plot::PngError,
    table::in_markdown,
    terminal::{Colour, stdout_width, wrapped},
};
use lab::{
    report::{Recorded, RecordedError, page, plots},
    run_dir::{RunError, write_atomically},
};
use std::{
    fs,
    io::{Write, stdout},
    path::{Path, PathBuf},
};

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
                RecordedError::NoSuchArm { .. } => Failure::Usage(format!("--baseline: {error}")),
                error => Failure::Failed(error.to_string()),
            })?;
            let out = match &self.out {
                None => directory.join("report"),
                Some(out) if self.directories.len() == 1 => out.clone(),
                Some(out) => out.join(directory.file_name().unwrap_or(directory.as_os_str())),
            };
            let command = recorded.command();
            write!(
                stdout(),
                "{}",
                recorded
                    .report(&command)
                    .to_text(stdout_width(), Colour::for_stdout())
            )?;
            for remark in &recorded.remarks {
                write!(
                    stdout(),
                    "{}",
                    wrapped(&format!("note: {remark}"), stdout_width())
                )?;
            }
            let written = self.write(&recorded, &command, &out)?;
            let written = format!("written: {}", written.join(", "));
            writeln!(stdout(), "{}", wrapped(&written, stdout_width()))?;
        }
        Ok(())
    }

    fn write(
        &self,
        recorded: &Recorded,
        command: &str,
        out: &Path,
    ) -> Result<Vec<String>, Failure> {
        fs::create_dir_all(out).map_err(|error| {
            Failure::Failed(format!(
                "cannot create {}: {error}; name another directory with --out",
                out.display()
            ))
        })?;
        let report = recorded.report(command);
        let pictures = plots(recorded);
        let mut markdown = report.to_markdown();
        for remark in &recorded.remarks {
            markdown.push_str(&format!("- note: {}\n", in_markdown(remark)));
        }
        let mut files: Vec<(String, Vec<u8>)> = vec![
            ("report.html".into(), page(recorded, &pictures).into_bytes()),
            ("report.csv".into(), report.csv().into_bytes()),
        ];
        for plot in &pictures {
            let svg = plot.picture.to_svg().into_bytes();
            files.push((format!("{}.svg", plot.name), svg));
            let caption = in_markdown(&plot.caption);
            markdown.push_str(&format!("\n![{caption}]({}.svg)\n", plot.name));
            if self.png {
                let png = plot
                    .picture
                    .to_png(PNG_SCALE)
                    .map_err(|error| match error {
                        PngError::FeatureOff => Failure::Usage(format!("--png: {error}")),
                        error => Failure::Failed(error.to_string()),
                    })?;
                files.push((format!("{}.png", plot.name), png));
            }
        }
        files.push(("report.md".into(), markdown.into_bytes()));
        let write = |(name, content): &(String, Vec<u8>)| -> Result<String, RunError> {
            let path = out.join(name);
            write_atomically(&path, content)?;
            Ok(path.display().to_string())
        };
        let written: Result<Vec<String>, RunError> = files.iter().map(write).collect();
        Ok(written?)
    }
}
