//! The form that the connections of all families share: a predictor of logits, and rules by which
//! logits become read, write and mix.

use crate::sinkhorn::{Sinkhorn, permutations, softmax};

/// The coefficients of one site for one token, or with the predictor at 0.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Coefficients {
    /// The read `A_m` by source stream, of several views their mean; empty where reads have no single
    /// weight per stream.
    pub read: Vec<f64>,
    /// The read of every view by source stream; empty unless a sublayer reads several.
    pub views: Vec<f64>,
    /// The write B by destination stream.
    pub write: Vec<f64>,
    /// The mix `A_r`, row = source stream, column = destination stream.
    pub mix: Vec<f64>,
}

impl Coefficients {
    /// Read, views, write and mix.
    pub(crate) fn parts(&self) -> [&Vec<f64>; 4] {
        [&self.read, &self.views, &self.write, &self.mix]
    }

    /// The same to be changed.
    pub(crate) fn parts_mut(&mut self) -> [&mut Vec<f64>; 4] {
        [
            &mut self.read,
            &mut self.views,
            &mut self.write,
            &mut self.mix,
        ]
    }
}

/// The mean over some coefficients of as many streams.
pub(crate) fn mean(of: impl Iterator<Item = Coefficients>) -> Option<Coefficients> {
    let mut count = 0.0;
    let sum = of.inspect(|_| count += 1.0).reduce(|mut sum, one| {
        for (sum, one) in sum.parts_mut().into_iter().zip(one.parts()) {
            sum.iter_mut().zip(one).for_each(|(sum, x)| *sum += x);
        }
        sum
    });
    sum.map(|mut sum| {
        let all = sum.parts_mut().into_iter().flatten();
        all.for_each(|x| *x *= 1.0 / count);
        sum
    })
}

/// The placement of eps in a root mean square norm of x.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Eps {
    /// `1 / sqrt(mean(x^2) + eps)`.
    Inside(f64),
    /// `1 / (sqrt(mean(x^2)) + eps)`.
    Outside(f64),
    /// `sqrt(length) / max(|x|, eps)`: PyTorch's `normalize`.
    Floor(f64),
}

impl Eps {
    fn factor(self, x: &[f64]) -> f64 {
        let mean = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
        match self {
            Self::Inside(eps) => 1.0 / (mean + eps).sqrt(),
            Self::Outside(eps) => 1.0 / (mean.sqrt() + eps),
            Self::Floor(eps) => 1.0 / mean.sqrt().max(eps / (x.len() as f64).sqrt()),
        }
    }
}

/// The predictor of the dynamic part.
#[derive(Clone, Debug, PartialEq)]
pub struct Predictor {
    /// The norm of what is read.
    pub eps: Eps,
    /// Whether each stream is normed by itself, or all streams as one vector.
    pub norm_per_stream: bool,
    /// Whether every stream predicts its own coefficients by rows of d (then there are 2 + n:
    /// for its read, its write, and its row of the mix), or all streams all logits by rows of
    /// n d, stream by stream. Of several views each has a row for its read.
    pub per_stream: bool,
    /// The matrix `[n, n]` by which streams are mixed before the norm, row = destination; empty without.
    pub before: Vec<f64>,
    /// Whether the outputs pass through tanh.
    pub tanh: bool,
    /// Rows in the order read, write, mix, with the weight of the norm in them; one set for each
    /// proposal, over which read and mix are averaged.
    pub proposals: Vec<Vec<Vec<f64>>>,
}

/// A rule by which logits of a read or a write become coefficients.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Gate {
    /// The logits themselves.
    Linear,
    /// `gain * sigmoid(logit) + eps`, the logit limited to plus and minus `clamp`.
    Sigmoid {
        /// The factor.
        gain: f64,
        /// What is added.
        eps: f64,
        /// The limit.
        clamp: f64,
    },
    /// The softmax over the streams.
    Softmax,
    /// No single weight per stream exists.
    Absent,
}

impl Gate {
    /// `gain * sigmoid + eps`.
    pub fn sigmoid(gain: f64, eps: f64) -> Self {
        let clamp = f64::INFINITY;
        Self::Sigmoid { gain, eps, clamp }
    }

