//! What is known of the data that networks have learnt from.

use crate::{
    config::RunConfig,
    data::{Data, Windows},
};
use std::fmt;

/// Data that networks have been trained on, as far as it is known.
pub trait Learnt: fmt::Debug {
    /// Name.
    fn name(&self) -> &str;

    /// SHA-256.
    fn fingerprint(&self) -> &str;

    /// Sizes of the training and the validation part.
    fn sizes(&self) -> Option<String>;

    /// The part of the data that the validation loss of this configuration is the mean over.
    fn validation(&self, config: &RunConfig) -> Option<String>;
}

impl Learnt for Data {
    fn name(&self) -> &str {
        &self.account().name
    }

    fn fingerprint(&self) -> &str {
        &self.account().fingerprint
    }

    fn sizes(&self) -> Option<String> {
        Some(self.account().sizes())
    }

    fn validation(&self, config: &RunConfig) -> Option<String> {
        let corpus = match self {
            Self::Text(corpus) => corpus,
            Self::Images(set) => {
                return Some(format!("all {} validation images", set.test.len()));
            }
        };
        // As many windows as are asked for, or whole batches of them that fit into the text.
        let (tokens, train) = (config.model.tokens(), &config.train);
        let batches = Windows::new(corpus, tokens)
            .and_then(|windows| windows.validation_batches(train.eval_batches, train.batch));
        let windows: usize = batches.map_or(0, |batches| batches.iter().map(|b| b.rows).sum());
        Some(format!(
            "{windows} fixed windows of {tokens} {}, spread evenly over the validation text",
            self.account().unit.name()
        ))
    }
}
