//! The wgpu backend on whatever adapter there is, a software one too. Without an adapter
//! the tests say so and pass.
#![cfg(feature = "wgpu")]

use engine::{
    backend::{Backend, DeviceError, Layout, Options, Product, Threshold, wgpu::WgpuBackend},
    ops,
    params::{Builder, Decay, Gradients, Init, ParamId, Params},
    rng::Key,
    tape::Tape,
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use std::{path::Path, sync::Arc};

/// Everything on the device, and no measurement of where it pays.
fn options() -> Options {
    Options {
        software: true,
        tuning: false,
        threshold: Threshold::Flops(0),
        ..Options::default()
    }
}

fn device() -> Option<WgpuBackend> {
    match WgpuBackend::open(&options()) {
        Ok(backend) => Some(backend),
        Err(DeviceError::NoAdapter) => {
            eprintln!("skipped: no adapter was found");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn values(count: usize, seed: usize) -> Vec<f32> {
    let value = |i: usize| ((i + 1) * (seed * 2 + 7919) % 1021) as f32 / 512.0 - 1.0;
    (0..count).map(value).collect()
}

/// The largest error of an element of C over the product of the norms of the rows that
/// made it, against the product in f64.
fn worst(product: &Product, a: &[f32], b: &[f32], before: &[f32], c: &[f32]) -> f64 {
    let Product {
        layout, m, k, n, ..
    } = *product;
    let left = |i: usize, p: usize| match layout {
        Layout::Tn => f64::from(a[p * m + i]),
        _ => f64::from(a[i * k + p]),
    };
    let right = |p: usize, j: usize| match layout {
        Layout::Nt => f64::from(b[j * k + p]),
        _ => f64::from(b[p * n + j]),
    };
    let mut worst = 0.0_f64;
    for i in 0..m {
        let norm_a = (0..k).map(|p| left(i, p).powi(2)).sum::<f64>().sqrt();
        for j in 0..n {
            let norm_b = (0..k).map(|p| right(p, j).powi(2)).sum::<f64>().sqrt();
            let old = match product.accumulate {
                true => f64::from(before[i * n + j]),
                false => 0.0,
            };
            let want = old + (0..k).map(|p| left(i, p) * right(p, j)).sum::<f64>();
            let error = (f64::from(c[i * n + j]) - want).abs();
            worst = worst.max(error / (norm_a * norm_b + old.abs() + 1e-30));
        }
    }
    worst
}

#[test]
fn products_of_any_shape_are_those_of_f64() {
    let Some(backend) = device() else { return };
    let layouts = prop::sample::select(vec![Layout::Nn, Layout::Nt, Layout::Tn]);
    let cases = (
        layouts,
        1..90_usize,
        1..90_usize,
        1..90_usize,
        1..4_usize,
        any::<bool>(),
        any::<bool>(),
    );
    let mut runner = TestRunner::new(Config::with_cases(48));
    let result = runner.run(&cases, |(layout, m, k, n, batch, whole, accumulate)| {
        let round = |x: usize| if whole { x.next_multiple_of(4) } else { x };
        let product = Product {
            accumulate,
            ..Product::new(layout, round(m), round(k), round(n))
        };
        let sizes = product.shapes().map(|[rows, columns]| rows * columns);
        let (a, b) = (values(batch * sizes[0], 1), values(batch * sizes[1], 2));
        let before = match accumulate {
            true => values(batch * sizes[2], 3),
            // Not even read.
            false => vec![f32::NAN; batch * sizes[2]],
        };
        let mut c = before.clone();
        backend.matmul_batch(product, batch, &a, &b, &mut c, false);
        prop_assert_eq!(backend.failure(), None);
        for i in 0..batch {
            let part = |x: &[f32], size: usize| x[i * size..][..size].to_vec();
            let error = worst(
                &product,
                &part(&a, sizes[0]),
                &part(&b, sizes[1]),
                &part(&before, sizes[2]),
                &part(&c, sizes[2]),
            );
            prop_assert!(error < 1e-5, "{product:?}: {error:e}");
        }
        Ok(())
    });
    result.unwrap();
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

#[test]
fn operands_are_sent_once_and_weights_again_only_when_they_have_changed() {
    let Some(backend) = device() else { return };
    let backend = Arc::new(backend);
    let (mut params, weight) = network();
    let mut tape = Tape::new();
    tape.set_backend(backend.clone());
    let sent = |tape: &mut Tape, params: &Params| {
        let before = backend.bytes_sent();
        step(tape, params, weight);
        backend.bytes_sent() - before
    };
    // x goes over in the forward and serves the gradient of the weight, the weight serves
    // the gradient of x, and the gradient of y serves both.
    let (input, matrix) = (4 * ROWS as u64 * DIM as u64, 4 * DIM as u64 * DIM as u64);
    assert_eq!(sent(&mut tape, &params), 2 * input + matrix);
    assert_eq!(sent(&mut tape, &params), 2 * input);
    params.slab_mut()[3] += 1.0;
    assert_eq!(sent(&mut tape, &params), 2 * input + matrix);

    let on_device = step(&mut tape, &params, weight);
    let on_cpu = step(&mut Tape::new(), &params, weight);
    assert_close(&on_device.0, &on_cpu.0);
    assert_close(&on_device.1, &on_cpu.1);
}

#[test]
fn what_does_not_fit_the_budget_makes_room_and_stays_right() {
    if device().is_none() {
        return;
    }
    let tight = Options {
        budget: 1,
        ..options()
    };
    let (params, weight) = network();
    let mut tape = Tape::new();
    tape.set_backend(Arc::new(WgpuBackend::open(&tight).unwrap()));
    let on_cpu = step(&mut Tape::new(), &params, weight);
    for _ in 0..3 {
        let on_device = step(&mut tape, &params, weight);
        assert_close(&on_device.0, &on_cpu.0);
        assert_close(&on_device.1, &on_cpu.1);
    }
}

#[test]
fn several_threads_share_a_device() {
    let Some(backend) = device() else { return };
    let backend: Arc<dyn Backend> = Arc::new(backend);
    let (params, weight) = network();
    let on_cpu = step(&mut Tape::new(), &params, weight);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut tape = Tape::new();
                tape.set_backend(backend.clone());
                for _ in 0..5 {
                    let (dw, dx) = step(&mut tape, &params, weight);
                    assert_close(&dw, &on_cpu.0);
                    assert_close(&dx, &on_cpu.1);
                }
            });
        }
    });
    assert_eq!(backend.failure(), None);
}

