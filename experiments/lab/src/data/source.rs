//! Whatever a network learns from.

use super::{
    Builtin, Corpus, DataAccount, DataError,
    images::{ImageSet, ImageSizes, ImageSource},
    nanogpt::{self, Vocabulary},
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
    /// A text file, a directory of text, or a built-in corpus.
    Text(Option<PathBuf>, Builtin),
    /// Labelled images.
    Images(ImageSource),
}

impl Source {
    /// The source of the data of a configuration's network.
    pub fn of(config: &RunConfig) -> Self {
        match config.model.objective().patches() {
            None => Self::Text(config.data.path(), config.data.builtin),
            Some(patches) => Self::Images(ImageSource {
                path: config.data.path(),
                drawn: config.data.drawn,
                sizes: ImageSizes {
                    side: patches.image,
                    channels: patches.channels,
                },
                partial: config.data.partial,
                train: Some(config.data.train_images).filter(|&images| images > 0),
            }),
        }
    }

    /// Reads it.
    ///
    /// # Errors
    /// As [`Corpus::open`] and [`ImageSet::open`].
    pub fn open(&self) -> Result<Data, DataError> {
        match self {
            Self::Text(path, builtin) => {
                let corpus = Corpus::open(path.as_deref(), *builtin)?;
                Ok(Data::Text(Arc::new(corpus)))
            }
            Self::Images(source) => Ok(Data::Images(Arc::new(ImageSet::open(source)?))),
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

    /// Keys and values of the settings that the data decide where nobody has chosen them: the kind
    /// and the number of tokens of a text that comes as tokens; sizes and classes of images. A
    /// path with nothing at it decides nothing.
    ///
    /// # Errors
    /// If what decides them cannot be read.
    pub fn settings(config: &RunConfig) -> Result<Vec<(&'static str, String)>, DataError> {
        let patches = config.model.objective().patches();
        let Some(path) = config.data.path().filter(|path| path.exists()) else {
            let drawn = patches.is_some() && config.data.path().is_none();
            let classes = config.data.drawn.classes().len();
            let classes = drawn.then(|| ("model.classes", classes.to_string()));
            return Ok(classes.into_iter().collect());
        };
        if let Some(patches) = patches {
            let images = ImageSet::measure(&path, config.data.partial)?;
            return Ok(vec![
                ("model.image", images.side(patches.patch).to_string()),
                ("model.channels", images.sizes.channels.to_string()),
                ("model.classes", images.classes.to_string()),
            ]);
        }
        if !nanogpt::is_in(&path) {
            return Ok(Vec::new());
        }
        let vocabulary = Vocabulary::of(&path)?.size;
        Ok(vec![
            ("data.tokens", "ids".to_owned()),
            ("model.vocab_size", vocabulary.to_string()),
        ])
    }

    /// Account of what was read, what was left out and why, and what validates.
    pub fn account(&self) -> &DataAccount {
        match self {
            Self::Text(corpus) => &corpus.account,
            Self::Images(set) => &set.account,
        }
    }

    /// Bytes of all of it.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Text(corpus) => corpus.train.size() + corpus.validation.size(),
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
