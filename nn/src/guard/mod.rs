//! Finds, over the first steps of a training, what does not learn.
//!
//! A mixing matrix that is cut off from the loss, one whose gradient a wrong formula makes
//! zero, streams that no step can tell apart: all of these train without any complaint.
//! So every trainable tensor is watched over the first steps, and after these the shown
//! values of one forward are looked at. What is found is named.

mod finding;

pub use finding::{Finding, remarks};

use crate::{
    hooks::{self, scope_of},
    norm::{NormConfig, NormKind},
};
use engine::{
    params::{Gradients, Params},
    tape::{Tape, Var},
};
use serde::{Deserialize, Serialize};

/// Steps that are watched. Predictors that start at zero hold up the gradient of their
/// scale for one step; experts may be idle for a few.
pub const WATCHED_STEPS: u32 = 10;

/// Streams are identical if no element of them differs from their mean by more than this part of
/// `S min(1, n (n + 1) S)`, S the sum of all learning rates so far and n the number of streams, times
/// the root mean square of the largest output of a sublayer before (or of the streams, if that is
/// smaller); after steps so small that the second term counts, if that is so at every sublayer.
///
/// An update moves a parameter by about the learning rate, so streams that the network can
/// tell apart separate in proportion to S, and to what sublayers write into them; slower by far, and
/// not at all sublayers, while all parameters happen to move alike. A symmetry keeps them equal up to
/// rounding; where an exact gradient is zero, AdamW blows rounding up to the size of a learning rate,
/// but that parts streams by the square of S only, for each of the n (n + 1) weights of a stream's
/// mix and read.
pub const IDENTICAL: f64 = 0.1;

/// A difference of streams that is rounding, whatever the learning rates.
const ROUNDING: f64 = 2e-6;

/// A mixing matrix is saturated if none of its weights is farther than this from 0 and 1: the
/// gradient of its logits is then at most this part of what it could be.
pub const SATURATED: f32 = 0.01;

/// Gradients are vanishing below this part of the optimiser's epsilon: AdamW then moves a
/// parameter by less than this part of the learning rate.
pub const VANISHING: f32 = 0.01;

/// The observations of the gradients of every tensor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Guard {
    steps: u32,
    /// The sum of their learning rates.
    learning_rates: f64,
    /// By parameter: whether it has been reached.
    reached: Vec<bool>,
    /// By named part of a parameter: the largest magnitude of an element.
    largest: Vec<f32>,
}

impl Guard {
    /// Nothing has been seen yet.
    pub fn new(params: &Params) -> Self {
        Self {
            steps: 0,
            learning_rates: 0.0,
            reached: vec![false; params.len()],
            largest: vec![0.0; params.parts().count()],
        }
    }

    /// Returns whether this is a guard of these parameters; it may have come from a file.
    pub fn fits(&self, params: &Params) -> bool {
        self.reached.len() == params.len() && self.largest.len() == params.parts().count()
    }

    /// Looks at the settled gradients of a step, if it is one of the first, before its
    /// update.
    pub fn watch(&mut self, params: &Params, gradients: &Gradients, learning_rate: f64) {
        if self.steps >= WATCHED_STEPS {
            return;
        }
        self.steps += 1;
        self.learning_rates += learning_rate;
        for (reached, (id, _)) in self.reached.iter_mut().zip(params.iter()) {
            *reached |= gradients.touched(id);
        }
        for (largest, part) in self.largest.iter_mut().zip(params.parts()) {
            let gradient = &gradients.slab()[part.range.clone()];
            *largest = gradient.iter().fold(*largest, |max, g| max.max(g.abs()));
        }
    }

    /// The tensors that do not learn, in the order of registration; none before all steps
    /// have been watched. `eps` is that of the optimiser.
    pub fn parameters(&self, params: &Params, eps: f32) -> Vec<Finding> {
        if self.steps < WATCHED_STEPS {
            return Vec::new();
        }
        let mut largest = self.largest.iter();
        let mut findings = Vec::new();
        for ((_, param), &reached) in params.iter().zip(&self.reached) {
            for (part, &largest) in param.parts.iter().zip(&mut largest) {
                if !param.trainable || largest >= VANISHING * eps {
                    continue;
                }
                let parameter = part.name.clone();
                findings.push(if !reached {
                    Finding::NoGradient { parameter }
                } else if largest == 0.0 {
                    Finding::ZeroGradient { parameter }
                } else {
                    Finding::VanishingGradient { parameter, largest }
                });
            }
        }
        findings
    }

