//! Labelled square images: where they come from, how they are cut into a training and a
//! test part, and the batches that training sees.
//!
//! | source | what it is recognised by |
//! |--------|--------------------------|
//! | [images that are drawn](Drawn) | no path |
//! | IDX (MNIST and its relatives) | the first bytes of its files, plain or compressed |
//! | CIFAR-10 and CIFAR-100, binary version | `data_batch_1.bin`, `test_batch.bin`; `train.bin`, `test.bin` |
//! | folders of PNG and JPEG images | a folder for each class, or the classes in the names |
//!
//! Data that come with a test part keep it. Otherwise a tenth, drawn once and for all, is for
//! testing, or all but the images to train on where their [number](ImageSource::train) is given.

mod batches;
mod cifar;
mod clutter;
mod drawn;
mod folders;
mod idx;
mod layout;
mod open;
mod pictures;
mod shapes;

pub use batches::{ImageBatch, ImageBatches};
pub use drawn::Drawn;
pub use layout::{ImageSizes, Measured, Part};

use super::{DataAccount, DataError};
use nn::patch_embed::Patches;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// Labelled images in a training and a test part.
#[derive(Clone, Debug)]
pub struct ImageSet {
    /// Images to train on.
    pub train: Part,
    /// Images to test on.
    pub test: Part,
    /// Their side and channels.
    pub sizes: ImageSizes,
    /// The names of the classes.
    pub classes: Vec<String>,
    /// Account of what was read. Its fingerprint is of the training part and the test part, pixels
    /// then labels of each.
    pub account: DataAccount,
}

/// Where labelled images come from, and how many of them are trained on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageSource {
    /// A file or a directory; `None` for images that are drawn.
    pub path: Option<PathBuf>,
    /// The set that is drawn without a path.
    pub drawn: Drawn,
    /// Sizes of drawn images, and what images of folders are brought to; those of other formats
    /// keep their own, which [`ImageSet::check`] compares.
    pub sizes: ImageSizes,
    /// `true` if some batches of a set may be missing.
    pub partial: bool,
    /// Images to train on, chosen once and for all; `None` for all but those to test on.
    pub train: Option<usize>,
}

impl ImageSource {
    /// The images at a path, or shapes that are drawn if there is no path.
    pub fn new(path: Option<&Path>, sizes: ImageSizes) -> Self {
        Self {
            path: path.map(Path::to_owned),
            drawn: Drawn::Shapes,
            sizes,
            partial: false,
            train: None,
        }
    }
}

/// Fewest images that can be cut.
const FEWEST: usize = 20;

impl ImageSet {
    /// The images of a source.
    ///
    /// # Errors
    /// If something is missing, unreadable or malformed, or there are too few images.
    pub fn open(source: &ImageSource) -> Result<Self, DataError> {
        match &source.path {
            None => source.drawn.draw(source.sizes, source.train),
            Some(path) => open::load(path, source),
        }
    }

    /// Sizes and classes of the images at a path, without reading all of them.
    ///
    /// # Errors
    /// As [`ImageSet::open`].
    pub fn measure(path: &Path, partial: bool) -> Result<Measured, DataError> {
        open::find(path, partial)?.measure()
    }

    /// Returns whether a network for these images and this number of classes can learn from them.
    ///
    /// # Errors
    /// [`DataError::Unusable`], with everything that differs.
    pub fn check(&self, patches: Patches, classes: usize) -> Result<(), DataError> {
        let ImageSizes { side, channels } = self.sizes;
        let settings = [
            ("model.image", side, patches.image),
            ("model.channels", channels, patches.channels),
            ("model.classes", self.classes.len(), classes),
        ];
        let mut differing = settings.to_vec();
        differing.retain(|(_, images, network)| images != network);
        if differing.is_empty() {
            return Ok(());
        }
        let list = |setting: fn(&(&str, usize, usize)) -> String| {
            let settings: Vec<String> = differing.iter().map(setting).collect();
            settings.join(", ")
        };
        let reason = format!(
            "holds images that are {} in {} classes, which {} contradicts: set {}, or leave these \
             settings out",
            self.sizes,
            self.classes.len(),
            list(|(key, _, network)| format!("{key}={network}")),
            list(|(key, images, _)| format!("{key}={images}"))
        );
        Err(DataError::unusable(Path::new(&self.account.name), reason))
    }

    fn new(
        mut account: DataAccount,
        train: Part,
        test: Part,
        classes: Vec<String>,
        sizes: ImageSizes,
    ) -> Self {
        let mut hash = Sha256::new();
        for part in [&train, &test] {
            hash.update(&part.pixels);
            hash.update(&part.labels);
        }
        account.fingerprint = models::weights::hex(&hash.finalize());
        Self {
            train,
            test,
            sizes,
            classes,
            account,
        }
    }
}
