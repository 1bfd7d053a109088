//! Weights as safetensors: named tensors that PyTorch and others read and write.
//!
//! A file holds every part of the parameters under its path
//! (`blocks.0.attn.q.weight`, `[out, in]`, F32, in registration order) and, in
//! `__metadata__`, `format_version` and `config`, the configuration as JSON. The bytes
//! are a function of the weights and the configuration alone.

use engine::{
    params::{Params, Part},
    shape::Shape,
};
use safetensors::{Dtype, SafeTensors};
use serde::{Serialize, Serializer, de::DeserializeOwned, ser::SerializeMap};
use std::{
    collections::BTreeMap,
    fmt, fs, io,
    ops::Range,
    path::{Path, PathBuf},
};

/// The version of the layout described above.
const FORMAT_VERSION: &str = "1";
/// The header and with it the data start at multiples of this many bytes.
const ALIGNMENT: usize = 8;

/// The weights and the configuration of a network as the content of a file.
///
/// # Panics
/// If the configuration cannot be represented as JSON.
pub fn to_bytes(params: &Params, config: &impl Serialize) -> Vec<u8> {
    let config = serde_json::to_string(config).expect("weights: a configuration fits JSON");
    let parts: Vec<&Part> = params.parts().collect();
    let header = Header {
        config: &config,
        parts: &parts,
    };
    let mut header = serde_json::to_vec(&header).expect("weights: names and shapes fit JSON");
    header.resize(header.len().next_multiple_of(ALIGNMENT), b' ');
    let elements: usize = parts.iter().map(|part| part.shape.len()).sum();
    let mut bytes = Vec::with_capacity(8 + header.len() + 4 * elements);
    bytes.extend((header.len() as u64).to_le_bytes());
    bytes.extend(header);
    for part in parts {
        let values = &params.slab()[part.range.clone()];
        bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }
    bytes
}

/// The header, in registration order; a hash map would change the bytes of every file.
struct Header<'a> {
    config: &'a str,
    parts: &'a [&'a Part],
}

#[derive(Serialize)]
struct HeaderMetadata<'a> {
    format_version: &'static str,
    config: &'a str,
}

#[derive(Serialize)]
struct HeaderTensor<'a> {
    dtype: &'static str,
    shape: &'a [usize],
    data_offsets: [usize; 2],
}

impl Serialize for Header<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let metadata = HeaderMetadata {
            format_version: FORMAT_VERSION,
            config: self.config,
        };
        map.serialize_entry("__metadata__", &metadata)?;
        let mut end = 0;
        for part in self.parts {
            let start = end;
            end += 4 * part.shape.len();
            let tensor = HeaderTensor {
                dtype: "F32",
                shape: part.shape.dims(),
                data_offsets: [start, end],
            };
            map.serialize_entry(&part.name, &tensor)?;
        }
        map.end()
    }
}

/// A safetensors file in memory, its header checked.
#[derive(Debug)]
pub struct TensorFile {
    path: PathBuf,
    bytes: Vec<u8>,
    metadata: BTreeMap<String, String>,
    tensors: BTreeMap<String, Tensor>,
}

#[derive(Debug)]
struct Tensor {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Range<usize>,
}

impl TensorFile {
    /// Reads a file.
    ///
    /// # Errors
    /// [`WeightsError::Unreadable`] and those of [`TensorFile::from_bytes`].
    pub fn open(path: &Path) -> Result<Self, WeightsError> {
        let bytes = fs::read(path).map_err(|source| WeightsError::Unreadable {
            file: path.to_owned(),
            source,
        })?;
        Self::from_bytes(path, bytes)
    }

    /// The content of a file; `path` names it in messages.
    ///
    /// # Errors
    /// [`WeightsError::Malformed`] unless the header describes exactly the data.
    pub fn from_bytes(path: impl Into<PathBuf>, bytes: Vec<u8>) -> Result<Self, WeightsError> {
        let path = path.into();
        let (header_len, header) = match SafeTensors::read_metadata(&bytes) {
            Ok(parsed) => parsed,
            Err(error) => {
                return Err(WeightsError::Malformed {
                    reason: format!("{error} ({} bytes)", bytes.len()),
                    file: path,
                });
            }
        };
        let metadata = header.metadata().clone().unwrap_or_default();
        let data = 8 + header_len;
        let tensors = header.offset_keys().into_iter().map(|name| {
            let info = header.info(&name).expect("a name of the header");
            let (start, end) = info.data_offsets;
            let tensor = Tensor {
                dtype: info.dtype,
                shape: info.shape.clone(),
                bytes: data + start..data + end,
            };
            (name, tensor)
        });
        let tensors = tensors.collect();
        Ok(Self {
            path,
            metadata: metadata.into_iter().collect(),
            tensors,
            bytes,
        })
    }

