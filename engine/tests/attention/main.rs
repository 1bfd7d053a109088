//! Self-attention against a naive evaluation in f64.

mod naive;

use engine::kernels::Grad;
use engine::kernels::attention::{
    AttentionShape, SavedForward, attention_backward, attention_forward,
};
use engine::kernels::rotary::{Rotary, fill_rotary_tables};
use naive::{THETA, at, inner, naive_backward, naive_forward, shape};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The tables as the kernel takes them.
struct Tables {
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl Tables {
    fn new(shape: &AttentionShape) -> Self {
        let len = shape.seq * (shape.head_dim / 2);
        let (mut cos, mut sin) = (vec![f32::NAN; len], vec![f32::NAN; len]);
        fill_rotary_tables(THETA, shape.head_dim, &mut cos, &mut sin);
        Self { cos, sin }
    }

    fn rotary(&self) -> Rotary<'_> {
        Rotary {
            cos: &self.cos,
            sin: &self.sin,
        }
    }
}

fn random(len: usize, scale: f32, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..len)
        .map(|_| scale * rng.random_range(-1.0..1.0))
        .collect()
}

/// On poisoned memory.
fn forward(s: AttentionShape, qkv: &[f32], rotary: Option<Rotary<'_>>) -> (Vec<f32>, Vec<f32>) {
    let mut out = vec![f32::NAN; s.batch * s.seq * s.width()];
    let mut lse = vec![f32::NAN; s.batch * s.heads * s.seq];
    let mut scratch = vec![f32::NAN; s.forward_scratch(1)];
    attention_forward(s, qkv, rotary, &mut out, &mut lse, 1, &mut scratch);
    (out, lse)
}

fn backward(
    s: AttentionShape,
    qkv: &[f32],
    rotary: Option<Rotary<'_>>,
    (out, lse): (&[f32], &[f32]),
    dout: &[f32],
) -> Vec<f32> {
    let mut dqkv = vec![f32::NAN; qkv.len()];
    let mut scratch = vec![f32::NAN; s.backward_scratch(1)];
    let saved = SavedForward { out, lse, dout };
    attention_backward(
        s,
        qkv,
        rotary,
        saved,
        Grad {
            values: &mut dqkv,
            accumulate: false,
        },
        1,
        &mut scratch,
    );
    dqkv
}

fn f64s(x: &[f32]) -> Vec<f64> {
    x.iter().map(|x| f64::from(*x)).collect()
}

/// Every element within `tolerance` of the reference, relative to its largest.
#[track_caller]
fn assert_close(what: &str, got: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(got.len(), expected.len());
    let largest = expected.iter().fold(1e-3f64, |m, x| m.max(x.abs()));
    for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
        let error = (f64::from(*got) - expected).abs() / largest;
        assert!(
            error <= tolerance,
            "{what}: element {i} is {got}, expected {expected}"
        );
    }
}

