//! The connections of 2026 in a real network.

use super::{after_three_steps, config, network, probed, starts_alike, starts_as_pre_norm};
use engine::rng::Key;
use models::{network::Network, transformer::Transformer};
use nn::{
    connection::{
        ConnectionConfig, DeepDeltaConfig, GatedResidualConfig, MhcV4Config, SinglePassMhcConfig,
        TwoLaneConfig,
    },
    norm::NormKind,
};

/// Sublayers, width and vocabulary of the networks here.
const SUBLAYERS: usize = 6;
const DIM: usize = 16;

fn mhc_v4(rate: usize, sinkhorn_iters: usize, hc_eps: f32) -> MhcV4Config {
    MhcV4Config {
        rate,
        sinkhorn_iters,
        hc_eps,
        ..MhcV4Config::default()
    }
}

fn gated(rate: usize, rank: usize) -> ConnectionConfig {
    ConnectionConfig::GatedResidual(GatedResidualConfig {
        rate,
        rank: Some(rank),
    })
}

fn variants() -> Vec<ConnectionConfig> {
    let mut all = Vec::new();
    for rate in [2, 3, 4, 8] {
        for (iterations, eps) in [(1, 1e-6), (5, 0.0), (20, 1e-2)] {
            let settings = mhc_v4(rate, iterations, eps);
            all.push(ConnectionConfig::MhcV4(settings.clone()));
            all.push(ConnectionConfig::SinglePassMhc(SinglePassMhcConfig(
                settings,
            )));
        }
        all.push(gated(rate, 1));
        all.push(gated(rate, 7));
    }
    all
}

#[test]
fn every_learnable_parameter_receives_a_gradient_and_moves() {
    let more = [
        two_lanes(Some(0)),
        two_lanes(Some(2)),
        parallel_lanes(Some(0)),
        parallel_lanes(None),
        deep_delta(1, 0.5),
        deep_delta(3, 1.5),
    ];
    for connection in variants().into_iter().chain(more) {
        let label = format!("{connection:?}");
        for parameter in after_three_steps(connection) {
            assert!(
                parameter.trainable && parameter.learns,
                "{label}: {}",
                parameter.name
            );
        }
    }
}

fn two_lanes(first_block: Option<usize>) -> ConnectionConfig {
    ConnectionConfig::TwoLane(TwoLaneConfig {
        first_block,
        parallel: false,
    })
}

fn parallel_lanes(first_block: Option<usize>) -> ConnectionConfig {
    ConnectionConfig::TwoLane(TwoLaneConfig {
        first_block,
        parallel: true,
    })
}

fn deep_delta(channels: usize, beta_init: f32) -> ConnectionConfig {
    ConnectionConfig::DeepDelta(DeepDeltaConfig {
        channels,
        beta_init,
    })
}

/// Sums over depth, changes and lanes that leave the residual as it is, at first.
#[test]
fn mudd_two_lanes_and_delta_attention_start_as_pre_norm() {
    starts_as_pre_norm(ConnectionConfig::Mudd(Default::default()));
    starts_as_pre_norm(ConnectionConfig::DeltaAttentionResidual(Default::default()));
    for first_block in [None, Some(0), Some(1), Some(2)] {
        starts_as_pre_norm(two_lanes(first_block));
    }
}

/// Sublayers that read the inputs of their block are those of parallel blocks at first.
#[test]
fn parallel_lanes_start_as_parallel_blocks() {
    let parallel = ConnectionConfig::Parallel(Default::default());
    starts_alike(parallel_lanes(Some(0)), parallel);
}

/// Streams that start as copies differ behind the first write.
#[test]
fn streams_separate_from_the_first_write_on() {
    for connection in variants() {
        let label = format!("{connection:?}");
        let (model, params) = network(connection);
        let states = probed(&model, &params, "hidden");
        assert_eq!(states.len(), SUBLAYERS, "{label}");
        let rate = states[0].len() / (2 * super::SEQ * DIM);
        let spread = |state: &[f32]| {
            let tokens = state.chunks_exact(rate * DIM);
            let differences = tokens.flat_map(|token| {
                let (first, others) = token.split_at(DIM);
                others
                    .iter()
                    .zip(first.iter().cycle())
                    .map(|(a, b)| (a - b).abs())
            });
            differences.fold(0.0_f32, f32::max)
        };
        assert_eq!(spread(&states[0]), 0.0, "{label}");
        for state in &states[1..] {
            assert!(spread(state) > 1e-4, "{label}: {}", spread(state));
        }
    }
}

