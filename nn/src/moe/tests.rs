use super::*;
use engine::{
    check::{Check, CheckInput},
    ops::softmax,
    params::{Builder, Init},
    rng::Key,
    tape::Tape,
};

fn softmax64(logits: &[f64]) -> Vec<f64> {
    let sum: f64 = logits.iter().map(|x| x.exp()).sum();
    logits.iter().map(|x| x.exp() / sum).collect()
}

/// The `top_k` largest, by sorting.
fn chosen64(p: &[f64], top_k: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[b].total_cmp(&p[a]));
    order.truncate(top_k);
    order
}

/// Logits no two of which are close in a row, so that no finite difference changes
/// the choice.
fn distinct_logits(rows: usize, experts: usize) -> CheckInput {
    let mut input = CheckInput::normal([rows, experts], 0.3, 1);
    for (r, row) in input.data.chunks_exact_mut(experts).enumerate() {
        for (e, x) in row.iter_mut().enumerate() {
            *x = 0.05 * *x + 0.3 * ((e * 5 + r * 3) % experts) as f32;
        }
    }
    input
}

#[test]
fn gates_have_the_gradients_of_the_chosen_probabilities() {
    for (rows, experts, top_k) in [(1, 1, 1), (5, 6, 2), (7, 17, 4), (3, 4, 4)] {
        Check::new(
            "choose",
            vec![distinct_logits(rows, experts)],
            |_, v| vec![choose(softmax(v[0]), v[0], top_k).gates],
            |x| {
                let rows = x[0].chunks(experts).flat_map(|logits| {
                    let p = softmax64(logits);
                    chosen64(&p, top_k).into_iter().map(move |e| p[e])
                });
                vec![rows.collect()]
            },
        )
        .run();
    }
}

#[test]
fn auxiliary_losses_have_the_gradients_of_their_formulas() {
    for (rows, experts, top_k) in [(1, 1, 1), (6, 5, 2), (9, 19, 3)] {
        Check::new(
            "auxiliary losses",
            vec![distinct_logits(rows, experts)],
            |_, v| {
                let p = softmax(v[0]);
                let load = choose(p, v[0], top_k).load;
                vec![load_balance(p, load), router_z(v[0])]
            },
            |x| {
                let rows: Vec<&[f64]> = x[0].chunks(experts).collect();
                let mut counts = vec![0.0; experts];
                let mut mean = vec![0.0; experts];
                let mut z = 0.0;
                for logits in &rows {
                    let p = softmax64(logits);
                    for e in chosen64(&p, top_k) {
                        counts[e] += 1.0 / (rows.len() * top_k) as f64;
                    }
                    for (mean, p) in mean.iter_mut().zip(&p) {
                        *mean += p / rows.len() as f64;
                    }
                    let lse = logits.iter().map(|x| x.exp()).sum::<f64>().ln();
                    z += lse * lse / rows.len() as f64;
                }
                let products = counts.iter().zip(&mean).map(|(f, p)| f * p);
                vec![vec![experts as f64 * products.sum::<f64>()], vec![z]]
            },
        )
        .run();
    }
}

