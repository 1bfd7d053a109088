//! What can be wrong with a file of weights.

use engine::shape::Shape;
use std::{io, path::PathBuf};

/// Advice on what to open instead.
pub(super) const ADVICE: &str = "this program opens networks that it has trained: give a run \
                                 directory, or the model.safetensors in one";

/// Why a file of tensors cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// A file that the operating system refuses to read.
    #[error("{file}: cannot be read ({source}): check the path and its permissions")]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// No safetensors file, or a truncated or damaged one.
    #[error("{file}: not a whole safetensors file: {reason}")]
    Malformed {
        /// The file.
        file: PathBuf,
        /// Kind of mistake.
        reason: String,
    },
    /// A file of another kind.
    #[error("{file}: not a whole safetensors file: it is {kind}; {}", ADVICE)]
    Foreign {
        /// The file.
        file: PathBuf,
        /// The kind.
        kind: &'static str,
    },
    /// A checksum that is not that of the content.
    #[error(
        "{file}: its checksum does not fit its content: the file was damaged or changed after it was \
         written; take a copy of it, or remove it and start its run again with train --resume, which \
         writes it from the saved state"
    )]
    Changed {
        /// The file.
        file: PathBuf,
    },
    /// A configuration that cannot be used.
    #[error("{file}: configuration: {reason}")]
    Config {
        /// The file.
        file: PathBuf,
        /// Kind of mistake.
        reason: String,
    },
    /// Tensors that are not there.
    #[error("{file}: {} missing: the file is of another network", names(tensors))]
    Missing {
        /// The file.
        file: PathBuf,
        /// Names of the tensors.
        tensors: Vec<String>,
    },
    /// Tensors that nothing reads.
    #[error("{file}: {} not part of this network", names(tensors))]
    Unexpected {
        /// The file.
        file: PathBuf,
        /// Names of the tensors.
        tensors: Vec<String>,
    },
    /// A tensor of another shape.
    #[error("{file}: {tensor} is {found:?}, expected {expected}")]
    Shape {
        /// The file.
        file: PathBuf,
        /// Name of the tensor.
        tensor: String,
        /// Shape in the network.
        expected: Shape,
        /// Shape in the file.
        found: Vec<usize>,
    },
    /// A tensor with another type of elements.
    #[error("{file}: {tensor} is {found}, expected {expected}: convert it before saving")]
    Dtype {
        /// The file.
        file: PathBuf,
        /// Name of the tensor.
        tensor: String,
        /// Type that can be read.
        expected: String,
        /// Type in the file.
        found: String,
    },
    /// A weight that is NaN or infinite.
    #[error("{file}: element {index} of {tensor} is {value}: the run behind it diverged")]
    NotFinite {
        /// The file.
        file: PathBuf,
        /// Name of the tensor.
        tensor: String,
        /// Index of the element.
        index: usize,
        /// Value of the element.
        value: f32,
    },
}

/// A few names, and how many more; with the verb that fits.
fn names(tensors: &[String]) -> String {
    const SHOWN: usize = 3;
    let names = tensors[..tensors.len().min(SHOWN)].join(", ");
    let more = match tensors.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let verb = if tensors.len() == 1 { "is" } else { "are" };
    format!("{names}{more} {verb}")
}