    /// The coefficients of logits.
    pub fn apply(self, logits: &[f64]) -> Vec<f64> {
        match self {
            Self::Linear => logits.to_vec(),
            Self::Softmax => softmax(logits),
            Self::Absent => Vec::new(),
            Self::Sigmoid { gain, eps, clamp } => {
                let gated = |x: &f64| gain / (1.0 + (-x.clamp(-clamp, clamp)).exp()) + eps;
                logits.iter().map(gated).collect()
            }
        }
    }
}

/// A rule by which logits become the mix.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mix {
    /// The identity; no logits.
    Identity,
    /// The `n x n` logits themselves.
    Linear,
    /// A Sinkhorn iteration of `n x n` logits.
    Sinkhorn {
        /// The iteration.
        rule: Sinkhorn,
        /// Whether the matrix acts as destination x source.
        transposed: bool,
        /// The share of the iteration's matrix, with the identity for the rest.
        share: f64,
    },
    /// The softmax of n! logits as weights of the permutation matrices.
    Permutations,
}

impl Mix {
    fn apply(self, logits: &[f64], n: usize) -> Vec<f64> {
        let identity = |i: usize| f64::from(u8::from(i.is_multiple_of(n + 1)));
        match self {
            Self::Identity => (0..n * n).map(identity).collect(),
            Self::Linear => logits.to_vec(),
            Self::Permutations => permutations(&softmax(logits), n),
            Self::Sinkhorn {
                rule,
                transposed,
                share,
            } => {
                let matrix = rule.apply(logits, n);
                let at = |i: usize| if transposed { i % n * n + i / n } else { i };
                let mixed = |i: usize| share * matrix[at(i)] + (1.0 - share) * identity(i);
                (0..n * n).map(mixed).collect()
            }
        }
    }
}

/// A connection: everything that is needed for its coefficients.
#[derive(Clone, Debug, PartialEq)]
pub struct Form {
    /// The number of streams n.
    pub streams: usize,
    /// The number of mixtures of the streams that a sublayer reads: one but in lucidrains' library.
    pub views: usize,
    /// The predictor; `None` if nothing depends on the token.
    pub predictor: Option<Predictor>,
    /// The logits with the predictor at 0: read, view by view, write, mix.
    pub base: Vec<f64>,
    /// The factors of what the predictor says of read, write and mix.
    pub scale: [f64; 3],
    /// The rule of the read.
    pub read: Gate,
    /// The rule of the write.
    pub write: Gate,
    /// The rule of the mix.
    pub mix: Mix,
}

impl Form {
    /// The part that a logit belongs to: 0 read, 1 write, 2 mix.
    fn part(&self, logit: usize) -> usize {
        let n = self.streams;
        (1 + logit / n).saturating_sub(self.views).min(2)
    }

    /// Whether the mix is always the identity.
    pub fn mixes_nothing(&self) -> bool {
        self.mix == Mix::Identity
    }

    /// The coefficients with the predictor at 0.
    pub fn fixed(&self) -> Coefficients {
        self.finish(&self.base)
    }

    /// The coefficients of one token, of its streams `[n, d]`.
    pub fn of_token(&self, states: &[f64]) -> Coefficients {
        let Some(predictor) = &self.predictor else {
            return self.fixed();
        };
        let normed = predictor.normed(states, self.streams);
        let proposals = predictor.proposals.iter().map(|rows| {
            let logits = self.base.iter().enumerate().map(|(i, base)| {
                let said = predictor.output(rows, i, &normed, [self.streams, self.views]);
                base + self.scale[self.part(i)] * said
            });
            self.finish(&logits.collect::<Vec<_>>())
        });
        mean(proposals).unwrap_or_default()
    }

    fn finish(&self, logits: &[f64]) -> Coefficients {
        let n = self.streams;
        let (reads, others) = logits.split_at(self.views * n);
        let reads = reads.chunks(n).map(|view| self.read.apply(view));
        let reads: Vec<Vec<f64>> = reads.collect();
        let of_stream = |i: usize| reads.iter().map(|view| view[i]).sum::<f64>();
        Coefficients {
            read: (0..reads[0].len())
                .map(|i| of_stream(i) / self.views as f64)
                .collect(),
            views: match self.views {
                1 => Vec::new(),
                _ => reads.concat(),
            },
            write: self.write.apply(&others[..n]),
            mix: self.mix.apply(&others[n..], n),
        }
    }

