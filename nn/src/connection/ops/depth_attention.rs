//! Attention of every token over its own earlier vectors.

use crate::shapes::expect;
use engine::{
    kernels::elementwise,
    op::{Backward, Forward, MAX_INPUTS, Op},
    shape::Shape,
    simd::{dot, map},
    tape::Var,
};

/// Sources that one record holds beside the query and the result so far (two inputs).
const GROUP: usize = MAX_INPUTS - 3;

/// Numbers that the forward keeps for every token and source.
const SAVED: usize = 3;

/// Attention over some of the sources, and over the result for those before them.
struct DepthAttention {
    width: usize,
    count: usize,
    /// True where the last two inputs are a result and its log-sum-exp.
    onto: bool,
    eps: f32,
}

impl DepthAttention {
    /// Number of vectors averaged: the sources, and the result so far.
    fn terms(&self) -> usize {
        self.count + usize::from(self.onto)
    }

    fn row<'a>(&self, x: &'a [f32], row: usize) -> &'a [f32] {
        &x[row * self.width..][..self.width]
    }

    /// The logits and scales of one token: `logit_s = rstd_s <q, x_s>`.
    fn logits(&self, inputs: &[&[f32]], row: usize, logits: &mut [f32], rstds: &mut [f32]) {
        let query = inputs[0];
        for (s, x) in inputs[1..=self.count].iter().enumerate() {
            let x = self.row(x, row);
            let mean_square = dot(x, x) / self.width as f32;
            rstds[s] = 1.0 / (mean_square + self.eps).sqrt();
            logits[s] = rstds[s] * dot(query, x);
        }
        if self.onto {
            logits[self.count] = inputs[self.count + 2][row];
            rstds[self.count] = 0.0;
        }
    }
}

impl Op for DepthAttention {
    fn name(&self) -> &'static str {
        "depth_attention"
    }

    fn forward(&self, cx: &mut Forward<'_>) {
        let inputs = cx.inputs::<MAX_INPUTS>();
        let [y, lse, saved] = cx.outputs();
        let terms = self.terms();
        let rows = y.chunks_exact_mut(self.width).zip(lse);
        for (row, ((y, lse), saved)) in rows.zip(saved.chunks_exact_mut(SAVED * terms)).enumerate()
        {
            let (weights, rest) = saved.split_at_mut(terms);
            let (logits, rstds) = rest.split_at_mut(terms);
            self.logits(&inputs, row, logits, rstds);
            let max = logits.iter().fold(f32::NEG_INFINITY, |max, &x| max.max(x));
            let total: f32 = logits.iter().map(|x| (x - max).exp()).sum();
            *lse = max + total.ln();
            for (s, (weight, logit)) in weights.iter_mut().zip(&*logits).enumerate() {
                *weight = (logit - max).exp() / total;
                elementwise::scale(y, s > 0, self.row(inputs[1 + s], row), *weight);
            }
        }
    }

    /// `dlogit_s = p_s (<dy, x_s> - sum_j p_j <dy, x_j> + dlse)`; `dx_s = p_s dy + dlogit_s
    /// (rstd_s q - logit_s rstd_s² x_s / d)`; `dq = sum_s dlogit_s rstd_s x_s`.
    fn backward(&self, cx: &mut Backward<'_>) {
        let inputs = cx.inputs::<MAX_INPUTS>();
        let [_, _, saved] = cx.outputs();
        let (dy, dlse) = (cx.output_grad(0), cx.output_grad(1));
        let (terms, query) = (self.terms(), inputs[0]);
        let rows = saved.len() / (SAVED * terms);
        let mut dquery = cx.input_grad(0);
        if let Some(dquery) = &mut dquery
            && !dquery.accumulate
        {
            dquery.values.fill(0.0);
        }
        let mut grads: [_; MAX_INPUTS - 1] = std::array::from_fn(|i| {
            (i < self.count + 2 * usize::from(self.onto))
                .then(|| cx.input_grad(1 + i))
                .flatten()
        });
        for row in 0..rows {
            let saved = &saved[row * SAVED * terms..][..SAVED * terms];
            let (weights, rest) = saved.split_at(terms);
            let (logits, rstds) = rest.split_at(terms);
            let dy = dy.map(|dy| self.row(dy, row));
            let mut slopes = [0.0; MAX_INPUTS];
            if let Some(dy) = dy {
                for (s, slope) in slopes[..terms].iter_mut().enumerate() {
                    *slope = dot(dy, self.row(inputs[1 + s], row));
                }
            }
            let mean: f32 = weights.iter().zip(&slopes).map(|(w, s)| w * s).sum();
            let dlse = dlse.map_or(0.0, |dlse| dlse[row]);
            for (s, &weight) in weights.iter().enumerate() {
                let dlogit = weight * (slopes[s] - mean + dlse);
                let x = self.row(inputs[1 + s], row);
                let (rstd, is_source) = (rstds[s], s < self.count);
                if let Some(dquery) = &mut dquery
                    && is_source
                {
                    elementwise::scale(dquery.values, true, x, dlogit * rstd);
                }
                if let Some(dx) = &mut grads[s] {
                    let out = &mut dx.values[row * self.width..][..self.width];
                    match dy {
                        Some(dy) => elementwise::scale(out, dx.accumulate, dy, weight),
                        None if dx.accumulate => {}
                        None => out.fill(0.0),
                    }
                    if is_source {
                        let along_query = dlogit * rstd;
                        let along_x = -dlogit * logits[s] * rstd * rstd / self.width as f32;
                        map(out, true, [query, x], |[query, x]| {
                            query * along_query + x * along_x
                        });
                    }
                }
                if let Some(dlse) = &mut grads[s + 1]
                    && !is_source
                {
                    let slot = &mut dlse.values[row];
                    *slot = if dlse.accumulate { *slot } else { 0.0 } + dlogit;
                }
            }
        }
    }
}

