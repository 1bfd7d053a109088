//! Attention on the device: right, and with nothing sent between the products around it.

#[path = "../../../tests/attention/naive.rs"]
mod naive;

use crate::{assert_close, device, moved, options, values};
use engine::{
    backend::{
        AttentionShape, Backend, CpuBackend, Job, Layout, Operand, Options, Product, Stored,
        Target, Threshold, Traffic,
    },
    buffer::Buffer,
    ops::{self, Rotary},
    parallel::Shards,
    params::{Builder, Decay, Init, ParamId, Params},
    rng::Key,
    tape::{Tape, Var},
};
use engine_wgpu::WgpuBackend;
use naive::{THETA, naive_backward, naive_forward, shape};
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

/// Output, log-sum-exp and gradient of an attention, the gradient added to ones if
/// `accumulate`.
fn both_passes(
    backend: &dyn Backend,
    shape: AttentionShape,
    (qkv, dout): (&[f32], &[f32]),
    rotary: Option<&Rotary>,
    accumulate: bool,
) -> [Vec<f32>; 3] {
    let tables = || rotary.map(Rotary::operand).unwrap_or_default();
    // Not even read where nothing is added.
    let [mut out, mut lse] = [shape.elements(), shape.rows()].map(|len| vec![f32::NAN; len]);
    let first = if accumulate { 1.0 } else { f32::NAN };
    let mut dqkv = vec![first; qkv.len()];
    let mut scratch = vec![0.0; shape.forward_scratch(1).max(shape.backward_scratch(1))];
    let job = Job::attention_forward(
        shape,
        [qkv.into(), tables()],
        [(&mut out[..]).into(), (&mut lse[..]).into()],
        &mut scratch,
    );
    backend.compute(&mut [Some(job)], false);
    let operands = [
        qkv.into(),
        tables(),
        (&out[..]).into(),
        (&lse[..]).into(),
        dout.into(),
    ];
    let target = Target::from(&mut dqkv[..]).accumulating(accumulate);
    let job = Job::attention_backward(shape, operands, target, &mut scratch);
    backend.compute(&mut [Some(job)], false);
    [out, lse, dqkv]
}

fn f64s(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| f64::from(x)).collect()
}

/// The largest error relative to the largest element.
fn worst(got: &[f32], want: &[f64]) -> f64 {
    let largest = want
        .iter()
        .fold(1e-3_f64, |largest, x| largest.max(x.abs()));
    let errors = got
        .iter()
        .zip(want)
        .map(|(&got, want)| (f64::from(got) - want).abs());
    // No number is the worst of all.
    errors.fold(
        0.0,
        |worst, error| if error <= worst { worst } else { error },
    ) / largest
}

#[test]
fn attention_of_any_shape_is_that_of_f64_and_of_the_cpu() {
    let Some(backend) = device() else { return };
    // Compiling takes its time: every shape meets one kind.
    let cases = [
        (1, 1, 1, 16, true, true),
        (2, 33, 3, 16, true, true),
        (3, 31, 2, 32, false, false),
        (1, 70, 2, 48, false, true),
        (2, 97, 2, 64, true, true),
        (1, 64, 1, 96, true, false),
        (2, 45, 1, 128, true, true),
    ];
    for (batch, seq, heads, head_dim, causal, turned) in cases {
        for accumulate in [false, true] {
            let shape = shape(batch, seq, heads, head_dim, causal);
            let rotary = turned.then(|| Rotary::new(THETA, head_dim, seq + 3));
            let (qkv, dout) = (values(3 * shape.elements(), 1), values(shape.elements(), 2));
            let run = |backend: &dyn Backend| {
                both_passes(backend, shape, (&qkv, &dout), rotary.as_ref(), accumulate)
            };
            let mut got = [vec![], vec![], vec![]];
            let traffic = moved(&backend, || got = run(&backend));
            assert_eq!(
                (backend.failure(), traffic.submissions),
                (None, 2),
                "{shape:?}"
            );
            let (out, lse) = naive_forward(&shape, &f64s(&qkv), turned);
            let mut dqkv = naive_backward(&shape, &f64s(&qkv), turned, &f64s(&dout));
            if accumulate {
                dqkv.iter_mut().for_each(|dx| *dx += 1.0);
            }
            let on_cpu = run(&CpuBackend);
            for ((got, on_cpu), want) in got.iter().zip(&on_cpu).zip([out, lse, dqkv]) {
                let errors = [worst(got, &want), worst(got, &f64s(on_cpu))];
                assert!(
                    errors.iter().all(|&error| error < 1e-5),
                    "{shape:?}: {errors:?}"
                );
            }
        }
    }
}

