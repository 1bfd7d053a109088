//! What comes back is right.

use crate::{assert_close, device, network, options, step, values};
use engine::{
    backend::Options,
    backend::{Backend, DeviceError, Job, Layout, Product},
    tape::Tape,
};
use engine_wgpu::WgpuBackend;
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use std::sync::Arc;

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
    let result = runner.run(&cases, |(layout, m, k, n, count, whole, accumulate)| {
        let round = |x: usize| if whole { x.next_multiple_of(4) } else { x };
        let product = Product {
            accumulate,
            ..Product::new(layout, round(m), round(k), round(n))
        };
        let sizes = product.shapes().map(|[rows, columns]| rows * columns);
        // The same A for all of them.
        let (a, b) = (values(sizes[0], 1), values(count * sizes[1], 2));
        let before = match accumulate {
            true => values(count * sizes[2], 3),
            // Not even read.
            false => vec![f32::NAN; count * sizes[2]],
        };
        let mut c = before.clone();
        let jobs = b.chunks(sizes[1]).zip(c.chunks_mut(sizes[2]));
        let jobs = jobs.map(|(b, c)| Job::new(product, &a[..], b, c));
        (&backend as &dyn Backend).batched(jobs, false);
        prop_assert_eq!(backend.failure(), None);
        for ((b, before), c) in b
            .chunks(sizes[1])
            .zip(before.chunks(sizes[2]))
            .zip(c.chunks(sizes[2]))
        {
            let error = worst(&product, &a, b, before, c);
            prop_assert!(error < 1e-5, "{product:?}: {error:e}");
        }
        Ok(())
    });
    result.unwrap();
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
        message.contains("matmul: a has 7 elements, expected [2, 4]"),
        "{message}"
    );
}
