//! Settings to begin with: which network, at which size, on what data.
//!
//! One list for every command. `train` takes a preset by its name, an ablation by its size,
//! since the body is the ablation's business.

use crate::config::{Layers, RunConfig};

/// What the network of a preset is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// A decoder of text.
    Decoder,
    /// A decoder with mixtures of experts in place of the feed-forward layers.
    Experts,
    /// A vision transformer.
    Vision,
    /// A diffusion transformer.
    Diffusion,
}

impl Body {
    /// What the names of its presets begin with.
    fn prefix(self) -> &'static str {
        match self {
            Self::Decoder => "",
            Self::Experts => "moe-",
            Self::Vision => "vit-",
            Self::Diffusion => "dit-",
        }
    }
}

/// A network at one size, with the settings of its training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Preset {
    /// What kind of network.
    pub body: Body,
    /// Its name among those of its body.
    pub size: &'static str,
    /// What it is for.
    pub about: &'static str,
    /// An ablation runs seeds 0 to `seeds - 1`.
    pub seeds: u64,
    /// Groups of `key=value` settings over the defaults, later ones over earlier ones.
    settings: &'static [&'static [&'static str]],
}

impl Preset {
    /// The preset with this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        PRESETS.iter().find(|preset| preset.name() == name)
    }

    /// The presets of a body, smallest first.
    pub fn of(body: Body) -> impl Iterator<Item = &'static Self> {
        PRESETS.iter().filter(move |preset| preset.body == body)
    }

    /// `small`, `vit-small`.
    pub fn name(&self) -> String {
        format!("{}{}", self.body.prefix(), self.size)
    }

    /// The seeds of an ablation.
    pub fn usual_seeds(&self) -> Vec<u64> {
        (0..self.seeds).collect()
    }

    /// The whole configuration.
    ///
    /// # Panics
    /// If it cannot be built, which a test excludes.
    pub fn config(&self) -> RunConfig {
        let layers = Layers::defaults().set(&self.settings());
        let config = layers.and_then(Layers::resolve);
        config.expect("every preset can be built")
    }

    /// `key=value` settings over the defaults; of two for one key the later one counts.
    pub fn settings(&self) -> Vec<&'static str> {
        self.settings.concat()
    }
}

const SMOKE: &[&str] = &[
    "model.dim=32",
    "model.layers=2",
    "model.heads=2",
    "model.seq=32",
    "model.ffn.hidden=88",
    "train.steps=200",
    "train.batch=8",
    "train.micro_batch=4",
    "train.shards=2",
    "train.learning_rate=3e-3",
    "train.warmup=20",
    "train.eval_every=40",
    "train.eval_batches=8",
];

const SMALL: &[&str] = &[
    "model.dim=64",
    "model.layers=8",
    "model.heads=4",
    "model.seq=64",
    "model.ffn.hidden=176",
    "train.steps=800",
    "train.batch=16",
    "train.micro_batch=4",
    "train.shards=2",
    "train.learning_rate=3e-3",
    "train.warmup=60",
    "train.eval_every=100",
    "train.eval_batches=24",
];

const MEDIUM: &[&str] = &[
    "model.dim=128",
    "model.layers=8",
    "model.heads=4",
    "model.seq=128",
    "model.ffn.hidden=344",
    "train.steps=2000",
    "train.batch=16",
    "train.micro_batch=2",
    "train.shards=4",
    "train.learning_rate=2e-3",
    "train.warmup=120",
    "train.eval_every=250",
    "train.eval_batches=32",
];

const LARGE: &[&str] = &[
    "model.dim=256",
    "model.layers=12",
    "model.heads=8",
    "model.seq=256",
    "model.ffn.hidden=688",
    "train.steps=4000",
    "train.batch=16",
    "train.micro_batch=1",
    "train.shards=8",
    "train.learning_rate=1e-3",
    "train.warmup=200",
    "train.eval_every=500",
    "train.eval_batches=32",
];

/// nanoGPT's `train_shakespeare_char` for CPUs: 4 layers, 4 heads, width 128, block 64, batch
/// 12, 2000 steps; its network is a GPT-2, with gelu and layer norm.
const NANOGPT: &[&str] = &[
    "model.dim=128",
    "model.layers=4",
    "model.heads=4",
    "model.seq=64",
    "model.ffn.type=gelu",
    "model.ffn.hidden=512",
    "optim.beta2=0.99",
    "train.steps=2000",
    "train.batch=12",
    "train.micro_batch=3",
    "train.learning_rate=1e-3",
    "train.final_fraction=0.1",
    "train.warmup=100",
    "train.eval_every=250",
    "train.eval_batches=20",
];

/// The body of OLMoE (Muennighoff et al., 2024): RMS norm, norm of queries and keys, experts
/// of which the chosen ones are together as wide as the feed-forward layer they replace.
const EXPERTS: &[&str] = &[
    "model.norm.type=rmsnorm",
    "model.qk_norm=true",
    "model.ffn.type=moe",
    "model.ffn.experts=8",
    "model.ffn.top_k=2",
];

/// The paper's Table 12, scaled down: AdamW with (0.9, 0.999), weight decay 0.3, dropout 0.1,
/// Mixup 0.2, cosine with warm-up, clipping at 1.
const VISION: &[&str] = &[
    "model.type=vit",
    "data.mixup=0.2",
    "optim.beta2=0.999",
    "optim.weight_decay=0.3",
    "train.batch=64",
    "train.micro_batch=8",
    "train.learning_rate=3e-3",
    "train.final_fraction=0",
];

