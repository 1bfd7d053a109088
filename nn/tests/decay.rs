//! Which parameters decay: the rule of the paper (its section 4, and its authors' advice), held
//! against the names under which every layer registers its own.

use engine::{
    params::{Builder, Decay, Init, Params},
    rng::Key,
};
use nn::{
    attention::{Attention, AttentionConfig},
    connection::{ConnectionConfig, HyperConfig, MhcV4Config, SinglePassMhcConfig, Site},
    feed_forward::FeedForward,
    moe::{MixtureOfExperts, MoeConfig},
    norm::{Norm, NormConfig, NormKind},
};

const DIM: usize = 16;

fn init() -> Init {
    Init::Normal { std: 0.1 }
}

/// The names of what decays and of what does not.
fn groups(params: &Params) -> [Vec<&str>; 2] {
    [Decay::Yes, Decay::No].map(|decay| {
        let of_group = params.iter().filter(|(_, param)| param.decay == decay);
        let parts = of_group.flat_map(|(_, param)| &param.parts);
        let mut names: Vec<&str> = parts.map(|part| &*part.name).collect();
        names.sort_unstable();
        names
    })
}

fn connection(config: &ConnectionConfig) -> Params {
    let mut b = Builder::new(Key::new(0));
    let site = Site {
        index: 1,
        count: 4,
        dim: DIM,
        norm: NormKind::LayerNorm,
        eps: 1e-5,
    };
    config.spec().build(site, &mut b);
    b.finish()
}

#[test]
fn projections_of_hyper_connections_decay_and_nothing_else_of_them() {
    let dynamic = connection(&ConnectionConfig::Hyper(HyperConfig::default()));
    assert_eq!(
        groups(&dynamic),
        [
            vec!["dynamic_alpha_fn", "dynamic_beta_fn"],
            vec![
                "dynamic_alpha_scale",
                "dynamic_beta_scale",
                "norm.bias",
                "norm.weight",
                "static_alpha",
                "static_beta"
            ]
        ]
    );
    let statics = HyperConfig {
        dynamic: false,
        ..HyperConfig::default()
    };
    let statics = connection(&ConnectionConfig::Hyper(statics));
    assert_eq!(
        groups(&statics),
        [vec![], vec!["static_alpha", "static_beta"]]
    );
}

/// Trainers that go by the names of norms and biases let the parameters of DeepSeek-V4 decay, and so
/// do its connections unless told not to.
#[test]
fn norms_biases_scales_and_static_parts_of_no_connection_decay() {
    let without_decay = MhcV4Config {
        decay: false,
        ..MhcV4Config::default()
    };
    let all = ConnectionConfig::all()
        .into_iter()
        .map(|config| match config {
            ConnectionConfig::MhcV4(_) => ConnectionConfig::MhcV4(without_decay.clone()),
            ConnectionConfig::SinglePassMhc(_) => {
                ConnectionConfig::SinglePassMhc(SinglePassMhcConfig(without_decay.clone()))
            }
            other => other,
        });
    for config in all {
        let params = connection(&config);
        for name in &groups(&params)[0] {
            let never = ["norm", "bias", "base", "scale", "static"];
            assert!(
                !never.iter().any(|part| name.contains(part)),
                "{}: {name} decays",
                config.spec().label()
            );
        }
    }
}

#[test]
fn scale_and_base_of_deepseek_v4_decay_by_default() {
    let params = connection(&ConnectionConfig::MhcV4(MhcV4Config::default()));
    assert_eq!(groups(&params), [vec!["base", "fn", "scale"], vec![]]);
}

#[test]
fn weights_of_layers_decay_and_their_norms_do_not() {
    let norm = NormConfig::default();
    let mut b = Builder::new(Key::new(0));
    let attention = AttentionConfig {
        dim: DIM,
        heads: 2,
        causal: true,
        qk_norm: Some(norm),
        init: init(),
        output_init: init(),
    };
    Attention::new(&mut b, "attn", &attention, None);
    FeedForward::swiglu(&mut b, "ffn", (DIM, 24), &init(), init());
    MixtureOfExperts::new(&mut b, "moe", DIM, &MoeConfig::default(), &init(), init());
    Norm::new(&mut b, "final_norm", norm, DIM);
    assert_eq!(
        groups(&b.finish()),
        [
            vec![
                "attn.k.weight",
                "attn.o.weight",
                "attn.q.weight",
                "attn.v.weight",
                "ffn.down.weight",
                "ffn.gate.weight",
                "ffn.up.weight",
                "moe.experts.down.weight",
                "moe.experts.gate.weight",
                "moe.experts.up.weight",
                "moe.router.weight"
            ],
            vec![
                "attn.k_norm.weight",
                "attn.q_norm.weight",
                "final_norm.bias",
                "final_norm.weight"
            ]
        ]
    );
}
