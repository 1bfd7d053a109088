//! The settings that the members of the family have in common.

use super::kernels::{Gates, Rule};
use crate::connection::{Expansion, PredictorNorm, Reduction, Site, check_streams, expect_number};
use engine::params::Init;
use serde::{Deserialize, Serialize};

/// The start of a constrained connection with biases. The mHC paper publishes `alpha = 0.01` only;
/// its biases and projections are what others have chosen since. k is the number of the
/// sublayer, n the rate; "off" is every logit of the mix that takes from the identity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConstrainedInit {
    /// The released code of mHC-lite and KromHC: phi 0; `b_pre` and `b_post` 1 at stream k
    /// mod n and -1 elsewhere; `b_res` 0 for the identity and -8 off. The mix then starts
    /// saturated and hardly learns in short runs. (Their code samples the stream unless
    /// it is told the layer.)
    MhcLiteCode,
    /// hyper-connection-factory: phi normal with standard deviation 0.02, all biases 0:
    /// uniform reads and, where the rule allows, uniform mixing.
    FactoryCode,
    /// A home stream: phi 0, `b_pre` 3 at stream k mod n and -3 elsewhere, `b_post` 0 (the
    /// write is 1), `b_res` 3 for the identity and -3 off (6 I - 3).
    HomeStream,
    /// As `mhc_lite_code` with -2 instead of -8: a mix that is free to learn.
    #[default]
    Mild,
}

words!(ConstrainedInit);

impl ConstrainedInit {
    pub(super) fn phi(self) -> Init {
        match self {
            Self::FactoryCode => Init::Normal { std: 0.02 },
            _ => Init::Zeros,
        }
    }

    /// At the stream of the sublayer, and elsewhere.
    pub(super) fn read_bias(self) -> [f32; 2] {
        match self {
            Self::MhcLiteCode | Self::Mild => [1.0, -1.0],
            Self::FactoryCode => [0.0, 0.0],
            Self::HomeStream => [3.0, -3.0],
        }
    }

    pub(super) fn write_bias(self) -> [f32; 2] {
        match self {
            Self::MhcLiteCode | Self::Mild => [1.0, -1.0],
            Self::FactoryCode | Self::HomeStream => [0.0, 0.0],
        }
    }

    /// For the identity, and off.
    pub(super) fn mix_bias(self) -> [f32; 2] {
        match self {
            Self::MhcLiteCode => [0.0, -8.0],
            Self::FactoryCode => [0.0, 0.0],
            Self::HomeStream => [3.0, -3.0],
            Self::Mild => [0.0, -2.0],
        }
    }
}

/// An eps below any mean square: a norm with it removes every factor.
const NEGLIGIBLE_EPS: f32 = 1e-8;

/// The settings that the members of the family have in common.
#[derive(Clone, Copy, Debug)]
pub(in crate::connection) struct Settings {
    pub rate: usize,
    pub rule: Rule,
    pub form: Form,
    pub reduction: Reduction,
    pub expansion: Expansion,
    pub write_gain_end: f32,
}

/// The way from the state to logits, and from these to read and write.
#[derive(Clone, Copy, Debug)]
pub(in crate::connection) enum Form {
    /// mHC's: `scale * projection + bias` with a scale that starts at `scale_init`, sigmoids.
    Mhc {
        init: ConstrainedInit,
        scale_init: f32,
    },
    /// JPmHC's: the projection itself, times `mix_scale` for the mix, softmax.
    JpmHc { mix_scale: f32 },
}

impl Form {
    pub(in crate::connection) fn gates(self) -> Gates {
        match self {
            Self::Mhc { .. } => Gates::Sigmoid,
            Self::JpmHc { .. } => Gates::Softmax,
        }
    }

    /// The fixed factor of the logits of the mix; `None` where factors are learned.
    pub(in crate::connection) fn mix_scale(self) -> Option<f32> {
        match self {
            Self::Mhc { .. } => None,
            Self::JpmHc { mix_scale } => Some(mix_scale),
        }
    }

    pub(in crate::connection) fn norm(self) -> PredictorNorm {
        match self {
            Self::Mhc { .. } => PredictorNorm::RmsNorm,
            Self::JpmHc { .. } => PredictorNorm::LayerNorm,
        }
    }

    fn is_mild(self) -> bool {
        matches!(self, Self::Mhc { init, .. } if init == ConstrainedInit::Mild)
    }

    /// Without biases only the projection can tell the streams apart.
    pub(super) fn phi(self) -> Init {
        match self {
            Self::Mhc { init, .. } => init.phi(),
            Self::JpmHc { .. } => ConstrainedInit::FactoryCode.phi(),
        }
    }
}

impl Settings {
    pub(in crate::connection) fn validate(&self) -> Result<(), String> {
        self.rule.validate(self.rate)?;
        check_streams("rate", self.rate)?;
        if !(self.write_gain_end.is_finite() && self.write_gain_end >= 0.0) {
            return Err(format!(
                "write_gain_end is {}, expected 0 or a positive number",
                self.write_gain_end
            ));
        }
        match self.form {
            Form::Mhc { scale_init, .. } => expect_number("scale_init", scale_init),
            Form::JpmHc { .. } => Ok(()),
        }
    }

    /// Returns whether the read of this sublayer cannot reach the loss, so that its parameters are
    /// declared frozen instead of following rounding errors: where the streams are alike, as in
    /// front of the first sublayer, or where there is one, a read is a factor, and the norm of the
    /// sublayer removes it as far as its eps is nothing. (Reads whose weights sum to 1 are the
    /// factor 1.)
    pub(super) fn reads_in_vain(&self, site: Site) -> bool {
        let removed = site.eps <= NEGLIGIBLE_EPS || self.form.gates() == Gates::Softmax;
        (self.starts_alike(site) || self.rate == 1) && removed
    }

    /// The same of the write: before a sum or a mean of the streams, it is the sum of its weights
    /// that counts, which is n for softmaxes.
    pub(super) fn writes_in_vain(&self, site: Site) -> bool {
        self.form.gates() == Gates::Softmax && self.ends_uniformly(site)
    }

    /// The same of the mix: rows of `H_res` that sum to 1 leave streams alike that are so, as those
    /// of the first sublayer, and columns that sum to 1 change nothing before a sum or a mean.
    /// Matrices of Sinkhorn do so to the accuracy that it has reached: that of rounding after 20
    /// iterations from a mild start.
    pub(super) fn mixes_in_vain(&self, site: Site) -> bool {
        let (rows, columns) = match self.rule {
            Rule::Identity
            | Rule::SoftmaxSinkhorn { .. }
            | Rule::Quaternions
            | Rule::Cayley
            | Rule::CayleySteps { .. } => (false, false),
            Rule::Sinkhorn { iterations } => (true, iterations >= 20 && self.form.is_mild()),
            Rule::Permutations | Rule::Kronecker => (true, true),
        };
        (rows && self.starts_alike(site)) || (columns && self.ends_uniformly(site))
    }

    /// Returns whether the streams in front of this sublayer are copies.
    fn starts_alike(&self, site: Site) -> bool {
        site.index == 0 && self.expansion.is_copies()
    }

    /// Returns whether a sum or a mean of the streams comes next.
    fn ends_uniformly(&self, site: Site) -> bool {
        site.index + 1 == site.count && self.reduction.is_uniform()
    }
}
