//! AdamW over the parameter slab, with decay groups and clipping.

use engine::{
    buffer::Buffer,
    kernels::{
        adamw::{AdamWStep, adamw},
        reduce::sum_of_squares_in_parallel,
    },
    params::{Decay, Gradients, Params},
};
use rayon::prelude::*;

/// Elements of the slab that one task updates.
const BLOCK: usize = 1 << 14;

settings! {
    /// The settings of AdamW that do not change during a run.
    #[derive(Copy)]
    pub struct AdamWConfig {
        /// The decay of the first moment.
        pub beta1: f32 = 0.9,
        /// The decay of the second moment.
        pub beta2: f32 = 0.95,
        /// Added to the root of the second moment.
        pub eps: f32 = 1e-8,
        /// The decoupled weight decay of the parameters that decay.
        pub weight_decay: f32 = 0.1,
        /// Decays every parameter, against the rule of the paper: an ablation.
        pub decay_everything: bool = false,
        /// The largest norm of the gradient; longer ones are scaled down to it.
        /// 0 switches clipping off.
        pub clip: f32 = 1.0,
    }
}

/// A run of the slab under one rule.
#[derive(Clone, Debug)]
struct Segment {
    start: usize,
    end: usize,
    decays: bool,
}

/// AdamW (Loshchilov and Hutter, 2019): two moments per parameter, laid out as the
/// slab. The formula is that of [`adamw()`], with the gradient scaled down to the norm
/// `clip` first if it is longer.
///
/// The static parts of connections, norms, biases and scalars never decay (the rule
/// of the paper, and its authors' advice against NaN); see [`Decay`].
#[derive(Clone, Debug)]
pub struct AdamW {
    config: AdamWConfig,
    first_moment: Buffer,
    second_moment: Buffer,
    segments: Vec<Segment>,
    step: u64,
}

impl AdamW {
    /// Moments of zero.
    pub fn new(params: &Params, config: AdamWConfig) -> Self {
        let mut segments: Vec<Segment> = Vec::new();
        for (_, param) in params.iter().filter(|(_, param)| param.trainable) {
            let decays = config.decay_everything || param.decay == Decay::Yes;
            match segments.last_mut() {
                // Gaps of the slab hold zeros and stay so.
                Some(last) if last.decays == decays && param.range.start - last.end < 16 => {
                    last.end = param.range.end;
                }
                _ => segments.push(Segment {
                    start: param.range.start,
                    end: param.range.end,
                    decays,
                }),
            }
        }
        Self {
            config,
            first_moment: Buffer::zeros(params.slab().len()),
            second_moment: Buffer::zeros(params.slab().len()),
            segments,
            step: 0,
        }
    }

    /// One step: clips the gradients and updates the parameters. Returns the norm of
    /// the gradients before the clipping.
    ///
    /// If that norm is not finite nothing is changed: the run has diverged.
    ///
    /// # Panics
    /// If a tape still reads the parameters.
    #[track_caller]
    pub fn update(
        &mut self,
        params: &mut Params,
        gradients: &Gradients,
        learning_rate: f64,
    ) -> f64 {
        let norm = sum_of_squares_in_parallel(gradients.slab()).sqrt();
        if !norm.is_finite() {
            return norm;
        }
        self.step += 1;
        let clip = f64::from(self.config.clip);
        let gradient_scale = if clip > 0.0 && norm > clip {
            // PyTorch's clip_grad_norm_ divides by norm + 1e-6.
            (clip / (norm + 1e-6)) as f32
        } else {
            1.0
        };
        let step = AdamWStep {
            learning_rate: learning_rate as f32,
            beta1: self.config.beta1,
            beta2: self.config.beta2,
            eps: self.config.eps,
            weight_decay: self.config.weight_decay,
            step: self.step,
            gradient_scale,
        };
        let segments = &self.segments;
        params
            .slab_mut()
            .par_chunks_mut(BLOCK)
            .zip(self.first_moment.par_chunks_mut(BLOCK))
            .zip(self.second_moment.par_chunks_mut(BLOCK))
            .zip(gradients.slab().par_chunks(BLOCK))
            .enumerate()
            .for_each(|(block, (((parameter, first), second), gradient))| {
                let origin = block * BLOCK;
                let here = origin..origin + parameter.len();
                let from = segments.partition_point(|segment| segment.end <= here.start);
                for segment in &segments[from..] {
                    if segment.start >= here.end {
                        break;
                    }
                    let start = segment.start.max(here.start) - origin;
                    let end = segment.end.min(here.end) - origin;
                    let decay = if segment.decays {
                        step.weight_decay
                    } else {
                        0.0
                    };
                    adamw(
                        &mut parameter[start..end],
                        &mut first[start..end],
                        &mut second[start..end],
                        &gradient[start..end],
                        &AdamWStep {
                            weight_decay: decay,
                            ..step
                        },
                    );
                }
            });
        norm
    }

