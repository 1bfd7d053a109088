//! What is built from a file: a connection around one layer, or a network.

use super::{case::Reader, error::ParityError};
use engine::{
    ops::gelu,
    params::{Builder, Init, Params},
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
};
use nn::{
    connection::{Connection, ConnectionConfig, Site, State, Sublayer},
    linear::Linear,
    norm::NormKind,
};
use serde::Deserialize;

/// Initial values are drawn, and then replaced by those of the file.
const KEY: u64 = 0;

/// Something that can be executed beside its reference.
pub(super) trait Subject {
    /// Records the forward.
    fn forward<'t>(&self, tape: &'t Tape) -> Recorded<'t>;
}

/// A forward on a tape.
pub(super) struct Recorded<'t> {
    /// Values compared with `expect.NAME`.
    pub(super) outputs: Vec<(&'static str, Var<'t>)>,
    /// Scalars compared with `expect.NAME`.
    pub(super) losses: Vec<(&'static str, Var<'t>)>,
    /// What has gradients, `sum(objective * cotangent)`.
    pub(super) objective: Var<'t>,
    /// See there.
    pub(super) cotangent: Vec<f32>,
    /// Inputs whose gradient is compared with `grad.NAME`.
    pub(super) inputs: Vec<(&'static str, Var<'t>)>,
}

/// One connection around `T(x) = gelu(x Wᵀ)`.
struct Around {
    connection: Box<dyn Connection>,
    sublayer: Linear,
    /// `[batch, seq, dim]`.
    flat: Shape,
    /// Of this shape, or that of the connection's state.
    hidden: (Shape, Vec<f32>),
    output_cotangent: Vec<f32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AroundConfig {
    batch: usize,
    seq: usize,
    dim: usize,
    eps: f32,
    connection: ConnectionConfig,
    sublayer_index: usize,
}

pub(super) fn connection(reader: &Reader) -> Result<(Box<dyn Subject>, Params), ParityError> {
    let config: AroundConfig = reader.config(reader.json.clone())?;
    let AroundConfig {
        batch, seq, dim, ..
    } = config;
    let spec = config.connection.spec();
    spec.validate(dim)
        .map_err(|message| reader.invalid(format!("connection: {message}")))?;
    if let ConnectionConfig::ValueResidual(_) = config.connection {
        let what = "a connection of type \"value_residual\" around a layer that is no attention";
        return Err(reader.unknown(what.to_owned()));
    }
    // Of use for initialisation, which the file replaces, and at the ends of a network,
    // where some parts of a connection have nothing to do: here is neither end.
    const MOST_SUBLAYERS: usize = 20_000;
    if config.sublayer_index > MOST_SUBLAYERS {
        let index = config.sublayer_index;
        let reason = format!("sublayer_index is {index}, expected at most {MOST_SUBLAYERS}");
        return Err(reader.invalid(reason));
    }
    // What follows takes memory for these sizes: they have to be those of the tensors.
    reader
        .file
        .expect_shape("param.sublayer.weight", &[dim, dim])?;
    let found = reader.file.shape("input.hidden").unwrap_or_default();
    let elements = batch
        .checked_mul(seq)
        .and_then(|tokens| tokens.checked_mul(dim));
    if elements.is_none_or(|elements| elements > found.iter().product()) {
        let reason = format!("batch {batch}, seq {seq}, dim {dim}: input.hidden is {found:?}");
        return Err(reader.invalid(reason));
    }
    let site = Site {
        index: config.sublayer_index,
        count: config.sublayer_index + 2,
        dim,
        norm: NormKind::LayerNorm,
        eps: config.eps,
    };
    let build = |mut b: Builder| {
        let connection = b.scope("connection", |b| spec.build(site, b));
        let sublayer = Linear::new(&mut b, "sublayer", dim, dim, Init::Zeros);
        (connection, sublayer, b.finish())
    };
    let (.., shapes) = build(Builder::of_shapes(Key::new(KEY)));
    reader.file.check("param.", &shapes)?;
    let (connection, sublayer, params) = build(Builder::new(Key::new(KEY)));
    let tape = Tape::new();
    tape.bind(&params);
    let flat = Shape::from([batch, seq, dim]);
    let zeros = tape.constant(flat, &vec![0.0; flat.len()]);
    let state = connection.expand(zeros).hidden.shape();
    let shape = if found == flat.dims() { flat } else { state };
    let around = Around {
        connection,
        sublayer,
        flat,
        hidden: (shape, reader.floats("input.hidden", shape)?),
        output_cotangent: reader.floats("input.output_cotangent", shape)?,
    };
    Ok((Box::new(around), params))
}

impl Subject for Around {
    fn forward<'t>(&self, tape: &'t Tape) -> Recorded<'t> {
        let (shape, values) = &self.hidden;
        let hidden = tape.input(*shape, values);
        let state = if *shape == self.flat {
            self.connection.expand(hidden)
        } else {
            let zeros = tape.constant(self.flat, &vec![0.0; self.flat.len()]);
            State {
                hidden,
                ..self.connection.expand(zeros)
            }
        };
        let layer = Sublayer {
            norm: &|x| x,
            layer: &|x| gelu(self.sublayer.forward(x)),
            attention: None,
        };
        let output = self.connection.apply(state, &layer).settle().hidden;
        Recorded {
            outputs: vec![("hidden", output)],
            losses: Vec::new(),
            objective: output,
            cotangent: self.output_cotangent.clone(),
            inputs: vec![("hidden", hidden)],
        }
    }
}

