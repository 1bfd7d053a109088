//! `inspect`: what a trained network's connections have learned.

use super::{
    checkpoint,
    output::{Failure, note, print, say, usage, write_into},
};
use figures::terminal::{Colour, stdout_width};
use lab::{
    inspect::{InspectedNetwork, Inspection, Trace, page, summary, to_csv, to_npy},
    run_dir::read_coefficients,
};
use std::path::{Path, PathBuf};

const MOST_WINDOWS: usize = 100_000;

/// Show what the connections of a trained network have learned: coefficients, the unfolded
/// matrix, patterns, gains, and what the loss says when parts are taken away.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A run directory, a safetensors file with weights and their configuration, or a checkpoint of
    /// another program (a folder, .safetensors, .gguf)
    #[arg(value_name = "RUN", required_unless_present = "dialect")]
    run: Option<PathBuf>,
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
    #[command(flatten)]
    checkpoint: checkpoint::CheckpointArgs,
}

impl Args {
    /// Looks, prints and writes.
    pub fn run(self) -> Result<(), Failure> {
        if self.checkpoint.lists() {
            return checkpoint::CheckpointArgs::list();
        }
        let Some(run) = self.run.as_deref() else {
            return Err(usage(
                "--dialect needs a checkpoint beside it, or is `list`",
            ));
        };
        if self.checkpoint.are_for(run) {
            if self.text.is_some() {
                let message = "--text is for networks trained here: give a checkpoint of another \
                               program --states";
                return Err(usage(message));
            }
            let (layer, out) = (self.layer, self.out.as_deref());
            return self
                .checkpoint
                .inspect(run, layer, &self.with, out, self.png);
        }
        let windows = self.windows;
        if !(1..=MOST_WINDOWS).contains(&windows) {
            let message = format!("--windows is {windows}, expected 1 to {MOST_WINDOWS}");
            return Err(usage(message));
        }
        let network = self.open(run)?;
        let sublayers = network.config.model.sublayers();
        if let Some(layer) = self.layer
            && !(1..=sublayers).contains(&layer)
        {
            let message = format!("--layer is {layer}, expected 1 to {sublayers}");
            return Err(usage(message));
        }
        let records = match run.is_dir() {
            true => read_coefficients(run)?,
            false => Vec::new(),
        };
        let trace = Trace::of(&network);
        let mut found = Inspection::of(&name_of(run), &network, &trace, &records);
        if self.layer.is_some() && found.layers.is_empty() {
            let message = format!("--layer: {} has no coefficients of streams", found.label);
            return Err(usage(message));
        }
        for other in &self.with {
            let network = self.open(other)?;
            found.compare(&name_of(other), &network, &Trace::of(&network));
        }
        let layer = self.layer.map(|layer| layer - 1);
        print(&summary(
            &found,
            layer,
            stdout_width(),
            Colour::for_stdout(),
        ))?;
        let Some(directory) = &self.out else {
            return say("--out DIR writes a page, pictures, JSON, CSV and NPY files of all this");
        };
        let html = page(&found, &trace, &records, network.text());
        self.write(directory, &found, html)?;
        say(&format!("everything is in {}", directory.display()))
    }

    fn open(&self, run: &Path) -> Result<InspectedNetwork, Failure> {
        let network = InspectedNetwork::open(run, self.text.as_deref(), self.windows)?;
        note(&network.remarks);
        Ok(network)
    }

    /// Writes everything; arrays below `npy`, pictures below `pictures`.
    fn write(&self, directory: &Path, found: &Inspection, page: String) -> Result<(), Failure> {
        const PNG_SCALE: f32 = 1.5;
        let matrices = found.matrices();
        let arrays = matrices
            .iter()
            .map(|matrix| (format!("{}.npy", matrix.name), to_npy(matrix)));
        write_into(&directory.join("npy"), arrays)?;
        let files = [
            ("index.html", page.into_bytes()),
            ("inspection.json", found.to_json()),
            ("matrices.csv", to_csv(&matrices).into_bytes()),
        ];
        write_into(
            directory,
            files.map(|(name, content)| (name.to_owned(), content)),
        )?;
        let mut pictures = Vec::new();
        for (name, picture) in found.pictures() {
            pictures.push((format!("{name}.svg"), picture.to_svg().into_bytes()));
            if self.png {
                pictures.push((format!("{name}.png"), picture.to_png(PNG_SCALE)?));
            }
        }
        write_into(&directory.join("pictures"), pictures)?;
        Ok(())
    }
}

/// The last two parts of a path: `dhc4/seed0`.
pub(super) fn name_of(run: &Path) -> String {
    let parts: Vec<_> = run.iter().map(|part| part.to_string_lossy()).collect();
    parts[parts.len().saturating_sub(2)..].join("/")
}