    /// The reach of the dynamic part in logits: for each logit of read, write and mix and each source
    /// stream the factor times the length of its block of the predictor's row, the deviation for a random
    /// input of unit root mean square. Of several proposals and views the largest.
    pub fn reach(&self) -> Vec<Vec<f64>> {
        let n = self.streams;
        let Some(predictor) = &self.predictor else {
            return vec![vec![0.0; n]; self.base.len() - (self.views - 1) * n];
        };
        let of = |i: usize| {
            let scale = self.scale[self.part(i)].abs();
            let mut reach = vec![0.0_f64; n];
            for rows in &predictor.proposals {
                for (stream, block) in predictor.blocks(rows, i, [n, self.views]) {
                    let length = block.iter().map(|x| x * x).sum::<f64>().sqrt();
                    reach[stream] = reach[stream].max(scale * length);
                }
            }
            reach
        };
        let all: Vec<Vec<f64>> = (0..self.base.len()).map(of).collect();
        let (reads, others) = all.split_at(self.views * n);
        let of_stream = |i: usize| {
            let views = reads.iter().skip(i).step_by(n);
            let largest = |s: usize| views.clone().map(|view| view[s]).fold(0.0, f64::max);
            (0..n).map(largest).collect()
        };
        let reads: Vec<Vec<f64>> = (0..n).map(of_stream).collect();
        [&reads, others].concat()
    }

    /// The share of sigmoids that are nearly closed or open (beyond 0.05 and 0.95) in given
    /// logits; `None` without sigmoids.
    pub fn saturation(&self) -> Option<f64> {
        let (n, reads) = (self.streams, self.views * self.streams);
        let parts = [
            (self.read, &self.base[..reads]),
            (self.write, &self.base[reads..reads + n]),
        ];
        let gated = parts
            .iter()
            .filter(|(gate, _)| matches!(gate, Gate::Sigmoid { .. }));
        let logits: Vec<f64> = gated.flat_map(|(_, logits)| logits.to_vec()).collect();
        let open = |x: &&f64| 1.0 / (1.0 + (-x.abs()).exp()) > 0.95;
        let saturated = logits.iter().filter(open).count();
        (!logits.is_empty()).then(|| saturated as f64 / logits.len() as f64)
    }
}

impl Predictor {
    fn normed(&self, states: &[f64], streams: usize) -> Vec<f64> {
        let length = match self.norm_per_stream {
            true => states.len() / streams,
            false => states.len(),
        };
        let mixed = match &*self.before {
            [] => states.to_vec(),
            before => {
                let width = states.len() / streams;
                let terms = |i: usize, c: usize| {
                    let row = before[i * streams..][..streams].iter();
                    let column = states[c..].iter().step_by(width);
                    row.zip(column).map(|(w, x)| w * x).sum()
                };
                (0..states.len())
                    .map(|at| terms(at / width, at % width))
                    .collect()
            }
        };
        let parts = mixed.chunks_exact(length);
        let scaled = parts.flat_map(|part| {
            let factor = self.eps.factor(part);
            part.iter().map(move |x| x * factor)
        });
        scaled.collect()
    }

    /// The row of a logit, and the stream whose it is alone.
    fn row<'a>(
        &self,
        rows: &'a [Vec<f64>],
        logit: usize,
        [n, views]: [usize; 2],
    ) -> (&'a [f64], Option<usize>) {
        if !self.per_stream {
            return (&rows[logit], None);
        }
        match (logit / n).checked_sub(views + 1) {
            None => (&rows[logit / n], Some(logit % n)),
            Some(stream) => (&rows[views + 1 + logit % n], Some(stream)),
        }
    }

    fn output(&self, rows: &[Vec<f64>], logit: usize, normed: &[f64], size: [usize; 2]) -> f64 {
        let (row, stream) = self.row(rows, logit, size);
        let from = stream.map_or(0, |stream| stream * row.len());
        let read = &normed[from..from + row.len()];
        let sum: f64 = row.iter().zip(read).map(|(w, x)| w * x).sum();
        if self.tanh { sum.tanh() } else { sum }
    }

    /// The blocks of a row by source stream.
    fn blocks<'a>(
        &self,
        rows: &'a [Vec<f64>],
        logit: usize,
        [n, views]: [usize; 2],
    ) -> Vec<(usize, &'a [f64])> {
        match self.row(rows, logit, [n, views]) {
            (row, Some(stream)) => vec![(stream, row)],
            (row, None) => row
                .chunks((row.len() / n).max(1))
                .take(n)
                .enumerate()
                .collect(),
        }
    }
}
