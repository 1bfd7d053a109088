//! The coefficients of constrained hyper-connections.

use engine::{
    check::{Check, CheckInput},
    tape::{Tape, Var},
};
use nn::connection::{
    constrained::{
        kernels::{Gates, MOST_STREAMS, Rule},
        ops::coefficients,
    },
    streams::ops::{Coefficients, Slots},
};

fn permutations(items: &[usize]) -> Vec<Vec<usize>> {
    if items.is_empty() {
        return vec![Vec::new()];
    }
    let firsts = items.iter().flat_map(|&first| {
        let others: Vec<usize> = items.iter().copied().filter(|&x| x != first).collect();
        permutations(&others).into_iter().map(move |mut rest| {
            rest.insert(0, first);
            rest
        })
    });
    firsts.collect()
}

fn kronecker(a: &[Vec<f64>], b: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let size = a.len() * b.len();
    let element = |i: usize, j: usize| a[i / b.len()][j / b.len()] * b[i % b.len()][j % b.len()];
    (0..size)
        .map(|i| (0..size).map(|j| element(i, j)).collect())
        .collect()
}

/// `A⁻¹ B` by Gauss-Jordan with pivoting.
fn solve(mut a: Vec<Vec<f64>>, mut b: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    let n = a.len();
    for column in 0..n {
        let pivot = (column..n)
            .max_by(|&i, &j| a[i][column].abs().total_cmp(&a[j][column].abs()))
            .unwrap();
        a.swap(column, pivot);
        b.swap(column, pivot);
        let divisor = a[column][column];
        a[column].iter_mut().for_each(|x| *x /= divisor);
        b[column].iter_mut().for_each(|x| *x /= divisor);
        let (a_pivot, b_pivot) = (a[column].clone(), b[column].clone());
        for i in (0..n).filter(|&i| i != column) {
            let factor = a[i][column];
            for j in 0..n {
                a[i][j] -= factor * a_pivot[j];
                b[i][j] -= factor * b_pivot[j];
            }
        }
    }
    b
}

