//! Files of reference values for the authors of kernels: one connection with every parameter in
//! general position, computed in f64 by the formulas that the checks of its kernels use, with
//! exact gradients.

use super::around::Around;
use engine::{
    params::{Builder, Params, Part},
    rng::Key,
    scalar::{Real, Trace, Traced},
    shape::Shape,
};
use models::weights::{self, named_to_bytes, settings_of_json};
use nn::{
    connection::{
        ConnectionConfig,
        plain::{self, linear},
    },
    settings::Setting,
};
use rand::distr::Distribution;
use rand_distr::Normal;
use serde::Serialize;
use serde_json::{Value, json};
use thiserror::Error;

/// The scalars that are recorded of a token: about half a gigabyte.
const MOST_OF_A_TOKEN: usize = 1 << 24;
/// The scalars of a file: a minute or so.
const MOST_SCALARS: usize = 1 << 31;
/// One token of so many is small: its mean square is about `eps`.
const SMALL: usize = 3;
/// The standard deviation of logits and, of those that a mix is normalised from, of their biases.
const LOGITS: f32 = 1.5;
const BIASES_OF_MIX: f32 = 3.0;

/// Why there are no reference values.
#[derive(Debug, Error)]
pub enum ExportError {
    /// A setting that cannot be read.
    #[error("--set {text}: expected KEY=VALUE, such as rate=2 or dim=64")]
    Setting {
        /// The setting.
        text: String,
    },
    /// A configuration that makes no sense.
    #[error("--connection {connection}: {reason}")]
    Invalid {
        /// The type of the connection.
        connection: String,
        /// The mistake.
        reason: String,
    },
    /// A connection that a file of this format cannot express.
    #[error(
        "--connection {connection}: no reference values, since with these settings it needs more than \
         a file of one sublayer has: docs/parity.md"
    )]
    NotExpressible {
        /// The type of the connection.
        connection: String,
    },
    /// More numbers than are computed one by one.
    #[error(
        "--connection {connection}: {scalars} numbers would be computed one by one, at most \
         {most} are: set a smaller dim, rate, batch or seq"
    )]
    TooLarge {
        /// The type of the connection.
        connection: String,
        /// How many it would take, about.
        scalars: String,
        /// How many are computed.
        most: usize,
    },
}

/// The content of a file of the format of [`check`](super::check). `settings` are `KEY=VALUE`
/// with the keys of the file's configuration or of its connection.
///
/// # Errors
/// [`ExportError`].
pub fn export(connection: &str, settings: &[String]) -> Result<Vec<u8>, ExportError> {
    let config = configuration(connection, settings)?;
    let invalid = |reason: String| ExportError::Invalid {
        connection: connection.to_owned(),
        reason,
    };
    let config = Around::read(&settings_of_json(config));
    let config = config.map_err(|error| invalid(error.to_string()))?;
    config.validate().map_err(invalid)?;
    for (key, value) in [
        ("batch", config.batch),
        ("seq", config.seq),
        ("dim", config.dim),
    ] {
        if value == 0 {
            return Err(invalid(format!("{key} is 0, expected at least 1")));
        }
    }
    if !(config.eps > 0.0 && config.eps.is_finite()) {
        let eps = config.eps;
        return Err(invalid(format!("eps is {eps}, expected a positive number")));
    }
    let too_large = |scalars: u128, most: usize| ExportError::TooLarge {
        connection: connection.to_owned(),
        scalars: scalars.to_string(),
        most,
    };
    let layer = 2 * (config.dim as u128).pow(2);
    let memory = (config.dim as u128 + 1) * config.sublayer_index as u128;
    if layer + memory > MOST_OF_A_TOKEN as u128 {
        return Err(too_large(layer + memory, MOST_OF_A_TOKEN));
    }
    let (shapes_of, _, shapes) = config.build(Builder::of_shapes(Key::new(0)));
    let of_token = layer + shapes_of.cost().flops as u128 + shapes.elements() as u128;
    let all = of_token * config.batch as u128 * config.seq as u128;
    for (scalars, most) in [(of_token, MOST_OF_A_TOKEN), (all, MOST_SCALARS)] {
        if scalars > most as u128 {
            return Err(too_large(scalars, most));
        }
    }
    let values = Values::new(&config);
    let results = values.results(&config);
    let results = results.ok_or_else(|| ExportError::NotExpressible {
        connection: connection.to_owned(),
    })?;
    Ok(values.file(&config, results))
}