    /// Returns what does not learn among the values of a forward on a
    /// [probing](Tape::set_probing) tape. `hidden` of rank four, `[batch, seq, rate, d]`,
    /// holds streams; `stochastic_alpha`, `[.., n, n + 1]`, is an `[A_m | A_r]` whose A_r a
    /// softmax or Sinkhorn's iterations made, and which is to learn. The state of the first
    /// sublayer is not looked at: replication has just made it.
    pub fn values(&self, tape: &Tape) -> Vec<Finding> {
        let probes = tape.probes();
        let (mut findings, mut streams) = (Vec::new(), Vec::new());
        let mut states = 0;
        // Of the outputs so far, the largest root mean square.
        let mut written: Option<f64> = None;
        for (name, var) in probes {
            if scope_of(&name, hooks::OUTPUT).is_some() {
                let size = var.with_value(root_mean_square);
                written = Some(written.map_or(size, |largest| largest.max(size)));
            } else if let Some(site) = scope_of(&name, hooks::HIDDEN) {
                let site = site.to_owned();
                states += 1;
                let shape = var.shape();
                let &[_, _, rate, d] = shape.dims() else {
                    continue;
                };
                if rate == 1 || states == 1 {
                    continue;
                }
                let (spread, size) =
                    var.with_value(|state| (spread(state, rate, d), root_mean_square(state)));
                let unit = written.map_or(size, |written| written.min(size));
                let weights = (rate * (rate + 1)) as f64;
                let share = (weights * self.learning_rates).min(1.0);
                let alike = spread <= IDENTICAL * share * self.learning_rates * unit;
                streams.push(Streams {
                    site,
                    rate,
                    named: spread <= ROUNDING * size || alike && share == 1.0,
                    alike,
                });
            } else if let Some(site) = scope_of(&name, hooks::STOCHASTIC_ALPHA) {
                let site = site.to_owned();
                let distance = distance_from_corners(var);
                if distance < SATURATED {
                    findings.push(Finding::SaturatedMix { site, distance });
                }
            }
        }
        let everywhere = streams.iter().all(|of| of.alike || of.named);
        let identical = streams.into_iter().filter(|of| of.named || everywhere);
        findings.extend(
            identical.map(|Streams { site, rate, .. }| Finding::IdenticalStreams { site, rate }),
        );
        findings
    }
}

/// The streams that reach a sublayer.
struct Streams {
    site: String,
    rate: usize,
    /// True if these are identical, whatever those of other sublayers are.
    named: bool,
    /// True if these are identical where those of all sublayers are.
    alike: bool,
}

fn root_mean_square(x: &[f32]) -> f64 {
    let square = x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>();
    (square / x.len() as f64).sqrt()
}

/// The largest difference of a stream of the state `[rows, rate, d]` from the mean of all.
fn spread(state: &[f32], rate: usize, d: usize) -> f64 {
    let mut largest = 0.0_f32;
    for row in state.chunks_exact(rate * d) {
        for i in 0..d {
            let mean = row[i..].iter().step_by(d).sum::<f32>() / rate as f32;
            let differences = row[i..].iter().step_by(d).map(|x| (x - mean).abs());
            largest = differences.fold(largest, f32::max);
        }
    }
    f64::from(largest)
}

/// The largest distance of a weight of A_r from 0 and 1, in the mean over the tokens.
fn distance_from_corners(alpha: Var<'_>) -> f32 {
    let width = alpha.shape().width();
    let one = width * (width - 1);
    let mut sums = vec![0.0_f64; one];
    alpha.with_value(|alpha| {
        for matrix in alpha.chunks_exact(one) {
            for (sum, &p) in sums.iter_mut().zip(matrix) {
                *sum += f64::from(p.min(1.0 - p).abs());
            }
        }
    });
    let tokens = (alpha.shape().len() / one) as f64;
    let mixes = sums.iter().enumerate().filter(|(i, _)| i % width > 0);
    mixes.fold(0.0, |max, (_, sum)| f64::max(max, sum / tokens)) as f32
}

