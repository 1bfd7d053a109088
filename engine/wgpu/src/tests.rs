//! Every tile on every kind of product. Without an adapter they say so and pass.

use crate::{WgpuBackend, device::runs, kernel::TILES, tuning::Class};
use engine::{
    backend::{Backend, CpuBackend, Job, Layout, Options, Product, Stored, Threshold},
    buffer::Buffer,
    skipped::skipped,
};

/// `C = A B` and then `C += A B`, both deferred.
fn twice(backend: &WgpuBackend, product: Product, a: &[f32], b: &[f32]) -> Stored {
    let [m, n] = product.shapes()[2];
    let mut c = Stored::from(Buffer::zeros(m * n));
    for accumulate in [false, true] {
        let target = c.gradient_target(accumulate, true);
        let mut jobs = [Some(Job::new(product, a, b, target))];
        backend.compute(&mut jobs, false);
        assert!(
            jobs[0]
                .take()
                .is_some_and(|job| job.targets[0].is_deferred())
        );
    }
    c
}

#[test]
fn every_tile_computes_every_kind_of_product() {
    let options = Options {
        software: true,
        tuning: false,
        threshold: Threshold::Cube(0),
        ..Options::default()
    };
    let backend = match WgpuBackend::open(&options) {
        Ok(backend) => backend,
        Err(error) => {
            skipped(error);
            return;
        }
    };
    // Multiples of four, and none; beyond one block of most tiles, and long enough for slices.
    let shapes = [[68, 36, 76], [67, 37, 75], [36, 304, 40], [35, 301, 37]];
    for (turn, layout) in [Layout::Nn, Layout::Nt, Layout::Tn].into_iter().enumerate() {
        for (number, [m, k, n]) in shapes.into_iter().enumerate() {
            let product = Product::new(layout, m, k, n);
            let [a, b, c] = product.shapes().map(|[rows, columns]| {
                let value = |i: usize| (i * 7919 % 257) as f32 / 128.0 - 1.0;
                (0..rows * columns).map(value).collect::<Vec<_>>()
            });
            let mut want = c.clone();
            CpuBackend.matmul(product, &a, &b, &mut want, false);
            // Compiling takes its time: every tile meets a third of the kinds.
            for tile in TILES.into_iter().skip((turn + number) % 3).step_by(3) {
                if !runs(backend.adapter(), &tile) {
                    continue;
                }
                let mut tuning = backend.tuning.lock().unwrap();
                tuning.tiles.insert(Class::of(&product), tile);
                drop(tuning);
                let mut once = c.clone();
                backend.matmul(product, &a, &b, &mut once, false);
                let doubled = twice(&backend, product, &a, &b);
                assert_eq!(backend.failure(), None);
                for (at, want) in want.iter().enumerate() {
                    let error = (once[at] - want).abs() + (doubled[at] - 2.0 * want).abs();
                    assert!(
                        error < 1e-3,
                        "{product:?} {tile:?} at {at}: {}, {}, {want}",
                        once[at],
                        doubled[at]
                    );
                }
            }
        }
    }
}