/// DiT's recipe (Peebles and Xie, ICCV 2023), scaled down: AdamW with (0.9, 0.999), no decay.
/// In place of a constant rate and an average of the weights, the rate falls to zero. Small
/// batches: for the same number of images many steps see noise better than few.
const DIFFUSION: &[&str] = &[
    "model.type=dit",
    "optim.beta2=0.999",
    "optim.weight_decay=0",
    "train.batch=16",
    "train.micro_batch=8",
    "train.shards=2",
    "train.learning_rate=5e-3",
    "train.final_fraction=0",
];

/// What makes either of them small.
const IMAGES_SMOKE: &[&str] = &[
    "model.dim=32",
    "model.layers=2",
    "model.heads=2",
    "model.ffn.hidden=64",
    "train.steps=60",
    "train.warmup=6",
    "train.eval_every=20",
];

/// Every preset, by body, smallest first.
pub const PRESETS: &[Preset] = &[
    Preset {
        body: Body::Decoder,
        size: "smoke",
        about: "does everything work? Too short for any result",
        seeds: 3,
        settings: &[SMOKE],
    },
    Preset {
        body: Body::Decoder,
        size: "small",
        about: "ten minutes on two cores",
        seeds: 5,
        settings: &[SMALL],
    },
    Preset {
        body: Body::Decoder,
        size: "medium",
        about: "a few hours on two cores",
        seeds: 5,
        settings: &[MEDIUM],
    },
    Preset {
        body: Body::Decoder,
        size: "large",
        about: "overnight on eight cores",
        seeds: 5,
        settings: &[LARGE],
    },
    Preset {
        body: Body::Decoder,
        size: "nanogpt",
        about: "nanoGPT's recipe for CPUs",
        seeds: 3,
        settings: &[NANOGPT],
    },
    Preset {
        body: Body::Experts,
        size: "smoke",
        about: "does everything work? Too short for any result",
        seeds: 3,
        settings: &[SMOKE, EXPERTS, &["model.ffn.hidden=44"]],
    },
    Preset {
        body: Body::Experts,
        size: "small",
        about: "ten minutes on two cores",
        seeds: 5,
        settings: &[SMALL, EXPERTS, &["model.ffn.hidden=88"]],
    },
    Preset {
        body: Body::Experts,
        size: "medium",
        about: "a night on two cores",
        seeds: 5,
        settings: &[MEDIUM, EXPERTS, &["model.ffn.hidden=172"]],
    },
    Preset {
        body: Body::Vision,
        size: "smoke",
        about: "does everything work? Too short for any result",
        seeds: 3,
        settings: &[VISION, IMAGES_SMOKE],
    },
    Preset {
        body: Body::Vision,
        size: "small",
        about: "quarter of an hour on two cores",
        seeds: 5,
        settings: &[
            VISION,
            &[
                "train.steps=1500",
                "train.warmup=150",
                "train.eval_every=500",
            ],
        ],
    },
    Preset {
        body: Body::Vision,
        size: "medium",
        about: "a night on two cores",
        seeds: 5,
        settings: &[
            VISION,
            &[
                "model.dim=128",
                "model.layers=6",
                "model.ffn.hidden=512",
                "train.steps=6000",
                "train.warmup=600",
                "train.eval_every=1000",
            ],
        ],
    },
    Preset {
        body: Body::Diffusion,
        size: "smoke",
        about: "does everything work? Too short for any result",
        seeds: 3,
        settings: &[DIFFUSION, IMAGES_SMOKE],
    },
    Preset {
        body: Body::Diffusion,
        size: "small",
        about: "an hour on two cores; its drawings begin to look like their class",
        seeds: 5,
        settings: &[
            DIFFUSION,
            &[
                "train.steps=12000",
                "train.warmup=500",
                "train.eval_every=2000",
            ],
        ],
    },
    Preset {
        body: Body::Diffusion,
        size: "medium",
        about: "a night on two cores",
        seeds: 5,
        settings: &[
            DIFFUSION,
            &[
                "model.dim=128",
                "model.layers=6",
                "model.ffn.hidden=512",
                "train.learning_rate=2e-3",
                "train.steps=40000",
                "train.warmup=1000",
                "train.eval_every=5000",
            ],
        ],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_found_by_its_name_and_can_be_built() {
        for preset in PRESETS {
            assert_eq!(Preset::named(&preset.name()), Some(preset));
            preset.config();
        }
    }

    #[test]
    fn a_new_run_is_refused_what_was_chosen_wrongly_and_told_what_follows() {
        let smoke = Preset::named("smoke").expect("a preset").config();
        let check = |overrides: &[&str]| {
            let config = smoke.with_overrides(overrides).expect("it can be built");
            let checked = config.check_new(&smoke);
            checked.map_err(|error| error.to_string())
        };
        assert_eq!(check(&[]), Ok(None));
        assert_eq!(check(&["train.warmup=200"]), Ok(None));
        let error = check(&["train.warmup=201"]).expect_err("longer than the run");
        assert!(error.starts_with("train.warmup is 201, longer than the run, train.steps 200"));
        let remark = check(&["train.steps=5"]).expect("it can be begun");
        let remark = remark.expect("a remark");
        assert!(
            remark.ends_with("reach 25 % of train.learning_rate only"),
            "{remark}"
        );
        let error = check(&["train.eval_every=0"]).expect_err("no validation");
        assert!(error.contains("train.eval_every=200 validates after the last step"));
    }
}