#[test]
fn large_scores_neither_overflow_nor_lose_the_largest() {
    let Some(backend) = device() else { return };
    let shape = shape(1, 75, 1, 32, true);
    let qkv: Vec<f32> = values(3 * shape.elements(), 3)
        .iter()
        .map(|x| 300.0 * x)
        .collect();
    let dout = values(shape.elements(), 4);
    let [out, lse, dqkv] = both_passes(&backend, shape, (&qkv, &dout), None, false);
    let want = naive_forward(&shape, &f64s(&qkv), false);
    assert!(
        want.1.iter().any(|&lse| lse > 10_000.0),
        "the scores are large"
    );
    assert!(worst(&lse, &want.1) < 1e-6);
    // A score of 1e5 is known to about 1e-2, and so is its exponential.
    assert!(worst(&out, &want.0) < 0.05);
    assert!(dqkv.iter().all(|dx| dx.is_finite()));
}

#[test]
fn a_token_that_is_not_a_number_is_not_hidden() {
    let Some(backend) = device() else { return };
    let shape = shape(1, 40, 1, 16, false);
    let mut qkv = values(3 * shape.elements(), 5);
    qkv[3 * 48 + 16 + 5] = f32::NAN;
    let dout = values(shape.elements(), 6);
    let [out, lse, _] = both_passes(&backend, shape, (&qkv, &dout), None, false);
    assert_eq!(backend.failure(), None);
    assert!(out.iter().chain(&lse).all(|x| x.is_nan()));
}

#[test]
fn heads_for_which_there_is_no_kernel_are_computed_by_the_cpu() {
    let Some(backend) = device() else { return };
    for head_dim in [8, 24, 144] {
        let shape = shape(1, 20, 2, head_dim, true);
        let (qkv, dout) = (values(3 * shape.elements(), 1), values(shape.elements(), 2));
        let run = |backend: &dyn Backend| both_passes(backend, shape, (&qkv, &dout), None, false);
        let traffic = moved(&backend, || assert_eq!(run(&backend), run(&CpuBackend)));
        assert_eq!(traffic, Traffic::default());
    }
}

#[test]
fn small_attention_is_sent_only_to_where_its_projections_are() {
    if device().is_none() {
        return;
    }
    let above = Options {
        threshold: Threshold::Cube(40),
        ..options()
    };
    let backend = WgpuBackend::open(&above).unwrap();
    let submissions = |seq: usize, there: bool| {
        let shape = shape(1, seq, 1, 32, true);
        let mut qkv = Stored::from(Buffer::zeros(3 * shape.elements()));
        if there {
            // What only the device has: zeros, as a product made them.
            let product = Product::new(Layout::Nn, seq, 1000, 3 * shape.width());
            let (a, b) = (vec![0.0; seq * 1000], vec![0.0; 1000 * 3 * shape.width()]);
            let job = Job::new(product, &a[..], &b[..], qkv.value_target(true));
            backend.compute(&mut [Some(job)], false);
            assert!(Operand::from(&qkv).is_deferred());
        }
        let [mut out, mut lse] = [shape.elements(), shape.rows()].map(|len| vec![0.0; len]);
        let mut scratch = vec![0.0; shape.forward_scratch(1)];
        let job = Job::attention_forward(
            shape,
            [(&qkv).into(), Operand::default()],
            [(&mut out[..]).into(), (&mut lse[..]).into()],
            &mut scratch,
        );
        moved(&backend, || backend.compute(&mut [Some(job)], false)).submissions
    };
    assert_eq!(submissions(16, false), 0);
    assert_eq!(submissions(16, true), 1);
    assert_eq!(submissions(300, false), 1);
}

const SEQ: usize = 37;
const HEADS: usize = 2;
const DIM: usize = 2 * 16;

struct Layer {
    params: Params,
    qkv: ParamId,
    output: ParamId,
    rotary: Arc<Rotary>,
}

fn layer() -> Layer {
    let mut builder = Builder::new(Key::new(5));
    let init = Init::Normal { std: 0.3 };
    let qkv = builder.param("qkv", [3 * DIM, DIM], Decay::Yes, init.clone());
    let output = builder.param("o", [DIM, DIM], Decay::Yes, init);
    Layer {
        qkv,
        output,
        rotary: Arc::new(Rotary::new(THETA, DIM / HEADS, SEQ)),
        params: builder.finish(),
    }
}

