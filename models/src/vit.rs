//! The vision transformer (Dosovitskiy et al., ICLR 2021).

use crate::{
    accounting::{Ends, Flops},
    block::{Trunk, TrunkConfig},
    config::{self, ConfigError, FfnConfig},
    loss::Loss,
    network::{Network, Objective},
};
use engine::{
    ops::{
        add_to_each, cross_entropy, dropout, first_token, mean_of_tokens, prepend_token,
        soft_cross_entropy,
    },
    params::{Builder, Decay, Init, ParamId, Params},
    rng::Key,
    tape::{Tape, Var},
};
use nn::{
    connection::{Connection, ConnectionConfig},
    linear::Linear,
    moe::RouterLosses,
    norm::NormConfig,
    patch_embed::{PatchEmbed, Patches},
    settings, words,
};
use serde::{Deserialize, Serialize};

/// Where the vector of an image comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pool {
    /// From a learned token before the patches.
    Cls,
    /// From the mean of the patches, after the final norm.
    Mean,
}

words!(Pool);

settings! {
    /// A classifier of square images: patches, learned positions, no biases but those of the
    /// patch embedding, the head and the norms.
    pub struct VitConfig {
        /// The side of an image.
        pub image: usize = 28,
        /// Channels of an image.
        pub channels: usize = 1,
        /// The side of a patch; it divides that of the image.
        pub patch: usize = 4,
        /// Number of classes.
        pub classes: usize = 10,
        /// The width of the network.
        pub dim: usize = 64,
        /// Blocks of attention and feed-forward, two sublayers each.
        pub layers: usize = 4,
        /// Attention heads; they share the width.
        pub heads: usize = 4,
        /// Where the vector of an image comes from.
        pub pool: Pool = Pool::Cls,
        /// RMS norm of whole q and k vectors before the split into heads.
        pub qk_norm: bool = false,
        /// The probability of dropping an element of the embedding or of a sublayer's
        /// output in training.
        pub dropout: f32 = 0.1,
        /// The standard deviation of the initial weights; the default is about that of
        /// Glorot's rule for the default width. Much smaller ones start slowly.
        pub init_std: f32 = 0.1,
        /// True if the class token and the positions decay; in timm they do not. Not written back
        /// when on: runs from before it go on.
        #[serde(skip_serializing_if = "is_on")]
        pub decay_embeddings: bool = true,
        /// Norms of sublayers, and the last one.
        pub norm: NormConfig = NormConfig::default(),
        /// The feed-forward layers.
        pub ffn: FfnConfig = FfnConfig::Gelu { hidden: 256 },
        /// Configuration of the connections, which carry the hidden state past each sublayer.
        pub connection: ConnectionConfig = ConnectionConfig::default(),
    }
}

fn is_on(setting: &bool) -> bool {
    *setting
}

impl VitConfig {
    /// The sizes of an image and its patches.
    pub fn patches(&self) -> Patches {
        Patches {
            channels: self.channels,
            image: self.image,
            patch: self.patch,
        }
    }
}

