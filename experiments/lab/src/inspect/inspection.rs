//! Everything that is found in one network.

use super::{
    align::{Alignment, align},
    gain::{LayerGain, gains},
    interventions::{Intervention, interventions},
    measures::{Band, DepthView, LayerView, adjacent_similarity, by_depth, layer_views},
    network::InspectedNetwork,
    patterns::{Patterns, Reference, relative},
    trace::{Trace, rms},
};
use crate::{measure::Measure, run_dir::CoefficientRecord};
use figures::unfold::{LayerCoefficients, Unfolded, unfold};
use serde::Serialize;

/// The sentence that belongs beside every matrix of coefficients.
pub const ORIENTATION: &str = "row = source stream, column = destination stream";

/// Everything that is measured of one network.
#[derive(Debug, Serialize)]
pub struct Inspection {
    /// Name for the user.
    pub name: String,
    /// Label of the connection: `DHC x4`.
    pub label: String,
    /// Meaning of rows and columns of the matrices.
    pub orientation: &'static str,
    /// Name of the data.
    pub data: String,
    /// Number of tokens.
    pub tokens: usize,
    /// Kind of tokens: bytes, patches.
    pub kind_of_tokens: &'static str,
    /// Mean loss over the tokens.
    pub loss: f64,
    /// The unit of the loss.
    pub unit: &'static str,
    /// Number of streams; `None` if the connection has no coefficients of streams.
    pub rate: Option<usize>,
    /// The sublayers: `blocks.0.attn`.
    pub sites: Vec<String>,
    /// The coefficients of every sublayer.
    pub layers: Vec<LayerView>,
    /// The unfolded matrices.
    pub unfolded: Option<UnfoldedView>,
    /// C(0) of arrangements that people know.
    pub references: Vec<(&'static str, Vec<Vec<f64>>)>,
    /// Cosine of the inputs of adjacent sublayers.
    pub similarity: Vec<Band>,
    /// Norms and gradients.
    pub depth: Vec<DepthView>,
    /// Of the mixes of every sublayer, each measure the mean over the tokens.
    pub gains: Vec<LayerGain>,
    /// The loss with parts of the connections taken away.
    pub interventions: Vec<Intervention>,
    /// Over training, if it was recorded.
    pub training: Vec<TrainingView>,
    /// Networks that it was compared with.
    pub compared: Vec<Compared>,
}

/// The unfolded matrices of a network.
#[derive(Debug, Serialize)]
pub struct UnfoldedView {
    /// Matrices of the mean coefficients.
    pub of_mean: Unfolded,
    /// The mean of those of every token: not the same, products do not commute with means.
    pub mean_of_tokens: Unfolded,
    /// The relative contributions in C(0) of the latter; see [`relative`].
    pub contributions: Vec<Vec<f64>>,
    /// The patterns of the latter.
    pub patterns: Patterns,
}

/// The recorded coefficients at one step.
#[derive(Debug, Serialize)]
pub struct TrainingView {
    /// Optimiser steps done.
    pub step: u64,
    /// C(0) of the mean coefficients.
    pub inputs: Vec<Vec<f64>>,
    /// The gains of the mean mixes.
    pub gains: Vec<LayerGain>,
}

/// Another network.
#[derive(Debug, Serialize)]
pub struct Compared {
    /// Name for the user.
    pub name: String,
    /// Label of the connection.
    pub label: String,
    /// Mean loss.
    pub loss: f64,
    /// Cosine of the inputs of its adjacent sublayers.
    pub similarity: Vec<Band>,
    /// Distance of the coefficients, if they have the same shape.
    pub alignment: Option<Alignment>,
}

impl Inspection {
    /// Looks at a network; `records` are what was recorded while it was trained.
    pub fn of(
        name: &str,
        network: &InspectedNetwork,
        trace: &Trace,
        records: &[CoefficientRecord],
    ) -> Self {
        let layers = layer_views(network, trace);
        let tokens: Option<Vec<Vec<LayerCoefficients>>> = (0..trace.tokens())
            .map(|token| trace.token(token))
            .collect();
        let sublayers = trace.layers.len();
        let last = trace.mean_last();
        let measure = Measure::of(&network.config);
        // A damaged record may be of no network at all.
        let fits = |record: &&CoefficientRecord| {
            let sizes = |of: &LayerCoefficients| [of.alpha.len(), of.beta.len()];
            let theirs = record.mean.iter().map(sizes);
            theirs.eq(layers.iter().map(|layer| sizes(&layer.mean)))
        };
        let over_training = |record: &CoefficientRecord| TrainingView {
            step: record.step,
            inputs: unfold(&record.mean, &last).inputs,
            gains: gains(std::slice::from_ref(&record.mean)),
        };
        let sites = trace.layers.iter().map(|layer| layer.site.clone());
        let references = Reference::ALL.map(|known| (known.name(), known.matrix(sublayers)));
        Self {
            name: name.to_owned(),
            label: network.connection().spec().label(),
            orientation: ORIENTATION,
            data: network.data.clone(),
            tokens: trace.tokens(),
            kind_of_tokens: measure.tokens(),
            loss: trace.loss,
            unit: measure.unit(),
            rate: trace.rate(),
            sites: sites.collect(),
            unfolded: unfolded(trace),
            references: references.into(),
            similarity: adjacent_similarity(trace),
            depth: by_depth(trace),
            gains: tokens.as_deref().map(gains).unwrap_or_default(),
            interventions: interventions(network, &layers, trace.loss),
            training: records.iter().filter(fits).map(over_training).collect(),
            compared: Vec::new(),
            layers,
        }
    }

