//! Every tile on every kind of product. Without an adapter they say so and pass.

use super::{
    super::{Backend, CpuBackend, Layout, Options, Product, Threshold},
    WgpuBackend,
    device::runs,
    kernel::TILES,
    tuning::Class,
};

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
            eprintln!("skipped: {error}");
            return;
        }
    };
    for (turn, layout) in [Layout::Nn, Layout::Nt, Layout::Tn].into_iter().enumerate() {
        // Multiples of four, and none; beyond one block of most tiles.
        for [m, k, n] in [[68, 36, 76], [67, 37, 75]] {
            let product = Product::new(layout, m, k, n);
            let [a, b, c] = product.shapes().map(|[rows, columns]| {
                let value = |i: usize| (i * 7919 % 257) as f32 / 128.0 - 1.0;
                (0..rows * columns).map(value).collect::<Vec<_>>()
            });
            let mut want = c.clone();
            CpuBackend.matmul(product, &a, &b, &mut want, false);
            // Compiling takes a second: every tile meets two of the six kinds.
            for tile in TILES.into_iter().skip((turn + m) % 3).step_by(3) {
                if !runs(backend.adapter(), &tile) {
                    continue;
                }
                let class = Class::of(&product);
                let mut tuning = backend.tuning.lock().unwrap();
                tuning.tiles.insert(class, tile);
                drop(tuning);
                let mut got = c.clone();
                backend.matmul(product, &a, &b, &mut got, false);
                assert_eq!(backend.failure(), None);
                for (at, (got, want)) in got.iter().zip(&want).enumerate() {
                    let error = (got - want).abs();
                    assert!(error < 1e-4, "{product:?} {tile:?} at {at}: {got}, {want}");
                }
            }
        }
    }
}
