//! GFLOP/s of the engine's matrix product beside plain `matrixmultiply`, on one thread and
//! on the shapes that a training step runs. Criterion prints them as Gelem/s, an element
//! being a floating point operation.
//!
//! `cargo bench -p engine --bench matmul`; a part of a name selects, e.g. `-- forward/256x`.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use engine::kernels::matmul::{Layout, Product, matmul};

/// `(in, out)` of the linear layers of a block of width 64, 128 and 256: qkv, output,
/// gate | up and down projections, and the vocabulary of bytes.
const LAYERS: [(usize, usize); 14] = [
    (64, 192),
    (64, 64),
    (64, 352),
    (176, 64),
    (64, 256),
    (128, 384),
    (128, 128),
    (128, 688),
    (344, 128),
    (128, 256),
    (256, 768),
    (256, 256),
    (256, 1376),
    (688, 256),
];
const ROWS: [usize; 4] = [128, 256, 512, 2048];

fn plain_matrixmultiply(product: Product, a: &[f32], b: &[f32], c: &mut [f32]) {
    let Product { m, k, n, .. } = product;
    let (a_strides, b_strides) = match product.layout {
        Layout::Nn => ([k, 1], [n, 1]),
        Layout::Nt => ([k, 1], [1, k]),
        Layout::Tn => ([1, m], [n, 1]),
    };
    let sizes = product.shapes().map(|[rows, columns]| rows * columns);
    assert_eq!([a.len(), b.len(), c.len()], sizes);
    let beta = if product.accumulate { 1.0 } else { 0.0 };
    // SAFETY: dense matrices with the strides of their layouts and the asserted sizes.
    unsafe {
        matrixmultiply::sgemm(
            m,
            k,
            n,
            1.0,
            a.as_ptr(),
            a_strides[0] as isize,
            a_strides[1] as isize,
            b.as_ptr(),
            b_strides[0] as isize,
            b_strides[1] as isize,
            beta,
            c.as_mut_ptr(),
            n as isize,
            1,
        );
    }
}

fn layers(criterion: &mut Criterion) {
    for (pass, layout) in [
        ("forward", Layout::Nt),
        ("input_gradient", Layout::Nn),
        ("weight_gradient", Layout::Tn),
    ] {
        let mut group = criterion.benchmark_group(pass);
        group
            .sample_size(20)
            .warm_up_time(Duration::from_millis(30))
            .measurement_time(Duration::from_millis(120));
        for (input, output) in LAYERS {
            for rows in ROWS {
                let product = match layout {
                    Layout::Nt => Product::new(layout, rows, input, output),
                    Layout::Nn => Product::new(layout, rows, output, input),
                    Layout::Tn => Product::new(layout, output, rows, input).accumulating(),
                };
                let [a, b, mut c] = product
                    .shapes()
                    .map(|[rows, columns]| vec![0.5_f32; rows * columns]);
                group.throughput(Throughput::Elements(product.flops() as u64));
                let shape = format!("{input}x{output}/{rows}");
                group.bench_function(format!("{shape}/engine"), |bencher| {
                    bencher.iter(|| matmul(product, black_box(&a), black_box(&b), &mut c));
                });
                group.bench_function(format!("{shape}/matrixmultiply"), |bencher| {
                    bencher.iter(|| {
                        plain_matrixmultiply(product, black_box(&a), black_box(&b), &mut c);
                    });
                });
            }
        }
        group.finish();
    }
}

criterion_group!(benches, layers);
criterion_main!(benches);
