//! `export`: a trained network as a program of another library.

use super::output::{Failure, note, say};
use lab::torch::{MODEL_FILE, export};
use std::path::PathBuf;

/// Writes a trained network as a PyTorch program: model.py, its weights as safetensors, and what
/// it was validated with (docs/pytorch.md)
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A run directory, or the weights of a run
    #[arg(value_name = "RUN")]
    from: PathBuf,
    /// The directory to write; it must be new or empty
    #[arg(long, value_name = "DIR")]
    torch: PathBuf,
}

impl Args {
    /// Writes the directory.
    pub fn run(self) -> Result<(), Failure> {
        let exported = export(&self.from, &self.torch)?;
        note(&exported.remarks);
        let compared = match exported.loss {
            Some(loss) => format!(", which gives the run's validation loss, {loss:.4}"),
            None => String::new(),
        };
        let program = self.torch.join(MODEL_FILE);
        say(&format!(
            "python {} is the network{compared}",
            program.display()
        ))
    }
}
