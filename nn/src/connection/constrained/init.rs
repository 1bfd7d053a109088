//! How a constrained connection starts.

use engine::params::Init;
use serde::{Deserialize, Serialize};

/// How a constrained connection with biases starts. The mHC paper publishes `alpha = 0.01` only;
/// its biases and projections are what others have chosen since. k is the number of the
/// sublayer, n the rate; "off" is every logit of the mix that takes from the identity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConstrainedInit {
    /// The released code of mHC-lite and KromHC: phi 0; `b_pre` and `b_post` 1 at stream k
    /// mod n and -1 elsewhere; `b_res` 0 for the identity and -8 off. The mix then starts
    /// saturated and hardly learns in short runs. (Their code draws the stream at random unless
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
