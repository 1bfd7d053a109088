//! Throughput of the row kernels on one thread, at the sizes of a small language model.
//! Elements are those of the forward input; bytes moved differ between kernels.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use engine::{
    kernels::{
        Grad, activation, adamw, broadcast, elementwise, embedding, loss, norm, reduce, softmax,
    },
    simd::{map, sigmoid, tanh},
};
use std::time::Duration;

const ROWS: usize = 2048;
const D: usize = 128;
const HIDDEN: usize = 344;
const CLASSES: usize = 256;
const PARAMETERS: usize = 1_250_000;

/// Values in [-2, 2) from a Weyl sequence.
fn values(count: usize) -> Vec<f32> {
    (0..count)
        .map(|i| ((i as f64 * 0.618_033_988_75).fract() * 4.0 - 2.0) as f32)
        .collect()
}

fn measure(c: &mut Criterion, name: &str, elements: usize, mut kernel: impl FnMut()) {
    let mut group = c.benchmark_group("row_kernels");
    group.throughput(Throughput::Elements(elements as u64));
    group.bench_function(name, |b| b.iter(&mut kernel));
    group.finish();
}

fn activations(c: &mut Criterion) {
    let (gate_up, dy) = (values(ROWS * 2 * HIDDEN), values(ROWS * HIDDEN));
    let (mut y, mut d) = (values(ROWS * HIDDEN), values(ROWS * 2 * HIDDEN));
    let count = ROWS * HIDDEN;
    measure(c, "swiglu", count, || {
        activation::swiglu(&mut y, &gate_up, HIDDEN)
    });
    measure(c, "swiglu_backward", count, || {
        activation::swiglu_backward(&mut d, false, &dy, &gate_up, HIDDEN);
    });

    let (x, dy, mut y) = (values(ROWS * D), values(ROWS * D), values(ROWS * D));
    let count = ROWS * D;
    measure(c, "add", count, || elementwise::add(&mut y, false, &x, &dy));
    measure(c, "gelu", count, || activation::gelu(&mut y, &x));
    measure(c, "gelu_backward", count, || {
        activation::gelu_backward(&mut y, false, &dy, &x)
    });
    measure(c, "silu", count, || {
        map(&mut y, false, [&x], |[x]| x * sigmoid(x));
    });
    measure(c, "tanh", count, || map(&mut y, false, [&x], |[x]| tanh(x)));
    measure(c, "sigmoid", count, || {
        map(&mut y, false, [&x], |[x]| sigmoid(x));
    });
}

fn norms(c: &mut Criterion) {
    let (x, dy, w, b) = (values(ROWS * D), values(ROWS * D), values(D), values(D));
    let (mut y, mut stats) = (values(ROWS * D), values(2 * ROWS));
    let (mut dw, mut db) = (values(D), values(D));
    let count = ROWS * D;
    measure(c, "layer_norm", count, || {
        norm::layer_norm(&mut y, &mut stats, &x, D, Some(&w), Some(&b), 1e-5);
    });
    measure(c, "layer_norm_backward", count, || {
        norm::layer_norm_backward(
            Some(Grad {
                values: &mut y,
                accumulate: false,
            }),
            Some(Grad {
                values: &mut dw,
                accumulate: false,
            }),
            Some(Grad {
                values: &mut db,
                accumulate: false,
            }),
            &dy,
            &x,
            D,
            Some(&w),
            &stats,
        );
    });
    let part = norm::Part::whole(D);
    measure(c, "rms_norm", count, || {
        norm::rms_norm(&mut y, &mut stats[..ROWS], &x, part, Some(&w), 1e-5);
    });
    measure(c, "rms_norm_backward", count, || {
        norm::rms_norm_backward(
            Some(Grad {
                values: &mut y,
                accumulate: false,
            }),
            Some(Grad {
                values: &mut dw,
                accumulate: false,
            }),
            &dy,
            &x,
            part,
            Some(&w),
            &stats[..ROWS],
        );
    });
    measure(c, "add_bias", count, || broadcast::add_bias(&mut y, &b));
    measure(c, "bias_backward", count, || {
        broadcast::bias_backward(&mut db, false, &dy)
    });
}

fn losses(c: &mut Criterion) {
    let logits = values(ROWS * CLASSES);
    let targets: Vec<u32> = (0..ROWS).map(|row| (row * 31 % CLASSES) as u32).collect();
    let (mut losses, mut stats) = (values(ROWS), values(2 * ROWS));
    let mut d = values(ROWS * CLASSES);
    let count = ROWS * CLASSES;
    measure(c, "cross_entropy", count, || {
        loss::cross_entropy(&mut losses, &mut stats, &logits, &targets, CLASSES);
    });
    measure(c, "cross_entropy_backward", count, || {
        loss::cross_entropy_backward(&mut d, false, &logits, &stats, &targets, CLASSES, 0.5);
    });
    measure(c, "softmax", count, || {
        softmax::softmax(&mut d, &logits, CLASSES)
    });

    let (table, dy) = (values(CLASSES * D), values(ROWS * D));
    let (mut y, mut dtable) = (values(ROWS * D), values(CLASSES * D));
    measure(c, "embedding", ROWS * D, || {
        embedding::embedding(&mut y, &table, &targets, D)
    });
    measure(c, "embedding_backward", ROWS * D, || {
        embedding::embedding_backward(&mut dtable, false, &dy, &targets, D);
    });
}

fn parameters(c: &mut Criterion) {
    let (mut p, g) = (values(PARAMETERS), values(PARAMETERS));
    let (mut m, mut v) = (vec![0.0; PARAMETERS], vec![0.0; PARAMETERS]);
    let step = adamw::AdamWStep {
        learning_rate: 1e-3,
        beta1: 0.9,
        beta2: 0.95,
        eps: 1e-8,
        weight_decay: 0.1,
        step: 10,
        gradient_scale: 0.7,
    };
    measure(c, "adamw", PARAMETERS, || {
        adamw::adamw(&mut p, &mut m, &mut v, &g, &step)
    });
    measure(c, "sum_of_squares", PARAMETERS, || {
        std::hint::black_box(reduce::sum_of_squares(&g));
    });
}

criterion_group! {
    name = row_kernels;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(300));
    targets = activations, norms, losses, parameters
}
criterion_main!(row_kernels);
