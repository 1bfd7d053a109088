//! JPmHC in a real network.

use super::{network, probed, starts_as_pre_norm};
use nn::connection::{ConnectionConfig, JpmHcConfig};

/// A softmax of one stream has nothing to choose: nothing is learned, and nothing is new.
#[test]
fn one_stream_of_jpmhc_is_pre_norm() {
    let config = JpmHcConfig {
        rate: 1,
        ..JpmHcConfig::default()
    };
    let connection = ConnectionConfig::Jpmhc(config);
    starts_as_pre_norm(connection.clone());
    let (_, params) = network(connection);
    let connections = params.iter().filter(|(_, p)| p.name.contains("connection"));
    assert!(connections.into_iter().all(|(_, param)| !param.trainable));
}

/// JPmHC reads with weights that sum to 1, writes with weights that sum to n, each near 1 at first,
/// and mixes without changing lengths.
#[test]
fn jpmhc_reads_a_mean_and_writes_to_every_stream() {
    let config = JpmHcConfig::default();
    let (model, params) = network(ConnectionConfig::Jpmhc(config.clone()));
    let no_bias = |part: &engine::params::Part| !part.name.contains("connection.bias");
    assert!(params.parts().all(no_bias));
    let n = config.rate;
    for alpha in probed(&model, &params, "alpha") {
        for matrix in alpha.chunks_exact(n * (n + 1)) {
            let read: f32 = matrix.iter().step_by(n + 1).sum();
            assert!((read - 1.0).abs() < 1e-5, "{matrix:?}");
            for i in 0..n {
                let row = |i: usize| &matrix[i * (n + 1) + 1..(i + 1) * (n + 1)];
                let square: f32 = row(i).iter().map(|x| x * x).sum();
                assert!((square - 1.0).abs() < 1e-3, "{matrix:?}");
            }
        }
    }
    for beta in probed(&model, &params, "beta") {
        for write in beta.chunks_exact(n) {
            let sum: f32 = write.iter().sum();
            assert!((sum - n as f32).abs() < 1e-5, "{write:?}");
            assert!(write.iter().all(|w| (w - 1.0).abs() < 0.4), "{write:?}");
        }
    }
}
