//! The subjects of parity files: a connection around one layer, or a network.

use super::{
    around::Around,
    reference::{ParityError, Reference},
};
use engine::{
    ops::gelu,
    params::{Builder, Params},
    rng::Key,
    shape::Shape,
    tape::{Tape, Var},
};
use models::{
    config::ConfigError,
    loss::Loss,
    network::Network,
    transformer::{Transformer, TransformerConfig},
    vit::{Vit, VitConfig},
    weights::TensorFile,
};
use nn::{
    connection::{ConnectionConfig, State, Sublayer},
    optim::AdamWConfig,
};
use serde::Deserialize;
use serde_json::Value;
use std::path::Path;

/// Initial values are sampled, and then replaced by those of the file.
const KEY: u64 = 0;

/// The content of a file: a network with parameters, inputs and references.
pub(super) struct Case {
    pub(super) file: TensorFile,
    pub(super) forward: Forward,
    pub(super) params: Params,
    pub(super) train: Option<Train>,
}

/// Records the forward that is compared with its reference.
type Forward = Box<dyn for<'t> Fn(&'t Tape) -> Recorded<'t>>;

/// A forward on a tape.
pub(super) struct Recorded<'t> {
    /// Values compared with `expect.NAME`.
    pub(super) outputs: Vec<(&'static str, Var<'t>)>,
    /// Scalars compared with `expect.NAME`.
    pub(super) losses: Vec<(&'static str, Var<'t>)>,
    /// The value whose gradient is taken: `sum(objective * cotangent)`.
    pub(super) objective: Var<'t>,
    /// The gradient of that sum by the objective.
    pub(super) cotangent: Vec<f32>,
    /// Inputs whose gradient is compared with `grad.NAME`.
    pub(super) inputs: Vec<(&'static str, Var<'t>)>,
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

impl Case {
    pub(super) fn open(path: &Path) -> Result<Self, ParityError> {
        let mut reference = Reference::open(path)?;
        let mut train = None;
        let (forward, mut params) = match &*reference.kind {
            "connection" => connection(&reference)?,
            "network" => {
                let value = reference.json.remove("train");
                train = match value {
                    Some(value) => Some(reference.parse("train", value)?),
                    None => None,
                };
                let arch = reference.json.remove("arch").unwrap_or_default();
                match arch.as_str() {
                    Some("transformer") => transformer(&reference)?,
                    Some("vit") => vit(&reference)?,
                    _ => return Err(reference.unsupported(format!("arch {arch}"))),
                }
            }
            other => {
                let kind = Value::from(other);
                return Err(reference.unsupported(format!("kind {kind}")));
            }
        };
        reference.file.load("param.", &mut params)?;
        Ok(Self {
            file: reference.file,
            forward,
            params,
            train,
        })
    }
}

/// One connection around `T(x) = gelu(x Wᵀ)`.
fn connection(reference: &Reference) -> Result<(Forward, Params), ParityError> {
    let config: Around = reference.config(reference.json.clone())?;
    let Around {
        batch, seq, dim, ..
    } = config;
    config
        .validate()
        .map_err(|message| reference.invalid(message))?;
    let name = match config.connection {
        ConnectionConfig::ValueResidual(_) => Some("value_residual"),
        ConnectionConfig::Mudd(_) => Some("mudd"),
        _ => None,
    };
    if let Some(name) = name {
        let what = format!("a connection of type \"{name}\" around a layer that is no attention");
        return Err(reference.unsupported(what));
    }
    if let ConnectionConfig::TwoLane(_) = config.connection {
        let what = "a connection of type \"two_lane\" outside its network";
        return Err(reference.unsupported(what.to_owned()));
    }
    // What follows takes memory for these sizes: they have to be those of the tensors.
    reference
        .file
        .expect_shape("param.sublayer.weight", &[dim, dim])?;
    let found = reference.file.shape("input.hidden").unwrap_or_default();
    let elements = batch
        .checked_mul(seq)
        .and_then(|tokens| tokens.checked_mul(dim));
    if elements.is_none_or(|elements| elements > found.iter().product()) {
        let reason = format!("batch {batch}, seq {seq}, dim {dim}: input.hidden is {found:?}");
        return Err(reference.invalid(reason));
    }
    let (.., shapes) = config.build(Builder::of_shapes(Key::new(KEY)));
    reference.file.check("param.", &shapes)?;
    let (connection, sublayer, params) = config.build(Builder::new(Key::new(KEY)));
    let flat = config.flat();
    let state = config.state(&*connection, &params);
    let shape = if found == flat.dims() { flat } else { state };
    let values = reference.floats("input.hidden", shape)?;
    let cotangent = reference.floats("input.output_cotangent", shape)?;
    let forward = boxed(move |tape| {
        let hidden = tape.input(shape, &values);
        let state = if shape == flat {
            connection.expand(hidden)
        } else {
            let zeros = tape.constant(flat, &vec![0.0; flat.len()]);
            State {
                hidden,
                ..connection.expand(zeros)
            }
        };
        let layer = Sublayer {
            norm: &|x| x,
            layer: &|x| gelu(sublayer.forward(x)),
            attention: None,
        };
        let output = connection.apply(state, &layer).settle().hidden;
        Recorded {
            outputs: vec![("hidden", output)],
            losses: Vec::new(),
            objective: output,
            cotangent: cotangent.clone(),
            inputs: vec![("hidden", hidden)],
        }
    });
    Ok((forward, params))
}