/// `H_res` of the logits of one token, from the definitions.
#[expect(
    clippy::needless_range_loop,
    reason = "the indices are those of the formulas"
)]
fn naive_mix(rule: Rule, n: usize, z: &[f64]) -> Vec<Vec<f64>> {
    let identity: Vec<Vec<f64>> = (0..n)
        .map(|i| (0..n).map(|j| f64::from(u8::from(i == j))).collect())
        .collect();
    match rule {
        _ if n == 1 => identity,
        Rule::Identity => identity,
        Rule::Sinkhorn { iterations } => {
            let largest = z.iter().fold(f64::MIN, |a, &b| a.max(b));
            let mut m: Vec<Vec<f64>> = z
                .chunks(n)
                .map(|row| row.iter().map(|z| (z - largest).exp()).collect())
                .collect();
            for _ in 0..iterations {
                for j in 0..n {
                    let sum: f64 = m.iter().map(|row| row[j]).sum();
                    m.iter_mut().for_each(|row| row[j] /= sum);
                }
                for row in &mut m {
                    let sum: f64 = row.iter().sum();
                    row.iter_mut().for_each(|x| *x /= sum);
                }
            }
            m
        }
        Rule::Permutations => {
            let largest = z.iter().fold(f64::MIN, |a, &b| a.max(b));
            let e: Vec<f64> = z.iter().map(|z| (z - largest).exp()).collect();
            let sum: f64 = e.iter().sum();
            let mut m = vec![vec![0.0; n]; n];
            let all: Vec<usize> = (0..n).collect();
            for (q, e) in permutations(&all).iter().zip(e) {
                for i in 0..n {
                    m[i][q[i]] += e / sum;
                }
            }
            m
        }
        Rule::Kronecker => z.chunks(2).fold(vec![vec![1.0]], |m, z| {
            let p = 1.0 / (1.0 + (z[1] - z[0]).exp());
            kronecker(&m, &[vec![p, 1.0 - p], vec![1.0 - p, p]])
        }),
        Rule::Cayley => {
            let (mut minus, mut plus) = (identity.clone(), identity);
            let mut next = z.iter();
            for i in 0..n {
                for j in i + 1..n {
                    let s = next.next().unwrap();
                    (plus[i][j], plus[j][i]) = (*s, -s);
                    (minus[i][j], minus[j][i]) = (-s, *s);
                }
            }
            solve(minus, plus)
        }
        Rule::CayleySteps { iterations } => {
            let mut skew = vec![vec![0.0; n]; n];
            let mut next = z.iter();
            for i in 0..n {
                for j in i + 1..n {
                    let s = *next.next().unwrap();
                    (skew[i][j], skew[j][i]) = (s, -s);
                }
            }
            let plus_identity = |m: &[Vec<f64>], factor: f64| -> Vec<Vec<f64>> {
                let pairs = m.iter().zip(&identity);
                let row = |(m, i): (&Vec<f64>, &Vec<f64>)| {
                    m.iter().zip(i).map(|(m, i)| factor * m + i).collect()
                };
                pairs.map(row).collect()
            };
            let mut h = plus_identity(&skew, 2.0);
            for _ in 0..iterations {
                let sum = plus_identity(&h, 1.0);
                let product: Vec<Vec<f64>> = (0..n)
                    .map(|i| {
                        (0..n)
                            .map(|j| (0..n).map(|k| skew[i][k] * sum[k][j]).sum())
                            .collect()
                    })
                    .collect();
                h = plus_identity(&product, 1.0);
            }
            h
        }
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

#[expect(
    clippy::needless_range_loop,
    reason = "the indices are those of the formulas"
)]
fn naive(gates: Gates, rule: Rule, n: usize, x: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let gate_logits = gates.logits(n);
    let (mut alpha, mut beta) = (Vec::new(), Vec::new());
    for row in x[0].chunks(2 * gate_logits + rule.logits(n)) {
        let z = |family: usize, c: usize| {
            x[1 + 2 * family][0] * row[family * gate_logits + c] + x[2 + 2 * family][c]
        };
        let logits: Vec<f64> = (0..rule.logits(n)).map(|c| z(2, c)).collect();
        let mix = naive_mix(rule, n, &logits);
        // Of H_pre[g, i], whose rows sum to 1, and of H_post[i, g], whose columns do.
        let share = |family: usize, g: usize, i: usize| {
            let sum: f64 = (0..n).map(|j| z(family, g * n + j).exp()).sum();
            z(family, g * n + i).exp() / sum
        };
        let sum = |family: usize, i: usize| (0..n).map(|g| share(family, g, i)).sum::<f64>();
        for i in 0..n {
            let (read, write) = match gates {
                Gates::Sigmoid => (sigmoid(z(0, i)), 2.0 * sigmoid(z(1, i))),
                Gates::Softmax => (sum(0, i) / n as f64, sum(1, i)),
            };
            alpha.push(read);
            // A_r is the transpose of H_res.
            alpha.extend((0..n).map(|j| mix[j][i]));
            beta.push(write);
        }
    }
    vec![alpha, beta]
}

fn inputs((gates, rule): (Gates, Rule), n: usize, rows: usize, std: f32) -> Vec<CheckInput> {
    let (logits, gate_logits) = (rule.logits(n), gates.logits(n));
    let mut inputs = vec![
        CheckInput::normal([rows, 2 * gate_logits + logits], std, 1),
        CheckInput {
            shape: [1].into(),
            data: vec![0.9],
        },
        CheckInput::normal([gate_logits], 1.0, 2),
        CheckInput {
            shape: [1].into(),
            data: vec![-1.1],
        },
        CheckInput::normal([gate_logits], 1.0, 3),
    ];
    if logits > 0 {
        inputs.push(CheckInput {
            shape: [1].into(),
            data: vec![1.0],
        });
        inputs.push(CheckInput::normal([logits], std, 4));
    }
    inputs
}

