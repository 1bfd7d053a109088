//! A file of reference values, read.

use super::{
    error::ParityError,
    subject::{self, Subject},
};
use engine::{params::Params, shape::Shape};
use models::weights::TensorFile;
use nn::optim::AdamWConfig;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use std::path::Path;

/// What a file describes.
pub(super) struct Case {
    pub(super) file: TensorFile,
    pub(super) subject: Box<dyn Subject>,
    pub(super) params: Params,
    pub(super) train: Option<Train>,
}

/// A few steps of AdamW on the one batch of the file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Train {
    pub(super) steps: usize,
    pub(super) lr: f64,
    betas: [f32; 2],
    eps: f32,
    weight_decay: f32,
    clip: Option<f32>,
    /// The parameters that decay; `None` for those of the format's rule.
    pub(super) decays: Option<Vec<String>>,
}

impl Train {
    pub(super) fn optimiser(&self) -> AdamWConfig {
        AdamWConfig {
            beta1: self.betas[0],
            beta2: self.betas[1],
            eps: self.eps,
            weight_decay: self.weight_decay,
            decay_everything: false,
            clip: self.clip.unwrap_or(0.0),
        }
    }
}

/// A file and its configuration on the way to a [`Case`].
pub(super) struct Reader {
    pub(super) file: TensorFile,
    pub(super) json: Map<String, Value>,
}

impl Case {
    pub(super) fn open(path: &Path) -> Result<Self, ParityError> {
        let file = TensorFile::open(path)?;
        let invalid = |reason: String| ParityError::Invalid {
            file: path.to_owned(),
            reason,
        };
        let entry = |key: &str| {
            let value = file.metadata(key);
            value.ok_or_else(|| invalid(format!("__metadata__ has no {key}: no reference values")))
        };
        let kind = entry("kind")?.to_owned();
        let json = serde_json::from_str(entry("config")?)
            .map_err(|error| invalid(format!("config: {error}")))?;
        let mut reader = Reader { file, json };
        reader.expect_sizes_of_the_file()?;
        let (subject, mut params, train) = match &*kind {
            "connection" => {
                let (subject, params) = subject::connection(&reader)?;
                (subject, params, None)
            }
            "network" => {
                let train = match reader.json.remove("train") {
                    Some(train) => Some(reader.parse("train", train)?),
                    None => None,
                };
                let arch = reader.json.remove("arch");
                let build = match arch.as_ref().and_then(Value::as_str) {
                    Some("transformer") => subject::transformer,
                    Some("vit") => subject::vit,
                    _ => return Err(reader.unsupported("arch", &arch.unwrap_or_default())),
                };
                let (subject, params) = build(&reader)?;
                (subject, params, train)
            }
            other => return Err(reader.unsupported("kind", &other.into())),
        };
        reader.file.load("param.", &mut params)?;
        Ok(Self {
            file: reader.file,
            subject,
            params,
            train,
        })
    }
}

impl Reader {
    pub(super) fn invalid(&self, reason: String) -> ParityError {
        ParityError::Invalid {
            file: self.file.path().to_owned(),
            reason,
        }
    }

    pub(super) fn unknown(&self, what: String) -> ParityError {
        ParityError::Unsupported {
            file: self.file.path().to_owned(),
            what,
        }
    }

    fn unsupported(&self, key: &str, value: &Value) -> ParityError {
        self.unknown(format!("{key} {value}"))
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
    pub(super) fn config<C: DeserializeOwned>(
        &self,
        json: Map<String, Value>,
    ) -> Result<C, ParityError> {
        let types: Vec<(String, Value)> = json
            .iter()
            .filter_map(|(key, value)| Some((key.clone(), value.get("type")?.clone())))
            .collect();
        serde_json::from_value(Value::Object(json)).map_err(|error| {
            let message = error.to_string();
            let unknown = types.iter().find(|(_, value)| {
                let name = value.as_str().unwrap_or_default();
                message.starts_with(&format!("unknown variant `{name}`"))
            });
            match unknown {
                Some((key, value)) => self.unsupported(&format!("{key} type"), value),
                None => self.invalid(format!("config: {message}")),
            }
        })
    }

    /// One value of the configuration.
    fn parse<C: DeserializeOwned>(&self, key: &str, value: Value) -> Result<C, ParityError> {
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
