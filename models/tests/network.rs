//! What holds for the weights and the random numbers of a whole network, whatever it computes.

use engine::{
    params::Params,
    rng::Key,
    tape::{Noise, Tape},
};
use models::{
    config::FfnConfig,
    transformer::{Transformer, TransformerConfig},
    vit::{Vit, VitConfig},
};
use nn::{
    connection::{
        ConnectionConfig, HyperConfig, PreNormConfig,
        hyper::{FrozenPart, OutputInitScale},
    },
    moe::MoeConfig,
    optim::{AdamW, AdamWConfig},
};

const LAYERS: usize = 8;
const STD: f32 = 0.05;

fn config(ffn: FfnConfig, connection: ConnectionConfig) -> TransformerConfig {
    TransformerConfig {
        vocab_size: 31,
        dim: 32,
        layers: LAYERS,
        heads: 2,
        seq: 6,
        init_std: STD,
        ffn,
        connection,
        ..TransformerConfig::default()
    }
}

fn pre_norm() -> ConnectionConfig {
    ConnectionConfig::PreNorm(PreNormConfig {})
}

fn hyper(change: impl FnOnce(&mut HyperConfig)) -> ConnectionConfig {
    let mut config = HyperConfig::default();
    change(&mut config);
    ConnectionConfig::Hyper(config)
}

fn network(ffn: FfnConfig, connection: ConnectionConfig) -> (Transformer, Params) {
    Transformer::new(&config(ffn, connection), Key::new(5)).expect("a valid network")
}

fn all_ffn() -> [FfnConfig; 3] {
    let moe = MoeConfig {
        experts: 3,
        hidden: 48,
        ..MoeConfig::default()
    };
    [
        FfnConfig::SwiGlu { hidden: 48 },
        FfnConfig::Gelu { hidden: 48 },
        FfnConfig::Moe(moe),
    ]
}

fn deviation(values: &[f32]) -> f32 {
    (values.iter().map(|x| x * x).sum::<f32>() / values.len() as f32).sqrt()
}

/// Of 1024 and more normal numbers the standard deviation is known to a fortieth.
#[test]
fn output_projections_start_smaller_by_the_root_of_the_number_of_sublayers() {
    for (scale, factor) in [
        (OutputInitScale::None, 1.0),
        (OutputInitScale::InvSqrtRate, 0.5),
        (OutputInitScale::SqrtRate, 2.0),
    ] {
        for ffn in all_ffn() {
            let (_, params) = network(ffn, hyper(|c| c.output_init_scale = scale));
            let outputs = [
                "attn.o.weight",
                "ffn.down.weight",
                "ffn.experts.down.weight",
            ];
            let weights = params
                .parts()
                .filter(|part| part.name.ends_with(".weight") && !part.name.contains("norm"))
                .filter(|part| !part.name.ends_with("router.weight"));
            let mut seen = 0;
            for part in weights {
                let is_output = outputs.iter().any(|output| part.name.ends_with(output));
                seen += usize::from(is_output);
                let expected = match is_output {
                    true => factor * STD / (2.0 * LAYERS as f32).sqrt(),
                    false => STD,
                };
                let found = deviation(&params.slab()[part.range.clone()]);
                let share = found / expected;
                assert!((0.88..1.12).contains(&share), "{}: {found}", part.name);
            }
            assert_eq!(seen, 2 * LAYERS);
        }
    }
}

#[test]
fn no_two_random_weights_of_a_network_start_alike() {
    for ffn in all_ffn() {
        let (_, params) = network(ffn, pre_norm());
        let random: Vec<_> = params
            .parts()
            .filter(|part| !part.name.contains("norm"))
            .collect();
        assert!(random.len() > 6 * LAYERS);
        for (i, part) in random.iter().enumerate() {
            let start = |part: &engine::params::Part| &params.slab()[part.range.clone()][..8];
            for other in &random[..i] {
                // Not even where one is a multiple of the other.
                let [a, b] = [start(part), start(other)];
                let product: f32 = a.iter().zip(b).map(|(a, b)| a * b).sum();
                let cosine = product / (8.0 * deviation(a) * deviation(b));
                assert!(cosine.abs() < 0.999, "{} and {}", part.name, other.name);
            }
        }
    }
}

