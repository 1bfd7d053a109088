//! A whole connection around a sublayer.

use super::{constrained::coefficients, linear, norm, project, slots, softmax};
use crate::connection::{
    BlockSelection, ConnectionConfig, DIRECTION_EPS, LARGEST_VALUE, MhcV4Config, PredictorNorm,
    WRITE_GAIN,
    constrained::Settings,
    streams::{
        predictor::{Predictor, PredictorForm},
        slots::WriteForm,
    },
};
use engine::scalar::Real;

/// The place of a connection, its parameters and its sublayer.
pub struct Around<'a, T> {
    /// The number of the sublayer, from 0.
    pub index: usize,
    /// The width of the network.
    pub dim: usize,
    /// The constant under the root of norms.
    pub eps: f32,
    /// A parameter by its name below the connection.
    pub param: &'a dyn Fn(&str) -> &'a [T],
    /// The sublayer with its norm, `[dim]` to `[dim]`.
    pub sublayer: &'a dyn Fn(&[T]) -> Vec<T>,
}

/// What is carried past a sublayer, of one token.
#[derive(Clone, Debug)]
pub struct Carried<T> {
    /// The state.
    pub state: Vec<T>,
    /// What is remembered beside it: the weights `[n]` of the next read where reads are delayed; the
    /// embedding and the outputs so far in Delta Attention Residuals.
    pub memory: Vec<Vec<T>>,
}

/// What is carried on after a sublayer; `None` for connections that need more of the sublayer than its
/// output, or whose memory has no formula here.
pub fn apply<T: Real>(
    connection: &ConnectionConfig,
    around: &Around<'_, T>,
    carried: &Carried<T>,
) -> Option<Carried<T>> {
    let (param, state) = (around.param, &*carried.state);
    let mut memory = carried.memory.clone();
    let added = |factor: &dyn Fn(usize) -> T| -> Vec<T> {
        let output = (around.sublayer)(state);
        let terms = state.iter().zip(output).enumerate();
        terms.map(|(i, (&x, y))| x + factor(i) * y).collect()
    };
    let slotted = |[n, reads]: [usize; 2], form, [alpha, beta]: [Vec<T>; 2]| {
        let input = slots::read(n, reads, state, &alpha);
        let output = (around.sublayer)(&input);
        slots::write([n, reads], form, state, &alpha, &beta, &output)
    };
    let constrained = |settings: &Settings| {
        let made = around.constrained(settings, state);
        slotted([settings.rate, 1], WriteForm::Full, made)
    };
    use ConnectionConfig as Of;
    let state = match connection {
        // The sublayer here has no norm.
        Of::PreNorm(_) => added(&|_| T::from(1.0)),
        Of::Rezero(of) if !of.shared => added(&|_| param("alpha")[0]),
        Of::LayerScale(_) => added(&|i| param("lambda")[i]),
        Of::Highway(_) => {
            let logits = linear(state, param("gate.weight"));
            let output = (around.sublayer)(state);
            let gated = |i: usize| {
                let t = (logits[i] + param("gate.bias")[i]).sigmoid();
                t * output[i] + (T::from(1.0) - t) * state[i]
            };
            (0..state.len()).map(gated).collect()
        }
        Of::Altup(of) => {
            let (k, d) = (of.blocks, around.dim);
            let chosen = match of.selection {
                BlockSelection::Alternating => around.index % k,
                BlockSelection::Same => 0,
            };
            let predicted = slots::read(k, k, state, param("prediction"));
            let block = &state[chosen * d..][..d];
            let output = (around.sublayer)(block);
            let corrected = |(at, &x): (usize, &T)| {
                let error = block[at % d] + output[at % d] - predicted[chosen * d + at % d];
                x + param("correction")[at / d] * error
            };
            predicted.iter().enumerate().map(corrected).collect()
        }
        Of::Hyper(of) => {
            let form = of.dynamic.then(|| around.form(of.norm, of.tanh));
            let mut made = around.predicted(of.rate, state, form, 1.0);
            if of.delayed_reads {
                delay(&mut made[0], &mut memory);
            }
            slotted([of.rate, 1], WriteForm::Full, made)
        }
        Of::Frac(of) => {
            let m = of.fractions;
            let form = of.dynamic.then(|| around.form(of.norm, of.tanh));
            let made = around.predicted(m, state, form, 1.0);
            slotted([m, m], WriteForm::Diagonal, made)
        }
        Of::VirtualWidth(of) => {
            let form = of.dynamic.then(|| around.form(of.norm, of.tanh));
            let width = (around.dim / of.fractions) as f32;
            let tau = of.tau.unwrap_or(width.sqrt());
            let made = around.predicted(of.slots, state, form, tau);
            slotted([of.slots, of.fractions], WriteForm::Full, made)
        }
        Of::Mhc(of) => constrained(&of.settings()),
        Of::MhcLite(of) => constrained(&of.settings()),
        Of::KromHc(of) => constrained(&of.settings()),
        Of::IdentityHc(of) => constrained(&of.settings()),
        Of::Cayley(of) => constrained(&of.settings()),
        Of::Ohc(of) => constrained(&of.settings()),
        Of::Jpmhc(of) => constrained(&of.settings()),
        Of::MhcV4(of) => slotted([of.rate, 1], WriteForm::Full, around.v4(of, state)),
        Of::SinglePassMhc(of) => {
            let mut made = around.v4(&of.0, state);
            delay(&mut made[0], &mut memory);
            slotted([of.0.rate, 1], WriteForm::Full, made)
        }
        Of::TwoLane(of) if state.len() == 2 * around.dim && !of.parallel => {
            let [gain, write] = ["lane_gain", "lane_write"].map(param);
            let lanes = || state.chunks(around.dim);
            let output = (around.sublayer)(lanes().nth(around.index % 2)?);
            let next = lanes()
                .zip(gain.iter().zip(write))
                .flat_map(|(lane, (&g, &w))| {
                    let terms = lane.iter().zip(&output);
                    terms.map(move |(&x, &y)| g * x + w * y)
                });
            next.collect()
        }
        Of::DeltaAttentionResidual(_) => {
            let mut input = state.to_vec();
            if around.index > 0 {
                let score = |y: &Vec<T>| {
                    let normed = norm(PredictorNorm::RmsNorm, y, None, None, around.eps);
                    linear(&normed, param("query"))[0]
                };
                let scores: Vec<T> = memory.iter().map(score).collect();
                for (share, y) in softmax(&scores).into_iter().zip(&memory) {
                    input
                        .iter_mut()
                        .zip(y)
                        .for_each(|(x, &y)| *x = *x + share * y);
                }
            }
            let output = (around.sublayer)(&input);
            let next = state.iter().zip(&output).map(|(&x, &y)| x + y).collect();
            memory.push(output);
            next
        }
        Of::GatedResidual(of) => {
            let [input, beta] = around.gated(of.rate, state);
            let output = (around.sublayer)(&input);
            let terms = state.iter().enumerate();
            terms
                .map(|(i, &x)| x + beta[i / around.dim] * output[i % around.dim])
                .collect()
        }
        Of::DeepDelta(of) => around.deep_delta(of.channels, state),
        _ => return None,
    };
    Some(Carried { state, memory })
}

