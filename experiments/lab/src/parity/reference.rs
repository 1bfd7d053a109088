//! A file of reference values, read, and what can be wrong with it.

use engine::shape::Shape;
use models::weights::{TensorFile, WeightsError, settings_of_json};
use nn::settings::{Mistake, Setting, TYPE};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why a file could not be checked.
#[derive(Debug, Error)]
pub enum ParityError {
    /// The file or one of its tensors cannot be read.
    #[error("{}", of_tensors(.0))]
    Tensors(#[from] WeightsError),
    /// The file asks for something that is not implemented.
    #[error("{}: skipped: {what} is not known here", file.display())]
    Unsupported {
        /// The file.
        file: PathBuf,
        /// The part that is not known.
        what: String,
    },
    /// The file contradicts its format or itself.
    #[error("{}: {reason}", file.display())]
    Invalid {
        /// The file.
        file: PathBuf,
        /// The contradiction.
        reason: String,
    },
}

/// Advice on what to give instead of another file.
const ADVICE: &str = "a parity file is a safetensors file with parameters, inputs and what another \
                      engine has made of them: docs/parity.md";

fn of_tensors(error: &WeightsError) -> String {
    match error {
        WeightsError::Foreign { file, kind } => format!(
            "{}: not a whole safetensors file: it is {kind}; {ADVICE}",
            file.display()
        ),
        error => error.to_string(),
    }
}

/// A file with its configuration.
pub(super) struct Reference {
    pub(super) file: TensorFile,
    /// `connection` or `network`.
    pub(super) kind: String,
    pub(super) json: Map<String, Value>,
}

impl Reference {
    pub(super) fn open(path: &Path) -> Result<Self, ParityError> {
        let mut reference = Self {
            file: TensorFile::open(path)?,
            kind: String::new(),
            json: Map::new(),
        };
        let entry = |key: &str| {
            let value = reference.file.metadata(key).map(str::to_owned);
            let missing =
                || format!("__metadata__ has no {key}, so these are no reference values; {ADVICE}");
            value.ok_or_else(|| reference.invalid(missing()))
        };
        let (kind, config) = (entry("kind")?, entry("config")?);
        let json = serde_json::from_str(&config);
        reference.json = json.map_err(|error| reference.invalid(format!("config: {error}")))?;
        reference.kind = kind;
        reference.expect_sizes_of_the_file()?;
        Ok(reference)
    }

    pub(super) fn invalid(&self, reason: String) -> ParityError {
        let file = self.file.path().to_owned();
        ParityError::Invalid { file, reason }
    }

    pub(super) fn unsupported(&self, what: String) -> ParityError {
        let file = self.file.path().to_owned();
        ParityError::Unsupported { file, what }
    }

    /// Refuses a configuration far beyond what the file holds, before memory is asked for.
    fn expect_sizes_of_the_file(&self) -> Result<(), ParityError> {
        let shapes = self.file.names().filter_map(|name| self.file.shape(name));
        let elements: usize = shapes.map(|shape| shape.iter().product::<usize>()).sum();
        let nested = self.json.values().filter_map(Value::as_object).flatten();
        for (key, value) in self.json.iter().chain(nested) {
            let size = value.as_u64().unwrap_or(0);
            if size > elements as u64 && key != "rope_theta" {
                return Err(self.invalid(format!(
                    "config: {key} is {size}, but all tensors together have {elements} elements"
                )));
            }
        }
        Ok(())
    }

    /// The configuration as a `C`; a `type` that no variant bears is unsupported, not
    /// invalid.
    pub(super) fn config<C: Setting>(&self, json: Map<String, Value>) -> Result<C, ParityError> {
        let config = C::read(&settings_of_json(Value::Object(json)));
        config.map_err(|error| match (error.key.split_last(), &error.mistake) {
            (Some((last, section)), Mistake::NoSuchWord { given, .. }) if last == TYPE => {
                self.unsupported(format!("{} type {given}", section.join(".")))
            }
            _ => self.invalid(format!("config: {error}")),
        })
    }

    /// One value of the configuration.
    pub(super) fn parse<C: DeserializeOwned>(
        &self,
        key: &str,
        value: Value,
    ) -> Result<C, ParityError> {
        serde_json::from_value(value)
            .map_err(|error| self.invalid(format!("config: {key}: {error}")))
    }

    /// Takes a value out of the configuration.
    pub(super) fn take<C: DeserializeOwned>(
        &self,
        json: &mut Map<String, Value>,
        key: &str,
    ) -> Result<C, ParityError> {
        match json.remove(key) {
            Some(value) => self.parse(key, value),
            None => Err(self.invalid(format!("config: {key} is missing"))),
        }
    }

    /// A float tensor of this shape.
    pub(super) fn floats(&self, name: &str, shape: Shape) -> Result<Vec<f32>, ParityError> {
        self.file.expect_shape(name, shape.dims())?;
        Ok(self.file.floats(name)?)
    }

    /// An integer tensor of this shape, its elements from 0 to below `classes`.
    pub(super) fn indices(
        &self,
        name: &str,
        shape: Shape,
        classes: usize,
    ) -> Result<Vec<u32>, ParityError> {
        self.file.expect_shape(name, shape.dims())?;
        let integers = self.file.integers(name)?;
        let index = |value: i32| {
            u32::try_from(value)
                .ok()
                .filter(|&v| (v as usize) < classes)
        };
        let indices = integers.iter().map(|&value| {
            index(value).ok_or_else(|| {
                self.invalid(format!(
                    "{name} contains {value}, expected 0 to {}",
                    classes - 1
                ))
            })
        });
        indices.collect()
    }
}
