//! This engine against reference values of another one.
//!
//! A file holds a configuration, parameters, inputs, and what the other engine made of
//! them: outputs, losses, gradients, and a few steps of training. The format is
//! described in `docs/parity.md`.

mod around;
mod case;
mod compare;
mod export;
mod reference;

pub use compare::Worst;
pub use export::{ExportError, export};
pub use reference::ParityError;

use case::{Case, Train};
use compare::{Pair, Rule};
use engine::{
    backend::{Backend, CpuBackend},
    params::{Decay, Gradients, Params, Part},
    shape::Shape,
    tape::{Tape, Var},
};
use figures::terminal::scientific;
use models::weights::TensorFile;
use nn::optim::AdamW;
use serde::Serialize;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// Outputs and losses: what rounding in f32 explains.
const FORWARD: Rule = Rule {
    tolerance: 1e-5,
    floor: 0.0,
};
/// Gradients. The floor is for those that are sums of both signs over all tokens, above
/// all of the scalars: their error has the size of the terms, not of the sum.
const BACKWARD: Rule = Rule {
    tolerance: 1e-4,
    floor: 1e-2,
};
/// Losses during training, and the parameters after it.
const TRAINING: Rule = Rule {
    tolerance: 1e-3,
    floor: 0.0,
};
/// Gradients below this share of their tensor's largest may be all rounding.
const ROUNDING: f32 = 1e-3;

/// Errors of one file, by group.
#[derive(Clone, Debug, Serialize)]
pub struct Agreement {
    /// The file.
    pub file: PathBuf,
    /// Outputs of the forward.
    pub outputs: Option<Worst>,
    /// Losses, with all their terms.
    pub losses: Option<Worst>,
    /// Gradients of the loss.
    pub gradients: Option<Worst>,
    /// The loss before each step of training.
    pub training_losses: Option<Worst>,
    /// The parameters after the training.
    pub trained: Option<Worst>,
    /// Parameters that decay here and not there, or the other way round.
    pub decay_differs: Vec<String>,
    /// True if everything stays within its tolerance.
    pub passed: bool,
}

/// Executes a file and compares.
///
/// # Errors
/// [`ParityError`] if the file cannot be read or executed, or compares nothing.
pub fn check(path: &Path) -> Result<Agreement, ParityError> {
    check_on(path, &(Arc::new(CpuBackend) as Arc<dyn Backend>))
}

/// As [`check`], with the matrix products of `backend`.
///
/// # Errors
/// As [`check`].
pub fn check_on(path: &Path, backend: &Arc<dyn Backend>) -> Result<Agreement, ParityError> {
    let mut case = Case::open(path)?;
    let invalid = |reason: String| ParityError::Invalid {
        file: path.to_owned(),
        reason,
    };
    let mut found = forward(&case, backend)?;
    if let Some(train) = case.train.take() {
        let (losses, trained) = train_along(&mut case, &train, backend)?;
        found.training_losses = TRAINING.worst(&losses);
        found.trained = TRAINING.worst(&trained);
        let decays = train.decays.as_deref();
        let unknown = |name: &&String| case.params.part(name).is_none();
        if let Some(name) = decays.and_then(|decays| decays.iter().find(unknown)) {
            return Err(invalid(format!(
                "config: train: decays names {name}, which is no parameter"
            )));
        }
        found.decay_differs = decay_differs(&case.params, decays);
    }
    if found.groups().next().is_none() {
        return Err(invalid(
            "no expect.NAME and no grad.NAME: nothing to compare".into(),
        ));
    }
    found.passed = found.decay_differs.is_empty() && found.groups().all(Worst::passes);
    Ok(found)
}

impl Agreement {
    /// The groups that the file had references for.
    pub fn groups(&self) -> impl Iterator<Item = &Worst> {
        let groups = [
            &self.outputs,
            &self.losses,
            &self.gradients,
            &self.training_losses,
            &self.trained,
        ];
        groups.into_iter().flatten()
    }