    /// As JSON, every number to its last bit.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("plain data becomes JSON")
    }

    /// Label and similarity of this network and of those that it was compared with.
    pub(super) fn similarities(&self) -> impl Iterator<Item = (String, &[Band])> {
        let others = self.compared.iter();
        let others = others.map(|other| (&other.name, &other.label, &other.similarity));
        let all = std::iter::once((&self.name, &self.label, &self.similarity)).chain(others);
        all.map(|(name, label, bands)| (format!("{name}, {label}"), &bands[..]))
    }

    /// Adds another network to compare with.
    pub fn compare(&mut self, name: &str, network: &InspectedNetwork, trace: &Trace) {
        let mine: Vec<_> = self.layers.iter().map(|layer| layer.mean.clone()).collect();
        let theirs = trace.mean().unwrap_or_default();
        self.compared.push(Compared {
            name: name.to_owned(),
            label: network.connection().spec().label(),
            loss: trace.loss,
            similarity: adjacent_similarity(trace),
            alignment: align(&mine, &theirs),
        });
    }
}

fn unfolded(trace: &Trace) -> Option<UnfoldedView> {
    let of_mean = unfold(&trace.mean()?, &trace.mean_last());
    let mut mean_of_tokens = of_mean.clone();
    mean_of_tokens.entries_mut().for_each(|entry| *entry = 0.0);
    let weight = 1.0 / trace.tokens() as f64;
    for token in 0..trace.tokens() {
        let mut of_token = trace.unfolded(token)?;
        let entries = mean_of_tokens.entries_mut().zip(of_token.entries_mut());
        entries.for_each(|(mean, entry)| *mean += weight * *entry);
    }
    let outputs = trace.layers.iter().map(|layer| &layer.output);
    let outputs = std::iter::once(&trace.embedding).chain(outputs);
    let sizes: Vec<f64> = outputs.map(|values| rms(values)).collect();
    Some(UnfoldedView {
        contributions: relative(&mean_of_tokens.inputs, &sizes),
        patterns: Patterns::of(&mean_of_tokens.inputs, &mean_of_tokens.streams, &sizes),
        of_mean,
        mean_of_tokens,
    })
}
