//! Labelled square images: where they come from, how they are cut into a training and a
//! test part, and the batches that training sees.
//!
//! | source | what it is recognised by |
//! |--------|--------------------------|
//! | generated shapes | no path |
//! | IDX (MNIST and its relatives) | `train-` or `t10k-images-idx3-ubyte`, plain or `.gz` |
//! | CIFAR-10, binary version | `data_batch_1.bin`, `test_batch.bin` |
//! | directories of classes | PNG or JPEG images in them |
//!
//! Data that come with a test part keep it (`t10k`, `test_batch`, `test` beside `train`).
//! Otherwise a tenth, drawn once and for all, is for testing.

mod batches;
mod bytes;
mod cifar;
mod error;
mod folders;
mod idx;
mod shapes;

pub use batches::{ImageBatch, ImageBatches};
pub use error::ImageError;

use engine::rng::Key;
use nn::patch_embed::Patches;
use rand::seq::SliceRandom;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// The side and the channels of square images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageSizes {
    /// Rows, and columns.
    pub side: usize,
    /// 1 for grey, 3 for red, green and blue.
    pub channels: usize,
}

impl ImageSizes {
    /// Elements of an image.
    pub fn elements(&self) -> usize {
        self.channels * self.side * self.side
    }
}

/// Images `[channels, side, side]` of bytes, one after the other, with their labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// All images.
    pub pixels: Vec<u8>,
    /// The class of each.
    pub labels: Vec<u8>,
}

impl Part {
    /// How many images there are.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The pixels of one image.
    pub fn image(&self, index: usize, sizes: ImageSizes) -> &[u8] {
        &self.pixels[index * sizes.elements()..][..sizes.elements()]
    }

    fn select(&self, indices: &[usize], sizes: ImageSizes) -> Self {
        Self {
            pixels: indices
                .iter()
                .flat_map(|&i| self.image(i, sizes).iter().copied())
                .collect(),
            labels: indices.iter().map(|&i| self.labels[i]).collect(),
        }
    }
}

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
    /// What a person calls the data.
    pub name: String,
    /// SHA-256 in hex of the training part and the test part, pixels then labels of each.
    pub fingerprint: String,
}

/// Generated images to train on, and to test on.
pub(crate) const SHAPES: [usize; 2] = [9000, 1000];
/// Fewest images that can be cut.
const FEWEST: usize = 20;

impl ImageSet {
    /// The images in a directory, or generated shapes if there is no path.
    ///
    /// Images of a directory of classes are brought to `sizes`; those of other formats
    /// must have them.
    ///
    /// # Errors
    /// If the directory or a file is missing, unreadable or malformed, or the images have
    /// other sizes.
    pub fn open(path: Option<&Path>, sizes: ImageSizes) -> Result<Self, ImageError> {
        let Some(path) = path else {
            return Ok(Self::shapes(sizes));
        };
        if !path.exists() {
            return Err(ImageError::Missing {
                path: path.to_owned(),
            });
        }
        if let Some(parts) = Self::idx(path, sizes)? {
            let classes = parts.iter().flat_map(|part| &part.labels).max();
            let classes = 0..=classes.copied().unwrap_or(0);
            let names = classes.map(|class| class.to_string()).collect();
            return Self::of_parts(path, parts, names, sizes);
        }
        if let Some((train, test)) = cifar::find(path) {
            let train = cifar::read(&train, sizes)?;
            let test = cifar::read(&[test], sizes)?;
            let names = cifar::CLASSES.map(str::to_owned).to_vec();
            return Self::of_parts(path, vec![train, test], names, sizes);
        }
        if path.is_dir() {
            let classes = folders::find(&path.join("train")).unwrap_or_default();
            if !classes.is_empty() {
                return Self::of_two_folders(path, &classes, sizes);
            }
            let classes = folders::find(path)?;
            if !classes.is_empty() {
                let all = folders::read(&classes, sizes)?;
                return Self::of_parts(path, vec![all], names(&classes), sizes);
            }
        }
        Err(ImageError::Unknown {
            path: path.to_owned(),
        })
    }