    /// Number of steps taken.
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// Both moments, for a checkpoint.
    pub fn moments(&self) -> (&[f32], &[f32]) {
        (&self.first_moment, &self.second_moment)
    }

    /// Continues from the moments of a checkpoint.
    ///
    /// # Panics
    /// If their lengths are not that of the slab.
    #[track_caller]
    pub fn restore(&mut self, first: &[f32], second: &[f32], step: u64) {
        self.first_moment.copy_from_slice(first);
        self.second_moment.copy_from_slice(second);
        self.step = step;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::{
        ops::sum,
        params::{Builder, Init, ParamId},
        rng::Key,
        tape::Tape,
    };

    struct Fixture {
        params: Params,
        matrix: ParamId,
        static_beta: ParamId,
        frozen: ParamId,
    }

    fn fixture() -> Fixture {
        let mut b = Builder::new(Key::new(0));
        let matrix = b.param("matrix", [3, 5], Decay::Yes, Init::Constant(2.0));
        let static_beta = b.param("static_beta", [4], Decay::No, Init::Constant(2.0));
        let frozen = b.frozen_if(true, |b| {
            b.param("frozen", [2], Decay::Yes, Init::Constant(2.0))
        });
        Fixture {
            params: b.finish(),
            matrix,
            static_beta,
            frozen,
        }
    }

    /// Gradients of `factor * (sum of matrix + sum of static_beta)`.
    fn gradients(f: &Fixture, factor: f32) -> Gradients {
        let mut gradients = Gradients::new(&f.params);
        let tape = Tape::new();
        tape.bind(&f.params);
        let total = sum(tape.param(f.matrix)) + sum(tape.param(f.static_beta));
        tape.backward(engine::ops::scale(total, factor), &mut gradients);
        gradients.settle(&f.params);
        gradients
    }

    #[test]
    fn static_parts_do_not_decay_and_frozen_ones_do_not_move() {
        let mut f = fixture();
        let zero = gradients(&f, 0.0);
        let mut optimiser = AdamW::new(&f.params, AdamWConfig::default());
        optimiser.update(&mut f.params, &zero, 0.5);
        assert!(
            f.params
                .value(f.matrix)
                .iter()
                .all(|&x| (x - 1.9).abs() < 1e-6)
        );
        assert_eq!(f.params.value(f.static_beta), [2.0; 4]);
        assert_eq!(f.params.value(f.frozen), [2.0; 2]);
    }

    #[test]
    fn the_ablation_that_decays_everything_decays_static_parts() {
        let mut f = fixture();
        let zero = gradients(&f, 0.0);
        let config = AdamWConfig {
            decay_everything: true,
            ..AdamWConfig::default()
        };
        AdamW::new(&f.params, config).update(&mut f.params, &zero, 0.5);
        assert!(f.params.value(f.static_beta).iter().all(|&x| x < 2.0));
    }

    #[test]
    fn the_first_step_moves_every_element_by_the_learning_rate() {
        let mut f = fixture();
        let some = gradients(&f, 0.1);
        let config = AdamWConfig {
            weight_decay: 0.0,
            ..AdamWConfig::default()
        };
        let norm = AdamW::new(&f.params, config).update(&mut f.params, &some, 0.01);
        assert!((norm - 0.1 * 19.0_f64.sqrt()).abs() < 1e-6);
        let moved = f
            .params
            .value(f.matrix)
            .iter()
            .chain(f.params.value(f.static_beta));
        assert!(moved.into_iter().all(|&x| (x - 1.99).abs() < 1e-5));
    }

    /// Three blocks and a half, decaying and not in turn, and a gradient without zeros.
    fn blocks() -> (Params, Gradients) {
        let mut b = Builder::new(Key::new(0));
        for (i, decay) in [Decay::Yes, Decay::No]
            .into_iter()
            .cycle()
            .take(7)
            .enumerate()
        {
            let name = format!("{i}");
            b.param(&name, [BLOCK / 2 + 3], decay, Init::Constant(2.0));
        }
        let params = b.finish();
        let mut gradients = Gradients::new(&params);
        for i in params.iter().flat_map(|(_, param)| param.range.clone()) {
            gradients.slab_mut()[i] = (i % 6) as f32 - 2.5;
        }
        (params, gradients)
    }

    #[test]
    fn a_gradient_longer_than_the_clip_is_shortened_as_a_whole_and_no_other_is() {
        let (_, gradients) = blocks();
        let squares = gradients.slab().iter().map(|&g| f64::from(g).powi(2));
        let norm = squares.sum::<f64>().sqrt();
        for (clip, factor) in [(0.5 * norm, 0.5), (1.5 * norm, 1.0), (0.0, 1.0)] {
            let (mut params, gradients) = blocks();
            let config = AdamWConfig {
                clip: clip as f32,
                ..AdamWConfig::default()
            };
            let mut optimiser = AdamW::new(&params, config);
            let returned = optimiser.update(&mut params, &gradients, 0.01);
            assert!(
                (returned / norm - 1.0).abs() < 1e-6,
                "{returned}, not {norm}"
            );
            let (first, second) = optimiser.moments();
            for (i, &gradient) in gradients.slab().iter().enumerate() {
                let g = factor * gradient;
                assert!(
                    (first[i] - 0.1 * g).abs() < 1e-5,
                    "{clip}: first moment {i}"
                );
                let error = (second[i] - 0.05 * g * g).abs();
                assert!(error < 1e-5, "{clip}: second moment {i}");
            }
        }
    }

    #[test]
    fn an_optimiser_goes_on_from_its_moments_as_if_it_had_not_stopped() {
        let (mut params, gradients) = blocks();
        let mut whole = AdamW::new(&params, AdamWConfig::default());
        for _ in 0..3 {
            whole.update(&mut params, &gradients, 0.01);
        }
        let mut own = params.detached();
        let mut resumed = AdamW::new(&own, AdamWConfig::default());
        let (first, second) = whole.moments();
        resumed.restore(first, second, whole.steps());
        whole.update(&mut params, &gradients, 0.01);
        resumed.update(&mut own, &gradients, 0.01);
        assert_eq!(own.slab(), params.slab());
        assert_eq!(resumed.moments(), whole.moments());
        assert_eq!(resumed.steps(), 4);
    }

    #[test]
    fn every_element_decays_by_the_rule_of_its_own_parameter() {
        for decay_everything in [false, true] {
            let (mut params, mut gradients) = blocks();
            gradients.slab_mut().fill(0.0);
            let config = AdamWConfig {
                decay_everything,
                ..AdamWConfig::default()
            };
            AdamW::new(&params, config).update(&mut params, &gradients, 0.5);
            for (id, param) in params.iter() {
                let decays = decay_everything || param.decay == Decay::Yes;
                let expected = if decays { 1.9 } else { 2.0 };
                let near = |&x: &f32| (x - expected).abs() < 1e-6;
                assert!(params.value(id).iter().all(near), "{}", param.name);
            }
        }
    }

    #[test]
    fn a_gradient_that_is_not_finite_changes_nothing() {
        let mut f = fixture();
        let bad = gradients(&f, f32::NAN);
        let before = f.params.slab().to_vec();
        let mut optimiser = AdamW::new(&f.params, AdamWConfig::default());
        assert!(optimiser.update(&mut f.params, &bad, 0.01).is_nan());
        assert_eq!(f.params.slab(), before);
        assert_eq!(optimiser.steps(), 0);
    }
}
