//! Hyper-connections in a real network: equality with pre-norm, the special matrices of
//! the paper, what learns, which streams separate, how many parameters there are.

use engine::{
    check::relative_error,
    ops::sum_streams,
    params::{Gradients, Params},
    rng::Key,
    tape::Tape,
};
use models::{
    config::FfnConfig,
    transformer::{Transformer, TransformerConfig},
};
use nn::{
    connection::{
        ConnectionConfig, HyperConfig, ParallelConfig, PreNormConfig, PredictorNorm, Site,
        hyper::ReadInit,
    },
    norm::{NormConfig, NormKind},
    optim::{AdamW, AdamWConfig},
};

const SEQ: usize = 6;
const LAYERS: usize = 3;

fn config(connection: ConnectionConfig) -> TransformerConfig {
    TransformerConfig {
        vocab_size: 23,
        dim: 16,
        layers: LAYERS,
        heads: 2,
        seq: SEQ,
        ffn: FfnConfig::SwiGlu { hidden: 24 },
        // Large weights, so that every branch matters to the loss.
        init_std: 0.3,
        norm: NormConfig {
            // The sum of n streams is n times the hidden vector, and the final norm
            // removes the factor up to its eps: with this one up to rounding.
            eps: 1e-12,
            ..NormConfig::default()
        },
        connection,
        ..TransformerConfig::default()
    }
}

fn hyper(change: impl FnOnce(&mut HyperConfig)) -> ConnectionConfig {
    let mut config = HyperConfig::default();
    change(&mut config);
    ConnectionConfig::Hyper(config)
}

fn statics(rate: usize) -> ConnectionConfig {
    hyper(|c| (c.rate, c.dynamic) = (rate, false))
}

fn build(connection: ConnectionConfig) -> (Transformer, Params) {
    Transformer::new(&config(connection), Key::new(5)).expect("a valid network")
}

fn batch() -> (Vec<u32>, Vec<u32>) {
    let token = |i: usize| (i * i * 7 + i) as u32 % 23;
    let tokens = (0..3 * SEQ).map(token).collect();
    (tokens, (1..=3 * SEQ).map(token).collect())
}

fn logits(model: &Transformer, params: &Params) -> Vec<f32> {
    let tape = Tape::new();
    tape.bind(params);
    model.logits(&tape, &batch().0, SEQ).value()
}

fn loss_and_gradients(model: &Transformer, params: &Params) -> (f32, Gradients) {
    let (tokens, targets) = batch();
    let tape = Tape::new();
    tape.bind(params);
    let loss = model.loss(&tape, &tokens, &targets, SEQ);
    let value = loss.item();
    let mut gradients = Gradients::new(params);
    tape.backward(loss, &mut gradients);
    gradients.settle(params);
    (value, gradients)
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&x| f64::from(x)).collect()
}

/// Trains on the one batch, with this learning rate.
fn train(model: &Transformer, params: &mut Params, steps: usize, rate: f64) {
    let config = AdamWConfig {
        // Where streams are equal a norm cancels the gradient of their read; with the
        // usual eps Adam would make whole steps of the rounding that is left.
        eps: 1e-4,
        ..AdamWConfig::default()
    };
    let mut optimiser = AdamW::new(params, config);
    for _ in 0..steps {
        let (_, gradients) = loss_and_gradients(model, params);
        optimiser.update(params, &gradients, rate);
    }
}

/// Sets `[A_m | A_r]` and B of a sublayer from the matrix as the paper prints it, B in
/// its first row after a zero.
fn set_matrix(params: &mut Params, sublayer: usize, matrix: &[&[f32]]) {
    let kind = ["attn", "ffn"][sublayer % 2];
    let path = format!("blocks.{}.{kind}_connection", sublayer / 2);
    let mut set = |name: &str, values: &[f32]| {
        let part = params.part(&format!("{path}.{name}")).expect("a part");
        let range = part.range.clone();
        params.set(range, values);
    };
    assert_eq!(matrix[0][0], 0.0);
    set("static_beta", &matrix[0][1..]);
    set("static_alpha", &matrix[1..].concat());
}

