//! The wgpu backend on whatever adapter there is, a software one too. Without an adapter
//! the tests say so and pass.
#![cfg(feature = "wgpu")]

mod attention;
mod deferred;
mod failure;
mod measured;
mod products;
mod resident;

use engine::{
    backend::{Backend, DeviceError, Options, Product, Threshold, Traffic},
    ops,
    params::{Builder, Decay, Gradients, Init, ParamId, Params},
    rng::Key,
    skipped::skipped,
    tape::Tape,
};
use engine_wgpu::WgpuBackend;

/// Everything on the device, and no measurement of where it pays.
fn options() -> Options {
    Options {
        software: true,
        tuning: false,
        threshold: Threshold::Cube(0),
        ..Options::default()
    }
}

fn device() -> Option<WgpuBackend> {
    match WgpuBackend::open(&options()) {
        Ok(backend) => Some(backend),
        Err(DeviceError::NoAdapter) => {
            skipped("no adapter was found");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn values(count: usize, seed: usize) -> Vec<f32> {
    let value = |i: usize| ((i + 1) * (seed * 2 + 7919) % 1021) as f32 / 512.0 - 1.0;
    (0..count).map(value).collect()
}

/// Traffic of `work`.
fn moved(backend: &WgpuBackend, work: impl FnOnce()) -> Traffic {
    let before = backend.traffic();
    work();
    let after = backend.traffic();
    Traffic {
        sent: after.sent - before.sent,
        fetched: after.fetched - before.fetched,
        submissions: after.submissions - before.submissions,
        buffers: after.buffers - before.buffers,
    }
}

/// Returns whether the device computes a product of factors that it does not have.
fn goes(backend: &WgpuBackend, product: Product) -> bool {
    let [a, b, mut c] = product
        .shapes()
        .map(|[rows, columns]| values(rows * columns, 1));
    let work = || backend.matmul(product, &a, &b, &mut c, false);
    moved(backend, work).submissions == 1
}

const ROWS: usize = 24;
const DIM: usize = 40;

fn network() -> (Params, ParamId) {
    let mut builder = Builder::new(Key::new(5));
    let init = Init::Normal { std: 0.2 };
    let weight = builder.param("weight", [DIM, DIM], Decay::Yes, init);
    (builder.finish(), weight)
}

/// Forward and backward of one layer: the gradients of weight and input.
fn step(tape: &mut Tape, params: &Params, weight: ParamId) -> (Vec<f32>, Vec<f32>) {
    let mut gradients = Gradients::new(params);
    tape.bind(params);
    let x = tape.input([ROWS, DIM], &values(ROWS * DIM, 4));
    let y = ops::linear(x, tape.param(weight), None);
    tape.backward(ops::sum(y * y), &mut gradients);
    gradients.settle(params);
    let dx = tape.grad(x);
    tape.reset();
    (gradients.slab()[..DIM * DIM].to_vec(), dx)
}

fn assert_close(got: &[f32], want: &[f32]) {
    let size = want.iter().fold(0.0_f32, |size, x| size.max(x.abs()));
    for (got, want) in got.iter().zip(want) {
        assert!((got - want).abs() < 1e-4 * size, "{got}, expected {want}");
    }
}