/// Two routers beside each other, their losses in f64 from weights and inputs.
#[test]
fn each_router_adds_both_its_losses_times_their_coefficients() {
    const DIM: usize = 6;
    let config = MoeConfig {
        experts: 5,
        top_k: 2,
        load_balance_coef: 0.3,
        router_z_coef: 0.07,
        ..MoeConfig::default()
    };
    let mut b = Builder::new(Key::new(3));
    let init = Init::Normal { std: 0.6 };
    let layers = ["a", "b"]
        .map(|name| MixtureOfExperts::new(&mut b, name, DIM, &config, &init, init.clone()));
    let params = b.finish();
    let tape = Tape::new();
    tape.bind(&params);
    let x = CheckInput::normal([7, DIM], 1.0, 2).data;
    let [a, b] = layers.map(|layer| layer.forward(tape.constant([7, DIM], &x)).1);
    let expected = ["a", "b"].map(|name| {
        let part = params.part(&format!("{name}.router.weight"));
        let router = &params.slab()[part.expect("a router").range.clone()];
        let (mut load, mut mean, mut z) = ([0.0; 5], [0.0; 5], 0.0);
        for token in x.chunks(DIM) {
            let product = |w: &[f32]| w.iter().zip(token).map(|(w, x)| f64::from(w * x)).sum();
            let logits: Vec<f64> = router.chunks(DIM).map(product).collect();
            let p = softmax64(&logits);
            chosen64(&p, 2)
                .into_iter()
                .for_each(|e| load[e] += 1.0 / 14.0);
            mean.iter_mut()
                .zip(&p)
                .for_each(|(mean, p)| *mean += p / 7.0);
            z += logits.iter().map(|x| x.exp()).sum::<f64>().ln().powi(2) / 7.0;
        }
        let balance: f64 = load.iter().zip(mean).map(|(f, p)| 5.0 * f * p).sum();
        [balance, z, 0.3 * balance + 0.07 * z]
    });
    let of = |losses: RouterLosses<'_>| {
        [losses.load_balance, losses.router_z, losses.weighted].map(|x| f64::from(x.item()))
    };
    for (found, expected) in [(of(a), expected[0]), (of(b), expected[1])] {
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-5, "{found}, not {expected}");
        }
    }
    for (i, found) in of(a.plus(b)).iter().enumerate() {
        let expected = expected[0][i] + expected[1][i];
        assert!((found - expected).abs() < 1e-5, "{found}, not {expected}");
    }
}

fn experts64(
    x: &[Vec<f64>],
    probabilities: &[f32],
    (dim, hidden, experts, top_k): (usize, usize, usize, usize),
) -> Vec<f64> {
    let matrix = |w: &[f64], e: usize, x: &[f64], rows: usize| -> Vec<f64> {
        let w = &w[e * dim * hidden..][..dim * hidden];
        let row = |r: usize| w[r * x.len()..][..x.len()].iter().zip(x);
        (0..rows)
            .map(|r| row(r).map(|(w, x)| w * x).sum())
            .collect()
    };
    let mut y = vec![0.0; x[0].len()];
    let rows = x[0].chunks(dim).zip(x[1].chunks(top_k));
    for (r, (token, gates)) in rows.enumerate() {
        let p: Vec<f64> = probabilities[r * experts..][..experts]
            .iter()
            .map(|&p| p.into())
            .collect();
        for (e, p) in chosen64(&p, top_k).into_iter().zip(gates) {
            let (gate, up) = (
                matrix(&x[2], e, token, hidden),
                matrix(&x[3], e, token, hidden),
            );
            let activated: Vec<f64> = gate
                .iter()
                .zip(&up)
                .map(|(g, u)| g / (1.0 + (-g).exp()) * u)
                .collect();
            for (y, out) in y[r * dim..]
                .iter_mut()
                .zip(matrix(&x[4], e, &activated, dim))
            {
                *y += p * out;
            }
        }
    }
    y
}

#[test]
fn experts_have_the_gradients_of_their_formula() {
    for (rows, dim, hidden, experts_, top_k) in [(1, 1, 1, 1, 1), (5, 3, 4, 3, 2), (9, 17, 5, 4, 2)]
    {
        let probabilities = distinct_logits(rows, experts_);
        Check::new(
            "experts",
            vec![
                CheckInput::normal([rows, dim], 1.0, 1),
                CheckInput::normal([rows, top_k], 1.0, 2),
                CheckInput::normal([experts_, hidden, dim], 0.7, 3),
                CheckInput::normal([experts_, hidden, dim], 0.7, 4),
                CheckInput::normal([experts_, dim, hidden], 0.7, 5),
            ],
            |tape: &Tape, v| {
                let p = tape.constant(probabilities.shape, &probabilities.data);
                let choice = Choice {
                    gates: v[1],
                    ..choose(p, p, top_k)
                };
                let weights = ExpertWeights {
                    gate: v[2],
                    up: v[3],
                    down: v[4],
                };
                vec![experts(v[0], &choice, &weights)]
            },
            |x| {
                let sizes = (dim, hidden, experts_, top_k);
                vec![experts64(x, &probabilities.data, sizes)]
            },
        )
        .run();
    }
}

#[test]
#[should_panic(expected = "choose_experts: top_k is 3, probabilities are [1, 2]")]
fn more_choices_than_experts_are_refused() {
    let tape = Tape::new();
    let p = tape.constant([1, 2], &[0.5, 0.5]);
    choose(p, p, 3);
}