/// The constant under the root of a norm is large above this part of what the root is taken of.
pub const LARGE_EPS: f32 = 0.05;

/// Where the constant under the root is not small against what the norms normalise, among the
/// values of a forward on a [probing](Tape::set_probing) tape: what every sublayer and the final
/// norm read. Such a norm shrinks small states, and connections that differ in the scale of
/// their state can no longer be compared.
pub fn large_eps(tape: &Tape, norm: NormConfig) -> Vec<Finding> {
    let reads = tape.probes().into_iter().filter_map(|(name, var)| {
        let site = match name.as_str() {
            hooks::REDUCED => "the final norm",
            name => scope_of(name, hooks::INPUT)?,
        };
        Some((site.to_owned(), var))
    });
    let findings = reads.filter_map(|(site, var)| {
        let share = share_of_eps(var, norm);
        (share > LARGE_EPS).then_some(Finding::LargeEps {
            site,
            share,
            eps: norm.eps,
        })
    });
    findings.collect()
}

/// The part that eps has in what a norm takes the root of, in the mean over the tokens.
fn share_of_eps(x: Var<'_>, norm: NormConfig) -> f32 {
    let (width, eps) = (x.shape().width(), f64::from(norm.eps));
    let share = |row: &[f32]| {
        let mean_of = |f: &dyn Fn(f64) -> f64| {
            row.iter().map(|&x| f(f64::from(x))).sum::<f64>() / row.len() as f64
        };
        let centre = match norm.kind {
            NormKind::LayerNorm => mean_of(&|x| x),
            NormKind::RmsNorm => 0.0,
        };
        eps / (mean_of(&|x| (x - centre).powi(2)) + eps)
    };
    x.with_value(|x| {
        let rows = x.chunks_exact(width);
        let count = rows.len();
        (rows.map(share).sum::<f64>() / count as f64) as f32
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::{
        ops::{scale, sum},
        params::{Builder, Decay, Init},
        rng::Key,
    };
    use std::sync::Arc;

    #[test]
    fn tensors_that_do_not_learn_are_named_with_their_symptom() {
        let mut b = Builder::new(Key::new(0));
        let mut param = |name| b.param(name, [3], Decay::Yes, Init::Ones);
        let (alive, cut_off, faint) = (param("alive"), param("cut_off"), param("faint"));
        param("forgotten");
        b.frozen_if(true, |b| b.param("frozen", [3], Decay::Yes, Init::Ones));
        let params = b.finish();
        let mut guard = Guard::new(&params);
        let mut tape = Tape::new();
        for _ in 0..WATCHED_STEPS {
            assert_eq!(guard.parameters(&params, 1e-8), []);
            tape.bind(&params);
            let dead = scale(sum(tape.param(cut_off)), 0.0);
            let nearly = scale(sum(tape.param(faint)), 1e-12);
            let mut gradients = Gradients::new(&params);
            tape.backward(sum(tape.param(alive)) + dead + nearly, &mut gradients);
            tape.reset();
            gradients.settle(&params);
            guard.watch(&params, &gradients, 1e-3);
        }
        let findings = guard.parameters(&params, 1e-8);
        let named: Vec<String> = findings.iter().map(ToString::to_string).collect();
        assert_eq!(
            named,
            [
                "the gradient of cut_off was zero for 10 steps",
                "the gradient of faint never exceeded 1e-12 in 10 steps, too little to move it",
                "forgotten received no gradient in 10 steps",
            ]
        );
    }

    fn look(probes: &[(&str, &str, &[usize], &[f32])]) -> Vec<String> {
        let mut tape = Tape::new();
        tape.set_probing();
        for (scope, name, dims, data) in probes {
            let _scope = tape.enter(&Arc::from(*scope));
            tape.probe(name, tape.constant(engine::shape::Shape::new(dims), data));
        }
        let findings = Guard::new(&Params::default()).values(&tape);
        findings
            .iter()
            .map(|finding| finding.name().to_owned())
            .collect()
    }

    #[test]
    fn identical_streams_are_named_except_at_the_first_sublayer() {
        let same = [1.0, -2.0, 1.0, -2.0];
        let apart = [1.0, -2.0, 1.0, -2.001];
        let shape: &[usize] = &[1, 1, 2, 2];
        let found = look(&[
            ("a", "hidden", shape, &same),
            ("b", "hidden", shape, &apart),
            ("c", "hidden", shape, &same),
            ("d", "hidden", &[1, 1, 1, 4], &same),
        ]);
        assert_eq!(found, ["c"]);
    }

    /// One place where they differ is enough for them to be told apart.
    #[test]
    fn streams_that_differ_little_are_named_where_they_do_so_everywhere() {
        let mut tape = Tape::new();
        tape.set_probing();
        let probe = |site: &str, difference: f32| {
            let _scope = tape.enter(&Arc::from(site));
            let state = tape.constant([1, 1, 2, 2], &[1.0, 1.0, 1.0, 1.0 + 2.0 * difference]);
            tape.probe("hidden", state);
        };
        let guard = Guard {
            learning_rates: 0.01,
            ..Guard::new(&Params::default())
        };
        // A tenth of 2 · 3 · 0.01² is 6e-5.
        for site in ["a", "b", "c"] {
            probe(site, 5e-5);
        }
        let named: Vec<Finding> = guard.values(&tape);
        assert_eq!(named.len(), 2, "{named:?}");
        probe("d", 7e-5);
        assert_eq!(guard.values(&tape), []);
    }

    #[test]
    fn mixes_are_saturated_if_every_weight_is_next_to_0_or_1() {
        // Two tokens; the first column is the read, which may be anything.
        let shape: &[usize] = &[2, 2, 3];
        let alpha = |p: [f32; 2]| p.map(|p| [0.5, p, 1.0 - p, 0.5, 1.0 - p, p]).concat();
        let found = look(&[
            ("a", "stochastic_alpha", shape, &alpha([0.5, 0.9])),
            ("b", "stochastic_alpha", shape, &alpha([0.999, 0.001])),
            ("c", "stochastic_alpha", shape, &alpha([1.0, 0.9])),
        ]);
        assert_eq!(found, ["b"]);
    }

    fn found(kind: NormKind, eps: f32, x: &[f32]) -> Vec<(String, f32)> {
        let mut tape = Tape::new();
        tape.set_probing();
        let var = tape.constant([1, x.len() / 2, 2], x);
        {
            let _scope = tape.enter(&Arc::from("blocks.3.attn"));
            tape.probe(hooks::INPUT, var);
        }
        tape.probe(hooks::REDUCED, var);
        let findings = large_eps(&tape, NormConfig { kind, eps }).into_iter();
        let shares = findings.map(|finding| match finding {
            Finding::LargeEps { site, share, .. } => (site, share),
            other => panic!("{other}"),
        });
        shares.collect()
    }

    #[test]
    fn an_eps_as_large_as_what_is_normalised_is_named_where_it_acts() {
        let small = [1e-3, -1e-3];
        let named = found(NormKind::RmsNorm, 1e-6, &small);
        let sites: Vec<&str> = named.iter().map(|(site, _)| site.as_str()).collect();
        assert_eq!(sites, ["blocks.3.attn", "the final norm"]);
        assert!((named[0].1 - 0.5).abs() < 1e-3, "{named:?}");
        assert_eq!(found(NormKind::RmsNorm, 1e-12, &small), []);
        assert_eq!(found(NormKind::RmsNorm, 1e-6, &[1.0, -1.0]), []);
    }

    #[test]
    fn a_layer_norm_is_judged_by_the_variance() {
        let beside_a_mean = [1.001, 0.999];
        assert_eq!(found(NormKind::RmsNorm, 1e-6, &beside_a_mean), []);
        assert_eq!(found(NormKind::LayerNorm, 1e-6, &beside_a_mean).len(), 2);
    }

    #[test]
    fn the_share_is_the_mean_over_the_tokens() {
        let named = found(NormKind::RmsNorm, 1.0, &[1.0, 1.0, 1e6, 1e6]);
        assert!((named[0].1 - 0.25).abs() < 1e-3, "{named:?}");
    }
}