/// The configuration as JSON: the settings over those for a small file.
fn configuration(connection: &str, settings: &[String]) -> Result<Value, ExportError> {
    let mut config = json!({
        "batch": 2, "seq": 4, "dim": 16, "eps": 1e-5, "sublayer_index": 1,
        "connection": {"type": connection},
    });
    for text in settings {
        let (key, value) = text
            .split_once('=')
            .filter(|(key, _)| !matches!(key.trim(), "" | "type" | "connection"))
            .ok_or_else(|| ExportError::Setting { text: text.clone() })?;
        let (key, value) = (key.trim(), value.trim());
        let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
        match config.get_mut(key) {
            Some(place) => *place = value,
            None => config["connection"][key] = value,
        }
    }
    Ok(config)
}

/// The inputs of a file and the parameters, in f32.
struct Values {
    params: Params,
    /// Which of the parameters learn.
    learns: Vec<bool>,
    /// The state, and what is carried beside it.
    inputs: Vec<Tensor>,
    /// What the state after the sublayer, and what is carried beside it, are multiplied with.
    cotangents: Vec<Tensor>,
}

/// A tensor: the part of its name behind `input.` and the like, shape and content.
type Tensor = (String, Shape, Vec<f32>);

/// What is carried after the sublayer, and the gradients of its product with the cotangents.
struct Results {
    outputs: Vec<Vec<f32>>,
    input_grads: Vec<Vec<f32>>,
    /// Of the parameters, in their order.
    grads: Vec<f64>,
}

impl Values {
    fn new(config: &Around) -> Self {
        let key = Key::new(0).named("parity");
        let (connection, _, mut params) = config.build(Builder::new(key));
        let parts: Vec<Part> = params.parts().cloned().collect();
        for part in parts {
            params.set(part.range.clone(), &in_general_position(key, &part));
        }
        let mut learns = vec![true; params.slab().len()];
        for (_, param) in params.iter().filter(|(_, param)| !param.trainable) {
            learns[param.range.clone()].fill(false);
        }
        if let ConnectionConfig::Hyper(of) = &config.connection {
            let columns = of.frozen_columns();
            for part in params.parts().filter(|part| is_alpha(&part.name)) {
                for row in learns[part.range.clone()].chunks_mut(of.rate + 1) {
                    row[columns.clone()].fill(false);
                }
            }
        }
        let state = config.state(&*connection, &params);
        let (memory, reads) = (config.memory(), config.delayed_read().is_some());
        let shapes = |more: usize| {
            let added = memory.last().filter(|_| more > 0 && !reads);
            let memory = memory.iter().chain(added).enumerate();
            let memory = memory.map(|(at, shape)| (format!("memory.{at}"), *shape));
            std::iter::once(("hidden".to_owned(), state)).chain(memory)
        };
        let tokens = config.batch * config.seq;
        let inputs = shapes(0).map(|(name, shape)| {
            let mut values = normal(key.named(&name), shape.len(), 1.0);
            for (at, x) in values.iter_mut().enumerate() {
                // A mean other than 0, for what is centred.
                *x += 0.4;
                let is_weight = reads && name != "hidden";
                if at / (shape.len() / tokens) % SMALL == SMALL - 1 && !is_weight {
                    *x *= config.eps.sqrt();
                }
            }
            (name, shape, values)
        });
        let inputs = inputs.collect();
        let cotangents = shapes(1).map(|(name, shape)| {
            let (name, key) = match &*name {
                "hidden" => ("output_cotangent".to_owned(), key.named("cotangent")),
                memory => {
                    let name = memory.replace('.', "_cotangent.");
                    (name, key.named("cotangent").named(memory))
                }
            };
            (name, shape, normal(key, shape.len(), 1.0))
        });
        let cotangents = cotangents.collect();
        Self {
            params,
            learns,
            inputs,
            cotangents,
        }
    }

