//! The losses of the routers of a whole network.

use engine::{rng::Key, tape::Tape};
use models::{
    config::FfnConfig,
    loss::Loss,
    transformer::{Transformer, TransformerConfig},
    weights::settings_of_json,
};
use nn::{
    moe::{MoeConfig, OverLayers},
    settings::Setting,
};
use serde_json::json;

const SEQ: usize = 5;
const LAYERS: usize = 3;

/// Load balance, z and what is added to the loss, per router and of the network.
fn losses(router_losses: OverLayers) -> ([f32; 3], f32) {
    let config = TransformerConfig {
        vocab_size: 11,
        dim: 16,
        layers: LAYERS,
        heads: 2,
        seq: SEQ,
        init_std: 0.3,
        ffn: FfnConfig::Moe(MoeConfig {
            router_losses,
            ..MoeConfig::default()
        }),
        ..TransformerConfig::default()
    };
    let (model, params) = Transformer::new(&config, Key::new(2)).unwrap();
    let tape = Tape::new();
    tape.bind(&params);
    let tokens: Vec<u32> = (0..2 * SEQ as u32).map(|i| i * i % 11).collect();
    let Loss {
        total,
        task,
        router,
        ..
    } = model.losses(&tape, &tokens, &tokens, SEQ);
    let router = router.expect("routers");
    let parts = [router.load_balance, router.router_z, router.weighted];
    (parts.map(|part| part.item()), total.item() - task.item())
}

/// OLMoE's coefficients, 0.01 and 0.001, are of means over the layers (megablocks).
#[test]
fn router_losses_are_averaged_over_the_layers_unless_they_are_to_be_summed() {
    let (mean, added) = losses(OverLayers::Mean);
    let (sum, added_by_sum) = losses(OverLayers::Sum);
    for (mean, sum) in mean.iter().zip(sum) {
        assert!(
            (LAYERS as f32 * mean - sum).abs() < 1e-5 * sum,
            "{mean} {sum}"
        );
    }
    assert!((mean[2] - (0.01 * mean[0] + 0.001 * mean[1])).abs() < 1e-6);
    assert!((added - mean[2]).abs() < 1e-6 && (added_by_sum - sum[2]).abs() < 1e-6);
    // One expert in eight with perfect balance has a loss of 1.
    assert!(mean[0] > 0.9 && mean[0] < 2.0, "{mean:?}");
    assert_eq!(MoeConfig::default().router_losses, OverLayers::Mean);
}

#[test]
fn a_configuration_from_before_the_choice_sums() {
    let json = json!({"type": "moe", "experts": 8, "hidden": 64, "top_k": 2,
        "load_balance_coef": 0.01, "router_z_coef": 0.001});
    let FfnConfig::Moe(stored) = FfnConfig::read(&settings_of_json(json)).unwrap() else {
        panic!("experts");
    };
    assert_eq!(stored.router_losses, OverLayers::Sum);
}