/// For every token, `y = sum_s p_s x_s` with `p = softmax over s of <query, x_s /
/// rms(x_s)>`: attention over depth with one query for all tokens (Kimi Team, Attention
/// Residuals, 2026). Sources `[.., d]`, query `[d]`; `rms(x) = sqrt(mean of x² + eps)`.
///
/// # Panics
/// If there is no source or the shapes do not fit.
#[track_caller]
pub fn depth_attention<'t>(query: Var<'t>, sources: &[Var<'t>], eps: f32) -> Var<'t> {
    const OP: &str = "depth_attention";
    let tape = query.tape();
    let Some(shape) = sources.first().map(|source| source.shape()) else {
        tape.fail(OP, "there is no source");
    };
    expect(OP, [("the query", query, [shape.width()].into())]);
    expect(OP, sources.iter().map(|&x| ("a source", x, shape)));
    // Softmax averages of disjoint sets are averages themselves: each record goes on
    // from the result and the log-sum-exp of the one before.
    let mut result: Option<(Var<'t>, Var<'t>)> = None;
    for sources in sources.chunks(GROUP) {
        let op = DepthAttention {
            width: shape.width(),
            count: sources.len(),
            onto: result.is_some(),
            eps,
        };
        let rows = Shape::from([shape.rows()]);
        let saved = Shape::from([shape.rows(), SAVED * op.terms()]);
        let mut inputs = [query; MAX_INPUTS];
        inputs[1..=sources.len()].copy_from_slice(sources);
        let mut used = 1 + sources.len();
        if let Some((y, lse)) = result {
            (inputs[used], inputs[used + 1]) = (y, lse);
            used += 2;
        }
        let [y, lse, _] = tape.apply(op, &inputs[..used], [shape, rows, saved]);
        result = Some((y, lse));
    }
    result.expect("a source").0
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::check::{Check, CheckInput};

    const EPS: f64 = 0.1;

    fn naive(x: &[Vec<f64>], width: usize) -> Vec<f64> {
        let (query, sources) = x.split_first().unwrap();
        let mut y = vec![0.0; sources[0].len()];
        for (row, y) in y.chunks_mut(width).enumerate() {
            let vectors: Vec<&[f64]> = sources.iter().map(|x| &x[row * width..][..width]).collect();
            let scores: Vec<f64> = vectors
                .iter()
                .map(|x| {
                    let square = x.iter().map(|x| x * x).sum::<f64>() / width as f64;
                    let dot: f64 = x.iter().zip(query).map(|(x, q)| x * q).sum();
                    (dot / (square + EPS).sqrt()).exp()
                })
                .collect();
            let total: f64 = scores.iter().sum();
            for (score, x) in scores.iter().zip(vectors) {
                for (y, x) in y.iter_mut().zip(x) {
                    *y += score / total * x;
                }
            }
        }
        y
    }

    #[test]
    fn attention_over_depth_has_the_gradients_of_its_formula() {
        // 13 sources fill one record, 27 take three.
        for (count, width) in [(1, 5), (2, 16), (4, 19), (13, 4), (27, 3)] {
            let mut inputs = vec![CheckInput::normal([width], 1.0, 1)];
            for s in 0..count {
                inputs.push(CheckInput::normal([2, width], 1.0, 2 + s as u64));
            }
            Check::new(
                "depth_attention",
                inputs,
                |_, v| vec![depth_attention(v[0], &v[1..], EPS as f32)],
                |x| vec![naive(x, width)],
            )
            .run();
        }
    }
}