impl Network for VitConfig {
    fn kind(&self) -> &'static str {
        "vit"
    }

    fn validate(&self) -> Result<(), ConfigError> {
        config::countable(self.rough_parameters())?;
        config::sizes(&[("classes", self.classes)])?;
        config::image(self.image, self.channels, self.patch)?;
        self.trunk().validate()?;
        if !(0.0..1.0).contains(&self.dropout) {
            return config::fail(format!(
                "dropout is {}, expected a probability below 1",
                self.dropout
            ));
        }
        Ok(())
    }

    fn objective(&self) -> Objective {
        Objective::Class(self.patches())
    }

    /// The patches, and the class token if there is one.
    fn tokens(&self) -> usize {
        self.patches().count() + usize::from(self.pool == Pool::Cls)
    }

    fn trunk(&self) -> TrunkConfig<'_> {
        TrunkConfig {
            dim: self.dim,
            layers: self.layers,
            heads: self.heads,
            causal: false,
            rotary: None,
            qk_norm: self.qk_norm,
            conditioned: false,
            dropout: self.dropout,
            init_std: self.init_std,
            norm: self.norm,
            ffn: &self.ffn,
            connection: self.connection.spec(),
        }
    }

    fn rough_parameters(&self) -> f64 {
        let (patch, side) = (
            self.patch as f64,
            self.image as f64 / self.patch.max(1) as f64,
        );
        let ends = self.channels as f64 * patch * patch + side * side + self.classes as f64;
        self.trunk().rough_parameters() + ends * self.dim as f64
    }

    fn ends(&self) -> Ends {
        let (dim, tokens, patches) = (self.dim, self.tokens(), self.patches());
        let embedding = 2 * patches.width() * dim * patches.count();
        let masks = if self.dropout > 0.0 { 2 * dim } else { 0 };
        Ends {
            flops: Flops {
                head: (2 * dim * self.classes / tokens) as u64,
                embedding: (embedding / tokens) as u64,
                ..Flops::default()
            },
            // Pixels twice, the projection, with the class token, with positions, and where there
            // is dropout its masks, here and in every sublayer.
            saved: 2 * patches.width() + 3 * dim + masks * (1 + 2 * self.layers),
        }
    }

    fn connection(&self) -> &ConnectionConfig {
        &self.connection
    }

    fn ffn_mut(&mut self) -> &mut FfnConfig {
        &mut self.ffn
    }

    fn register(&self, b: &mut Builder) -> Trunk {
        Vit::build(self, b).trunk
    }
}

/// A vision transformer (Dosovitskiy et al., ICLR 2021): patches of `[batch, channels, side,
/// side]` as tokens with learned positions, blocks without a causal mask, final norm, a class
/// token or the mean of the tokens, and a head: logits `[batch, classes]`.
#[derive(Debug)]
pub struct Vit {
    config: VitConfig,
    patch_embed: PatchEmbed,
    cls_token: Option<ParamId>,
    pos_embed: ParamId,
    trunk: Trunk,
    head: Linear,
}

impl Vit {
    /// Builds the network and its initial parameters from a key. Weights that two
    /// configurations share by name start the same.
    ///
    /// # Errors
    /// If the configuration cannot be built.
    pub fn new(config: &VitConfig, key: Key) -> Result<(Self, Params), ConfigError> {
        config.validate()?;
        let mut b = Builder::new(key);
        let model = Self::build(config, &mut b);
        Ok((model, b.finish()))
    }

    fn build(config: &VitConfig, b: &mut Builder) -> Self {
        let dim = config.dim;
        let init = Init::Normal {
            std: config.init_std,
        };
        let patch_embed = PatchEmbed::new(b, "patch_embed", config.patches(), dim, init.clone());
        let decay = match config.decay_embeddings {
            true => Decay::Yes,
            false => Decay::No,
        };
        let cls_token =
            (config.pool == Pool::Cls).then(|| b.param("cls_token", [dim], decay, init.clone()));
        let positions = [config.tokens(), dim];
        let pos_embed = b.param("pos_embed", positions, decay, init.clone());
        Self {
            config: config.clone(),
            patch_embed,
            cls_token,
            pos_embed,
            trunk: Trunk::new(&config.trunk(), b),
            head: Linear::with_bias(b, "head", dim, config.classes, init),
        }
    }

    /// The configuration it was built from.
    pub fn config(&self) -> &VitConfig {
        &self.config
    }

