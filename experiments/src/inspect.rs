//! `inspect`: what a trained network's connections have learned.

use super::{Failure, remark};
use figures::terminal::{Colour, stdout_width, wrapped};
use lab::{
    inspect::{Inspection, Subject, Trace, page, summary, to_csv, to_npy},
    run_dir::{RunError, read_coefficients, write_atomically},
};
use std::{
    fs,
    io::{Write, stdout},
    path::{Path, PathBuf},
};

const MOST_WINDOWS: usize = 100_000;

/// Show what the connections of a trained network have learned: coefficients, the unfolded
/// matrix, patterns, gains, and what the loss says when parts are taken away.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A run directory, or a safetensors file with weights and their configuration
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// The text that drives dynamic coefficients: a file, or a folder, of which the validation part
    /// is read [default: the validation part of the network's own data]
    #[arg(long, value_name = "PATH")]
    text: Option<PathBuf>,
    /// Windows of text (or images) to look at
    #[arg(long, default_value_t = 8, value_name = "N")]
    windows: usize,
    /// Show static part, dynamic part and change of this sublayer, counted from 1
    #[arg(long, value_name = "K")]
    layer: Option<usize>,
    /// Another network to compare with, on the same text; can be repeated
    #[arg(long, value_name = "RUN")]
    with: Vec<PathBuf>,
    /// Write a page, pictures (SVG), JSON, CSV and NPY files into this directory
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Write every picture as PNG too
    #[arg(long, requires = "out")]
    png: bool,
}

impl Args {
    /// Looks, prints and writes.
    pub fn run(self) -> Result<(), Failure> {
        if !(1..=MOST_WINDOWS).contains(&self.windows) {
            let message = format!(
                "--windows is {}, expected 1 to {MOST_WINDOWS}",
                self.windows
            );
            return Err(Failure::Usage(message));
        }
        let subject = self.open(&self.run)?;
        let sublayers = subject.config().model.sublayers();
        if let Some(layer) = self.layer
            && !(1..=sublayers).contains(&layer)
        {
            return Err(Failure::Usage(format!(
                "--layer is {layer}, expected 1 to {sublayers}"
            )));
        }
        let records = match self.run.is_dir() {
            true => read_coefficients(&self.run)?,
            false => Vec::new(),
        };
        let trace = Trace::of(&subject);
        let name = name_of(&self.run);
        let mut found = Inspection::of(&name, &subject, &trace, &records);
        if self.layer.is_some() && found.layers.is_empty() {
            return Err(Failure::Usage(format!(
                "--layer: {} has no coefficients of streams",
                found.label
            )));
        }
        for other in &self.with {
            let subject = self.open(other)?;
            found.compare(&name_of(other), &subject, &Trace::of(&subject));
        }
        let layer = self.layer.map(|layer| layer - 1);
        let text = summary(&found, layer, stdout_width(), Colour::for_stdout());
        let mut out = stdout().lock();
        out.write_all(text.as_bytes())?;
        match &self.out {
            Some(directory) => {
                let text = subject.text();
                let text = text.as_ref().map(|(text, window)| (&text[..], *window));
                let html = page(&found, &trace, &records, text);
                write_files(directory, &found, &html)?;
                write_pictures(directory, &found, self.png)?;
                let place = format!("everything is in {}", directory.display());
                write!(out, "{}", wrapped(&place, stdout_width()))?;
            }
            None => {
                let hint = "--out DIR writes a page, pictures, JSON, CSV and NPY files of all this";
                write!(out, "{}", wrapped(hint, stdout_width()))?;
            }
        }
        Ok(())
    }

    fn open(&self, run: &Path) -> Result<Subject, Failure> {
        let subject = Subject::open(run, self.text.as_deref(), self.windows)?;
        remark(subject.remarks());
        Ok(subject)
    }
}

/// The last two parts of a path: `dhc4/seed0`.
fn name_of(run: &Path) -> String {
    let parts: Vec<_> = run.iter().map(|part| part.to_string_lossy()).collect();
    parts[parts.len().saturating_sub(2)..].join("/")
}

fn write_files(directory: &Path, found: &Inspection, page: &str) -> Result<(), Failure> {
    let arrays = directory.join("npy");
    create(&arrays)?;
    let write = |name: &str, content: &[u8]| -> Result<(), RunError> {
        write_atomically(&directory.join(name), content)
    };
    let matrices = found.matrices();
    write("index.html", page.as_bytes())?;
    write("inspection.json", &found.to_json())?;
    write("matrices.csv", to_csv(&matrices).as_bytes())?;
    for matrix in &matrices {
        let path = arrays.join(format!("{}.npy", matrix.name));
        write_atomically(&path, &to_npy(matrix))?;
    }
    Ok(())
}

/// Below `pictures`, as SVG and perhaps as PNG.
fn write_pictures(directory: &Path, found: &Inspection, png: bool) -> Result<(), Failure> {
    const PNG_SCALE: f32 = 1.5;
    let directory = directory.join("pictures");
    create(&directory)?;
    for (name, picture) in found.pictures() {
        let svg = directory.join(format!("{name}.svg"));
        write_atomically(&svg, picture.to_svg().as_bytes())?;
        if png {
            let file = directory.join(format!("{name}.png"));
            write_atomically(&file, &picture.to_png(PNG_SCALE)?)?;
        }
    }
    Ok(())
}

fn create(path: &Path) -> Result<(), Failure> {
    fs::create_dir_all(path).map_err(|error| {
        Failure::Failed(format!(
            "cannot create {}: {error}; name another directory with --out",
            path.display()
        ))
    })
}
