//! The steps of `docs/adding_a_connection.md`: a file and a line make a connection.

use engine::{params::Gradients, rng::Key, tape::Tape};
use models::{
    transformer::{Transformer, TransformerConfig},
    weights::settings_of_json,
};
use nn::settings::Setting;
use serde_json::json;

nn::connections! {
    /// `v' = gamma v + (1 - gamma) f(norm x)`, `x' = x + v'`.
    Momentum(MomentumConfig) in momentum,
}

#[test]
fn the_file_and_the_line_are_those_of_the_page() {
    let page = include_str!("../../../docs/adding_a_connection.md");
    let (_, file) = include_str!("momentum.rs")
        .split_once("\n\n")
        .expect("a file");
    assert!(page.contains(file.trim()), "momentum.rs is not the page's");
    let line = "Momentum(MomentumConfig) in momentum,";
    assert!(page.contains(line), "the line is not the page's");
}

#[test]
fn a_file_and_a_line_make_a_connection_of_configurations() {
    let all = ConnectionConfig::all();
    assert_eq!(all, [ConnectionConfig::Momentum(MomentumConfig::default())]);
    let settings = settings_of_json(json!({ "type": "momentum", "init": 0.5 }));
    let config = ConnectionConfig::read(&settings).expect("a configuration");
    assert_eq!(
        config,
        ConnectionConfig::Momentum(MomentumConfig { init: 0.5 })
    );
    assert!(config.spec().validate(16).is_ok());
    let network = TransformerConfig {
        dim: 16,
        layers: 2,
        heads: 2,
        seq: 8,
        ..TransformerConfig::default()
    };
    let (model, params) =
        Transformer::with_connection(&network, config.spec(), Key::new(1)).expect("a network");
    let tape = Tape::new();
    tape.bind(&params);
    let tokens: Vec<u32> = (0..16).map(|i| i * i % 256).collect();
    let loss = model.loss(&tape, &tokens, &tokens, 8);
    let mut gradients = Gradients::new(&params);
    tape.backward(loss, &mut gradients);
    gradients.settle(&params);
    let gammas = params
        .parts()
        .filter(|part| part.name.ends_with("connection.gamma"));
    let mut count = 0;
    for gamma in gammas {
        assert!(
            gradients.slab()[gamma.range.clone()][0] != 0.0,
            "{}",
            gamma.name
        );
        count += 1;
    }
    assert_eq!(count, 4);
}
