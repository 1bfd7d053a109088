//! `import`: weights that another library has changed.

use super::output::{Failure, print, say};
use lab::{
    invocation::{command_line, path_argument},
    torch::import,
};
use std::path::PathBuf;

/// Makes a run directory of weights that `export --torch` has written and PyTorch has changed;
/// sample and inspect take it, and train --resume begins with them
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The directory that export has written, or a file of weights in it
    #[arg(value_name = "DIR")]
    from: PathBuf,
    /// The run directory to make; it must be new or empty
    #[arg(long, value_name = "RUN")]
    out: PathBuf,
}

impl Args {
    /// Makes the run.
    pub fn run(self) -> Result<(), Failure> {
        let config = import(&self.from, &self.out)?;
        let (out, steps) = (self.out.display(), config.train.steps);
        say(&format!(
            "{out} is a run of {steps} steps before its first one; to train it:"
        ))?;
        let directory = path_argument(&self.out);
        let words = ["train".as_ref(), "--resume".as_ref(), directory.as_os_str()];
        print(&format!("  {}\n", command_line(&words)))
    }
}
