//! The coefficients of constrained hyper-connections.

use engine::{
    check::{Check, CheckInput},
    tape::{Tape, Var},
};
use nn::connection::{
    constrained::{
        kernels::{Gates, MOST_STREAMS, Rule},
        ops::{coefficients, joint_coefficients},
    },
    plain::constrained as plain,
    streams::ops::{Coefficients, Slots},
};

/// The coefficients of rows of tokens, from the definitions.
fn naive(gates: Gates, rule: Rule, n: usize, x: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let (mut alpha, mut beta) = (Vec::new(), Vec::new());
    let family = |family: usize| match x.get(1 + 2 * family) {
        Some(scale) => (scale[0], &*x[2 + 2 * family]),
        None => (1.0, &[][..]),
    };
    for row in x[0].chunks(2 * gates.logits(n) + rule.logits(n)) {
        let affine = [0, 1, 2].map(family);
        let [of_alpha, of_beta] = plain::coefficients((gates, rule), n, row, affine);
        alpha.extend(of_alpha);
        beta.extend(of_beta);
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
        if n == 4 {
            check(Rule::Quaternions, n, 3, 1.0);
        }
        if n <= MOST_STREAMS {
            check(Rule::Permutations, n, 3, 1.0);
        }
        if n.is_power_of_two() {
            check(Rule::Kronecker, n, 3, 1.0);
        }
    }
}

/// Large, so that every place where it is added shows.
const V4_EPS: f32 = 0.05;

#[test]
fn the_mix_of_deepseek_v4_has_the_gradients_of_its_definition() {
    for (iterations, eps) in [
        (1, V4_EPS),
        (2, 1e-6),
        (3, V4_EPS),
        (20, V4_EPS),
        (20, 1e-6),
    ] {
        for n in [1, 2, 3, 4, 5, 8] {
            for std in [1.0, 4.0] {
                let rule = Rule::SoftmaxSinkhorn { iterations, eps };
                check_with(Gates::FlooredSigmoid { floor: eps }, rule, n, 3, std);
            }
        }
    }
    let rule = Rule::SoftmaxSinkhorn {
        iterations: 3,
        eps: 0.0,
    };
    check_with(Gates::FlooredSigmoid { floor: 0.0 }, rule, 3, 19, 1.0);
}

/// One tensor of scales and one of biases are those of read, write and mix in turn.
#[test]
fn joint_scales_and_biases_have_the_gradients_of_the_single_ones() {
    for n in [1, 3, 4] {
        let rule = Rule::SoftmaxSinkhorn {
            iterations: 3,
            eps: V4_EPS,
        };
        let gates = Gates::FlooredSigmoid { floor: V4_EPS };
        let columns = 2 * n + n * n;
        Check::new(
            "joint_coefficients",
            vec![
                CheckInput::normal([5, columns], 1.0, 1),
                CheckInput::normal([3], 1.0, 2),
                CheckInput::normal([columns], 1.0, 3),
            ],
            |tape, v: &[Var<'_>]| {
                let state = tape.constant([5, n, 1], &vec![0.0; 5 * n]);
                let slots = Slots::of_streams("check", state, 1);
                let made = joint_coefficients(slots, (gates, rule), v[0], v[1], v[2]);
                vec![made.alpha, made.beta]
            },
            |x| {
                let (scale, bias) = (&x[1], &x[2]);
                let single = [
                    x[0].clone(),
                    vec![scale[0]],
                    bias[..n].to_vec(),
                    vec![scale[1]],
                    bias[n..2 * n].to_vec(),
                    vec![scale[2]],
                    bias[2 * n..].to_vec(),
                ];
                naive(gates, rule, n, &single)
            },
        )
        .run();
    }
}

/// Weights that f32 does not hold leave columns that sum to 0 but for eps.
#[test]
fn the_mix_of_deepseek_v4_survives_logits_of_any_size() {
    for eps in [0.0, 1e-6] {
        for std in [1e2, 1e4] {
            let rule = Rule::SoftmaxSinkhorn {
                iterations: 20,
                eps,
            };
            for mix in mixes(rule, 4, std) {
                assert!(mix.iter().all(|x| x.is_finite()), "{mix:?}");
            }
        }
    }
}

#[test]
fn more_tokens_than_lanes_are_treated_alike() {
    for rule in [SINKHORN, Rule::Permutations, Rule::Kronecker, Rule::Cayley] {
        check(rule, 2, 19, 1.0);
    }
    check(Rule::Quaternions, 4, 19, 1.0);
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
fn cayley_transforms_and_quaternions_are_orthogonal() {
    let cayley = [2, 3, 4, 8].map(|n| (Rule::Cayley, n));
    for (rule, n) in cayley.into_iter().chain([(Rule::Quaternions, 4)]) {
        for mix in mixes(rule, n, 1.0) {
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
