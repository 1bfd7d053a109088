//! The same binary on the same machine gives the same bits, whatever the threads.

mod common;

use common::{Run, dynamic, small, small_dit, small_moe};
use models::model::ModelConfig;
use nn::connection::ConnectionConfig;

fn trained(config: &ModelConfig, threads: usize, shards: usize) -> (Vec<f64>, Vec<u32>) {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .expect("a thread pool");
    pool.install(|| {
        let mut run = Run::new(config, shards);
        let losses = (0..6).map(|_| run.step()).collect();
        let bits = run.params.slab().iter().map(|x| x.to_bits()).collect();
        (losses, bits)
    })
}

#[test]
fn training_gives_the_same_bits_for_any_number_of_threads() {
    for config in [
        small(dynamic(4)),
        small_moe(dynamic(2)),
        small_dit(dynamic(2)),
        small(ConnectionConfig::MhcV4(Default::default())),
        small_moe(ConnectionConfig::SinglePassMhc(Default::default())),
        small_dit(ConnectionConfig::GatedResidual(Default::default())),
    ] {
        for shards in [1, 2, 3] {
            let one = trained(&config, 1, shards);
            assert!(one.0[5] < one.0[0], "the loss falls: {:?}", one.0);
            for threads in [2, 3, 7] {
                assert!(
                    trained(&config, threads, shards) == one,
                    "{threads} threads, {shards} shards"
                );
            }
        }
    }
}

#[test]
fn shards_change_the_rounding_of_a_step_and_nothing_else() {
    let config = small(dynamic(4));
    let (one, three) = (trained(&config, 1, 1), trained(&config, 1, 3));
    for (a, b) in one.0.iter().zip(&three.0) {
        assert!((a - b).abs() < 1e-4 * a, "{a} and {b}");
    }
}
