//! The formulas of the connections of 2026.

use super::{
    DIM, EPS, SUBLAYERS,
    formulas::{Network, Vectors, add, depth_average, norm, per_token, pre_normed, product, zip},
};

fn sigmoid(z: f64) -> f64 {
    1.0 / (1.0 + (-z).exp())
}

fn rms(x: &[f64]) -> f64 {
    let square = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
    (square + f64::from(EPS)).sqrt()
}

pub fn delta_attention_residual(network: &Network, vectors: &Vectors) -> Vectors {
    per_token(vectors, |embedding| {
        let (mut x, mut changes) = (embedding.to_vec(), vec![embedding.to_vec()]);
        for k in 0..SUBLAYERS {
            let h = match network.find(k, "query") {
                Some(query) => add(&x, &depth_average(query, &changes)),
                None => x.clone(),
            };
            let output = pre_normed(k, &h);
            x = add(&x, &output);
            changes.push(output);
        }
        x
    })
}

/// The error function by its series, which needs a few dozen terms here.
fn erf(x: f64) -> f64 {
    let (mut term, mut sum) = (x, x);
    for n in 1..80 {
        term *= -x * x / f64::from(n);
        sum += term / f64::from(2 * n + 1);
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}

fn gelu(x: f64) -> f64 {
    x * (1.0 + erf(x / 2.0_f64.sqrt())) / 2.0
}

pub fn mudd(network: &Network, vectors: &Vectors) -> Vectors {
    let mix = |prefix: &str, c: usize, outputs: &[Vec<f64>]| {
        let get = |name: &str| network.get(&format!("{prefix}.{name}"));
        let last = outputs.last().unwrap();
        let normed: Vec<f64> = last.iter().map(|x| x / rms(last)).collect();
        let hidden = product(get("w1.weight"), &normed);
        let hidden: Vec<f64> = hidden.iter().map(|&x| gelu(x)).collect();
        let weights = add(&product(get("w2.weight"), &hidden), get("static_weights"));
        let sources = outputs.len();
        outputs
            .iter()
            .enumerate()
            .fold(vec![0.0; DIM], |sum, (j, x)| {
                zip(&sum, x, |sum, x| sum + weights[c * sources + j] * x)
            })
    };
    per_token(vectors, |embedding| {
        let (mut outputs, mut x) = (vec![embedding.to_vec()], embedding.to_vec());
        for block in 0..SUBLAYERS / 2 {
            let k = 2 * block;
            let attended = if block == 0 {
                add(&x, &pre_normed(k, &x))
            } else {
                let [q, key, v, residual] = [0, 1, 2, 3].map(|c| mix(&k.to_string(), c, &outputs));
                let joined = zip(&norm(&q), &norm(&key), |q, k| 0.5 * q - 0.3 * k);
                let output: Vec<f64> = add(&joined, &norm(&v)).iter().map(|x| x.tanh()).collect();
                add(&residual, &output)
            };
            x = add(&attended, &pre_normed(k + 1, &attended));
            outputs.push(x.clone());
        }
        mix(&format!("{}.last", SUBLAYERS - 1), 0, &outputs)
    })
}

pub fn two_lanes<const FIRST: usize>(network: &Network, vectors: &Vectors) -> Vectors {
    per_token(vectors, |x| {
        let mut lanes = [x.to_vec(), x.to_vec()];
        for k in 0..SUBLAYERS {
            let [gains, writes] = match k / 2 < FIRST {
                true => [&[1.0, 1.0][..]; 2],
                false => ["lane_gain", "lane_write"].map(|name| network.of(k, name)),
            };
            let output = pre_normed(k, &lanes[k % 2]);
            for (lane, (g, w)) in lanes.iter_mut().zip(gains.iter().zip(writes)) {
                *lane = zip(lane, &output, |x, f| g * x + w * f);
            }
        }
        zip(&lanes[0], &lanes[1], |a, b| (a + b) / 2.0)
    })
}

/// The same of sublayers that read the inputs of their block.
pub fn parallel_lanes<const FIRST: usize>(network: &Network, vectors: &Vectors) -> Vectors {
    per_token(vectors, |x| {
        let mut lanes = [x.to_vec(), x.to_vec()];
        for block in 0..SUBLAYERS / 2 {
            let (k, before) = (2 * block, lanes.clone());
            if block < FIRST {
                let h = add(&before[0], &pre_normed(k, &before[0]));
                lanes = [0, 1].map(|_| add(&h, &pre_normed(k + 1, &h)));
                continue;
            }
            let outputs = [0, 1].map(|lane| pre_normed(k + lane, &before[lane]));
            for (j, lane) in lanes.iter_mut().enumerate() {
                let [g, v, w] = [
                    network.of(k, "lane_gain")[j],
                    network.of(k, "lane_write")[j],
                    network.of(k + 1, "lane_write")[j],
                ];
                let attended = zip(lane, &outputs[0], |x, a| g * x + v * a);
                *lane = zip(&attended, &outputs[1], |x, f| x + w * f);
            }
        }
        zip(&lanes[0], &lanes[1], |a, b| (a + b) / 2.0)
    })
}

pub fn deep_delta<const N: usize>(network: &Network, vectors: &Vectors) -> Vectors {
    let read = |weights: Option<&[f64]>, channels: &[Vec<f64>]| {
        let weights = weights.unwrap_or(&[1.0]);
        let terms = channels.iter().zip(weights);
        terms.fold(vec![0.0; DIM], |sum, (x, w)| {
            zip(&sum, x, |sum, x| sum + w * x)
        })
    };
    per_token(vectors, |x| {
        let mut channels = vec![x.to_vec(); N];
        for k in 0..SUBLAYERS {
            let u = read(network.find(k, "read"), &channels);
            let logit = product(network.of(k, "beta.weight"), &norm(&u))[0];
            let beta = 2.0 * sigmoid(logit + network.of(k, "beta.bias")[0]);
            let values = add(
                &product(network.of(k, "value.weight"), &u),
                network.of(k, "value.bias"),
            );
            let output = pre_normed(k, &u);
            let size = (output.iter().map(|o| o * o).sum::<f64>() + 1e-10).sqrt();
            for (channel, value) in channels.iter_mut().zip(values) {
                let along: f64 = output
                    .iter()
                    .zip(&*channel)
                    .map(|(o, x)| o / size * x)
                    .sum();
                let step = beta * (4.0 * sigmoid(value) - along) / size;
                *channel = zip(channel, &output, |x, o| x + step * o);
            }
        }
        read(network.find(SUBLAYERS - 1, "output_read"), &channels)
    })
}

pub fn gated_residual<const N: usize>(network: &Network, vectors: &Vectors) -> Vectors {
    // U and u of a state.
    let read = |prefix: &str, streams: &[Vec<f64>]| {
        let get = |name: &str| network.get(&format!("{prefix}.{name}"));
        let gains = get("norm.weight").chunks(DIM);
        let normed = streams.iter().zip(gains).flat_map(|(x, gains)| {
            let size = rms(x);
            zip(x, gains, |x, w| x / size * (1.0 + w))
        });
        let normed: Vec<f64> = normed.collect();
        let narrow = product(get("down.weight"), &normed);
        let narrow: Vec<f64> = narrow.iter().map(|z| z / N as f64).collect();
        let narrow: Vec<f64> = narrow.iter().map(|z| z * sigmoid(*z)).collect();
        let gated = zip(&product(get("up.weight"), &narrow), &normed, |z, x| {
            sigmoid(z) * x
        });
        let mean = gated.chunks(DIM).fold(vec![0.0; DIM], |sum, x| {
            zip(&sum, x, |s, x| s + x / N as f64)
        });
        (normed, mean)
    };
    per_token(vectors, |x| {
        let mut streams = vec![x.to_vec(); N];
        for k in 0..SUBLAYERS {
            let (normed, u) = read(&k.to_string(), &streams);
            let output = pre_normed(k, &u);
            let writes = product(network.of(k, "inject.weight"), &normed);
            for (stream, write) in streams.iter_mut().zip(writes) {
                let beta = 2.0 * sigmoid(write / N as f64);
                *stream = zip(stream, &output, |x, o| x + beta * o);
            }
        }
        read("mixer", &streams).1
    })
}
