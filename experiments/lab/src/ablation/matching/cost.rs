//! What arms can have in equal amounts.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A cost that all arms have in common with their baselines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Cost {
    /// Wall time of the training steps
    Time,
    /// Counted operations of the training steps
    Flops,
}

impl Cost {
    /// The name on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Flops => "flops",
        }
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