/// Without the random weights of the writes nothing would tell them apart: the reads of a gated
/// residual do not, however different.
#[test]
fn writes_alone_separate_the_streams_of_a_gated_residual() {
    let (model, mut params) = network(gated(4, 6));
    let inject: Vec<_> = params
        .parts()
        .filter(|part| part.name.ends_with("inject.weight"))
        .map(|part| part.range.clone())
        .collect();
    for range in inject {
        params.slab_mut()[range].fill(0.0);
    }
    for state in probed(&model, &params, "hidden") {
        for token in state.chunks_exact(4 * DIM) {
            let (first, others) = token.split_at(DIM);
            assert!(others.chunks_exact(DIM).all(|stream| stream == first));
        }
    }
}

/// Site k reads with column 0 of what site k - 1 has predicted, the first with `e_0`, and the end
/// with that of the last.
#[test]
fn single_pass_reads_are_delayed_by_one_sublayer() {
    let settings = mhc_v4(4, 5, 1e-6);
    let names = |params: &engine::params::Params| -> Vec<String> {
        params.parts().map(|part| part.name.clone()).collect()
    };
    let single = SinglePassMhcConfig(settings.clone());
    let (model, params) = network(ConnectionConfig::SinglePassMhc(single));
    let reads = |alpha: &[f32], width: usize| -> Vec<f32> {
        alpha.iter().step_by(width).copied().collect()
    };
    let alphas = probed(&model, &params, "alpha");
    for token in reads(&alphas[0], 5).chunks_exact(4) {
        assert_eq!(token, [1.0, 0.0, 0.0, 0.0]);
    }
    // The read of the first site of mhc_v4 with the same weights is that of the second here.
    let (immediate, others) = network(ConnectionConfig::MhcV4(settings));
    let first = reads(&probed(&immediate, &others, "alpha")[0], 5);
    assert_eq!(reads(&alphas[1], 5), first);
    assert_eq!(probed(&model, &params, "head").len(), 1);
    let heads = names(&others)
        .into_iter()
        .filter(|name| name.starts_with("hc_head."));
    assert_eq!(
        heads.collect::<Vec<_>>(),
        ["hc_head.fn", "hc_head.base", "hc_head.scale"]
    );
    assert!(
        !names(&params)
            .iter()
            .any(|name| name.contains("head.") && name.starts_with("hc_"))
    );
}

/// The read of a gated residual has the norm, of sublayers and network alike.
#[test]
fn a_gated_residual_network_has_no_other_norms() {
    for kind in [NormKind::LayerNorm, NormKind::RmsNorm] {
        let mut config = config(gated(4, 6));
        config.norm.kind = kind;
        let (_, params) = Transformer::new(&config, Key::new(0)).unwrap();
        let norms = params.parts().filter(|part| part.name.contains("norm"));
        let norms: Vec<&str> = norms.map(|part| &*part.name).collect();
        assert_eq!(norms.len(), SUBLAYERS + 1, "{norms:?}");
        assert!(
            norms.iter().all(
                |name| name.ends_with("connection.norm.weight") || *name == "mixer.norm.weight"
            )
        );
    }
}

/// Parameters by hand, against the names of the registry and the account.
#[test]
fn parameters_are_counted_to_the_last() {
    let n = 4;
    let all = n * DIM;
    let site = (2 + n) * n * all + (2 + n) * n + 3;
    let settings = mhc_v4(n, 20, 1e-6);
    let read = |rank: usize| all + 2 * rank * all;
    let mudd = |weights: usize| weights * (DIM + weights + 1);
    for (connection, expected) in [
        (
            ConnectionConfig::MhcV4(settings.clone()),
            SUBLAYERS * site + n * all + n + 1,
        ),
        (
            ConnectionConfig::SinglePassMhc(SinglePassMhcConfig(settings)),
            SUBLAYERS * site,
        ),
        (gated(n, 6), SUBLAYERS * (read(6) + n * all) + read(6)),
        // Four scalars for each of the last two blocks' sublayers.
        (two_lanes(None), 4 * 4),
        // One gain of each lane for a block.
        (parallel_lanes(None), 2 * 6),
        (
            deep_delta(n, 1.0),
            SUBLAYERS * (n + DIM + 1 + n * DIM + n) + n,
        ),
        (
            ConnectionConfig::DeltaAttentionResidual(Default::default()),
            (SUBLAYERS - 1) * DIM,
        ),
        (
            ConnectionConfig::Mudd(Default::default()),
            mudd(8) + mudd(12) + mudd(4),
        ),
    ] {
        let config = config(connection);
        let account = config.account().unwrap().parameters;
        assert_eq!(account.connections, expected as u64);
        let (_, params) = Transformer::new(&config, Key::new(0)).unwrap();
        let registered: usize = params.parts().map(|part| part.shape.len()).sum();
        assert_eq!(account.total, registered as u64);
    }
}

