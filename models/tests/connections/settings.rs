//! Settings that several connections of streams have.

use super::{after_three_steps, network, probed, starts_as_pre_norm};
use nn::connection::{
    ConnectionConfig, Expansion, HyperConfig, MhcConfig, MhcV4Config, Reduction,
    SinglePassMhcConfig,
};

/// Reads of the sublayer before, which starts with the stream that the next one reads.
#[test]
fn delayed_reads_of_hyper_connections_start_as_pre_norm() {
    for (rate, dynamic) in [(1, true), (2, false), (4, true)] {
        for reduction in [Reduction::Sum, Reduction::SigmoidHead] {
            let delayed = ConnectionConfig::Hyper(HyperConfig {
                rate,
                dynamic,
                reduction,
                delayed_reads: true,
                ..HyperConfig::default()
            });
            starts_as_pre_norm(delayed.clone());
            let (model, params) = network(delayed);
            for (k, alpha) in probed(&model, &params, "alpha").iter().enumerate() {
                let reads = alpha[..rate * (rate + 1)].iter().step_by(rate + 1);
                let expected = (0..rate).map(|i| f32::from(i == k % rate));
                assert!(reads.copied().eq(expected), "{k}: {alpha:?}");
            }
        }
    }
}

/// Streams that are scaled apart are read and mixed at the first sublayer too: nothing is frozen
/// there.
#[test]
fn learned_stream_scaling_tells_the_first_streams_apart() {
    let expansion = Expansion::LearnedScale;
    let mhc = MhcConfig {
        expansion,
        sinkhorn_iters: 5,
        ..MhcConfig::default()
    };
    let hyper = HyperConfig {
        expansion,
        ..HyperConfig::default()
    };
    let v4 = MhcV4Config {
        expansion,
        ..MhcV4Config::default()
    };
    for connection in [
        ConnectionConfig::Mhc(mhc),
        ConnectionConfig::Hyper(hyper),
        ConnectionConfig::MhcV4(v4.clone()),
        ConnectionConfig::SinglePassMhc(SinglePassMhcConfig(v4)),
    ] {
        let label = connection.spec().label();
        let (model, params) = network(connection.clone());
        let first = &probed(&model, &params, "hidden")[0];
        let (one, two) = first[..32].split_at(16);
        let ratios = one.iter().zip(two).map(|(a, b)| a / b);
        assert!(
            ratios.into_iter().any(|ratio| (ratio - 1.0).abs() > 0.1),
            "{label}"
        );
        let scales = params
            .parts()
            .filter(|part| part.name.ends_with("stream_scale"));
        let names: Vec<&str> = scales.map(|part| &*part.name).collect();
        assert_eq!(names, ["blocks.0.attn_connection.stream_scale"], "{label}");
        for parameter in after_three_steps(connection) {
            let (name, learns) = (parameter.name, parameter.trainable && parameter.learns);
            assert!(learns, "{label}: {name} stays");
        }
    }
}

/// The write is `2 sigmoid` times the factor, wherever that is.
#[test]
fn a_write_gain_scales_the_write() {
    let with = |write_gain_end| {
        ConnectionConfig::Mhc(MhcConfig {
            write_gain_end,
            ..MhcConfig::default()
        })
    };
    let (model, params) = network(with(1.0));
    let plain = probed(&model, &params, "beta");
    let (model, mut params) = network(with(0.5));
    assert_eq!(probed(&model, &params, "beta"), plain);
    let gains: Vec<_> = params
        .iter()
        .filter(|(_, param)| param.name.ends_with("write_gain"))
        .map(|(_, param)| (param.range.clone(), param.trainable))
        .collect();
    assert_eq!(gains.len(), 6);
    for (range, trainable) in gains {
        assert!(!trainable);
        params.set(range, &[0.5]);
    }
    let first = &probed(&model, &params, "beta")[0];
    assert!(
        first
            .iter()
            .zip(&plain[0])
            .all(|(halved, beta)| *halved == 0.5 * beta)
    );
}

/// What is recorded of a connection without them is what it was before they existed.
#[test]
fn settings_that_came_later_are_silent_where_they_are_off() {
    for connection in ConnectionConfig::all() {
        let json = serde_json::to_string(&connection).unwrap();
        for key in ["expansion", "delayed_reads", "write_gain_end"] {
            assert!(!json.contains(key), "{json}");
        }
    }
}
