//! `inspect` of a checkpoint that another program wrote.

use super::output::{Failure, note, print, say, usage, write_into};
use checkpoints::{
    Analysis, Checkpoint, CheckpointError, StateFile, metadata_keys, to_safetensors,
};
use figures::terminal::{Colour, stdout_width};
use lab::{
    inspect::{CheckpointView, dialects, opened, recognised, to_csv, to_npy, to_npz},
    run_dir::{is_run_directory, write_atomically},
};
use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

/// Options for checkpoints of other programs.
#[derive(Debug, clap::Args)]
pub struct CheckpointArgs {
    /// Read a checkpoint of another program as this family; `list` shows all, with the names of
    /// their tensors [default: the family that its configuration and names say]
    #[arg(long, value_name = "NAME")]
    dialect: Option<String>,
    /// States of the streams in front of every site of a checkpoint (safetensors or npz), for
    /// exact coefficients of every token
    #[arg(long, value_name = "FILE")]
    states: Option<PathBuf>,
    /// Write the coefficients of a checkpoint as safetensors
    #[arg(long, value_name = "FILE")]
    tensors: Option<PathBuf>,
}

/// Files that a checkpoint of another program is made of.
const EXTENSIONS: [&str; 6] = ["safetensors", "gguf", "pt", "pth", "bin", "ckpt"];

impl CheckpointArgs {
    /// Whether only the list of dialects is asked for.
    pub fn lists(&self) -> bool {
        self.dialect.as_deref() == Some("list")
    }

    /// Prints the dialects.
    pub fn list() -> Result<(), Failure> {
        print(&dialects(stdout_width()))
    }

    /// Whether a path is a checkpoint of another program.
    pub fn are_for(&self, path: &Path) -> bool {
        let asked = [&self.states, &self.tensors]
            .into_iter()
            .any(Option::is_some);
        if asked || self.dialect.is_some() {
            return true;
        }
        let extension = |path: &Path| path.extension().and_then(OsStr::to_str).map(str::to_owned);
        let known = |path: &Path| extension(path).is_some_and(|e| EXTENSIONS.contains(&&*e));
        if path.is_dir() {
            let files = fs::read_dir(path).into_iter().flatten().flatten();
            // Opening a pipe would wait for its other end.
            let weights = files.map(|file| file.path());
            let mut weights = weights
                .filter(|file| known(file) && file.is_file())
                .peekable();
            let ours = weights.peek().is_some() && weights.all(|file| is_own(&file));
            return !is_run_directory(path) && (path.join("config.json").is_file() || !ours);
        }
        if !path.is_file() {
            return false;
        }
        match extension(path).as_deref() {
            Some("safetensors") => !is_own(path),
            None => {
                let beside = path.with_file_name("config.json").is_file();
                metadata_keys(path).map_or(beside, |_| !is_own(path))
            }
            Some(_) => known(path),
        }
    }

    /// Says what a checkpoint is, and shows its connections; `layer` counts from 1.
    pub fn inspect(
        &self,
        path: &Path,
        layer: Option<usize>,
        with: &[PathBuf],
        out: Option<&Path>,
        png: bool,
    ) -> Result<(), Failure> {
        let (dialect, width) = (self.dialect.as_deref(), stdout_width());
        let checkpoint = Checkpoint::open(path, dialect).map_err(|error| match error {
            CheckpointError::UnknownDialect { .. } => usage(error.to_string()),
            error => error.into(),
        })?;
        print(&recognised(&checkpoint, width))?;
        let states = self.states.as_deref().map(StateFile::open).transpose()?;
        let analysis = Analysis::of(&checkpoint, states.as_ref())?;
        if !analysis.without_states.is_empty() {
            let sites = analysis.without_states.iter().map(usize::to_string);
            let sites: Vec<_> = sites.collect();
            note(&[format!("no states of the sites {}", sites.join(", "))]);
        }
        if let Some(file) = &self.tensors {
            write_atomically(file, &to_safetensors(&analysis))?;
        }
        let mut view = CheckpointView::of(&super::inspect::name_of(path), checkpoint, analysis);
        if let Some(layer) = layer
            && !(1..=view.sites()).contains(&layer)
        {
            let message = format!("--layer is {layer}, expected 1 to {}", view.sites());
            return Err(usage(message));
        }
        for other in with {
            view.compare(&opened(&super::inspect::name_of(other), other, dialect)?);
        }
        let layer = layer.map(|layer| layer - 1);
        print(&view.text(layer, width, Colour::for_stdout()))?;
        match out {
            Some(directory) => write(directory, &view, png),
            None => {
                say("--out DIR writes a page, pictures, JSON, CSV, NPY and NPZ files of all this")
            }
        }
    }
}

/// Whether a file is of this program.
fn is_own(path: &Path) -> bool {
    let own = ["format_version", "config", "sha256", "step"];
    metadata_keys(path).is_ok_and(|keys| keys.iter().any(|key| own.contains(&key.as_str())))
}

fn write(directory: &Path, view: &CheckpointView, png: bool) -> Result<(), Failure> {
    const PNG_SCALE: f32 = 1.5;
    let matrices = view.matrices();
    let arrays = matrices
        .iter()
        .map(|matrix| (format!("{}.npy", matrix.name), to_npy(matrix)));
    write_into(&directory.join("npy"), arrays)?;
    let files = [
        ("index.html", view.page().into_bytes()),
        ("inspection.json", view.to_json()),
        ("matrices.csv", to_csv(&matrices).into_bytes()),
        ("matrices.npz", to_npz(&matrices)),
    ];
    let files = files.map(|(name, content)| (name.to_owned(), content));
    write_into(directory, files)?;
    let mut pictures = Vec::new();
    for (name, picture) in view.pictures() {
        pictures.push((format!("{name}.svg"), picture.to_svg().into_bytes()));
        if png {
            pictures.push((format!("{name}.png"), picture.to_png(PNG_SCALE)?));
        }
    }
    write_into(&directory.join("pictures"), pictures)?;
    say(&format!("everything is in {}", directory.display()))
}
