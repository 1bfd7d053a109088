//! The diffusion transformer (Peebles and Xie, Scalable Diffusion Models with Transformers,
//! ICCV 2023), on pixels.
//!
//! A noisy image, its timestep and its class in, the noise out:
//!
//! ```text
//! x = patches of the image W + b + fixed positions
//! c = silu(mlp(sinusoids of t) + embedding of the class)
//! x = blocks of attention and feed-forward, each sublayer under adaLN-Zero of c
//! eps = head(norm(x) ∘ (1 + scale(c)) + shift(c))
//! ```
//!
//! The modulations and the head start at zero: at first the network predicts no noise at
//! all, and its loss is the variance of the noise, 1. A class is left out with probability
//! `label_dropout` in training (class number `classes` stands for none), which makes guidance
//! possible. Variances are not learned.
//!
//! A hyper-connection takes the whole modulated sublayer for its `T`: norm, shift, scale, layer
//! and gate lie between its read and its write.

use crate::{
    accounting::{Ends, Flops},
    block::{Trunk, TrunkConfig},
    config::{self, ConfigError, FfnConfig},
    loss::Loss,
    network::{Network, Objective},
};
use engine::{
    ops::{add_to_each, embedding, mean, silu},
    params::{Builder, Decay, Init, ParamId, Params},
    rng::Key,
    tape::{Tape, Var},
};
use nn::{
    ada_ln::ShiftScale,
    connection::{Connection, ConnectionConfig},
    diffusion::NoiseConfig,
    linear::Linear,
    moe::RouterLosses,
    norm::NormConfig,
    patch_embed::{PatchEmbed, Patches, patches},
    settings,
    sinusoid::{positions_2d, sinusoids},
};

settings! {
    /// A class-conditional denoiser of square images: fixed positions, no biases but those of the
    /// patch embedding, the embedding of timesteps, the modulations and the head.
    pub struct DitConfig {
        /// The side of an image.
        pub image: usize = 28,
        /// Channels of an image.
        pub channels: usize = 1,
        /// The side of a patch; it divides that of the image.
        pub patch: usize = 4,
        /// Number of classes, "no class" not counted.
        pub classes: usize = 10,
        /// The width of the network, a multiple of 4.
        pub dim: usize = 64,
        /// Blocks of attention and feed-forward, two sublayers each.
        pub layers: usize = 4,
        /// Attention heads; they share the width.
        pub heads: usize = 4,
        /// RMS norm of whole q and k vectors before the split into heads, as in Table 10 of the
        /// hyper-connections paper; the original DiT has none.
        pub qk_norm: bool = true,
        /// Sinusoids of a timestep.
        pub timestep_features: usize = 64,
        /// The probability that training leaves out the class of an image.
        pub label_dropout: f64 = 0.1,
        /// Noise of images, in training and in sampling.
        pub noise: NoiseConfig = NoiseConfig::default(),
        /// The standard deviation of the initial weights; the default is about that of
        /// Glorot's rule for the default width.
        pub init_std: f32 = 0.1,
        /// Norms of sublayers, and the last one; none has parameters.
        pub norm: NormConfig = NormConfig::default(),
        /// The feed-forward layers.
        pub ffn: FfnConfig = FfnConfig::Gelu { hidden: 256 },
        /// Configuration of the connections, which carry the hidden state past each sublayer.
        pub connection: ConnectionConfig = ConnectionConfig::default(),
    }
}

impl DitConfig {
    /// The sizes of an image and its patches.
    pub fn patches(&self) -> Patches {
        Patches {
            channels: self.channels,
            image: self.image,
            patch: self.patch,
        }
    }

    /// The number that stands for no class.
    pub fn no_class(&self) -> u32 {
        self.classes as u32
    }
}