#[test]
fn at_initialisation_a_network_is_its_pre_norm_one_in_loss_and_gradients() {
    let (model, params) = build(ConnectionConfig::PreNorm(PreNormConfig {}));
    let (expected, reference) = loss_and_gradients(&model, &params);
    for rate in [1, 2, 3, 4, 8] {
        for dynamic in [false, true] {
            let connection = hyper(|c| (c.rate, c.dynamic) = (rate, dynamic));
            let (model, own) = build(connection);
            let (loss, gradients) = loss_and_gradients(&model, &own);
            assert!((loss - expected).abs() <= 2e-6 * expected, "rate {rate}");
            for part in params.parts() {
                let name = &part.name;
                let here = own.part(name).expect("a shared weight").range.clone();
                assert_eq!(own.slab()[here.clone()], params.slab()[part.range.clone()]);
                let expected = wide(&reference.slab()[part.range.clone()]);
                let error = relative_error(&gradients.slab()[here], &expected);
                assert!(error < 2e-5, "rate {rate}, {name}: {error:.1e}");
            }
        }
    }
}

#[test]
fn the_matrices_of_pre_norm_and_of_the_sequential_arrangement_are_residual_networks() {
    let (model, params) = build(ConnectionConfig::PreNorm(PreNormConfig {}));
    let expected = wide(&logits(&model, &params));
    let matrices: [&[&[f32]]; 4] = [
        // Eq. 15, Eq. 17, and Eq. 42 of three and four streams.
        &[&[0.0, 1.0], &[1.0, 1.0]],
        &[&[0.0, 1.0, 1.0], &[1.0, 1.0, 0.0], &[0.0, 0.0, 1.0]],
        &[
            &[0.0, 1.0, 1.0, 1.0],
            &[1.0, 1.0, 0.0, 0.0],
            &[0.0, 0.0, 1.0, 0.0],
            &[0.0, 0.0, 0.0, 1.0],
        ],
        &[
            &[0.0, 1.0, 1.0, 1.0, 1.0],
            &[1.0, 1.0, 0.0, 0.0, 0.0],
            &[0.0, 0.0, 1.0, 0.0, 0.0],
            &[0.0, 0.0, 0.0, 1.0, 0.0],
            &[0.0, 0.0, 0.0, 0.0, 1.0],
        ],
    ];
    for matrix in matrices {
        let rate = matrix.len() - 1;
        let (model, mut params) = build(statics(rate));
        for sublayer in 0..2 * LAYERS {
            set_matrix(&mut params, sublayer, matrix);
        }
        let error = relative_error(&logits(&model, &params), &expected);
        assert!(error < 1e-5, "rate {rate}: {error:.1e}");
    }
}

