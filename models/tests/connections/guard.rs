//! What the guard says of every connection at its defaults, in the smallest preset's network:
//! nothing.

use engine::{params::Gradients, rng::Key, tape::Tape};
use models::{
    config::FfnConfig,
    transformer::{Transformer, TransformerConfig},
};
use nn::{
    connection::{ConnectionConfig, HyperConfig, hyper::ReadInit},
    guard::{Guard, WATCHED_STEPS, large_eps, remarks},
    optim::{AdamW, AdamWConfig},
};

const SEQ: usize = 32;

/// After the watched steps, with a rate that is still warming up.
fn said_of(connection: ConnectionConfig, seed: u64) -> Vec<String> {
    let config = TransformerConfig {
        dim: 32,
        layers: 2,
        heads: 2,
        seq: SEQ,
        ffn: FfnConfig::SwiGlu { hidden: 88 },
        connection,
        ..TransformerConfig::default()
    };
    let (model, mut params) = Transformer::new(&config, Key::new(seed)).unwrap();
    let optim = AdamWConfig::default();
    let eps = optim.eps;
    let mut optimiser = AdamW::new(&params, optim);
    let mut guard = Guard::new(&params);
    let tokens: Vec<u32> = (0..=4 * SEQ as u32).map(|i| i * i * 7 % 97).collect();
    let (inputs, targets) = (&tokens[..4 * SEQ], &tokens[1..]);
    for step in 1..=WATCHED_STEPS {
        let mut gradients = Gradients::new(&params);
        let tape = Tape::new();
        tape.bind(&params);
        tape.backward(model.loss(&tape, inputs, targets, SEQ), &mut gradients);
        drop(tape);
        gradients.settle(&params);
        let rate = 3e-3 * f64::from(step) / 20.0;
        guard.watch(&params, &gradients, rate);
        optimiser.update(&mut params, &gradients, rate);
    }
    let mut tape = Tape::new();
    tape.set_probing();
    tape.bind(&params);
    model.loss(&tape, inputs, targets, SEQ);
    let mut findings = guard.parameters(&params, eps);
    findings.extend(guard.values(&tape));
    findings.extend(large_eps(&tape, config.norm));
    remarks(&findings)
}

#[test]
fn no_connection_is_accused_at_its_defaults() {
    let mut said = Vec::new();
    for connection in ConnectionConfig::all() {
        for seed in 0..3 {
            let label = connection.spec().label();
            let all = said_of(connection.clone(), seed);
            said.extend(
                all.iter()
                    .map(|remark| format!("{label}, seed {seed}: {remark}")),
            );
        }
    }
    assert!(said.is_empty(), "{said:#?}");
}

#[test]
fn streams_that_a_symmetry_keeps_alike_are_still_named() {
    for dynamic in [false, true] {
        let uniform = ConnectionConfig::Hyper(HyperConfig {
            read_init: ReadInit::Uniform,
            dynamic,
            ..HyperConfig::default()
        });
        for seed in 0..3 {
            let said = said_of(uniform.clone(), seed);
            let identical = said.iter().any(|remark| remark.contains("still identical"));
            assert!(identical, "{said:?}");
        }
    }
}
