//! Errors of reading a checkpoint: what, where, what to do.

use std::{
    io,
    path::{Path, PathBuf},
};

/// A checkpoint that cannot be read or understood.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file system refused.
    #[error("cannot read {}: {source}", file.display())]
    Unreadable {
        /// The file or folder.
        file: PathBuf,
        /// The reason of the file system.
        source: io::Error,
    },
    /// A file contradicts its own format.
    #[error("{}: {reason}", file.display())]
    Malformed {
        /// The file.
        file: PathBuf,
        /// The contradiction.
        reason: String,
    },
    /// A pickle or an archive of PyTorch, which would have to be executed to be read.
    #[error(
        "{0} is a pickle of PyTorch, which runs code when it is read. Convert its state dict \
         (perhaps below a key such as \"model\") with two lines of Python:\n\
         import torch, safetensors.torch\n\
         safetensors.torch.save_file({{k: v.contiguous().clone() for k, v in torch.load({0:?}, \
         map_location=\"cpu\", weights_only=True).items()}}, \"model.safetensors\")",
        file.display().to_string()
    )]
    Pickle {
        /// The file.
        file: PathBuf,
    },
    /// A tensor that is needed cannot be used.
    #[error("{}: tensor {name}: {reason}", file.display())]
    Tensor {
        /// The name of the tensor.
        name: String,
        /// The file that holds it.
        file: PathBuf,
        /// The contradiction.
        reason: String,
    },
    /// A setting of the configuration is missing or contradicts the tensors.
    #[error("{key} in the configuration of {}: {reason}", path.display())]
    Setting {
        /// The key, or the keys that were looked for.
        key: String,
        /// The checkpoint.
        path: PathBuf,
        /// The contradiction.
        reason: String,
    },
    /// Nothing in the checkpoint is a hyper-connection.
    #[error(
        "{}: no tensor has a name of hyper-connections that is known ({looked} names); \
         `--dialect list` shows the names, `--dialect NAME` forces a family", path.display()
    )]
    NoConnections {
        /// The checkpoint.
        path: PathBuf,
        /// How many names there were.
        looked: usize,
    },
    /// A dialect of this name does not exist.
    #[error("no dialect is called {name}{}; known are {known}", hint(nearest))]
    UnknownDialect {
        /// The name asked for.
        name: String,
        /// The name most like it.
        nearest: Option<String>,
        /// All names.
        known: String,
    },
    /// Shards that the index names lie elsewhere still.
    #[error(
        "{}: tensors of hyper-connections are in shards that are not here; download {}",
        path.display(), shards.join(", ")
    )]
    ToFetch {
        /// The checkpoint.
        path: PathBuf,
        /// The shards to download.
        shards: Vec<String>,
    },
    /// Tensors that belong together are not all there.
    #[error("{}: missing are {}", path.display(), listed(names))]
    Incomplete {
        /// The checkpoint.
        path: PathBuf,
        /// The names of what is missing.
        names: Vec<String>,
    },
}

impl CheckpointError {
    pub(crate) fn unreadable(file: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        |source| Self::Unreadable {
            file: file.to_owned(),
            source,
        }
    }

    pub(crate) fn malformed(file: &Path, reason: impl Into<String>) -> Self {
        Self::Malformed {
            file: file.to_owned(),
            reason: reason.into(),
        }
    }
}

fn hint(nearest: &Option<String>) -> String {
    let named = nearest.as_ref();
    named.map_or_else(String::new, |name| format!(" (did you mean {name}?)"))
}

/// At most ten names, and how many more.
fn listed(names: &[String]) -> String {
    const MOST: usize = 10;
    let shown = names[..names.len().min(MOST)].join(", ");
    match names.len().saturating_sub(MOST) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
