//! Whatever a network learns from.

use super::{
    Corpus, DataAccount, DataError,
    images::{ImageSet, ImageSizes},
};
use crate::config::RunConfig;
use std::{path::PathBuf, sync::Arc};

/// A text or a set of images, shared between runs.
#[derive(Clone, Debug)]
pub enum Data {
    /// For decoders.
    Text(Arc<Corpus>),
    /// For classifiers and denoisers.
    Images(Arc<ImageSet>),
}

/// Where the data of a network come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A text file, a directory of text, or the built-in corpus.
    Text(Option<PathBuf>),
    /// A directory of images of these sizes, which may be a partial set, or generated shapes.
    Images(Option<PathBuf>, ImageSizes, bool),
}

impl Source {
    /// That of the network of a configuration.
    pub fn of(config: &RunConfig) -> Self {
        match config.model.patches() {
            None => Self::Text(config.data.path()),
            Some(patches) => {
                let sizes = ImageSizes {
                    side: patches.image,
                    channels: patches.channels,
                };
                Self::Images(config.data.path(), sizes, config.data.partial)
            }
        }
    }

    /// Reads it.
    ///
    /// # Errors
    /// As [`Corpus::open`] and [`ImageSet::open`].
    pub fn open(&self) -> Result<Data, DataError> {
        match self {
            Self::Text(path) => {
                let corpus = Corpus::open(path.as_deref())?;
                Ok(Data::Text(Arc::new(corpus)))
            }
            Self::Images(path, sizes, partial) => {
                let set = ImageSet::open(path.as_deref(), *sizes, *partial)?;
                Ok(Data::Images(Arc::new(set)))
            }
        }
    }
}

impl Data {
    /// The data that the network of a configuration learns from.
    ///
    /// # Errors
    /// As [`Source::open`].
    pub fn open(config: &RunConfig) -> Result<Self, DataError> {
        Source::of(config).open()
    }

    /// What was read, what was left out and why, and what validates.
    pub fn account(&self) -> &DataAccount {
        match self {
            Self::Text(corpus) => &corpus.account,
            Self::Images(set) => &set.account,
        }
    }

    /// Bytes of all of it.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Text(corpus) => corpus.train.len() + corpus.validation.len(),
            Self::Images(set) => set.train.pixels.len() + set.test.pixels.len(),
        }
    }
}

impl From<&Data> for Data {
    fn from(data: &Data) -> Self {
        data.clone()
    }
}

impl From<&Arc<Corpus>> for Data {
    fn from(corpus: &Arc<Corpus>) -> Self {
        Self::Text(Arc::clone(corpus))
    }
}

impl From<&Arc<ImageSet>> for Data {
    fn from(set: &Arc<ImageSet>) -> Self {
        Self::Images(Arc::clone(set))
    }
}