/// The coefficients of `rows` tokens of n streams; `v` are the [`inputs`].
fn record<'t>(
    tape: &'t Tape,
    made: (Gates, Rule),
    n: usize,
    rows: usize,
    v: &[Var<'t>],
) -> [Var<'t>; 2] {
    let state = tape.constant([rows, n, 1], &vec![0.0; rows * n]);
    let slots = Slots::of_streams("check", state, 1);
    let mix = (made.1.logits(n) > 0).then(|| (v[5], v[6]));
    let (read, write) = ((v[1], v[2]), (v[3], v[4]));
    let Coefficients { alpha, beta } = coefficients(slots, made, v[0], read, write, mix);
    [alpha, beta]
}

fn check(rule: Rule, n: usize, rows: usize, std: f32) {
    check_with(Gates::Sigmoid, rule, n, rows, std);
}

fn check_with(gates: Gates, rule: Rule, n: usize, rows: usize, std: f32) {
    Check::new(
        &format!("{rule:?} of {n}, logits of {std}"),
        inputs((gates, rule), n, rows, std),
        |tape, v: &[Var<'_>]| record(tape, (gates, rule), n, rows, v).to_vec(),
        |x| naive(gates, rule, n, x),
    )
    .run();
}

const SINKHORN: Rule = Rule::Sinkhorn { iterations: 20 };

#[test]
fn every_rule_has_the_gradients_of_its_definition() {
    for n in [1, 2, 3, 4, 5, 8] {
        check(SINKHORN, n, 3, 1.0);
        check(Rule::Identity, n, 3, 1.0);
        check(Rule::Cayley, n, 3, 1.0);
        for iterations in [0, 1, 2, 5] {
            let rule = Rule::CayleySteps { iterations };
            check_with(Gates::Softmax, rule, n, 3, 0.5);
        }
        check_with(Gates::Softmax, SINKHORN, n, 3, 1.0);
        if n <= MOST_STREAMS {
            check(Rule::Permutations, n, 3, 1.0);
        }
        if n.is_power_of_two() {
            check(Rule::Kronecker, n, 3, 1.0);
        }
    }
}

#[test]
fn more_tokens_than_lanes_are_treated_alike() {
    for rule in [SINKHORN, Rule::Permutations, Rule::Kronecker, Rule::Cayley] {
        check(rule, 2, 19, 1.0);
    }
    let rule = Rule::CayleySteps { iterations: 2 };
    check_with(Gates::Softmax, rule, 3, 19, 0.5);
}

/// A backward that uses the last matrix for every iteration is wrong by 20 % here.
#[test]
fn sinkhorn_is_exact_for_few_iterations_and_large_logits() {
    for (iterations, std) in [(1, 1.0), (3, 1.0), (1, 8.0), (3, 8.0), (20, 4.0), (20, 8.0)] {
        for n in [2, 3, 4] {
            check(Rule::Sinkhorn { iterations }, n, 3, std);
        }
    }
}

/// `[A_m | A_r]` of six tokens in a batch of two sequences of three.
fn mixes(rule: Rule, n: usize, std: f32) -> Vec<Vec<f32>> {
    let tape = Tape::new();
    let state = tape.constant([2, 3, n, 1], &vec![0.0; 6 * n]);
    let made = (Gates::Sigmoid, rule);
    let vars: Vec<Var<'_>> = inputs(made, n, 6, std)
        .iter()
        .map(|input| tape.constant(input.shape, &input.data))
        .collect();
    let slots = Slots::of_streams("check", state, 1);
    let [read, write, mix] = [1, 3, 5].map(|i| (vars[i], vars[i + 1]));
    let Coefficients { alpha, beta } = coefficients(slots, made, vars[0], read, write, Some(mix));
    assert_eq!(alpha.shape().dims(), [2, 3, n, n + 1]);
    assert_eq!(beta.shape().dims(), [2, 3, n]);
    let without_read = |alpha: &[f32]| {
        let rows = alpha.chunks(n + 1).flat_map(|row| row[1..].to_vec());
        rows.collect::<Vec<f32>>()
    };
    alpha
        .value()
        .chunks(n * (n + 1))
        .map(without_read)
        .collect()
}

#[test]
fn rows_and_columns_of_a_doubly_stochastic_mix_sum_to_one() {
    for (rule, n) in [
        (SINKHORN, 2),
        (SINKHORN, 4),
        (Rule::Permutations, 2),
        (Rule::Permutations, 5),
        (Rule::Kronecker, 2),
        (Rule::Kronecker, 4),
    ] {
        for mix in mixes(rule, n, 1.0) {
            for i in 0..n {
                let source: f32 = mix[i * n..][..n].iter().sum();
                let destination: f32 = (0..n).map(|j| mix[j * n + i]).sum();
                assert!((destination - 1.0).abs() < 2e-6, "{rule:?}: {mix:?}");
                assert!((source - 1.0).abs() < 1e-4, "{rule:?}: {mix:?}");
            }
            assert!(mix.iter().all(|&x| x >= 0.0), "{rule:?}: {mix:?}");
        }
    }
}

/// JPmHC: with its step of 0.1, two iterations are the transform up to the fourth power of a
/// twentieth of the numbers predicted.
#[test]
fn two_steps_of_the_cayley_transform_are_nearly_it() {
    let std = 0.02;
    let exact = mixes(Rule::Cayley, 4, std);
    let off = |iterations| {
        let steps = mixes(Rule::CayleySteps { iterations }, 4, std);
        let pairs = exact.iter().flatten().zip(steps.iter().flatten());
        pairs.fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()))
    };
    let [one, two, twenty] = [1, 2, 20].map(off);
    assert!(
        two < 1e-3 && two < 0.5 * one && twenty < 1e-6,
        "{one} {two} {twenty}"
    );
}