    /// Reason why a file has not passed.
    pub fn reason(&self) -> String {
        let groups = self.groups().filter(|group| !group.passes());
        let mut reasons: Vec<String> = groups
            .map(|group| {
                format!(
                    "{} is off by {} of its largest magnitude, tolerated {}",
                    group.tensor,
                    scientific(group.error, 1),
                    scientific(group.tolerance, 0)
                )
            })
            .collect();
        if !self.decay_differs.is_empty() {
            let names = self.decay_differs.join(", ");
            reasons.push(format!("weight decay differs for {names}"));
        }
        format!("{}: {}", self.file.display(), reasons.join("; "))
    }
}

/// One forward and backward beside its references.
fn forward(case: &Case, backend: &Arc<dyn Backend>) -> Result<Agreement, ParityError> {
    let file = &case.file;
    let mut tape = Tape::new().with_backend(Arc::clone(backend));
    tape.set_deferring(true);
    tape.bind(&case.params);
    let recorded = (case.forward)(&tape);
    let outputs = expected(file, &recorded.outputs)?;
    let losses = expected(file, &recorded.losses)?;
    let known = |name: &str| {
        let mut pairs = outputs.iter().chain(&losses);
        name == "train_losses" || name.starts_with("trained.") || pairs.any(|p| p.name == name)
    };
    let mut asked = file.names().filter_map(|name| name.strip_prefix("expect."));
    if let Some(name) = asked.find(|name| !known(name)) {
        return Err(ParityError::Unsupported {
            file: file.path().to_owned(),
            what: format!("expect.{name}"),
        });
    }
    let mut gradients = Gradients::new(&case.params);
    let objectives = recorded.objectives.iter().map(|(of, with)| (*of, &**with));
    tape.backward_from(&objectives.collect::<Vec<_>>(), &mut gradients);
    gradients.settle(&case.params);
    let parts = of_parts(&case.params, gradients.slab());
    // A gradient that the file leaves out is of something that does not learn.
    let learns = |name: &str| {
        let mut params = case.params.iter().map(|(_, param)| param);
        let of = params.find(|param| param.parts.iter().any(|part| part.name == name));
        of.is_none_or(|param| param.trainable)
    };
    let parts =
        parts.filter(|(name, ..)| learns(name) || file.shape(&format!("grad.{name}")).is_some());
    let inputs = recorded.inputs.iter();
    let inputs = inputs.map(|(name, var)| (name.clone(), var.shape(), tape.grad(*var)));
    let gradients = named(file, "grad.", parts.chain(inputs))?;
    Ok(Agreement {
        file: file.path().to_owned(),
        outputs: FORWARD.worst(&outputs),
        losses: FORWARD.worst(&losses),
        gradients: BACKWARD.worst(&gradients),
        training_losses: None,
        trained: None,
        decay_differs: Vec::new(),
        passed: false,
    })
}