/// Runs `check` for causal and full attention, with and without rotation.
fn for_all_kinds(
    extents: (usize, usize, usize, usize),
    mut check: impl FnMut(AttentionShape, Option<Rotary<'_>>),
) {
    let (batch, seq, heads, head_dim) = extents;
    for causal in [false, true] {
        let s = shape(batch, seq, heads, head_dim, causal);
        check(s, None);
        if head_dim.is_multiple_of(2) {
            check(s, Some(Tables::new(&s).rotary()));
        }
    }
}

const HEAD_DIMS: [usize; 11] = [1, 2, 3, 5, 8, 16, 17, 32, 40, 48, 64];
const SEQS: [usize; 10] = [1, 2, 3, 15, 16, 17, 33, 100, 130, 300];

#[test]
fn forward_equals_the_naive_one_for_every_width_and_length() {
    for head_dim in HEAD_DIMS {
        for seq in SEQS {
            for_all_kinds((2, seq, 2, head_dim), |s, rotary| {
                let qkv = random(2 * seq * 3 * s.width(), 2.0, 1);
                let (out, lse) = forward(s, &qkv, rotary);
                let (ref_out, ref_lse) = naive_forward(&s, &f64s(&qkv), rotary.is_some());
                assert_close(&format!("out of {s:?}"), &out, &ref_out, 3e-6);
                assert_close(&format!("lse of {s:?}"), &lse, &ref_lse, 2e-6);
            });
        }
    }
}

#[test]
fn backward_equals_the_naive_one_for_every_width_and_length() {
    for head_dim in HEAD_DIMS {
        for seq in SEQS {
            for_all_kinds((2, seq, 2, head_dim), |s, rotary| {
                let qkv = random(2 * seq * 3 * s.width(), 2.0, 2);
                let dout = random(2 * seq * s.width(), 1.0, 3);
                let (out, lse) = forward(s, &qkv, rotary);
                let dqkv = backward(s, &qkv, rotary, (&out, &lse), &dout);
                let expected = naive_backward(&s, &f64s(&qkv), rotary.is_some(), &f64s(&dout));
                assert_close(&format!("dqkv of {s:?}"), &dqkv, &expected, 5e-6);
            });
        }
    }
}

#[test]
fn backward_equals_finite_differences_of_the_naive_forward() {
    for extents in [
        (1, 1, 1, 1),
        (2, 3, 2, 4),
        (1, 9, 2, 6),
        (1, 35, 1, 2),
        (1, 18, 1, 18),
    ] {
        for_all_kinds(extents, |s, rotary| {
            let qkv = random(s.batch * s.seq * 3 * s.width(), 1.5, 4);
            let dout = random(s.batch * s.seq * s.width(), 1.0, 5);
            let (out, lse) = forward(s, &qkv, rotary);
            let dqkv = backward(s, &qkv, rotary, (&out, &lse), &dout);

            let (mut x, dout) = (f64s(&qkv), f64s(&dout));
            let step = 1e-5;
            let mut differences = Vec::new();
            for i in 0..x.len() {
                let centre = x[i];
                let [above, below] = [step, -step].map(|step| {
                    x[i] = centre + step;
                    inner(&naive_forward(&s, &x, rotary.is_some()).0, &dout)
                });
                x[i] = centre;
                differences.push((above - below) / (2.0 * step));
            }
            assert_close(&format!("dqkv of {s:?}"), &dqkv, &differences, 5e-6);
        });
    }
}

#[test]
fn large_scores_neither_overflow_nor_lose_the_largest() {
    for_all_kinds((1, 150, 1, 32), |s, rotary| {
        let qkv = random(s.seq * 3 * s.width(), 300.0, 6);
        let dout = random(s.seq * s.width(), 1.0, 7);
        let (out, lse) = forward(s, &qkv, rotary);
        let (ref_out, ref_lse) = naive_forward(&s, &f64s(&qkv), rotary.is_some());
        assert!(
            ref_lse.iter().any(|lse| *lse > 10_000.0),
            "the scores are large"
        );
        assert_close("lse", &lse, &ref_lse, 1e-6);
        // A score of 1e5 is known to about 1e-2, and so is its exponential.
        assert_close("out", &out, &ref_out, 0.05);
        let dqkv = backward(s, &qkv, rotary, (&out, &lse), &dout);
        assert!(dqkv.iter().all(|d| d.is_finite()));
    });
}

#[test]
fn a_token_that_is_not_a_number_is_not_hidden() {
    let s = shape(1, 40, 1, 16, false);
    let mut qkv = random(s.seq * 3 * s.width(), 1.0, 8);
    qkv[at(&s, 0, 3, 1, 0, 5)] = f32::NAN;
    let (out, lse) = forward(s, &qkv, None);
    assert!(out.iter().chain(&lse).all(|x| x.is_nan()));
}

#[test]
fn causal_outputs_do_not_depend_on_later_tokens_by_a_single_bit() {
    for (seq, head_dim) in [(40, 32), (70, 16), (300, 64)] {
        let s = shape(1, seq, 2, head_dim, true);
        let tables = Tables::new(&s);
        let qkv = random(seq * 3 * s.width(), 1.0, 9);
        let (out, lse) = forward(s, &qkv, Some(tables.rotary()));
        for t in [1, 7, 8, 16, 31, 33, seq - 1] {
            let mut changed = qkv.clone();
            for x in &mut changed[t * 3 * s.width()..] {
                *x = 1e6 - *x;
            }
            let (changed_out, changed_lse) = forward(s, &changed, Some(tables.rotary()));
            let before = t * s.width();
            assert_eq!(
                bits(&out[..before]),
                bits(&changed_out[..before]),
                "seq {seq}, token {t}"
            );
            assert_ne!(bits(&out[before..]), bits(&changed_out[before..]));
            for h in 0..2 {
                let row = h * seq..h * seq + t;
                assert_eq!(bits(&lse[row.clone()]), bits(&changed_lse[row]));
            }
        }
    }
}

#[test]
fn accumulating_adds_the_gradient_to_what_is_there() {
    let s = shape(2, 37, 2, 24, true);
    let qkv = random(s.batch * s.seq * 3 * s.width(), 1.0, 10);
    let dout = random(s.batch * s.seq * s.width(), 1.0, 11);
    let (out, lse) = forward(s, &qkv, None);
    let fresh = backward(s, &qkv, None, (&out, &lse), &dout);
    let start = random(qkv.len(), 1.0, 12);
    let saved = SavedForward {
        out: &out,
        lse: &lse,
        dout: &dout,
    };

    let mut sum = start.clone();
    let mut scratch = vec![f32::NAN; s.backward_scratch(1)];
    attention_backward(
        s,
        &qkv,
        None,
        saved,
        Grad {
            values: &mut sum,
            accumulate: true,
        },
        1,
        &mut scratch,
    );
    let expected: Vec<f32> = start.iter().zip(&fresh).map(|(a, b)| a + b).collect();
    assert_eq!(bits(&sum), bits(&expected));
}

#[test]
fn any_number_of_threads_and_workers_gives_the_same_bits() {
    for (batch, heads, seq, head_dim) in [(5, 2, 40, 32), (1, 5, 70, 16), (2, 3, 33, 40)] {
        for_all_kinds((batch, seq, heads, head_dim), |s, rotary| {
            let qkv = random(batch * seq * 3 * s.width(), 1.0, 13);
            let dout = random(batch * seq * s.width(), 1.0, 14);
            let start = random(qkv.len(), 1.0, 15);
            let (out, lse) = forward(s, &qkv, rotary);
            let saved = SavedForward {
                out: &out,
                lse: &lse,
                dout: &dout,
            };
            let mut scratch = vec![f32::NAN; s.backward_scratch(1)];
            let dqkv = backward(s, &qkv, rotary, (&out, &lse), &dout);
            let mut sum = start.clone();
            attention_backward(
                s,
                &qkv,
                rotary,
                saved,
                Grad {
                    values: &mut sum,
                    accumulate: true,
                },
                1,
                &mut scratch,
            );

            for (threads, workers) in [(1, 1), (1, 3), (2, 2), (3, 4), (4, 7), (2, 50)] {
                let pool = rayon::ThreadPoolBuilder::new()
                    .num_threads(threads)
                    .build()
                    .unwrap();
                pool.install(|| {
                    let mut par_out = vec![f32::NAN; out.len()];
                    let mut par_lse = vec![f32::NAN; lse.len()];
                    let mut scratch = vec![f32::NAN; s.forward_scratch(workers)];
                    attention_forward(
                        s,
                        &qkv,
                        rotary,
                        &mut par_out,
                        &mut par_lse,
                        workers,
                        &mut scratch,
                    );
                    assert_eq!(bits(&out), bits(&par_out), "{s:?}, {workers} workers");
                    assert_eq!(bits(&lse), bits(&par_lse), "{s:?}, {workers} workers");

                    let mut scratch = vec![f32::NAN; s.backward_scratch(workers)];
                    for (accumulate, expected) in [(false, &dqkv), (true, &sum)] {
                        let mut par = if accumulate {
                            start.clone()
                        } else {
                            vec![f32::NAN; qkv.len()]
                        };
                        attention_backward(
                            s,
                            &qkv,
                            rotary,
                            saved,
                            Grad {
                                values: &mut par,
                                accumulate,
                            },
                            workers,
                            &mut scratch,
                        );
                        assert_eq!(bits(expected), bits(&par), "{s:?}, {workers} workers");
                    }
                });
            }
        });
    }
}

#[test]
fn the_alignment_of_the_scratch_does_not_change_a_bit() {
    let s = shape(1, 50, 1, 32, true);
    let qkv = random(s.seq * 3 * s.width(), 1.0, 16);
    let (out, lse) = forward(s, &qkv, None);
    let mut memory = vec![f32::NAN; s.forward_scratch(1) + 16];
    for offset in 0..16 {
        let (mut shifted, mut shifted_lse) = (vec![f32::NAN; out.len()], vec![f32::NAN; lse.len()]);
        let scratch = &mut memory[offset..][..s.forward_scratch(1)];
        attention_forward(s, &qkv, None, &mut shifted, &mut shifted_lse, 1, scratch);
        assert_eq!(
            (bits(&out), bits(&lse)),
            (bits(&shifted), bits(&shifted_lse))
        );
    }
}

#[test]
#[should_panic(expected = "attention_forward: out has 63 elements, expected 64")]
fn an_output_of_another_size_is_refused() {
    let s = shape(1, 4, 2, 8, true);
    let mut scratch = vec![0.0; s.forward_scratch(1)];
    attention_forward(
        s,
        &[0.0; 192],
        None,
        &mut [0.0; 63],
        &mut [0.0; 8],
        1,
        &mut scratch,
    );
}

#[test]
#[should_panic(expected = "attention_forward: head_dim is 5, expected an even one")]
fn a_rotation_of_an_odd_width_is_refused() {
    let s = shape(1, 1, 1, 5, true);
    let rotary = Some(Rotary {
        cos: &[0.0; 2],
        sin: &[0.0; 2],
    });
    attention_forward(s, &[0.0; 15], rotary, &mut [0.0; 5], &mut [0.0], 1, &mut []);
}

#[test]
#[should_panic(expected = "expected both [positions >= 3, head_dim / 2 = 2]")]
fn tables_shorter_than_the_sequence_are_refused() {
    let s = shape(1, 3, 1, 4, true);
    let rotary = Some(Rotary {
        cos: &[0.0; 4],
        sin: &[0.0; 4],
    });
    attention_forward(
        s,
        &[0.0; 36],
        rotary,
        &mut [0.0; 12],
        &mut [0.0; 3],
        1,
        &mut [],
    );
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}