/// Operations by hand, for a token: products count two for each multiply-add, a sigmoid or an
/// exponential and what belongs to it about four.
#[test]
fn operations_are_counted_to_the_last() {
    let (n, d) = (4, DIM);
    let all = n * d;
    let (read, write, mix) = (2 * all, 2 * all, 2 * all * n);
    let predictor = |logits: usize| 2 * all + 2 * all * logits + 4 * logits;
    let sinkhorn = |iterations: usize| 8 * iterations * n * n;
    let v4 = |iterations| read + write + mix + predictor((2 + n) * n) + sinkhorn(iterations);
    // Norm, both projections with silu between, and gate and mean.
    let gated_read = |rank: usize| 4 * all + 4 * all * rank + 5 * rank + 4 * all;
    // Norm, two layers of as many numbers as weights with gelu between, statics, and the sums.
    let mudd = |weights: usize| {
        4 * d + 2 * d * weights + 10 * weights + 2 * weights * weights + weights + 2 * d * weights
    };
    let depth = (2..=SUBLAYERS).map(|sources| 6 * d * sources + d);
    let settings = mhc_v4(n, 7, 1e-6);
    for (connection, expected) in [
        (
            ConnectionConfig::MhcV4(settings.clone()),
            SUBLAYERS * v4(7) + read + predictor(n),
        ),
        (
            ConnectionConfig::SinglePassMhc(SinglePassMhcConfig(settings)),
            SUBLAYERS * v4(7) + read,
        ),
        (
            gated(n, 6),
            SUBLAYERS * (gated_read(6) + 2 * all * n + 6 * n + write) + gated_read(6),
        ),
        (
            deep_delta(n, 1.0),
            // Strength and values, the length of the output, erasing and writing.
            SUBLAYERS * (read + (2 * d + 6) * (1 + n) + 2 * d + 4 * all) + read,
        ),
        // Two sublayers before the lanes.
        (two_lanes(None), 2 * d + 4 * 16 * d),
        (parallel_lanes(None), 2 * d + 4 * 16 * d),
        (
            ConnectionConfig::DeltaAttentionResidual(Default::default()),
            SUBLAYERS * d + depth.sum::<usize>(),
        ),
        (
            ConnectionConfig::Mudd(Default::default()),
            SUBLAYERS * d + mudd(8) + mudd(12) + mudd(4),
        ),
    ] {
        let label = connection.spec().label();
        let account = config(connection).account().unwrap();
        assert_eq!(account.flops.connections, expected as u64, "{label}");
    }
}

#[test]
fn impossible_settings_are_refused_by_name() {
    let message = |connection: ConnectionConfig| {
        let error = config(connection).validate().unwrap_err();
        error.to_string()
    };
    for (settings, expected) in [
        (mhc_v4(0, 20, 1e-6), "rate is 0, expected at least 1"),
        (mhc_v4(257, 20, 1e-6), "rate is 257, expected at most 256"),
        (mhc_v4(4, 0, 1e-6), "sinkhorn_iters is 0, expected 1 to"),
        (
            mhc_v4(4, 20, -1e-6),
            "hc_eps is -0.000001, expected a small",
        ),
        (mhc_v4(4, 20, f32::NAN), "hc_eps is NaN, expected a small"),
        (mhc_v4(4, 20, f32::INFINITY), "hc_eps is inf, expected"),
        (mhc_v4(4, 20, 1.5), "hc_eps is 1.5, expected"),
    ] {
        for connection in [
            ConnectionConfig::MhcV4(settings.clone()),
            ConnectionConfig::SinglePassMhc(SinglePassMhcConfig(settings.clone())),
        ] {
            let said = message(connection);
            assert!(said.contains(expected), "{said}");
        }
    }
    for (connection, expected) in [
        (gated(0, 6), "rate is 0, expected at least 1"),
        (gated(4, 0), "rank is 0, expected at least 1"),
        (gated(4, usize::MAX), "expected at most"),
        (deep_delta(0, 1.0), "channels is 0, expected at least 1"),
        (
            deep_delta(4, 0.0),
            "beta_init is 0, expected a number between 0 and 2",
        ),
        (
            deep_delta(4, 2.0),
            "beta_init is 2, expected a number between 0 and 2",
        ),
        (
            deep_delta(4, f32::NAN),
            "beta_init is NaN, expected a number",
        ),
        (
            two_lanes(Some(3)),
            "first_block is 3, expected below the 3 of",
        ),
    ] {
        let said = message(connection);
        assert!(said.contains(expected), "{said}");
    }
}

/// One stream is allowed everywhere.
#[test]
fn one_stream_runs() {
    let settings = mhc_v4(1, 20, 1e-6);
    for connection in [
        ConnectionConfig::MhcV4(settings.clone()),
        ConnectionConfig::SinglePassMhc(SinglePassMhcConfig(settings)),
        gated(1, 2),
        deep_delta(1, 1.0),
    ] {
        let (model, params) = network(connection);
        assert!(super::loss_and_gradients(&model, &params).0.is_finite());
    }
}