fn boxed(forward: impl for<'t> Fn(&'t Tape) -> Recorded<'t> + 'static) -> Forward {
    Box::new(forward)
}

type Built<M> = Result<(M, Params), ConfigError>;

/// A network, built once the file is known to hold its parameters: before, there may be no memory
/// for it.
fn built<C: Network, M>(
    reference: &Reference,
    config: &C,
    new: fn(&C, Key) -> Built<M>,
) -> Result<(M, Params), ParityError> {
    let invalid = |error: ConfigError| reference.invalid(error.to_string());
    let shapes = config.shapes().map_err(invalid)?;
    reference.file.check("param.", &shapes)?;
    new(config, Key::new(KEY)).map_err(invalid)
}

/// A decoder and its batch.
fn transformer(reference: &Reference) -> Result<(Forward, Params), ParityError> {
    let mut json = reference.json.clone();
    let tied = reference.file.shape("param.head.weight").is_none();
    json.entry("tied_embeddings").or_insert(tied.into());
    let batch = reference.take(&mut json, "batch")?;
    let config: TransformerConfig = reference.config(json)?;
    let (seq, vocabulary) = (config.seq, config.vocab_size);
    let shape = Shape::from([batch, seq]);
    let tokens = reference.indices("input.tokens", shape, vocabulary)?;
    let targets = reference.indices("input.targets", shape, vocabulary)?;
    let (model, params) = built(reference, &config, Transformer::new)?;
    let forward = boxed(move |tape| Recorded::of(model.losses(tape, &tokens, &targets, seq)));
    Ok((forward, params))
}

/// A vision transformer and its batch.
fn vit(reference: &Reference) -> Result<(Forward, Params), ParityError> {
    let mut json = reference.json.clone();
    // Written for every network, of no meaning for this one.
    for key in ["rope_theta", "seq", "vocab_size"] {
        json.remove(key);
    }
    json.entry("dropout").or_insert(0.into());
    let batch = reference.take(&mut json, "batch")?;
    let config: VitConfig = reference.config(json)?;
    let images = Shape::from([batch, config.channels, config.image, config.image]);
    let images = reference.floats("input.images", images)?;
    let labels = reference.indices("input.labels", [batch].into(), config.classes)?;
    let (model, params) = built(reference, &config, Vit::new)?;
    let forward = boxed(move |tape| Recorded::of(model.losses(tape, &images, &labels)));
    Ok((forward, params))
}

impl<'t> Recorded<'t> {
    fn of(loss: Loss<'t>) -> Self {
        let mut losses = vec![("cross_entropy", loss.task), ("loss", loss.total)];
        if let Some(router) = loss.router {
            losses.push(("load_balance", router.load_balance));
            losses.push(("router_z", router.router_z));
        }
        Self {
            outputs: vec![("logits", loss.output)],
            losses,
            objective: loss.total,
            cotangent: vec![1.0],
            inputs: Vec::new(),
        }
    }
}
