//! What can be wrong with a file of weights.

use engine::shape::Shape;
use std::{fmt, io, path::PathBuf};

/// Why a file of tensors cannot be used.
#[derive(Debug)]
pub enum WeightsError {
    /// The system does not give it out.
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// No safetensors file, or a truncated or damaged one.
    Malformed {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A checksum that is not that of the content.
    Changed {
        /// The file.
        file: PathBuf,
    },
    /// A configuration that cannot be used.
    Config {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Tensors are not there.
    Missing {
        /// The file.
        file: PathBuf,
        /// Their names.
        tensors: Vec<String>,
    },
    /// Tensors are there that nothing reads.
    Unexpected {
        /// The file.
        file: PathBuf,
        /// Their names.
        tensors: Vec<String>,
    },
    /// A tensor has another shape.
    Shape {
        /// The file.
        file: PathBuf,
        /// Name of the tensor.
        tensor: String,
        /// What the network has.
        expected: Shape,
        /// What the file has.
        found: Vec<usize>,
    },
    /// A tensor has another type of elements.
    Dtype {
        /// The file.
        file: PathBuf,
        /// Name of the tensor.
        tensor: String,
        /// What can be read.
        expected: String,
        /// What the file has.
        found: String,
    },
    /// A weight is NaN or infinite.
    NotFinite {
        /// The file.
        file: PathBuf,
        /// The name of the tensor.
        tensor: String,
        /// Which element.
        index: usize,
        /// Value of the element.
        value: f32,
    },
}

impl fmt::Display for WeightsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { file, source } => write!(
                f,
                "{}: cannot be read ({source}): check the path and its permissions",
                file.display()
            ),
            Self::Malformed { file, reason } => write!(
                f,
                "{}: not a whole safetensors file: {reason}",
                file.display()
            ),
            Self::Changed { file } => write!(
                f,
                "{}: its checksum does not fit its content: the file was damaged or changed after \
                 it was written; take a copy of it, or remove it and start its run again with \
                 train --resume, which writes it from the saved state",
                file.display()
            ),
            Self::Config { file, reason } => {
                write!(f, "{}: configuration: {reason}", file.display())
            }
            Self::Missing { file, tensors } => write!(
                f,
                "{}: {} missing: the file is of another network",
                file.display(),
                Names(tensors)
            ),
            Self::Unexpected { file, tensors } => write!(
                f,
                "{}: {} not part of this network",
                file.display(),
                Names(tensors)
            ),
            Self::Shape {
                file,
                tensor,
                expected,
                found,
            } => write!(
                f,
                "{}: {tensor} is {found:?}, expected {expected}",
                file.display()
            ),
            Self::Dtype {
                file,
                tensor,
                expected,
                found,
            } => write!(
                f,
                "{}: {tensor} is {found}, expected {expected}: convert it before saving",
                file.display()
            ),
            Self::NotFinite {
                file,
                tensor,
                index,
                value,
            } => write!(
                f,
                "{}: element {index} of {tensor} is {value}: the run behind it diverged",
                file.display()
            ),
        }
    }
}

impl std::error::Error for WeightsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// A few names, and how many more; with the verb that fits.
struct Names<'a>(&'a [String]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 3;
        let names = &self.0[..self.0.len().min(SHOWN)];
        f.write_str(&names.join(", "))?;
        if self.0.len() > SHOWN {
            write!(f, " and {} more", self.0.len() - SHOWN)?;
        }
        f.write_str(if self.0.len() == 1 { " is" } else { " are" })
    }
}