/// A decoder and its batch.
struct Decoder {
    model: Transformer,
    tokens: Vec<u32>,
    targets: Vec<u32>,
}

pub(super) fn transformer(reader: &Reader) -> Result<(Box<dyn Subject>, Params), ParityError> {
    let mut json = reader.json.clone();
    let tied = reader.file.shape("param.head.weight").is_none();
    json.entry("tied_embeddings").or_insert(tied.into());
    let batch = reader.take(&mut json, "batch")?;
    let config: TransformerConfig = reader.config(json)?;
    let shape = Shape::from([batch, config.seq]);
    let tokens = reader.indices("input.tokens", shape, config.vocab_size)?;
    let targets = reader.indices("input.targets", shape, config.vocab_size)?;
    let invalid = |error: ConfigError| reader.invalid(error.to_string());
    let shapes = config.shapes().map_err(invalid)?;
    reader.file.check("param.", &shapes)?;
    let (model, params) = Transformer::new(&config, Key::new(KEY)).map_err(invalid)?;
    let decoder = Decoder {
        model,
        tokens,
        targets,
    };
    Ok((Box::new(decoder), params))
}

impl Subject for Decoder {
    fn forward<'t>(&self, tape: &'t Tape) -> Recorded<'t> {
        let seq = self.model.config().seq;
        Recorded::of(self.model.losses(tape, &self.tokens, &self.targets, seq))
    }
}

/// A vision transformer and its batch.
struct Classifier {
    model: Vit,
    images: Vec<f32>,
    labels: Vec<u32>,
}

pub(super) fn vit(reader: &Reader) -> Result<(Box<dyn Subject>, Params), ParityError> {
    let mut json = reader.json.clone();
    // Written for every network, of no meaning for this one.
    for key in ["rope_theta", "seq", "vocab_size"] {
        json.remove(key);
    }
    json.entry("dropout").or_insert(0.into());
    let batch = reader.take(&mut json, "batch")?;
    let config: VitConfig = reader.config(json)?;
    let images = Shape::from([batch, config.channels, config.image, config.image]);
    let images = reader.floats("input.images", images)?;
    let labels = reader.indices("input.labels", [batch].into(), config.classes)?;
    let invalid = |error: ConfigError| reader.invalid(error.to_string());
    let shapes = config.shapes().map_err(invalid)?;
    reader.file.check("param.", &shapes)?;
    let (model, params) = Vit::new(&config, Key::new(KEY)).map_err(invalid)?;
    let classifier = Classifier {
        model,
        images,
        labels,
    };
    Ok((Box::new(classifier), params))
}

impl Subject for Classifier {
    fn forward<'t>(&self, tape: &'t Tape) -> Recorded<'t> {
        Recorded::of(self.model.losses(tape, &self.images, &self.labels))
    }
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