    /// Where it was read.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// An entry of `__metadata__`.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).map(String::as_str)
    }

    /// The configuration of a file written by [`to_bytes`].
    ///
    /// # Errors
    /// [`WeightsError::Config`] if it is missing, of another format version or does
    /// not describe a `C`.
    pub fn config<C: DeserializeOwned>(&self) -> Result<C, WeightsError> {
        let fail = |reason| WeightsError::Config {
            file: self.path.clone(),
            reason,
        };
        match self.metadata("format_version") {
            Some(FORMAT_VERSION) => {}
            Some(other) => {
                return Err(fail(format!(
                    "format version {other}, this program reads {FORMAT_VERSION}"
                )));
            }
            None => return Err(fail("__metadata__ has no format_version".into())),
        }
        let json = self
            .metadata("config")
            .ok_or_else(|| fail("__metadata__ has no config".into()))?;
        serde_json::from_str(json).map_err(|error| fail(error.to_string()))
    }

    /// The names of all tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The shape of a tensor, if there is one of this name.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|tensor| &*tensor.shape)
    }

    /// The elements of a float tensor.
    ///
    /// # Errors
    /// [`WeightsError::Missing`], or [`WeightsError::Dtype`] if it is not F32.
    pub fn floats(&self, name: &str) -> Result<Vec<f32>, WeightsError> {
        let words = self.words(name, Dtype::F32)?;
        Ok(words.map(f32::from_le_bytes).collect())
    }

    /// The elements of an integer tensor.
    ///
    /// # Errors
    /// [`WeightsError::Missing`], or [`WeightsError::Dtype`] if it is not I32.
    pub fn integers(&self, name: &str) -> Result<Vec<i32>, WeightsError> {
        let words = self.words(name, Dtype::I32)?;
        Ok(words.map(i32::from_le_bytes).collect())
    }

    fn words(
        &self,
        name: &str,
        expected: Dtype,
    ) -> Result<impl Iterator<Item = [u8; 4]>, WeightsError> {
        let Some(tensor) = self.tensors.get(name) else {
            return Err(WeightsError::Missing {
                file: self.path.clone(),
                tensors: vec![name.to_owned()],
            });
        };
        if tensor.dtype != expected {
            return Err(WeightsError::Dtype {
                file: self.path.clone(),
                tensor: name.to_owned(),
                expected: expected.to_string(),
                found: tensor.dtype.to_string(),
            });
        }
        let (words, _) = self.bytes[tensor.bytes.clone()].as_chunks();
        Ok(words.iter().copied())
    }

    /// Sets all of `params` from the tensors whose names begin with `prefix` (empty for
    /// a file of weights and nothing else). If there is an error nothing is changed.
    ///
    /// # Errors
    /// Anything but [`WeightsError::Unreadable`]: every tensor has to be there, with
    /// its shape, in F32 and finite, and none besides.
    ///
    /// # Panics
    /// If a tape still reads the parameters.
    #[track_caller]
    pub fn load(&self, prefix: &str, params: &mut Params) -> Result<(), WeightsError> {
        let file = || self.path.clone();
        let stored = |part: &Part| format!("{prefix}{}", part.name);
        let missing = params.parts().map(stored);
        let missing: Vec<String> = missing.filter(|name| self.shape(name).is_none()).collect();
        if !missing.is_empty() {
            return Err(WeightsError::Missing {
                file: file(),
                tensors: missing,
            });
        }
        let unexpected: Vec<String> = self
            .names()
            .filter(|name| {
                let part = name.strip_prefix(prefix);
                part.is_some_and(|part| params.part(part).is_none())
            })
            .map(str::to_owned)
            .collect();
        if !unexpected.is_empty() {
            return Err(WeightsError::Unexpected {
                file: file(),
                tensors: unexpected,
            });
        }
        let mut loaded = Vec::new();
        for part in params.parts() {
            let name = stored(part);
            self.expect_shape(&name, part.shape.dims())?;
            let values = self.floats(&name)?;
            if let Some(index) = values.iter().position(|value| !value.is_finite()) {
                return Err(WeightsError::NotFinite {
                    file: file(),
                    tensor: name,
                    index,
                    value: values[index],
                });
            }
            loaded.push((part.range.clone(), values));
        }
        for (range, values) in loaded {
            params.set(range, &values);
        }
        Ok(())
    }

    /// Requires a tensor of this shape.
    ///
    /// # Errors
    /// [`WeightsError::Missing`] or [`WeightsError::Shape`].
    pub fn expect_shape(&self, name: &str, expected: &[usize]) -> Result<(), WeightsError> {
        match self.shape(name) {
            Some(found) if found == expected => Ok(()),
            Some(found) => Err(WeightsError::Shape {
                file: self.path.clone(),
                tensor: name.to_owned(),
                expected: Shape::new(expected),
                found: found.to_vec(),
            }),
            None => Err(WeightsError::Missing {
                file: self.path.clone(),
                tensors: vec![name.to_owned()],
            }),
        }
    }
}

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
    /// It is no safetensors file, or a truncated or damaged one.
    Malformed {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Its configuration cannot be used.
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
        /// Its name.
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
        /// Its name.
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
        /// Its value.
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
