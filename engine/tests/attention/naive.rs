//! Self-attention in f64, by the textbook formulas.

use engine::backend::AttentionShape;

/// Base of the rotary frequencies.
pub const THETA: f64 = 100.0;

/// The shape of an attention.
pub fn shape(
    batch: usize,
    seq: usize,
    heads: usize,
    head_dim: usize,
    causal: bool,
) -> AttentionShape {
    AttentionShape {
        batch,
        seq,
        heads,
        head_dim,
        causal,
    }
}

/// Element (token, which of q k v, lane) of one head in `qkv`.
pub fn at(s: &AttentionShape, b: usize, t: usize, which: usize, h: usize, c: usize) -> usize {
    (b * s.seq + t) * 3 * s.width() + which * s.width() + h * s.head_dim + c
}

/// One head, rotated: `[q, k, v][token][lane]`.
fn rotated_head(
    s: &AttentionShape,
    qkv: &[f64],
    rotary: bool,
    b: usize,
    h: usize,
) -> [Vec<Vec<f64>>; 3] {
    [0, 1, 2].map(|which| {
        let tokens = (0..s.seq).map(|t| {
            let x: Vec<f64> = (0..s.head_dim)
                .map(|c| qkv[at(s, b, t, which, h, c)])
                .collect();
            if rotary && which < 2 {
                turn(&x, t as f64)
            } else {
                x
            }
        });
        tokens.collect()
    })
}

/// Half-split rotary embedding by `position`; a negative one turns back.
fn turn(x: &[f64], position: f64) -> Vec<f64> {
    let half = x.len() / 2;
    let mut y = vec![0.0; x.len()];
    for i in 0..half {
        let angle = position * THETA.powf(-2.0 * i as f64 / x.len() as f64);
        y[i] = x[i] * angle.cos() - x[i + half] * angle.sin();
        y[i + half] = x[i] * angle.sin() + x[i + half] * angle.cos();
    }
    y
}

pub fn inner(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Probabilities of one head's query and the logarithm of their sum.
fn probabilities(s: &AttentionShape, q: &[f64], k: &[Vec<f64>], t: usize) -> (Vec<f64>, f64) {
    let seen = if s.causal { t + 1 } else { s.seq };
    let scale = 1.0 / (s.head_dim as f64).sqrt();
    let scores: Vec<f64> = k[..seen].iter().map(|k| scale * inner(q, k)).collect();
    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let lse = max + scores.iter().map(|s| (s - max).exp()).sum::<f64>().ln();
    (scores.iter().map(|s| (s - lse).exp()).collect(), lse)
}

/// `out` and `lse`.
pub fn naive_forward(s: &AttentionShape, qkv: &[f64], rotary: bool) -> (Vec<f64>, Vec<f64>) {
    let mut out = vec![0.0; s.batch * s.seq * s.width()];
    let mut lse = Vec::new();
    for b in 0..s.batch {
        for h in 0..s.heads {
            let [q, k, v] = rotated_head(s, qkv, rotary, b, h);
            for t in 0..s.seq {
                let (p, row_lse) = probabilities(s, &q[t], &k, t);
                lse.push(row_lse);
                for c in 0..s.head_dim {
                    let sum = p.iter().zip(&v).map(|(p, v)| p * v[c]).sum();
                    out[(b * s.seq + t) * s.width() + h * s.head_dim + c] = sum;
                }
            }
        }
    }
    (out, lse)
}

/// Gradient of `sum(out * dout)`, by the textbook formulas.
pub fn naive_backward(s: &AttentionShape, qkv: &[f64], rotary: bool, dout: &[f64]) -> Vec<f64> {
    let scale = 1.0 / (s.head_dim as f64).sqrt();
    let mut dqkv = vec![0.0; qkv.len()];
    for b in 0..s.batch {
        for h in 0..s.heads {
            let [q, k, v] = rotated_head(s, qkv, rotary, b, h);
            let zero = vec![vec![0.0; s.head_dim]; s.seq];
            let mut d = [zero.clone(), zero.clone(), zero];
            for t in 0..s.seq {
                let dout = &dout[(b * s.seq + t) * s.width() + h * s.head_dim..][..s.head_dim];
                let (p, _) = probabilities(s, &q[t], &k, t);
                let dp: Vec<f64> = v[..p.len()].iter().map(|v| inner(dout, v)).collect();
                let mean = inner(&p, &dp);
                for j in 0..p.len() {
                    let ds = p[j] * (dp[j] - mean) * scale;
                    for c in 0..s.head_dim {
                        d[0][t][c] += ds * k[j][c];
                        d[1][j][c] += ds * q[t][c];
                        d[2][j][c] += p[j] * dout[c];
                    }
                }
            }
            for (which, d) in d.iter().enumerate() {
                for (t, d) in d.iter().enumerate() {
                    let back = rotary && which < 2;
                    let d = if back {
                        turn(d, -(t as f64))
                    } else {
                        d.clone()
                    };
                    for (c, d) in d.iter().enumerate() {
                        dqkv[at(s, b, t, which, h, c)] = *d;
                    }
                }
            }
        }
    }
    dqkv
}
