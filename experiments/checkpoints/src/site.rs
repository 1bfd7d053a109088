//! Sites: the connections of a checkpoint.

use std::collections::BTreeMap;

/// The sublayer that a site belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Attention, or what stands in its place.
    Attention,
    /// Feed-forward or experts.
    FeedForward,
    /// Not to be seen from its name.
    Unknown,
}

impl Kind {
    /// A short name: `attn`, `ffn` or `site`.
    pub fn short(self) -> &'static str {
        match self {
            Self::Attention => "attn",
            Self::FeedForward => "ffn",
            Self::Unknown => "site",
        }
    }

    /// The kind that a name speaks of, its end first.
    pub(crate) fn of(name: &str) -> Self {
        let name = name.to_lowercase();
        let last = |words: &[&str]| words.iter().filter_map(|word| name.rfind(word)).max();
        let attention = last(&["attn", "attention"]);
        let feed_forward = last(&["mlp", "ffn", "feed_forward", "feedforward"]);
        match attention.max(feed_forward) {
            None => Self::Unknown,
            found if found == attention => Self::Attention,
            _ => Self::FeedForward,
        }
    }
}

/// The tensors of one connection.
#[derive(Clone, Debug, PartialEq)]
pub struct Site {
    /// The name without roles: `model.layers.3.hc_attn`.
    pub name: String,
    /// The sublayer.
    pub kind: Kind,
    /// The first number in the name.
    pub layer: Option<usize>,
    /// Whether it belongs to a layer that predicts further tokens.
    pub predicted: bool,
    /// The names of its tensors by role.
    pub tensors: BTreeMap<&'static str, String>,
    /// The numbers in the name.
    pub(crate) numbers: Vec<usize>,
    /// Beginning of the names of its tensors.
    pub(crate) stem: String,
}