impl Layer {
    /// Loss of a micro-batch of two sequences: the squares of the outputs of attention, of
    /// two if `twice`. `between` is called before the first and after it.
    fn forward<'t>(
        &self,
        tape: &'t Tape,
        index: usize,
        twice: bool,
        between: &dyn Fn(Var<'t>),
    ) -> Var<'t> {
        let x = tape.input([2, SEQ, DIM], &values(2 * SEQ * DIM, 4 + index));
        let qkv = ops::linear(x, tape.param(self.qkv), None);
        between(qkv);
        let mixed = ops::attention(qkv, HEADS, Some(&self.rotary), true);
        between(mixed);
        let y = ops::linear(mixed, tape.param(self.output), None);
        match twice {
            true => {
                let mixed = ops::attention(qkv, HEADS, None, false);
                ops::sum(y * ops::linear(mixed, tape.param(self.output), None))
            }
            false => ops::sum(y * y),
        }
    }

    /// Losses and gradients of a step of three micro-batches.
    fn step<'l>(
        &self,
        backend: Option<&Arc<WgpuBackend>>,
        twice: bool,
        between: &(dyn for<'t> Fn(Var<'t>, usize) + Sync + 'l),
    ) -> (Vec<f32>, Vec<f32>) {
        let mut shards = Shards::new(2, &self.params, || match backend {
            Some(backend) => Tape::new().with_backend(backend.clone()),
            None => Tape::new(),
        });
        let mut losses = vec![0.0; 3];
        shards.step(&self.params, &mut losses, |tape, micro| {
            let between = |var: Var<'_>| between(var, micro.index);
            let loss = self.forward(tape, micro.index, twice, &between);
            (loss, loss.item())
        });
        (losses, shards.gradients().slab().to_vec())
    }
}

fn assert_same(got: &(Vec<f32>, Vec<f32>), want: &(Vec<f32>, Vec<f32>)) {
    assert_close(&got.0, &want.0);
    assert_close(&got.1, &want.1);
}

#[test]
fn nothing_is_moved_between_the_projections_and_the_output() {
    let Some(backend) = device() else { return };
    let backend = Arc::new(backend);
    let layer = layer();
    let want = layer.step(None, false, &|_, _| ());
    let weights = 4 * 4 * (DIM * DIM) as u64;
    let tables = 4 * (SEQ * DIM / HEADS) as u64;
    let rows = 4 * (2 * SEQ * DIM) as u64;
    for first in [true, false] {
        let mut got = None;
        let traffic = moved(&backend, || {
            got = Some(layer.step(Some(&backend), false, &|_, _| ()))
        });
        assert_same(&got.expect("a step"), &want);
        assert_eq!(backend.failure(), None);
        // Of three micro-batches x and dy, and y.
        let sent = 6 * rows + if first { weights + tables } else { 0 };
        assert_eq!([traffic.sent, traffic.fetched], [sent, 3 * rows + weights]);
    }
    // What is read in between is downloaded, and the same.
    let read = |var: Var<'_>, _: usize| assert!(var.value().iter().all(|x| x.is_finite()));
    assert_same(&layer.step(Some(&backend), false, &read), &want);
}

#[test]
fn the_gradients_of_two_attentions_are_added_up_on_the_device() {
    let Some(backend) = device() else { return };
    let backend = Arc::new(backend);
    let layer = layer();
    let want = layer.step(None, true, &|_, _| ());
    let mut got = None;
    let step = || got = Some(layer.step(Some(&backend), true, &|_, _| ()));
    let traffic = moved(&backend, step);
    assert_same(&got.expect("a step"), &want);
    assert_eq!(backend.failure(), None);
    // Both outputs of three micro-batches, and the gradients of the weights.
    let rows = 4 * (2 * SEQ * DIM) as u64;
    assert_eq!(traffic.fetched, 6 * rows + 4 * 4 * (DIM * DIM) as u64);
}

#[test]
fn without_deferring_and_without_room_the_results_are_the_same() {
    if device().is_none() {
        return;
    }
    let layer = layer();
    let want = layer.step(None, false, &|_, _| ());
    for (budget, fetch_results) in [(1, false), (20_000, false), (1 << 30, true)] {
        let options = Options {
            budget,
            fetch_results,
            ..options()
        };
        let backend = Arc::new(WgpuBackend::open(&options).unwrap());
        for _ in 0..3 {
            assert_same(&layer.step(Some(&backend), false, &|_, _| ()), &want);
        }
        assert_eq!(backend.failure(), None);
    }
}

#[test]
fn a_step_whose_attention_was_lost_with_the_device_is_computed_again_by_the_cpu() {
    if device().is_none() {
        return;
    }
    let layer = layer();
    let want = layer.step(None, false, &|_, _| ());
    for lost_at in 0..2 {
        let backend = Arc::new(WgpuBackend::open(&options()).unwrap());
        let (lost, calls) = (AtomicBool::new(false), AtomicUsize::new(0));
        let between = |_: Var<'_>, index: usize| {
            if index == 2
                && calls.fetch_add(1, Ordering::Relaxed) == lost_at
                && !lost.swap(true, Ordering::Relaxed)
            {
                backend.destroy();
            }
        };
        let got = layer.step(Some(&backend), false, &between);
        assert!(backend.failure().is_some());
        assert_same(&got, &want);
    }
}
