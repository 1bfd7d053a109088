//! The beginning of a network of streams: the embedding becomes n of them.

use crate::{connection::Site, shapes::expect};
use engine::{
    op::{Backward, Forward, Op},
    ops::replicate,
    params::{Builder, Decay, Init, ParamId},
    shape::{MAX_RANK, Shape},
    simd::{F32, map},
    tape::Var,
};
use serde::{Deserialize, Serialize};

/// The first streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expansion {
    /// Copies of the embedding.
    #[default]
    Copies,
    /// Learned stream scaling (LSS): the embedding times a learned vector for each stream, `H_s = x ∘
    /// (0.6 + w_s)`, w uniform in `±sqrt(6 / (n + d))` at first. It tells the streams apart before
    /// the first sublayer (Alimaskina et al., Analyzing Stream Collapse in Hyper-Connections, 2026,
    /// arXiv 2606.03483).
    LearnedScale,
}

words!(Expansion);

impl Expansion {
    /// Returns whether streams start as copies.
    pub(in crate::connection) fn is_copies(&self) -> bool {
        *self == Self::Copies
    }
}

/// What the scales of learned stream scaling start around.
const SCALE: f32 = 0.6;

/// The expansion of one network; its parameter belongs to the first sublayer.
#[derive(Debug)]
pub(in crate::connection) struct Expander {
    rate: usize,
    dim: usize,
    scale: Option<ParamId>,
}

impl Expander {
    /// Registers `stream_scale` if there is one and this is the first sublayer.
    pub fn new(expansion: Expansion, rate: usize, site: Site, b: &mut Builder) -> Self {
        let bound = (6.0 / (rate + site.dim) as f32).sqrt();
        let scales = expansion == Expansion::LearnedScale && site.index == 0;
        let scale = scales.then(|| {
            let (shape, start) = ([rate, site.dim], Init::Uniform { bound });
            b.param("stream_scale", shape, Decay::No, start)
        });
        Self {
            rate,
            dim: site.dim,
            scale,
        }
    }

    /// The embedding `[.., d]` as the first streams `[.., n, d]`.
    #[track_caller]
    pub fn expand<'t>(&self, embedding: Var<'t>) -> Var<'t> {
        match self.scale {
            Some(scale) => scaled_streams(embedding, embedding.tape().param(scale)),
            None => replicate(embedding, self.rate),
        }
    }

    /// Floating-point operations for a token.
    pub fn flops(&self) -> usize {
        self.scale.map_or(0, |_| 2 * self.rate * self.dim)
    }
}

struct ScaledStreams {
    rate: usize,
    width: usize,
}

const OP: &str = "scaled_streams";

impl Op for ScaledStreams {
    fn name(&self) -> &'static str {
        OP
    }

    fn forward(&self, cx: &mut Forward<'_>) {
        let [x, weight] = cx.inputs();
        let [y] = cx.outputs();
        let around = F32::splat(SCALE);
        for (at, y) in y.chunks_exact_mut(self.width).enumerate() {
            let x = &x[at / self.rate * self.width..][..self.width];
            let weight = &weight[at % self.rate * self.width..][..self.width];
            map(y, false, [x, weight], |[x, w]| x * (w + around));
        }
    }

    /// `dx = sum_s dH_s (0.6 + w_s)`, `dw_s = sum over tokens of dH_s x`.
    fn backward(&self, cx: &mut Backward<'_>) {
        let [x, weight] = cx.inputs();
        let (dx, dweight, dy) = (cx.input_grad(0), cx.input_grad(1), cx.grad());
        let around = F32::splat(SCALE);
        let streams = || dy.chunks_exact(self.width).enumerate();
        let of = |at: usize| at * self.width..(at + 1) * self.width;
        if let Some(dx) = dx {
            for (at, dy) in streams() {
                let add = dx.accumulate || at % self.rate > 0;
                let inputs = [dy, &weight[of(at % self.rate)]];
                map(
                    &mut dx.values[of(at / self.rate)],
                    add,
                    inputs,
                    |[dy, w]| dy * (w + around),
                );
            }
        }
        if let Some(dweight) = dweight {
            for (at, dy) in streams() {
                let add = dweight.accumulate || at >= self.rate;
                let to = &mut dweight.values[of(at % self.rate)];
                map(to, add, [dy, &x[of(at / self.rate)]], |[dy, x]| dy * x);
            }
        }
    }
}

/// `H_s = x ∘ (0.6 + w_s)`: x `[.., d]`, w `[n, d]`, H `[.., n, d]`.
#[track_caller]
fn scaled_streams<'t>(x: Var<'t>, weight: Var<'t>) -> Var<'t> {
    let (shape, width) = (x.shape(), x.shape().width());
    let rate = weight.shape().len() / width.max(1);
    expect(OP, [("the scales", weight, [rate, width].into())]);
    let rank = shape.rank();
    let mut dims = [width; MAX_RANK];
    dims[..rank - 1].copy_from_slice(&shape.dims()[..rank - 1]);
    dims[rank - 1] = rate;
    let op = ScaledStreams { rate, width };
    let [y] = x
        .tape()
        .apply(op, &[x, weight], [Shape::new(&dims[..=rank])]);
    y
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::check::{Check, CheckInput};

    #[test]
    fn every_stream_is_the_embedding_times_a_vector_of_its_own() {
        for (rate, width) in [(1, 5), (2, 16), (3, 7), (4, 19)] {
            Check::new(
                OP,
                vec![
                    CheckInput::normal([2, 3, width], 1.0, 1),
                    CheckInput::normal([rate, width], 1.0, 2),
                ],
                |_, v| vec![scaled_streams(v[0], v[1])],
                |x| {
                    let element = |at: usize| {
                        let (stream, column) = (at / width, at % width);
                        let weight = f64::from(SCALE) + x[1][stream % rate * width + column];
                        x[0][stream / rate * width + column] * weight
                    };
                    vec![(0..6 * rate * width).map(element).collect()]
                },
            )
            .run();
        }
    }
}