/// The values that have an `expect.NAME`.
fn expected(file: &TensorFile, values: &[(String, Var<'_>)]) -> Result<Vec<Pair>, ParityError> {
    let reference = |name: &str| format!("expect.{name}");
    let known = |(name, _): &&(String, _)| file.shape(&reference(name)).is_some();
    let pairs = values.iter().filter(known).map(|(name, var)| {
        Ok(Pair {
            name: name.clone(),
            got: var.value(),
            expected: file.floats(&reference(name))?,
        })
    });
    pairs.collect()
}

/// Name, shape and values in `slab` of every parameter.
fn of_parts(params: &Params, slab: &[f32]) -> impl Iterator<Item = (String, Shape, Vec<f32>)> {
    let parts = params.parts();
    parts.map(|part| {
        (
            part.name.clone(),
            part.shape,
            slab[part.range.clone()].to_vec(),
        )
    })
}

/// Values beside the tensors `PREFIX NAME`: all of them, or none if the file has none
/// with this prefix.
fn named(
    file: &TensorFile,
    prefix: &str,
    values: impl Iterator<Item = (String, Shape, Vec<f32>)>,
) -> Result<Vec<Pair>, ParityError> {
    if !file.names().any(|name| name.starts_with(prefix)) {
        return Ok(Vec::new());
    }
    let pairs = values.map(|(name, shape, got)| {
        let reference = format!("{prefix}{name}");
        file.expect_shape(&reference, shape.dims())?;
        let expected = file.floats(&reference)?;
        Ok(Pair {
            name,
            got,
            expected,
        })
    });
    pairs.collect()
}

/// Trains as the file did: the losses and the parameters.
fn train_along(
    case: &mut Case,
    train: &Train,
    backend: &Arc<dyn Backend>,
) -> Result<(Vec<Pair>, Vec<Pair>), ParityError> {
    const LOSSES: &str = "expect.train_losses";
    let file = &case.file;
    file.expect_shape(LOSSES, &[train.steps])?;
    let mut optimiser = AdamW::new(&case.params, train.optimiser());
    let mut gradients = Gradients::new(&case.params);
    let mut tape = Tape::new().with_backend(Arc::clone(backend));
    tape.set_deferring(true);
    let mut losses = Vec::new();
    for (step, expected) in file.floats(LOSSES)?.into_iter().enumerate() {
        tape.bind(&case.params);
        let recorded = (case.forward)(&tape);
        losses.push(Pair {
            name: format!("train_losses[{step}]"),
            got: recorded.objectives[0].0.value(),
            expected: vec![expected],
        });
        gradients.clear();
        tape.backward(recorded.objectives[0].0, &mut gradients);
        gradients.settle(&case.params);
        tape.reset();
        optimiser.update(&mut case.params, &gradients, train.lr);
    }
    let parts = of_parts(&case.params, case.params.slab());
    let mut trained = named(file, "expect.trained.", parts)?;
    drop_rounding(file, &mut trained)?;
    Ok((losses, trained))
}

/// Drops from trained parameters the elements whose gradient before the training,
/// `grad.NAME`, is within rounding of zero. Adam moves them by the learning rate all the
/// same, whither is chance.
fn drop_rounding(file: &TensorFile, trained: &mut [Pair]) -> Result<(), ParityError> {
    let mut gradients = Vec::new();
    for pair in &*trained {
        let name = format!("grad.{}", pair.name);
        gradients.push(match file.shape(&name) {
            Some(_) => file.floats(&name)?,
            None => return Ok(()),
        });
    }
    let size = |gradient: &[f32]| gradient.iter().fold(0.0_f32, |size, x| x.abs().max(size));
    let largest = gradients.iter().map(|g| size(g)).fold(0.0, f32::max);
    for (pair, gradient) in trained.iter_mut().zip(&gradients) {
        let scale = size(gradient).max(BACKWARD.floor as f32 * largest);
        let zero = ROUNDING * scale;
        let mut keep = gradient.iter().map(|x| x.abs() > zero);
        pair.got.retain(|_| keep.next().unwrap_or(true));
        let mut keep = gradient.iter().map(|x| x.abs() > zero);
        pair.expected.retain(|_| keep.next().unwrap_or(true));
    }
    Ok(())
}

/// Parameters whose decay differs from what the file lists or, without a list, from the rule of
/// the format: tensors of more than one element decay whose name contains none of `.static_`,
/// `norm` and `bias`.
fn decay_differs(params: &Params, decays: Option<&[String]>) -> Vec<String> {
    let by_rule = |part: &Part| {
        let exempt = [".static_", "norm", "bias"];
        part.shape.len() > 1 && !exempt.iter().any(|word| part.name.contains(word))
    };
    let mut differing = Vec::new();
    for (_, param) in params.iter() {
        for part in &param.parts {
            let there = match decays {
                Some(decays) => decays.contains(&part.name),
                None => by_rule(part),
            };
            if there != (param.decay == Decay::Yes) {
                differing.push(part.name.clone());
            }
        }
    }
    differing
}