/// Attention reads the sum `s` of the streams and writes to the first, the feed-forward
/// layer reads `s` too and writes to the second: the next sum is `2 s + attention(s) +
/// feed_forward(s)` (Eq. 53). With `u = s / 2^(k+1)` after k blocks that is the parallel
/// block `u + (attention(u) + feed_forward(u)) / 2^(k+2)`: norms see no factor.
#[test]
fn the_parallel_matrices_are_parallel_blocks_with_scaled_branches() {
    let (model, mut params) = build(ConnectionConfig::Parallel(ParallelConfig::default()));
    for block in 0..LAYERS {
        for output in ["attn.o.weight", "ffn.down.weight"] {
            let name = format!("blocks.{block}.{output}");
            let range = params.part(&name).expect("a weight").range.clone();
            let scale = 0.5_f32.powi(block as i32 + 2);
            for weight in &mut params.slab_mut()[range] {
                *weight *= scale;
            }
        }
    }
    let expected = wide(&logits(&model, &params));

    let (model, mut params) = build(statics(2));
    for block in 0..LAYERS {
        // Eq. 18 and 19.
        let odd: &[&[f32]] = &[&[0.0, 1.0, 0.0], &[1.0, 1.0, 1.0], &[1.0, 1.0, 1.0]];
        let even: &[&[f32]] = &[&[0.0, 0.0, 1.0], &[0.0, 1.0, 0.0], &[1.0, 0.0, 1.0]];
        set_matrix(&mut params, 2 * block, odd);
        set_matrix(&mut params, 2 * block + 1, even);
    }
    let found = logits(&model, &params);
    let error = relative_error(&found, &expected);
    assert!(error < 1e-5, "{error:.1e}");

    // Were the feed-forward layer to read what attention has written, it would show.
    set_matrix(
        &mut params,
        1,
        &[&[0.0, 0.0, 1.0], &[1.0, 1.0, 0.0], &[0.0, 0.0, 1.0]],
    );
    assert!(relative_error(&logits(&model, &params), &expected) > 1e-2);
}

#[test]
fn every_part_of_a_dynamic_connection_receives_gradient_and_moves() {
    for norm in [
        PredictorNorm::LayerNorm,
        PredictorNorm::RmsNorm,
        PredictorNorm::None,
    ] {
        let (model, mut params) = build(hyper(|c| c.norm = norm));
        let start = params.slab().to_vec();
        train(&model, &mut params, 4, 1e-3);
        let (_, gradients) = loss_and_gradients(&model, &params);
        let parts: Vec<_> = params
            .parts()
            .filter(|part| part.name.contains("_connection."))
            .collect();
        let each = match norm {
            PredictorNorm::LayerNorm => 8,
            PredictorNorm::RmsNorm => 7,
            PredictorNorm::None => 6,
        };
        assert_eq!(parts.len(), each * 2 * LAYERS);
        for part in parts {
            let gradient = &gradients.slab()[part.range.clone()];
            let largest = gradient.iter().fold(0.0_f32, |m, x| m.max(x.abs()));
            assert!(largest > 1e-8, "{}: gradient {largest:.1e}", part.name);
            // All of W_m, W_r, A_m, A_r: no column is left behind.
            let width = part.shape.width();
            for column in 0..width {
                let moved = part
                    .range
                    .clone()
                    .skip(column)
                    .step_by(width)
                    .any(|i| params.slab()[i] != start[i]);
                assert!(moved, "{}, column {column}", part.name);
            }
        }
    }
}

#[test]
fn a_change_of_any_matrix_changes_the_output() {
    let separated = || {
        // At first streams are equal, and a norm removes the factor of any read.
        let (model, mut params) = build(hyper(|c| c.rate = 2));
        let parts: Vec<_> = params.parts().cloned().collect();
        for part in parts.iter().filter(|part| part.name.contains("static")) {
            let values = &mut params.slab_mut()[part.range.clone()];
            for (i, value) in values.iter_mut().enumerate() {
                *value += 0.3 * (i as f32 + 1.0).sin();
            }
        }
        (model, params)
    };
    let (model, params) = separated();
    let before = logits(&model, &params);
    for (name, element) in [
        ("blocks.1.attn_connection.static_alpha", 0),
        ("blocks.1.attn_connection.static_alpha", 2),
        ("blocks.1.attn_connection.static_alpha", 4),
        ("blocks.1.ffn_connection.static_beta", 1),
    ] {
        let (_, mut changed) = separated();
        let range = changed.part(name).expect("a part").range.clone();
        changed.slab_mut()[range][element] += 0.25;
        let error = relative_error(&logits(&model, &changed), &wide(&before));
        assert!(error > 1e-4, "{name}[{element}]: {error:.1e}");
    }
}

