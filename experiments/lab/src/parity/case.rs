//! The subjects of parity files: a connection around one layer, or a network.

use super::{
    around::Around,
    reference::{ParityError, Reference},
};
use engine::{
    ops::{gelu, linear},
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
    connection::{ConnectionConfig, State, Sublayer, streams::delayed_read::delayed_read},
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
    pub(super) outputs: Vec<(String, Var<'t>)>,
    /// Scalars compared with `expect.NAME`.
    pub(super) losses: Vec<(String, Var<'t>)>,
    /// Values and what each is multiplied with in the sum whose gradient is taken. In a training the
    /// first of them is the loss.
    pub(super) objectives: Vec<(Var<'t>, Vec<f32>)>,
    /// Inputs whose gradient is compared with `grad.NAME`.
    pub(super) inputs: Vec<(String, Var<'t>)>,
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
    let lanes = match &config.connection {
        ConnectionConfig::TwoLane(of) => Some(of.has_lanes_before(config.site()) && !of.parallel),
        _ => None,
    };
    if lanes == Some(false) {
        let what = "a connection of type \"two_lane\" where two lanes do not come in alone";
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
    let is_embedding = found == flat.dims() && lanes.is_none();
    let shape = if is_embedding { flat } else { state };
    let values = reference.floats("input.hidden", shape)?;
    let cotangent = reference.floats("input.output_cotangent", shape)?;
    let delayed = config.delayed_read();
    let [memory, memory_cotangents] = memory(reference, &config)?;
    let forward = boxed(move |tape| {
        let hidden = tape.input(shape, &values);
        let mut state = if shape == flat {
            connection.expand(hidden)
        } else {
            let zeros = tape.constant(flat, &vec![0.0; flat.len()]);
            State {
                hidden,
                ..connection.expand(zeros)
            }
        };
        let inputs = memory
            .iter()
            .map(|(shape, values)| tape.input(*shape, values));
        let inputs: Vec<_> = inputs.collect();
        if !inputs.is_empty() {
            state.memory.clone_from(&inputs);
        }
        let layer = Sublayer {
            norm: &|x| x,
            layer: &|x| gelu(sublayer.forward(x)),
            attention: None,
        };
        let after = connection.apply(state, &layer).settle();
        let mut recorded = Recorded {
            outputs: vec![("hidden".into(), after.hidden)],
            losses: Vec::new(),
            objectives: vec![(after.hidden, cotangent.clone())],
            inputs: vec![("hidden".into(), hidden)],
        };
        let name = |at: usize| format!("memory.{at}");
        let named = inputs.into_iter().enumerate();
        recorded
            .inputs
            .extend(named.map(|(at, var)| (name(at), var)));
        for (at, value) in after.memory.into_iter().enumerate() {
            let value = match delayed {
                Some(n) => read_of(value, [batch, seq, n]),
                None => value,
            };
            recorded.outputs.push((name(at), value));
            if let Some((_, cotangent)) = memory_cotangents.get(at) {
                recorded.objectives.push((value, cotangent.clone()));
            }
        }
        recorded
    });
    Ok((forward, params))
}

/// A_m of every token, `[batch, seq, n, 1]`, from `[A_m | A_r]` of every token or of all.
fn read_of(coefficients: Var<'_>, [batch, seq, n]: [usize; 3]) -> Var<'_> {
    let tape = coefficients.tape();
    let of_tokens = Shape::from([batch, seq, n, n + 1]);
    let zeros = tape.constant(of_tokens, &vec![0.0; of_tokens.len()]);
    let mut first = vec![0.0; n + 1];
    first[0] = 1.0;
    let first = tape.constant([1, n + 1], &first);
    linear(delayed_read(coefficients, zeros), first, None)
}

/// What the connection carries beside its state, as the file has it, if it does, and what is multiplied
/// with it after the sublayer.
fn memory(reference: &Reference, config: &Around) -> Result<[Vec<Memory>; 2], ParityError> {
    let shapes = config.memory();
    let given = |what: &str| {
        let names = reference.file.names();
        names.filter(|name| name.starts_with(what)).count()
    };
    let read = |what: &str, count: usize| -> Result<Vec<Memory>, ParityError> {
        let of = |at: usize| {
            // What a sublayer adds has the shape of what was there.
            let shape = shapes.get(at).or(shapes.last());
            let shape =
                *shape.ok_or_else(|| reference.invalid(format!("{what}{at} has no use")))?;
            Ok((shape, reference.floats(&format!("{what}{at}"), shape)?))
        };
        (0..count).map(of).collect()
    };
    let [inputs, cotangents] = [MEMORY, MEMORY_COTANGENT].map(given);
    if inputs > 0 && inputs != shapes.len() || cotangents > shapes.len() + 1 {
        let (index, expected) = (config.sublayer_index, shapes.len());
        return Err(reference.invalid(format!(
            "{inputs} tensors {MEMORY}J and {cotangents} {MEMORY_COTANGENT}J, expected {expected} of \
             this connection at sublayer {index}"
        )));
    }
    Ok([read(MEMORY, inputs)?, read(MEMORY_COTANGENT, cotangents)?])
}

/// Names of the tensors of [`memory`], before their numbers.
const MEMORY: &str = "input.memory.";
const MEMORY_COTANGENT: &str = "input.memory_cotangent.";

/// Shape and values.
type Memory = (Shape, Vec<f32>);

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
        let mut losses = vec![
            ("cross_entropy".to_owned(), loss.task),
            ("loss".to_owned(), loss.total),
        ];
        if let Some(router) = loss.router {
            losses.push(("load_balance".into(), router.load_balance));
            losses.push(("router_z".into(), router.router_z));
        }
        Self {
            outputs: vec![("logits".into(), loss.output)],
            losses,
            objectives: vec![(loss.total, vec![1.0])],
            inputs: Vec::new(),
        }
    }
}