    /// Logits `[batch, classes]` of images `[batch, channels, side, side]`.
    ///
    /// # Panics
    /// If the images are not of the configuration's sizes.
    #[track_caller]
    pub fn logits<'t>(&self, tape: &'t Tape, images: &[f32]) -> Var<'t> {
        self.forward(tape, images).0
    }

    /// The mean loss in nats per image of predicting `labels`.
    #[track_caller]
    pub fn losses<'t>(&self, tape: &'t Tape, images: &[f32], labels: &[u32]) -> Loss<'t> {
        let (logits, router) = self.forward(tape, images);
        Loss::new(logits, cross_entropy(logits, labels), router)
    }

    /// As [`Vit::losses`], with a distribution over the classes for each image.
    #[track_caller]
    pub fn soft_losses<'t>(&self, tape: &'t Tape, images: &[f32], targets: &[f32]) -> Loss<'t> {
        let (logits, router) = self.forward(tape, images);
        Loss::new(logits, soft_cross_entropy(logits, targets), router)
    }

    /// The connections in the order of their sublayers.
    pub fn connections(&self) -> impl Iterator<Item = &dyn Connection> {
        self.trunk.connections()
    }

    #[track_caller]
    fn forward<'t>(&self, tape: &'t Tape, images: &[f32]) -> (Var<'t>, Option<RouterLosses<'t>>) {
        let config = &self.config;
        let shape = config.patches().batch(images.len());
        let mut x = self.patch_embed.forward(tape.constant(shape, images));
        if let Some(token) = self.cls_token {
            x = prepend_token(x, tape.param(token));
        }
        x = add_to_each(x, tape.param(self.pos_embed));
        x = dropout(x, config.dropout, "embedding");
        let (x, router) = self.trunk.forward(x, None);
        let pooled = match config.pool {
            Pool::Cls => first_token(x),
            Pool::Mean => mean_of_tokens(x),
        };
        (self.head.forward(pooled), router)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::tape::Noise;

    fn small(pool: Pool) -> VitConfig {
        VitConfig {
            image: 8,
            channels: 2,
            patch: 4,
            classes: 3,
            dim: 16,
            layers: 2,
            heads: 2,
            pool,
            ffn: FfnConfig::Gelu { hidden: 24 },
            ..VitConfig::default()
        }
    }

    fn images(count: usize) -> Vec<f32> {
        (0..count * 128).map(|i| (i as f32 * 0.37).sin()).collect()
    }

    #[test]
    fn class_token_and_positions_decay_unless_they_are_not_to() {
        for decays in [true, false] {
            let config = VitConfig {
                decay_embeddings: decays,
                ..small(Pool::Cls)
            };
            let (_, params) = Vit::new(&config, Key::new(3)).expect("a network");
            let decay = |name: &str| {
                let found = params.iter().find(|(_, param)| param.name == name);
                found.expect(name).1.decay == Decay::Yes
            };
            for name in ["cls_token", "pos_embed"] {
                assert_eq!(decay(name), decays, "{name}");
            }
            assert!(decay("head.weight") && !decay("head.bias"));
        }
    }

    #[test]
    fn an_image_is_classified_alike_whatever_the_batch() {
        for pool in [Pool::Cls, Pool::Mean] {
            let (model, params) = Vit::new(&small(pool), Key::new(3)).expect("a network");
            let images = images(3);
            let tape = Tape::new();
            tape.bind(&params);
            let all = model.logits(&tape, &images).value();
            let second = model.logits(&tape, &images[128..256]).value();
            for (a, b) in all[3..6].iter().zip(&second) {
                assert!((a - b).abs() < 1e-6, "{a} and {b}");
            }
            assert_ne!(all[..3], all[3..6]);
        }
    }

    #[test]
    fn dropout_acts_in_training_only() {
        let (model, params) = Vit::new(&small(Pool::Cls), Key::new(3)).expect("a network");
        let logits = |noise: Option<u64>| {
            let tape = Tape::new();
            tape.bind(&params);
            tape.set_noise(noise.map(|seed| Noise {
                key: Key::new(seed),
                first_sequence: 0,
            }));
            model.logits(&tape, &images(2)).value()
        };
        assert_eq!(logits(None), logits(None));
        assert_eq!(logits(Some(1)), logits(Some(1)));
        assert_ne!(logits(Some(1)), logits(Some(2)));
        assert_ne!(logits(Some(1)), logits(None));
    }

    #[test]
    fn impossible_shapes_are_named() {
        let message = |change: fn(&mut VitConfig)| {
            let mut config = VitConfig::default();
            change(&mut config);
            config
                .validate()
                .expect_err("an impossible shape")
                .to_string()
        };
        assert!(VitConfig::default().validate().is_ok());
        assert!(message(|c| c.patch = 5).contains("image 28 is not divisible by patch 5"));
        assert!(message(|c| c.heads = 3).contains("dim 64 is not divisible by heads 3"));
        assert!(message(|c| c.dropout = 1.0).contains("dropout is 1"));
    }
}
