//! Labelled square images: where they come from, how they are cut into a training and a
//! test part, and the batches that training sees.
//!
//! | source | what it is recognised by |
//! |--------|--------------------------|
//! | generated shapes | no path |
//! | IDX (MNIST and its relatives) | the first bytes of its files, plain or compressed |
//! | CIFAR-10 and CIFAR-100, binary version | `data_batch_1.bin`, `test_batch.bin`; `train.bin`, `test.bin` |
//! | folders of PNG and JPEG images | a folder for each class, or the classes in the names |
//!
//! Data that come with a test part keep it. Otherwise a tenth, drawn once and for all, is for
//! testing.

mod batches;
mod cifar;
mod folders;
mod idx;
mod layout;
mod open;
mod pictures;
mod shapes;

pub use batches::{ImageBatch, ImageBatches};
pub use layout::{ImageSizes, Measured, Part};
pub(crate) use shapes::SHAPES;

use super::{DataAccount, DataError, FileRead, Unit};
use nn::patch_embed::Patches;
use sha2::{Digest, Sha256};
use std::path::Path;

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

/// Fewest images that can be cut.
const FEWEST: usize = 20;

impl ImageSet {
    /// The images at a path, or generated shapes if there is no path. A set with batches
    /// missing is taken if it may be `partial`.
    ///
    /// Images of folders are brought to `sizes`; those of other formats keep their own, which
    /// [`ImageSet::check`] compares.
    ///
    /// # Errors
    /// If something is missing, unreadable or malformed.
    pub fn open(path: Option<&Path>, sizes: ImageSizes, partial: bool) -> Result<Self, DataError> {
        match path {
            None => {
                sizes.check_room(SHAPES.iter().sum(), Path::new("shapes"))?;
                Ok(Self::shapes(sizes))
            }
            Some(path) => open::load(path, sizes, partial),
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

    /// Ten kinds of shapes, 9,000 images to train on and 1,000 to test on; the same for
    /// everyone.
    pub fn shapes(sizes: ImageSizes) -> Self {
        let [train, test] = SHAPES;
        let mut account = DataAccount::new("shapes", Unit::Images);
        account.split = "images drawn for it".to_owned();
        account.read(FileRead {
            name: "drawn by this program".to_owned(),
            kind: "shapes".to_owned(),
            training: train as u64,
            validation: test as u64,
            ..FileRead::default()
        });
        let train = shapes::draw("train", train, sizes);
        let test = shapes::draw("test", test, sizes);
        let classes = shapes::CLASSES.map(|(name, _)| name.to_owned()).to_vec();
        Self::new(account, train, test, classes, sizes)
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
