//! Self-attention on one thread: the throughput is in floating-point operations of
//! the scores that count: 4 for each score and lane forward, 10 backward, where the
//! scores are computed again.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use engine::kernels::Grad;
use engine::kernels::attention::{
    AttentionShape, SavedForward, attention_backward, attention_forward,
};
use engine::kernels::rotary::{Rotary, fill_rotary_tables};

fn wave(len: usize, frequency: f32) -> Vec<f32> {
    (0..len).map(|i| (i as f32 * frequency).sin()).collect()
}

fn attention(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("attention");
    group.sample_size(20);
    group
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(800));
    let shapes = [
        (8, 64, 4, 16, true),
        (8, 64, 4, 8, true),
        (32, 64, 4, 32, true),
        (16, 128, 4, 32, true),
        (1, 128, 4, 32, true),
        (8, 256, 4, 32, true),
        (1, 512, 2, 64, true),
        (2, 1024, 4, 32, true),
        (16, 128, 4, 32, false),
        (16, 128, 8, 16, true),
        (16, 128, 2, 64, true),
    ];
    for (batch, seq, heads, head_dim, causal) in shapes {
        let shape = AttentionShape {
            batch,
            seq,
            heads,
            head_dim,
            causal,
        };
        let kind = if causal { "causal" } else { "full" };
        let name = format!("{batch}x{seq}x{heads}x{head_dim}-{kind}");
        let (rows, width) = (batch * seq, shape.width());
        let mut tables = [vec![0.0; seq * head_dim / 2], vec![0.0; seq * head_dim / 2]];
        let [cos, sin] = &mut tables;
        fill_rotary_tables(10_000.0, head_dim, cos, sin);
        let rotary = Some(Rotary { cos, sin });
        let (qkv, dout) = (wave(rows * 3 * width, 0.7), wave(rows * width, 0.3));
        let (mut out, mut lse) = (vec![0.0; rows * width], vec![0.0; rows * heads]);
        let mut dqkv = vec![0.0; qkv.len()];
        let mut scratch = vec![0.0; shape.backward_scratch(1).max(shape.forward_scratch(1))];

        let scores = if causal {
            seq * (seq + 1) / 2
        } else {
            seq * seq
        };
        let products = (batch * heads * scores * head_dim) as u64;
        group.throughput(Throughput::Elements(4 * products));
        group.bench_function(BenchmarkId::new("forward", &name), |bencher| {
            bencher.iter(|| {
                let qkv = black_box(&qkv);
                attention_forward(shape, qkv, rotary, &mut out, &mut lse, 1, &mut scratch);
            });
        });
        group.throughput(Throughput::Elements(10 * products));
        group.bench_function(BenchmarkId::new("backward", &name), |bencher| {
            bencher.iter(|| {
                let saved = SavedForward {
                    out: &out,
                    lse: &lse,
                    dout: black_box(&dout),
                };
                attention_backward(
                    shape,
                    &qkv,
                    rotary,
                    saved,
                    Grad {
                        values: &mut dqkv,
                        accumulate: false,
                    },
                    1,
                    &mut scratch,
                );
            });
        });
    }
    group.finish();
}

criterion_group!(benches, attention);
criterion_main!(benches);