/// Distance of streams from their mean in the last state, relative to it.
fn spread(model: &Transformer, params: &Params) -> f64 {
    let mut tape = Tape::new();
    tape.set_probing();
    tape.bind(params);
    model.logits(&tape, &batch().0, SEQ);
    let probes = tape.probes();
    let (_, hidden) = probes
        .iter()
        .rfind(|(name, _)| name.ends_with(".hidden"))
        .expect("a hidden state");
    let &[_, _, rate, dim] = hidden.shape().dims() else {
        panic!("a state of streams");
    };
    let sums = sum_streams(*hidden).value();
    let (mut difference, mut size) = (0.0_f64, 0.0_f64);
    for (streams, sum) in hidden.value().chunks(rate * dim).zip(sums.chunks(dim)) {
        for stream in streams.chunks(dim) {
            for (x, sum) in stream.iter().zip(sum) {
                let mean = f64::from(*sum) / rate as f64;
                difference = difference.max((f64::from(*x) - mean).abs());
                size = size.max(mean.abs());
            }
        }
    }
    difference / size
}

#[test]
fn a_uniform_read_keeps_streams_identical_and_a_one_hot_read_separates_them() {
    for dynamic in [false, true] {
        let separation = |read_init| {
            let (model, mut params) = build(hyper(|c| {
                (c.rate, c.dynamic, c.read_init) = (4, dynamic, read_init);
            }));
            assert!(spread(&model, &params) < 1e-5);
            train(&model, &mut params, 5, 1e-2);
            spread(&model, &params)
        };
        let uniform = separation(ReadInit::Uniform);
        assert!(uniform < 1e-4, "dynamic {dynamic}: {uniform:.1e}");
        let one_hot = separation(ReadInit::OneHot);
        assert!(one_hot > 1e-2, "dynamic {dynamic}: {one_hot:.1e}");
    }
}

/// Cost that the connections of a network of this width and depth add.
fn connection_parameters(connection: ConnectionConfig, dim: usize, blocks: usize) -> [usize; 2] {
    let spec = connection.spec();
    let mut b = engine::params::Builder::new(Key::new(0));
    for index in 0..2 * blocks {
        let site = Site {
            index,
            count: 2 * blocks,
            dim,
            norm: NormKind::LayerNorm,
            eps: 1e-5,
        };
        b.scope(format!("{index}"), |b| spec.build(site, b));
    }
    let params = b.finish();
    let norms = params.parts().filter(|part| part.name.contains("norm"));
    let norms = norms.map(|part| part.shape.len()).sum();
    [params.elements() - norms, norms]
}

/// Eq. 21 to 26. The paper's Table 7 has a column ten times too large for SHC; its total
/// numbers of parameters agree with these. Its norms have no parameters.
#[test]
fn connections_have_as_many_parameters_as_the_paper_counts() {
    let dynamic = |rate| hyper(|c| c.rate = rate);
    let olmo_1b = |connection| connection_parameters(connection, 2048, 16);
    assert_eq!(olmo_1b(statics(2)), [256, 0]);
    assert_eq!(olmo_1b(statics(4)), [768, 0]);
    let layer_norms = 2 * 2048 * 32;
    assert_eq!(olmo_1b(dynamic(2)), [262_464, layer_norms]);
    assert_eq!(olmo_1b(dynamic(4)), [394_048, layer_norms]);
    let bare = hyper(|c| c.norm = PredictorNorm::None);
    assert_eq!(olmo_1b(bare), [394_048, 0]);
    let olmo_7b = connection_parameters(dynamic(4), 4096, 32);
    assert_eq!(olmo_7b[0], 1_574_528);
    for rate in [1, 2, 3, 4, 8] {
        let (d, n) = (64, rate);
        let one = |connection| connection_parameters(connection, d, 1)[0];
        assert_eq!(one(statics(n)), 2 * n * (n + 2));
        assert_eq!(one(dynamic(n)), 2 * (d * (n + 2) + n * (n + 2) + 2));
    }
}