/// Which elements a dropout has set to zero is seen in what a sublayer writes.
#[test]
fn every_sublayer_and_every_image_has_a_dropout_mask_of_its_own() {
    let config = VitConfig {
        image: 8,
        dim: 16,
        layers: 3,
        heads: 2,
        dropout: 0.5,
        ffn: FfnConfig::Gelu { hidden: 24 },
        ..VitConfig::default()
    };
    let (model, params) = Vit::new(&config, Key::new(1)).expect("a valid network");
    let mut tape = Tape::new();
    tape.set_probing();
    tape.bind(&params);
    tape.set_noise(Some(Noise {
        key: Key::new(2),
        first_sequence: 0,
    }));
    let images: Vec<f32> = (0..2 * 64).map(|i| (i as f32 * 0.7).sin()).collect();
    model.losses(&tape, &images, &[0, 1]);
    let masks: Vec<Vec<bool>> = tape
        .probes()
        .iter()
        .filter(|(name, _)| name.ends_with(".output"))
        .flat_map(|(_, output)| {
            let zeros: Vec<bool> = output.value().iter().map(|&x| x == 0.0).collect();
            let of_an_image = zeros.chunks(zeros.len() / 2).map(<[bool]>::to_vec);
            of_an_image.collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(masks.len(), 2 * 3 * 2);
    for (i, mask) in masks.iter().enumerate() {
        let dropped = mask.iter().filter(|&&zero| zero).count() as f64 / mask.len() as f64;
        assert!((0.3..0.7).contains(&dropped), "{dropped} dropped");
        assert!(!masks[..i].contains(mask), "mask {i} is used twice");
    }
}

/// Trains three steps with these parts frozen, and says which columns of every
/// `[A_m | A_r]`, static and dynamic, have moved: the first alone and the others together;
/// and whether B has.
fn moved(frozen: &[FrozenPart], dynamic: bool) -> Vec<(String, [bool; 2])> {
    let connection = hyper(|c| {
        (c.rate, c.dynamic, c.frozen) = (2, dynamic, frozen.to_vec());
    });
    let (model, mut params) = network(FfnConfig::SwiGlu { hidden: 48 }, connection);
    let start = params.slab().to_vec();
    let mut optimiser = AdamW::new(&params, AdamWConfig::default());
    let tokens: Vec<u32> = (0..19).map(|i| i * i % 31).collect();
    for _ in 0..3 {
        let tape = Tape::new();
        tape.bind(&params);
        let loss = model.loss(&tape, &tokens[..18], &tokens[1..], 6);
        let mut gradients = engine::params::Gradients::new(&params);
        tape.backward(loss, &mut gradients);
        gradients.settle(&params);
        drop(tape);
        optimiser.update(&mut params, &gradients, 0.01);
    }
    let part = |name: &str| {
        let path = format!("blocks.1.ffn_connection.{name}");
        params.part(&path).expect("a part").range.clone()
    };
    let columns = |name: &str| {
        let range = part(name);
        let moved = |read: bool| {
            let mut at = range
                .clone()
                .enumerate()
                .filter(|(i, _)| (i % 3 == 0) == read);
            at.any(|(_, i)| params.slab()[i] != start[i])
        };
        (name.to_owned(), [moved(true), moved(false)])
    };
    let whole = |name: &str| {
        let moved = part(name).any(|i| params.slab()[i] != start[i]);
        (name.to_owned(), [moved; 2])
    };
    let mut all = vec![columns("static_alpha"), whole("static_beta")];
    if dynamic {
        all.extend([columns("dynamic_alpha_fn"), whole("dynamic_beta_fn")]);
    }
    all
}

#[track_caller]
fn check_moved(frozen: &[FrozenPart], dynamic: bool, expected: &[[bool; 2]]) {
    let found = moved(frozen, dynamic);
    let moved: Vec<[bool; 2]> = found.iter().map(|(_, moved)| *moved).collect();
    assert_eq!(moved, expected, "{frozen:?} frozen: {found:?}");
}

#[test]
fn a_frozen_read_keeps_its_static_and_its_dynamic_part_at_the_start() {
    let read = [FrozenPart::Read];
    check_moved(&read, false, &[[false, true], [true; 2]]);
    check_moved(
        &read,
        true,
        &[[false, true], [true; 2], [false, true], [true; 2]],
    );
}

#[test]
fn a_frozen_mix_keeps_its_static_and_its_dynamic_part_at_the_start() {
    let mix = [FrozenPart::Mix];
    check_moved(&mix, false, &[[true, false], [true; 2]]);
    check_moved(
        &mix,
        true,
        &[[true, false], [true; 2], [true, false], [true; 2]],
    );
}

#[test]
fn other_frozen_parts_stay_and_leave_the_rest_to_learn() {
    let write = [FrozenPart::Write];
    check_moved(
        &write,
        true,
        &[[true; 2], [false; 2], [true; 2], [false; 2]],
    );
    let dynamic = [FrozenPart::Dynamic];
    check_moved(
        &dynamic,
        true,
        &[[true; 2], [true; 2], [false; 2], [false; 2]],
    );
    let width = [FrozenPart::Read, FrozenPart::Mix];
    check_moved(
        &width,
        true,
        &[[false; 2], [true; 2], [false; 2], [true; 2]],
    );
}

/// The losses of the routers of all blocks are added to the loss of the task, once.
#[test]
fn the_losses_of_all_routers_are_part_of_what_is_minimised_and_not_of_what_is_reported() {
    let [_, _, moe] = all_ffn();
    let (model, params) = network(moe, pre_norm());
    let tokens: Vec<u32> = (0..19).map(|i| i * i % 31).collect();
    let tape = Tape::new();
    tape.bind(&params);
    let loss = model.losses(&tape, &tokens[..18], &tokens[1..], 6);
    let router = loss.router.expect("routers");
    // Near the start every expert works about equally: the balance, a mean over the blocks, is
    // near 1.
    let balance = router.load_balance.item();
    assert!((0.9..1.5).contains(&balance), "{balance}");
    let MoeConfig {
        load_balance_coef,
        router_z_coef,
        ..
    } = MoeConfig::default();
    let weighted =
        load_balance_coef * router.load_balance.item() + router_z_coef * router.router_z.item();
    let added = loss.total.item() - loss.task.item();
    assert!((added - weighted).abs() < 1e-5, "{added}, not {weighted}");
    let task = (31_f32).ln();
    assert!(
        (loss.task.item() - task).abs() < 0.2,
        "{}",
        loss.task.item()
    );
}