    /// `None` if the connection cannot be computed from its inputs.
    fn results(&self, config: &Around) -> Option<Results> {
        let tokens = config.batch * config.seq;
        let of_token = |(_, shape, values): &Tensor, token: usize| -> Vec<f32> {
            let width = shape.len() / tokens;
            values[token * width..][..width].to_vec()
        };
        let mut results = Results {
            outputs: vec![Vec::new(); self.cotangents.len()],
            input_grads: vec![Vec::new(); self.inputs.len()],
            grads: vec![0.0; self.params.slab().len()],
        };
        for token in 0..tokens {
            let trace = Trace::new();
            let traced = |values: &[f32]| -> Vec<Traced<'_>> {
                let wide = values.iter().map(|&x| trace.input(x.into()));
                wide.collect()
            };
            let inputs: Vec<Vec<Traced<'_>>> = {
                let values = self.inputs.iter();
                values.map(|of| traced(&of_token(of, token))).collect()
            };
            let slab = traced(self.params.slab());
            // What does not learn is a number.
            let held = slab.iter().zip(&self.learns);
            let held: Vec<Traced<'_>> = held
                .map(|(&x, &learns)| if learns { x } else { x.value().into() })
                .collect();
            let param = |name: &str| -> &[Traced<'_>] {
                let part = self.params.part(name);
                &held[part.expect("a registered parameter").range.clone()]
            };
            let around = plain::Around {
                index: config.sublayer_index,
                dim: config.dim,
                eps: config.eps,
                param: &|name| param(&format!("connection.{name}")),
                sublayer: &|x| {
                    let output = linear(x, param("sublayer.weight"));
                    output.into_iter().map(Real::gelu).collect()
                },
            };
            let (state, memory) = inputs.split_first()?;
            let carried = plain::Carried {
                state: state.clone(),
                memory: memory.to_vec(),
            };
            let next = plain::apply(&config.connection, &around, &carried)?;
            let mut outputs = Vec::new();
            let after = std::iter::once(next.state).chain(next.memory);
            for ((after, cotangent), to) in after.zip(&self.cotangents).zip(&mut results.outputs) {
                to.extend(after.iter().map(|x| x.value() as f32));
                let factors = of_token(cotangent, token).into_iter().map(f64::from);
                outputs.extend(after.into_iter().zip(factors));
            }
            let sought = [inputs.concat(), slab].concat();
            let grads = trace.gradient(&outputs, &sought);
            let mut grads = grads.into_iter();
            for (to, input) in results.input_grads.iter_mut().zip(&inputs) {
                to.extend(grads.by_ref().take(input.len()).map(|x| x as f32));
            }
            let sums = results.grads.iter_mut().zip(grads);
            sums.for_each(|(sum, grad)| *sum += grad);
        }
        Some(results)
    }

    fn file(self, config: &Around, results: Results) -> Vec<u8> {
        #[derive(Serialize)]
        struct Metadata {
            kind: &'static str,
            config: String,
        }
        let metadata = Metadata {
            kind: "connection",
            config: serde_json::to_string(config).expect("a configuration fits JSON"),
        };
        let mut tensors = Vec::new();
        let mut put = |name: String, shape, values| {
            tensors.push((name, shape, weights::Values::Floats(values)));
        };
        for (_, param) in self.params.iter() {
            for part in &param.parts {
                let (name, range) = (&part.name, part.range.clone());
                let values = self.params.slab()[range.clone()].to_vec();
                put(format!("param.{name}"), part.shape, values);
                if param.trainable {
                    let grads = results.grads[range].iter().map(|&x| x as f32);
                    put(format!("grad.{name}"), part.shape, grads.collect());
                }
            }
        }
        for (name, shape, values) in self.inputs.iter().chain(&self.cotangents) {
            put(format!("input.{name}"), *shape, values.clone());
        }
        let cotangents = self.cotangents.iter();
        for ((at, (_, shape, _)), values) in cotangents.enumerate().zip(results.outputs) {
            let name = match at {
                0 => "expect.hidden".to_owned(),
                _ => format!("expect.memory.{}", at - 1),
            };
            put(name, *shape, values);
        }
        for ((name, shape, _), values) in self.inputs.iter().zip(results.input_grads) {
            put(format!("grad.{name}"), *shape, values);
        }
        named_to_bytes(&metadata, &tensors)
    }
}

/// Returns whether a parameter has the columns of `[A_m | A_r]`.
fn is_alpha(name: &str) -> bool {
    name.ends_with("static_alpha") || name.ends_with("dynamic_alpha_fn")
}

fn normal(key: Key, count: usize, std: f32) -> Vec<f32> {
    let mut rng = key.rng();
    let normal = Normal::new(0.0, std).expect("a finite standard deviation");
    (0..count).map(|_| normal.sample(&mut rng)).collect()
}

/// Values of a parameter that nothing is symmetric in, nothing at its start, and in whose logits
/// an eps and the order of normalisations show.
fn in_general_position(key: Key, part: &Part) -> Vec<f32> {
    let key = key.named(&part.name);
    let name = part.name.strip_prefix("connection.").unwrap_or(&part.name);
    let dims = part.shape.dims();
    let count = part.shape.len();
    let is_static = ["static_", "bias_", "prediction", "correction"]
        .iter()
        .any(|start| name.starts_with(start));
    match name {
        "norm.weight" => {
            let deviations = normal(key, count, 0.4);
            deviations.iter().map(|x| 1.0 + x).collect()
        }
        "bias_res" | "base" => normal(key, count, BIASES_OF_MIX),
        // Factors of logits.
        _ if count == 1 || name == "scale" => {
            let deviations = normal(key, count, 0.2);
            deviations.iter().map(|x| x + 0.9).collect()
        }
        _ if dims.len() == 2 && !is_static => {
            let inputs = dims[0].max(dims[1]) as f32;
            normal(key, count, LOGITS / inputs.sqrt())
        }
        _ => normal(key, count, 1.0),
    }
}