#[test]
fn a_cayley_transform_is_orthogonal() {
    for n in [2, 3, 4, 8] {
        for mix in mixes(Rule::Cayley, n, 1.0) {
            for i in 0..n {
                for j in 0..n {
                    let product: f32 = (0..n).map(|k| mix[i * n + k] * mix[j * n + k]).sum();
                    let expected = if i == j { 1.0 } else { 0.0 };
                    assert!((product - expected).abs() < 1e-5, "{mix:?}");
                }
            }
        }
    }
}

/// Logits that are hopeless for `exp`: everything stays finite, rows (of `H_res`, columns
/// of `A_r`) still sum to one.
#[test]
fn sinkhorn_survives_logits_of_any_size() {
    let n = 3;
    for scale in [1e2_f32, 1e3, 1e4] {
        let logits: Vec<f32> = [3.0, -3.0, 1.0, 2.0, -2.5, -1.0, 0.0, -3.0, -4.0]
            .iter()
            .map(|x| x * scale)
            .collect();
        let tape = Tape::new();
        let rule = SINKHORN;
        let mut data = vec![0.0; 6];
        data.extend(&logits);
        let one = [1.0];
        let v = [
            tape.input([1, 15], &data),
            tape.constant([1], &one),
            tape.constant([n], &[0.0; 3]),
            tape.constant([1], &one),
            tape.constant([n], &[0.0; 3]),
            tape.constant([1], &one),
            tape.constant([9], &[0.0; 9]),
        ];
        let [alpha, _] = record(&tape, (Gates::Sigmoid, rule), n, 1, &v);
        let value = alpha.value();
        assert!(value.iter().all(|x| x.is_finite()), "{value:?}");
        for j in 0..n {
            let sum: f32 = (0..n).map(|i| value[i * (n + 1) + 1 + j]).sum();
            assert!((sum - 1.0).abs() < 1e-2, "{value:?}");
        }
        let mut none = engine::params::Gradients::new(&Default::default());
        tape.backward_from(&[(alpha, &[1.0; 12])], &mut none);
        assert!(tape.grad(v[0]).iter().all(|x| x.is_finite()));
    }
}