#[test]
fn a_lost_device_is_reported_and_the_cpu_goes_on_with_the_right_results() {
    let Some(backend) = device() else { return };
    let backend = Arc::new(backend);
    let (params, weight) = network();
    let mut tape = Tape::new();
    tape.set_backend(backend.clone());
    let before = step(&mut tape, &params, weight);
    backend.destroy();
    let after = step(&mut tape, &params, weight);
    let message = backend.failure().expect("a failure");
    assert!(message.starts_with("the device is lost"), "{message}");
    assert_eq!(message.lines().count(), 1);
    assert_close(&after.0, &before.0);
    assert_close(&after.1, &before.1);
}

#[test]
fn a_product_below_the_threshold_stays_on_the_cpu() {
    if device().is_none() {
        return;
    }
    let above = Options {
        threshold: Threshold::Flops(2 * 8 * 8 * 8 + 1),
        ..options()
    };
    let backend = WgpuBackend::open(&above).unwrap();
    let x = values(81, 1);
    let mut c = vec![0.0; 81];
    backend.matmul(
        Product::new(Layout::Nn, 8, 8, 8),
        &x[..64],
        &x[..64],
        &mut c[..64],
        false,
    );
    assert_eq!(backend.bytes_sent(), 0);
    backend.matmul(Product::new(Layout::Nn, 9, 9, 9), &x, &x, &mut c, false);
    assert!(backend.bytes_sent() > 0);
}

#[test]
fn tuning_is_kept_for_the_adapter_and_a_damaged_file_is_measured_again() {
    if device().is_none() {
        return;
    }
    let directory = std::env::temp_dir().join(format!("engine-wgpu-{}", std::process::id()));
    let cached = Options {
        cache: Some(directory.clone()),
        tuning: true,
        ..options()
    };
    let product = Product::new(Layout::Nn, 16, 16, 16);
    let multiply = || {
        let backend = WgpuBackend::open(&cached).unwrap();
        backend.matmul(product, &[1.0; 256], &[1.0; 256], &mut [0.0; 256], false);
        backend.warning()
    };
    assert_eq!(multiply(), None);
    let file = only_file(&directory);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("tile nn 16 16 16"), "{text}");
    assert_eq!(multiply(), None);

    std::fs::write(&file, "\u{0}damaged").unwrap();
    let warning = multiply().expect("a warning");
    assert!(
        warning.contains("is measured again: its first line"),
        "{warning}"
    );
    assert_eq!(multiply(), None);
    std::fs::remove_dir_all(directory).unwrap();
}

fn only_file(directory: &Path) -> std::path::PathBuf {
    let mut files = std::fs::read_dir(directory).unwrap();
    let file = files.next().unwrap().unwrap().path();
    assert!(files.next().is_none());
    file
}

#[test]
fn the_processor_itself_is_used_only_if_asked_for() {
    let Some(backend) = device() else { return };
    let plain = WgpuBackend::open(&Options {
        software: false,
        ..options()
    });
    match (backend.adapter().software, plain) {
        (true, Err(DeviceError::OnlySoftware { name })) => {
            assert_eq!(name, backend.adapter().name);
        }
        (false, Ok(_)) => {}
        (software, plain) => panic!("{software}, {:?}", plain.err()),
    }
}

#[test]
fn a_matrix_of_the_wrong_size_is_refused() {
    let Some(backend) = device() else { return };
    let product = Product::new(Layout::Nn, 2, 4, 2);
    let multiply = || backend.matmul(product, &[0.0; 7], &[0.0; 8], &mut [0.0; 4], false);
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(multiply)).unwrap_err();
    let message = panic.downcast_ref::<String>().expect("a message");
    assert!(
        message.contains("a has 7 elements, expected 1 times 8"),
        "{message}"
    );
}