impl Network for DitConfig {
    fn kind(&self) -> &'static str {
        "dit"
    }

    fn validate(&self) -> Result<(), ConfigError> {
        config::countable(self.rough_parameters())?;
        config::sizes(&[
            ("classes", self.classes),
            ("timestep_features", self.timestep_features),
        ])?;
        config::image(self.image, self.channels, self.patch)?;
        self.trunk().validate()?;
        if !self.dim.is_multiple_of(4) {
            return config::fail(format!(
                "dim {} is not divisible by 4: positions are sines and cosines of rows and \
                 columns",
                self.dim
            ));
        }
        if !self.timestep_features.is_multiple_of(2) {
            return config::fail(format!(
                "timestep_features is {}, expected an even number: sines and cosines",
                self.timestep_features
            ));
        }
        if !(0.0..=1.0).contains(&self.label_dropout) {
            return config::fail(format!(
                "label_dropout is {}, expected a probability",
                self.label_dropout
            ));
        }
        if let Err(message) = self.noise.validate() {
            return config::fail(format!("noise.{message}"));
        }
        Ok(())
    }

    fn objective(&self) -> Objective {
        Objective::Noise(self.patches())
    }

    fn tokens(&self) -> usize {
        self.patches().count()
    }

    fn trunk(&self) -> TrunkConfig<'_> {
        TrunkConfig {
            dim: self.dim,
            layers: self.layers,
            heads: self.heads,
            causal: false,
            rotary: None,
            qk_norm: self.qk_norm,
            conditioned: true,
            dropout: 0.0,
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
        let pixels = 2.0 * self.channels as f64 * patch * patch;
        let condition = self.timestep_features as f64 + self.classes as f64 + 3.0 * self.dim as f64;
        let ends = pixels + side * side + condition;
        self.trunk().rough_parameters() + ends * self.dim as f64
    }

    fn ends(&self) -> Ends {
        let (dim, patches) = (self.dim, self.patches());
        let (tokens, width, features) = (patches.count(), patches.width(), self.timestep_features);
        let sublayers = self.sublayers();
        let condition = 2 * dim * (features + dim + 3 * dim * sublayers + 2 * dim);
        // Image and noise, each whole and in patches; the projection, with positions; shift and
        // scale of the last norm; the prediction, its error and the square of that.
        let around = 4 * width + 3 * dim + 3 * width;
        // Of a sublayer: its input shifted and scaled, its output gated. Of an image: the
        // sinusoids, six vectors on the way to the condition, and what it is turned into.
        let of_image = features + 6 * dim + 3 * dim * sublayers + 2 * dim;
        Ends {
            flops: Flops {
                head: (2 * dim * width) as u64,
                embedding: (2 * width * dim) as u64,
                conditioning: (condition / tokens) as u64,
                ..Flops::default()
            },
            saved: around + 2 * dim * sublayers + of_image / tokens,
        }
    }

    fn connection(&self) -> &ConnectionConfig {
        &self.connection
    }

    fn ffn_mut(&mut self) -> &mut FfnConfig {
        &mut self.ffn
    }

    fn register(&self, b: &mut Builder) -> Trunk {
        Dit::build(self, b).trunk
    }
}

/// A diffusion transformer.
#[derive(Debug)]
pub struct Dit {
    config: DitConfig,
    patch_embed: PatchEmbed,
    positions: Vec<f32>,
    timestep_mlp: [Linear; 2],
    class_embed: ParamId,
    trunk: Trunk,
    final_modulation: ShiftScale,
    head: Linear,
}

/// Noisy images `[batch, channels, side, side]`, and of each its timestep (from 1 to T) and
/// its class (`classes` for none).
#[derive(Clone, Copy, Debug)]
pub struct Noisy<'a> {
    /// The images.
    pub images: &'a [f32],
    /// Their timesteps.
    pub timesteps: &'a [u32],
    /// Their classes.
    pub classes: &'a [u32],
}

impl Dit {
    /// Builds the network and its initial parameters from a key. Weights that two
    /// configurations share by name start the same.
    ///
    /// # Errors
    /// As [`DitConfig::validate`].
    pub fn new(config: &DitConfig, key: Key) -> Result<(Self, Params), ConfigError> {
        config.validate()?;
        let mut b = Builder::new(key);
        let model = Self::build(config, &mut b);
        Ok((model, b.finish()))
    }

