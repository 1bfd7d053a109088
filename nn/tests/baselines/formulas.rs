//! The formulas once more, in f64 and without haste.

use super::{DIM, EPS, NORM, SUBLAYERS, factor, projection};
use engine::params::Params;
use std::collections::BTreeMap;

/// One vector per token.
pub type Vectors = Vec<Vec<f64>>;

/// Parameters by name.
pub struct Network(BTreeMap<String, Vec<f64>>);

impl Network {
    pub fn new(params: &Params) -> Self {
        let wide = |range: std::ops::Range<usize>| {
            params.slab()[range].iter().map(|&x| f64::from(x)).collect()
        };
        Self(
            params
                .parts()
                .map(|part| (part.name.clone(), wide(part.range.clone())))
                .collect(),
        )
    }

    pub fn get(&self, name: &str) -> &[f64] {
        &self.0[name]
    }

    pub fn set(&mut self, name: &str, i: usize, value: f64) {
        self.0.get_mut(name).unwrap()[i] = value;
    }

    /// A parameter of sublayer k.
    pub fn of(&self, k: usize, name: &str) -> &[f64] {
        self.get(&format!("{k}.{name}"))
    }

    pub fn find(&self, k: usize, name: &str) -> Option<&[f64]> {
        self.0.get(&format!("{k}.{name}")).map(|x| &x[..])
    }
}

pub(super) fn zip(a: &[f64], b: &[f64], f: impl Fn(f64, f64) -> f64) -> Vec<f64> {
    a.iter().zip(b).map(|(&a, &b)| f(a, b)).collect()
}

pub(super) fn add(a: &[f64], b: &[f64]) -> Vec<f64> {
    zip(a, b, |a, b| a + b)
}

pub(super) fn norm(x: &[f64]) -> Vec<f64> {
    x.iter().map(|x| f64::from(NORM) * x).collect()
}

/// The sublayer without its norm.
fn layer(k: usize, x: &[f64]) -> Vec<f64> {
    x.iter()
        .map(|x| (f64::from(factor(k)) * x).tanh())
        .collect()
}

pub(super) fn pre_normed(k: usize, x: &[f64]) -> Vec<f64> {
    layer(k, &norm(x))
}

/// `M x` for a matrix of rows as wide as x.
pub(super) fn product(matrix: &[f64], x: &[f64]) -> Vec<f64> {
    let row = |row: &[f64]| row.iter().zip(x).map(|(m, x)| m * x).sum();
    matrix.chunks(x.len()).map(row).collect()
}

/// What the network makes of every token by itself.
pub(super) fn per_token(vectors: &Vectors, f: impl Fn(&[f64]) -> Vec<f64>) -> Vectors {
    vectors.iter().map(|x| f(x)).collect()
}

pub fn rezero(network: &Network, vectors: &Vectors) -> Vectors {
    per_token(vectors, |x| {
        (0..SUBLAYERS).fold(x.to_vec(), |x, k| {
            let alpha = network.find(k, "alpha");
            let alpha = alpha.unwrap_or_else(|| network.of(k - 1, "alpha"))[0];
            zip(&x, &pre_normed(k, &x), |x, f| x + alpha * f)
        })
    })
}

pub fn parallel(_: &Network, vectors: &Vectors) -> Vectors {
    per_token(vectors, |x| {
        (0..SUBLAYERS / 2).fold(x.to_vec(), |x, block| {
            let both = add(&pre_normed(2 * block, &x), &pre_normed(2 * block + 1, &x));
            add(&x, &both)
        })
    })
}

pub fn layer_scale(network: &Network, vectors: &Vectors) -> Vectors {
    per_token(vectors, |x| {
        (0..SUBLAYERS).fold(x.to_vec(), |x, k| {
            let scaled = zip(network.of(k, "lambda"), &pre_normed(k, &x), |l, f| l * f);
            add(&x, &scaled)
        })
    })
}

