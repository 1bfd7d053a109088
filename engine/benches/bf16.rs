//! Products of operands rounded to bf16, by each unit that this processor has, beside those in f32,
//! on one thread and on the shapes of a training step: 256 rows are a micro-batch of size s, 1024 its
//! shard. Criterion prints GFLOP/s as Gelem/s; the line after each result says which part of the peak
//! of multiply-adds in f32 the fastest round reached.
//!
//! `cargo bench -p engine --bench bf16`; a part of a name selects, e.g. `-- forward/128x`.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use engine::kernels::{
    bf16::{self, Unit},
    matmul::{Layout, Product, matmul},
};
use std::{
    hint::black_box,
    time::{Duration, Instant},
};

/// `(in, out)` of the linear layers of a block of width 64, 128 and 256: qkv, output, gate | up and
/// down projections.
const LAYERS: [(usize, usize); 12] = [
    (64, 192),
    (64, 64),
    (64, 352),
    (176, 64),
    (128, 384),
    (128, 128),
    (128, 688),
    (344, 128),
    (256, 768),
    (256, 256),
    (256, 1376),
    (688, 256),
];
const ROWS: [usize; 2] = [256, 1024];

fn layers(criterion: &mut Criterion) {
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    let peak = one.expect("a thread").install(engine::peak::gflops);
    let units: Vec<Unit> = Unit::ALL
        .into_iter()
        .filter(|unit| unit.is_available())
        .collect();
    println!("peak of multiply-adds in f32: {peak:.0} GFLOP/s; units of bf16: {units:?}");
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
        let shapes = LAYERS
            .into_iter()
            .flat_map(|layer| ROWS.map(|rows| (layer, rows)));
        for ((input, output), rows) in shapes {
            let product = match layout {
                Layout::Nt => Product::new(layout, rows, input, output),
                Layout::Nn => Product::new(layout, rows, output, input),
                Layout::Tn => Product::new(layout, output, rows, input).accumulating(),
            };
            let [a, b, mut c] = product
                .shapes()
                .map(|[rows, columns]| vec![0.5_f32; rows * columns]);
            group.throughput(Throughput::Elements(product.flops() as u64));
            for unit in [None].into_iter().chain(units.iter().copied().map(Some)) {
                let name = unit.map_or("f32", Unit::name);
                let mut fastest = Duration::MAX;
                group.bench_function(format!("{input}x{output}/{rows}/{name}"), |bencher| {
                    bencher.iter_custom(|rounds| {
                        (0..rounds)
                            .map(|_| {
                                let begun = Instant::now();
                                let (a, b) = (black_box(&a), black_box(&b));
                                match unit {
                                    None => matmul(product, a, b, &mut c),
                                    Some(unit) => bf16::product(unit, product, a, b, &mut c, false),
                                }
                                let time = begun.elapsed();
                                fastest = fastest.min(time);
                                time
                            })
                            .sum()
                    });
                });
                if fastest < Duration::MAX {
                    let rate = product.flops() as f64 / fastest.as_secs_f64() / 1e9;
                    println!("{:24}{:.0} % of the peak in f32", "", 100.0 * rate / peak);
                }
            }
        }
        group.finish();
    }
}

criterion_group!(benches, layers);
criterion_main!(benches);