/// Exchanges the read of `[A_m | A_r]` with the one that is remembered.
fn delay<T>(alpha: &mut [T], memory: &mut [Vec<T>]) {
    let width = alpha.len() / memory[0].len();
    for (row, read) in alpha.chunks_mut(width).zip(&mut memory[0]) {
        std::mem::swap(&mut row[0], read);
    }
}

impl<T: Real> Around<'_, T> {
    fn form(&self, norm: PredictorNorm, tanh: bool) -> PredictorForm {
        let eps = self.eps;
        PredictorForm { norm, eps, tanh }
    }

    /// The coefficients of n slots, static where there is no form.
    fn predicted(
        &self,
        n: usize,
        state: &[T],
        form: Option<PredictorForm>,
        tau: f32,
    ) -> [Vec<T>; 2] {
        const NAMES: [&str; 8] = [
            "static_alpha",
            "static_beta",
            "dynamic_alpha_fn",
            "dynamic_beta_fn",
            "dynamic_alpha_scale",
            "dynamic_beta_scale",
            "norm.weight",
            "norm.bias",
        ];
        match form {
            Some(form) => {
                let with = Predictor::from_fn(form, |part| (self.param)(NAMES[part]));
                slots::predict(n, state, &with, tau)
            }
            None => [0, 1].map(|part| (self.param)(NAMES[part]).to_vec()),
        }
    }

    /// The coefficients of mHC as DeepSeek-V4 has it.
    fn v4(&self, of: &MhcV4Config, state: &[T]) -> [Vec<T>; 2] {
        let normed = norm(PredictorNorm::RmsNorm, state, None, None, self.eps);
        let (scale, base, n) = ((self.param)("scale"), (self.param)("base"), of.rate);
        let projected = linear(&normed, (self.param)("fn"));
        let affine = [(0, 0..n), (1, n..2 * n), (2, 2 * n..base.len())];
        let affine = affine.map(|(part, place)| (scale[part], &base[place]));
        coefficients(of.made(), n, &projected, affine)
    }

    /// What a gated residual reads, and its writes.
    fn gated(&self, n: usize, state: &[T]) -> [Vec<T>; 2] {
        let (d, weight) = (self.dim, (self.param)("norm.weight"));
        let gains: Vec<T> = weight.iter().map(|&w| T::from(1.0) + w).collect();
        let streams = state.chunks(d).zip(gains.chunks(d));
        let normed = streams.flat_map(|(stream, gains)| {
            norm(PredictorNorm::RmsNorm, stream, Some(gains), None, self.eps)
        });
        let normed: Vec<T> = normed.collect();
        let count = T::from(n as f64);
        let narrow = linear(&normed, (self.param)("down.weight")).into_iter();
        let narrow: Vec<T> = narrow.map(|z| z / count).map(|z| z * z.sigmoid()).collect();
        let gates = linear(&narrow, (self.param)("up.weight"));
        let gated = |at: usize| gates[at].sigmoid() * normed[at];
        let read = |c: usize| (0..n).map(|s| gated(s * d + c)).sum::<T>() / count;
        let writes = linear(&normed, (self.param)("inject.weight")).into_iter();
        let write = |z: T| T::from(2.0) * (z / count).sigmoid();
        [(0..d).map(read).collect(), writes.map(write).collect()]
    }

    /// The state after the update of Deep Delta Learning.
    fn deep_delta(&self, n: usize, state: &[T]) -> Vec<T> {
        let (param, d) = (self.param, self.dim);
        let weights = (n > 1).then(|| param("read"));
        let weight = |j: usize| weights.map_or(T::from(1.0), |weights| weights[j]);
        let read = |c: usize| (0..n).map(|j| weight(j) * state[j * d + c]).sum::<T>();
        let read: Vec<T> = (0..d).map(read).collect();
        let logit = linear(&read, param("beta.weight"))[0] + param("beta.bias")[0];
        let beta = T::from(2.0) * logit.sigmoid();
        let values = linear(&read, param("value.weight")).into_iter();
        let values = values.zip(param("value.bias"));
        let output = (self.sublayer)(&read);
        let square = output.iter().map(|&o| o * o).sum::<T>();
        let length = (square + T::from(DIRECTION_EPS.powi(2))).sqrt();
        let channels = state.chunks(d).zip(values);
        let next = channels.flat_map(|(channel, (value, &bias))| {
            let along = channel.iter().zip(&output).map(|(&x, &o)| x * o).sum::<T>() / length;
            let value = T::from(LARGEST_VALUE) * (value + bias).sigmoid();
            let step = beta * (value - along) / length;
            let moved = channel.iter().zip(&output).map(|(&x, &o)| x + step * o);
            moved.collect::<Vec<T>>()
        });
        next.collect()
    }

    fn constrained(&self, settings: &Settings, state: &[T]) -> [Vec<T>; 2] {
        let &Settings {
            rate: n,
            rule,
            form,
            ..
        } = settings;
        let gates = form.gates();
        let weight = Some((self.param)("norm.weight"));
        let normed = norm(form.norm(), state, weight, None, self.eps);
        let counts = [gates.logits(n), gates.logits(n), rule.logits(n)];
        let families = ["pre", "post", "res"].into_iter().zip(counts);
        let families: Vec<_> = families.filter(|(_, count)| *count > 0).collect();
        let projected = families.iter().flat_map(|&(name, count)| {
            project(&normed, (self.param)(&format!("phi_{name}")), count)
        });
        let projected: Vec<T> = projected.collect();
        let zeros = vec![T::from(0.0); counts.into_iter().max().unwrap_or(0)];
        let affine = |family: usize| match (form.mix_scale(), families.get(family)) {
            (None, Some((name, _))) => {
                let [scale, bias] =
                    ["alpha", "bias"].map(|part| (self.param)(&format!("{part}_{name}")));
                (scale[0], bias)
            }
            (scale, _) => {
                let scale = if family == 2 {
                    scale.unwrap_or(1.0)
                } else {
                    1.0
                };
                (T::from(f64::from(scale)), &*zeros)
            }
        };
        let [alpha, mut beta] = coefficients((gates, rule), n, &projected, [0, 1, 2].map(affine));
        if settings.write_gain_end != 1.0 {
            let gain = (self.param)(WRITE_GAIN)[0];
            beta.iter_mut().for_each(|beta| *beta = gain * *beta);
        }
        [alpha, beta]
    }
}
