//! From a file to tensors and parameters.

use super::{FORMAT_VERSION, WeightsError, error::ADVICE, write};
use engine::{
    params::{Params, Part},
    shape::Shape,
};
use nn::settings::{NULL, Setting, Value};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value as Json;
use std::{
    collections::BTreeMap,
    fs, io,
    ops::Range,
    path::{Path, PathBuf},
};

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
        let bytes = match fs::metadata(path) {
            // A device may have no end.
            Ok(there) if !there.is_file() => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "this is a directory, a device or a pipe, not a file",
            )),
            Ok(_) => fs::read(path),
            Err(error) => Err(error),
        };
        let bytes = bytes.map_err(|source| WeightsError::Unreadable {
            file: path.to_owned(),
            source,
        })?;
        Self::from_bytes(path, bytes)
    }

    /// The content of a file; `path` names it in messages.
    ///
    /// # Errors
    /// [`WeightsError::Foreign`] or [`WeightsError::Malformed`] unless the header describes exactly
    /// the data, [`WeightsError::Changed`] if the file has a checksum, and another content.
    pub fn from_bytes(path: impl Into<PathBuf>, bytes: Vec<u8>) -> Result<Self, WeightsError> {
        let path = path.into();
        let (header_len, header) = match SafeTensors::read_metadata(&bytes) {
            Ok(parsed) => parsed,
            Err(error) => {
                let (file, length) = (path, bytes.len());
                return Err(match kind_of_another(&bytes) {
                    Some(kind) => WeightsError::Foreign { file, kind },
                    None => WeightsError::Malformed {
                        file,
                        reason: format!("{error} ({length} bytes)"),
                    },
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
        let file = Self {
            path,
            metadata: metadata.into_iter().collect(),
            tensors,
            bytes,
        };
        // Another version may sum up other things.
        let ours = file.metadata("format_version") == Some(FORMAT_VERSION);
        let changed = match file.metadata("sha256") {
            Some(sum) => sum != file.checksum(),
            // Never written without a checksum.
            None => file.metadata("step").is_some(),
        };
        match ours && changed {
            true => Err(WeightsError::Changed { file: file.path }),
            false => Ok(file),
        }
    }

    fn checksum(&self) -> String {
        let metadata = ["format_version", "config", "step"].map(|key| self.metadata(key));
        let tensors = self.tensors.iter().map(|(name, tensor)| write::Tensor {
            name,
            dtype: tensor.dtype,
            shape: &tensor.shape,
            bytes: &self.bytes[tensor.bytes.clone()],
        });
        write::checksum(&metadata, tensors.collect())
    }

    /// Returns whether the content was checked: files of others and of earlier versions have no
    /// checksum.
    pub fn is_checked(&self) -> bool {
        self.metadata("sha256").is_some()
    }

    /// The steps of training behind the weights, if the file says it.
    pub fn step(&self) -> Option<u64> {
        self.metadata("step")?.parse().ok()
    }

    /// Where it was read.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// An entry of `__metadata__`.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).map(String::as_str)
    }

    /// The configuration of a file written by [`to_bytes`](super::to_bytes).
    ///
    /// # Errors
    /// [`WeightsError::Config`] if it is missing, of another format version or does
    /// not describe a `C`.
    pub fn config<C: Setting>(&self) -> Result<C, WeightsError> {
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
            None if self.metadata("config").is_none() => {
                return Err(fail(format!(
                    "there is none, so another program has written this file, of {} tensors; {}",
                    self.tensors.len(),
                    ADVICE
                )));
            }
            None => return Err(fail("__metadata__ has no format_version".into())),
        }
        let json = self
            .metadata("config")
            .ok_or_else(|| fail("__metadata__ has no config".into()))?;
        let json = serde_json::from_str(json).map_err(|error| fail(error.to_string()))?;
        C::read(&settings_of_json(json)).map_err(|error| fail(error.to_string()))
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

    fn missing(&self, tensors: Vec<String>) -> WeightsError {
        let file = self.path.clone();
        WeightsError::Missing { file, tensors }
    }

    fn words(
        &self,
        name: &str,
        expected: Dtype,
    ) -> Result<impl Iterator<Item = [u8; 4]>, WeightsError> {
        let Some(tensor) = self.tensors.get(name) else {
            return Err(self.missing(vec![name.to_owned()]));
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

    /// Requires the tensors of a network, whose names begin with `prefix`, and none besides. Of
    /// its parameters only names and shapes are looked at.
    ///
    /// # Errors
    /// [`WeightsError::Missing`], [`WeightsError::Unexpected`], [`WeightsError::Shape`].
    pub fn check(&self, prefix: &str, params: &Params) -> Result<(), WeightsError> {
        let stored = |part: &Part| format!("{prefix}{}", part.name);
        let missing = params.parts().map(stored);
        let missing: Vec<String> = missing.filter(|name| self.shape(name).is_none()).collect();
        if !missing.is_empty() {
            return Err(self.missing(missing));
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
                file: self.path.clone(),
                tensors: unexpected,
            });
        }
        for part in params.parts() {
            self.expect_shape(&stored(part), part.shape.dims())?;
        }
        Ok(())
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
        self.check(prefix, params)?;
        let mut loaded = Vec::new();
        for part in params.parts() {
            let name = format!("{prefix}{}", part.name);
            let values = self.floats(&name)?;
            if let Some(index) = values.iter().position(|value| !value.is_finite()) {
                return Err(WeightsError::NotFinite {
                    file: self.path.clone(),
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
            None => Err(self.missing(vec![name.to_owned()])),
        }
    }
}

/// Kind of a file that is no safetensors file, where that is known.
fn kind_of_another(bytes: &[u8]) -> Option<&'static str> {
    let names = &bytes[..bytes.len().min(4096)];
    // The length of a header, in the first 8 bytes, is below 2^32.
    let no_header = bytes.len() < 8 || bytes[4..8] != [0; 4];
    let has = |name: &[u8]| names.windows(name.len()).any(|window| window == name);
    match bytes {
        [b'P', b'K', 3, 4, ..] if has(b"data.pkl") => Some("a PyTorch checkpoint"),
        [b'P', b'K', 3, 4, ..] if has(b".npy") => Some("an archive of NumPy arrays"),
        [b'P', b'K', 3, 4, ..] => Some("a zip archive"),
        [0x80, 2..=5, ..] if no_header => Some("a Python pickle, as old PyTorch checkpoints are"),
        [b'G', b'G', b'U', b'F', ..] => Some("a GGUF file, of llama.cpp"),
        [0x89, b'H', b'D', b'F', ..] => Some("an HDF5 file, as Keras writes"),
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => Some("a NumPy array"),
        [0x1f, 0x8b, ..] => Some("a gzip file"),
        [b'{', ..] if no_header => Some("a JSON file"),
        [] => Some("an empty file"),
        _ if no_header && is_text(names) => Some("a text"),
        [_, _, _, _, _, _, _, _, ..] if no_header => Some("of a kind that is not known here"),
        _ => None,
    }
}

/// Returns whether bytes, perhaps cut in mid-character, are UTF-8 without control characters but
/// white space.
fn is_text(bytes: &[u8]) -> bool {
    let whole = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) if error.error_len().is_some() => return false,
        Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
    };
    !whole.contains(|c: char| c.is_control() && !c.is_whitespace())
}

/// Settings that stand in a file as JSON.
pub fn settings_of_json(json: Json) -> Value {
    match json {
        Json::Null => Value::String(NULL.to_owned()),
        Json::Bool(value) => Value::Boolean(value),
        Json::Number(value) => match value.as_i64() {
            Some(whole) => Value::Integer(whole),
            None => Value::Float(value.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(value) => Value::String(value),
        Json::Array(values) => Value::Array(values.into_iter().map(settings_of_json).collect()),
        Json::Object(values) => {
            let settings = values.into_iter();
            let settings = settings.map(|(key, value)| (key, settings_of_json(value)));
            Value::Table(settings.collect())
        }
    }
}