    fn build(config: &DitConfig, b: &mut Builder) -> Self {
        let dim = config.dim;
        let init = Init::Normal {
            std: config.init_std,
        };
        let patch_embed = PatchEmbed::new(b, "patch_embed", config.patches(), dim, init.clone());
        let timestep_mlp = b.scope("timestep_mlp", |b| {
            [("up", config.timestep_features), ("down", dim)]
                .map(|(name, inputs)| Linear::with_bias(b, name, inputs, dim, init.clone()))
        });
        let classes = [config.classes + 1, dim];
        let class_embed = b.param("class_embed.weight", classes, Decay::Yes, init);
        Self {
            config: config.clone(),
            patch_embed,
            positions: match b.holds_values() {
                true => positions_2d(config.image / config.patch, dim),
                false => Vec::new(),
            },
            timestep_mlp,
            class_embed,
            trunk: Trunk::new(&config.trunk(), b),
            final_modulation: ShiftScale::new(b, "final_modulation", dim),
            head: Linear::with_bias(b, "head", dim, config.patches().width(), Init::Zeros),
        }
    }

    /// The configuration it was built from.
    pub fn config(&self) -> &DitConfig {
        &self.config
    }

    /// The noise in the images as the network sees it, `[batch, patches, width]`;
    /// [`Patches::join`] makes images of it.
    ///
    /// # Panics
    /// If the images are not of the configuration's sizes, or there are not as many timesteps
    /// and classes.
    #[track_caller]
    pub fn noise<'t>(&self, tape: &'t Tape, noisy: Noisy<'_>) -> Var<'t> {
        self.forward(tape, noisy).0
    }

    /// The mean squared error of the predicted noise, over all pixels and images.
    #[track_caller]
    pub fn losses<'t>(&self, tape: &'t Tape, noisy: Noisy<'_>, noise: &[f32]) -> Loss<'t> {
        let (predicted, router) = self.forward(tape, noisy);
        let sizes = self.config.patches();
        let noise = tape.constant(sizes.batch(noise.len()), noise);
        let error = predicted - patches(noise, sizes);
        Loss::new(predicted, mean(error * error), router)
    }

    /// The connections in the order of their sublayers.
    pub fn connections(&self) -> impl Iterator<Item = &dyn Connection> {
        self.trunk.connections()
    }

    #[track_caller]
    fn forward<'t>(&self, tape: &'t Tape, noisy: Noisy<'_>) -> (Var<'t>, Option<RouterLosses<'t>>) {
        let config = &self.config;
        let sizes = config.patches();
        let images = tape.constant(sizes.batch(noisy.images.len()), noisy.images);
        let positions = [sizes.count(), config.dim];
        let positions = tape.constant(positions, &self.positions);
        let x = add_to_each(self.patch_embed.forward(images), positions);
        let condition = self.condition(tape, noisy);
        let (x, router) = self.trunk.forward(x, Some(condition));
        let x = self.final_modulation.forward(x, condition);
        (self.head.forward(x), router)
    }

    /// Condition that modulates every sublayer, `[batch, dim]`.
    #[track_caller]
    fn condition<'t>(&self, tape: &'t Tape, noisy: Noisy<'_>) -> Var<'t> {
        let [up, down] = &self.timestep_mlp;
        let features = sinusoids(tape, noisy.timesteps, self.config.timestep_features);
        let timestep = down.forward(silu(up.forward(features)));
        let table = tape.param(self.class_embed);
        silu(timestep + embedding(table, noisy.classes, [noisy.classes.len()]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_shapes_are_named() {
        let message = |change: fn(&mut DitConfig)| {
            let mut config = DitConfig::default();
            change(&mut config);
            let error = config.validate().expect_err("an impossible shape");
            error.to_string()
        };
        assert!(DitConfig::default().validate().is_ok());
        assert!(message(|c| c.patch = 5).contains("image 28 is not divisible by patch 5"));
        assert!(message(|c| c.heads = 3).contains("dim 64 is not divisible by heads 3"));
        assert!(message(|c| (c.dim, c.heads) = (6, 2)).contains("dim 6 is not divisible by 4"));
        assert!(message(|c| c.timestep_features = 7).contains("timestep_features is 7"));
        assert!(message(|c| c.label_dropout = 1.5).contains("label_dropout is 1.5"));
        assert!(message(|c| c.noise.timesteps = 1).contains("noise.timesteps is 1"));
    }
}