pub fn highway(network: &Network, vectors: &Vectors) -> Vectors {
    per_token(vectors, |x| {
        (0..SUBLAYERS).fold(x.to_vec(), |x, k| {
            let logits = add(
                &product(network.of(k, "gate.weight"), &x),
                network.of(k, "gate.bias"),
            );
            let gate: Vec<f64> = logits.iter().map(|z| 1.0 / (1.0 + (-z).exp())).collect();
            let taken = zip(&gate, &pre_normed(k, &x), |t, f| t * f);
            let carried = zip(&gate, &x, |t, x| (1.0 - t) * x);
            add(&taken, &carried)
        })
    })
}

pub fn residual_dual(network: &Network, vectors: &Vectors) -> Vectors {
    per_token(vectors, |x| {
        let (mut x, mut dual) = (x.to_vec(), x.to_vec());
        for k in 0..SUBLAYERS {
            let output = layer(k, &x);
            dual = add(&dual, &output);
            x = norm(&add(&x, &output));
        }
        let n = DIM as f64;
        let mean = dual.iter().sum::<f64>() / n;
        let variance = dual.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / n;
        let rstd = 1.0 / (variance + f64::from(EPS)).sqrt();
        let last = SUBLAYERS - 1;
        let weight = network.of(last, "dual_norm.weight");
        let bias = network.of(last, "dual_norm.bias");
        (0..DIM)
            .map(|i| x[i] + (dual[i] - mean) * rstd * weight[i] + bias[i])
            .collect()
    })
}

pub fn altup<const K: usize, const ALTERNATING: bool>(
    network: &Network,
    vectors: &Vectors,
) -> Vectors {
    per_token(vectors, |x| {
        let mut blocks = vec![x.to_vec(); K];
        for k in 0..SUBLAYERS {
            let chosen = if ALTERNATING { k % K } else { 0 };
            let p = network.of(k, "prediction");
            let predicted: Vec<Vec<f64>> = (0..K)
                .map(|i| {
                    (0..K).fold(vec![0.0; DIM], |sum, j| {
                        zip(&sum, &blocks[j], |sum, x| sum + p[j * K + i] * x)
                    })
                })
                .collect();
            let computed = add(&blocks[chosen], &pre_normed(k, &blocks[chosen]));
            let error = zip(&computed, &predicted[chosen], |a, b| a - b);
            let g = network.of(k, "correction");
            blocks = (0..K)
                .map(|i| zip(&predicted[i], &error, |x, e| x + g[i] * e))
                .collect();
        }
        blocks.iter().fold(vec![0.0; DIM], |sum, x| add(&sum, x))
    })
}

pub fn dense_former<const DILATION: usize, const PERIOD: usize>(
    network: &Network,
    vectors: &Vectors,
) -> Vectors {
    per_token(vectors, |x| {
        let (mut outputs, mut y) = (vec![x.to_vec()], x.to_vec());
        for block in 1..=SUBLAYERS / 2 {
            for k in [2 * block - 2, 2 * block - 1] {
                y = add(&y, &pre_normed(k, &y));
            }
            outputs.push(y.clone());
            if block % PERIOD == 0 {
                let chosen = (0..=block).filter(|j| (block - j) % DILATION == 0);
                let weights = network.of(2 * block - 1, "depth_weights");
                y = vec![0.0; DIM];
                for (weight, j) in weights.iter().zip(chosen) {
                    y = zip(&y, &outputs[j], |y, x| y + weight * x);
                }
            }
        }
        y
    })
}

/// Equations (3) to (6); the weights are bounded by softmax (0), sigmoid (1) or not at all (2).
pub fn laurel<const BOUND: usize>(network: &Network, vectors: &Vectors) -> Vectors {
    let bounded = |logits: &[f64]| -> [f64; 2] {
        let e = [logits[0].exp(), logits[1].exp()];
        match BOUND {
            0 => e.map(|e_i| e_i / (e[0] + e[1])),
            1 => e.map(|e_i| e_i / (1.0 + e_i)),
            _ => [logits[0], logits[1]],
        }
    };
    per_token(vectors, |x| {
        let mut states = vec![x.to_vec()];
        for k in 0..SUBLAYERS {
            let x = states.last().unwrap().clone();
            let weights = network.find(k, "residual_weights");
            let [alpha, beta] = weights.map_or([1.0, 1.0], bounded);
            let gamma = network.find(k, "previous_weights");
            let mut carried = x.clone();
            for (j, earlier) in states.iter().rev().enumerate() {
                let suffix = if j == 0 {
                    String::new()
                } else {
                    format!("_{j}")
                };
                let Some(a) = network.find(k, &format!("low_rank_a{suffix}")) else {
                    break;
                };
                let b = network.of(k, &format!("low_rank_b{suffix}"));
                let gamma = gamma.map_or(1.0, |gamma| gamma[j]);
                let mapped = product(b, &product(a, earlier));
                carried = zip(&carried, &mapped, |c, m| c + gamma * m);
            }
            let next = zip(&pre_normed(k, &x), &carried, |f, c| alpha * f + beta * c);
            states.push(next);
        }
        states.pop().unwrap()
    })
}