    /// Whether a network for these images and this number of classes can learn from them.
    ///
    /// # Errors
    /// [`ImageError::WrongSizes`], [`ImageError::WrongClasses`].
    pub fn check(&self, patches: Patches, classes: usize) -> Result<(), ImageError> {
        let wanted = ImageSizes {
            side: patches.image,
            channels: patches.channels,
        };
        let ImageSizes { side, channels } = self.sizes;
        if wanted != self.sizes {
            return Err(ImageError::WrongSizes {
                path: PathBuf::from(&self.name),
                found: [side, side, channels],
                wanted,
            });
        }
        if classes != self.classes.len() {
            return Err(ImageError::WrongClasses {
                name: self.name.clone(),
                found: self.classes.len(),
                wanted: classes,
            });
        }
        Ok(())
    }

    /// Ten kinds of shapes, 9,000 images to train on and 1,000 to test on; the same for
    /// everyone.
    pub fn shapes(sizes: ImageSizes) -> Self {
        let [train, test] = SHAPES;
        let train = shapes::draw("train", train, sizes);
        let test = shapes::draw("test", test, sizes);
        let classes = shapes::CLASSES.map(|(name, _)| name.to_owned()).to_vec();
        Self::new("shapes".to_owned(), train, test, classes, sizes)
    }

    fn idx(path: &Path, sizes: ImageSizes) -> Result<Option<Vec<Part>>, ImageError> {
        let pairs: Vec<idx::Pair> = ["train", "t10k"]
            .iter()
            .filter_map(|part| idx::find(path, part))
            .collect();
        let parts: Result<Vec<Part>, ImageError> =
            pairs.iter().map(|pair| idx::read(pair, sizes)).collect();
        Ok(Some(parts?).filter(|parts| !parts.is_empty()))
    }

    fn of_two_folders(
        path: &Path,
        classes: &[PathBuf],
        sizes: ImageSizes,
    ) -> Result<Self, ImageError> {
        let test = ["test", "val"]
            .map(|name| path.join(name))
            .into_iter()
            .find(|path| path.is_dir());
        let mut parts = vec![folders::read(classes, sizes)?];
        if let Some(test) = test {
            let of_test: Vec<PathBuf> = names(classes).iter().map(|name| test.join(name)).collect();
            for class in folders::find(&test)? {
                if !of_test.contains(&class) {
                    return Err(bytes::malformed(
                        &class,
                        "there are no training images of this class".to_owned(),
                    ));
                }
            }
            if let Some(missing) = of_test.iter().find(|class| !class.is_dir()) {
                return Err(ImageError::Missing {
                    path: missing.clone(),
                });
            }
            parts.push(folders::read(&of_test, sizes)?);
        }
        Self::of_parts(path, parts, names(classes), sizes)
    }

    /// A training and a test part, or one part that is cut.
    fn of_parts(
        path: &Path,
        mut parts: Vec<Part>,
        classes: Vec<String>,
        sizes: ImageSizes,
    ) -> Result<Self, ImageError> {
        let found = parts.iter().map(Part::len).sum();
        if found < FEWEST || parts.iter().any(Part::is_empty) {
            return Err(ImageError::TooFew {
                path: path.to_owned(),
                found,
            });
        }
        let name = super::file_name(path);
        let (train, test) = match parts.len() {
            1 => cut(&parts[0], sizes),
            _ => (std::mem::take(&mut parts[0]), std::mem::take(&mut parts[1])),
        };
        Ok(Self::new(name, train, test, classes, sizes))
    }

    fn new(name: String, train: Part, test: Part, classes: Vec<String>, sizes: ImageSizes) -> Self {
        let mut hash = Sha256::new();
        for part in [&train, &test] {
            hash.update(&part.pixels);
            hash.update(&part.labels);
        }
        Self {
            fingerprint: super::hex(&hash.finalize()),
            train,
            test,
            sizes,
            classes,
            name,
        }
    }
}

fn names(classes: &[PathBuf]) -> Vec<String> {
    classes.iter().map(|path| super::file_name(path)).collect()
}

/// A tenth of the images, drawn once and for all, is for testing.
fn cut(all: &Part, sizes: ImageSizes) -> (Part, Part) {
    let mut order: Vec<usize> = (0..all.len()).collect();
    order.shuffle(&mut Key::new(0).named("test images").rng());
    let (test, train) = order.split_at_mut(all.len() / 10);
    // Back in the order of the file: only the choice is random.
    test.sort_unstable();
    train.sort_unstable();
    (all.select(train, sizes), all.select(test, sizes))
}