pub fn laurel_of_one_map(network: &Network, vectors: &Vectors) -> Vectors {
    per_token(vectors, |x| {
        let mut states = vec![x.to_vec()];
        for k in 0..SUBLAYERS {
            let x = states.last().unwrap().clone();
            let weights = network.find(k, "residual_weights").unwrap_or(&[1.0, 1.0]);
            let mut next = zip(&pre_normed(k, &x), &x, |f, x| {
                weights[0] * f + weights[1] * x
            });
            if let Some(a) = network.find(k, "low_rank_a") {
                let gamma = network.find(k, "previous_weights").unwrap_or(&[]);
                let mut read = x.clone();
                let before = &states[states.len() - 1 - gamma.len()..];
                for (gamma, earlier) in gamma.iter().zip(before) {
                    read = zip(&read, earlier, |r, e| r + gamma * e);
                }
                let inner = product(a, &read);
                next = add(&next, &product(network.of(k, "low_rank_b"), &inner));
            }
            states.push(next);
        }
        states.pop().unwrap()
    })
}

pub fn value_residual(network: &Network, vectors: &Vectors) -> Vectors {
    per_token(vectors, |x| {
        let (mut x, mut first) = (x.to_vec(), Vec::new());
        for k in 0..SUBLAYERS {
            let output = if k % 2 == 1 {
                pre_normed(k, &x)
            } else {
                let matrix: Vec<f64> = projection(k).iter().map(|&w| f64::from(w)).collect();
                let mut values = product(&matrix, &norm(&x)).split_off(2 * DIM);
                if k == 0 {
                    first = values.clone();
                } else {
                    let w = network.of(k, "value_weights");
                    values = zip(&first, &values, |first, own| w[0] * first + w[1] * own);
                }
                values.iter().map(|v| v.tanh()).collect()
            };
            x = add(&x, &output);
        }
        x
    })
}

pub(super) fn depth_average(query: &[f64], sources: &[Vec<f64>]) -> Vec<f64> {
    let scores: Vec<f64> = sources
        .iter()
        .map(|x| {
            let square = x.iter().map(|x| x * x).sum::<f64>() / DIM as f64;
            let dot: f64 = x.iter().zip(query).map(|(x, q)| x * q).sum();
            (dot / (square + f64::from(EPS)).sqrt()).exp()
        })
        .collect();
    let total: f64 = scores.iter().sum();
    let terms = scores.iter().zip(sources);
    terms.fold(vec![0.0; DIM], |sum, (score, x)| {
        zip(&sum, x, |sum, x| sum + score / total * x)
    })
}

pub fn attention_residual<const GROUP: usize>(network: &Network, vectors: &Vectors) -> Vectors {
    per_token(vectors, |x| {
        let mut outputs: Vec<Vec<f64>> = Vec::new();
        let sources = |outputs: &[Vec<f64>]| {
            let groups = outputs.chunks(GROUP);
            let sums = groups.map(|g| g.iter().fold(vec![0.0; DIM], |sum, x| add(&sum, x)));
            std::iter::once(x.to_vec()).chain(sums).collect::<Vec<_>>()
        };
        for k in 0..SUBLAYERS {
            let h = match network.find(k, "query") {
                Some(query) => depth_average(query, &sources(&outputs)),
                None => x.to_vec(),
            };
            outputs.push(pre_normed(k, &h));
        }
        depth_average(
            network.of(SUBLAYERS - 1, "output_query"),
            &sources(&outputs),
        )
    })
}
