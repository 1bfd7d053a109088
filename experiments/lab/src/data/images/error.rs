//! What can be wrong with a set of images.

use super::ImageSizes;
use std::{io, path::PathBuf};
use thiserror::Error;

/// Images that cannot be used: what is wrong, where, and what to do about it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ImageError {
    /// There is nothing at the path.
    #[error(
        "images {} do not exist: give a directory, or leave it out for generated shapes",
        .path.display()
    )]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// The operating system refused to read.
    #[error("images {} cannot be read ({source}): check the path and its permissions", .path.display())]
    Unreadable {
        /// What could not be read.
        path: PathBuf,
        /// Its answer.
        source: io::Error,
    },
    /// None of the layouts that are known.
    #[error(
        "{} holds no images of classes{hint}: expected IDX files (*-images-idx3-ubyte and \
         *-labels-idx1-ubyte), binary CIFAR batches (data_batch_1.bin, test_batch.bin; train.bin, \
         test.bin), or PNG and JPEG images in a folder for each class (CLASS/*, \
         CLASS/images/*, train/CLASS/* beside test/CLASS/*), or in one folder with names such as \
         CLASS_1.png",
        .path.display()
    )]
    Unknown {
        /// The path given.
        path: PathBuf,
        /// What may have been meant, or nothing.
        hint: String,
    },
    /// A file that contradicts its format or itself.
    #[error("{} is malformed: {reason}: fetch it again, or leave it out", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        reason: String,
    },
    /// Files of several sets in one directory.
    #[error(
        "{} holds IDX files of several sets ({}): give a file of the one you want, such as {}",
        .path.display(), .sets.join(", "), .file.display()
    )]
    SeveralSets {
        /// The directory.
        path: PathBuf,
        /// The sets, by what their names have in common.
        sets: Vec<String>,
        /// A file of one of them.
        file: PathBuf,
    },
    /// Two files that should hold the same, or images of the same size.
    #[error(
        "{} and {} contradict each other: leave out the one that is wrong",
        .paths[0].display(), .paths[1].display()
    )]
    Contradiction {
        /// The files.
        paths: [PathBuf; 2],
    },
    /// Two parts of one set with images of different sizes.
    #[error(
        "{} has images of {}, {} of {}: leave out the one that is wrong",
        .paths[0].display(), .sizes[0], .paths[1].display(), .sizes[1]
    )]
    SizesDiffer {
        /// The files.
        paths: [PathBuf; 2],
        /// The sizes of their images.
        sizes: [ImageSizes; 2],
    },
    /// A class that only one of two parts has.
    #[error(
        "{} has no {part} images of its class {class}: add some, or take the class out of the other \
         part",
        .path.display()
    )]
    ClassMissing {
        /// The directory.
        path: PathBuf,
        /// The part that lacks it: `training` or `test`.
        part: &'static str,
        /// The class by name.
        class: String,
    },
    /// Images without labels, or labels without images.
    #[error("the {missing} to {} are missing: put their file beside it, or leave this one out", .path.display())]
    HalfMissing {
        /// The file that is there.
        path: PathBuf,
        /// What is not: `images` or `labels`.
        missing: &'static str,
    },
    /// Some training batches of a known set.
    #[error(
        "{missing} missing in {}: fetch the whole set, or set data.partial=true to train on a part",
        .path.display()
    )]
    BatchesMissing {
        /// The directory.
        path: PathBuf,
        /// The files that are not there.
        missing: String,
    },
    /// More classes than labels can tell apart.
    #[error("{} has {count} classes, at most 256 are supported: take a part of them", .path.display())]
    ManyClasses {
        /// The directory.
        path: PathBuf,
        /// How many.
        count: usize,
    },
    /// Neither grey nor coloured.
    #[error("model.channels is {0}, but images of folders are read as 1 (grey) or 3 (colours)")]
    Channels(usize),
    /// Images of other sizes, or with other classes, than the network takes.
    #[error(
        "the images {name} are {sizes} in {classes} classes, which {set} contradicts: \
         set {right}, or leave these settings out"
    )]
    OtherNetwork {
        /// The images by name.
        name: String,
        /// What they are.
        sizes: ImageSizes,
        /// How many classes they have.
        classes: usize,
        /// The settings that differ, as they are.
        set: String,
        /// The same settings as they have to be.
        right: String,
    },
    /// More than there is room for.
    #[error(
        "{} holds more than {limit} bytes of images, which is more than is read on this machine: \
         take a part of them, or a smaller model.image",
        .path.display()
    )]
    TooLarge {
        /// The file or directory.
        path: PathBuf,
        /// What there is room for.
        limit: u64,
    },
    /// Too few images to train and to test on.
    #[error("{} holds {found} images: at least 20 are needed, to train and to test on", .path.display())]
    TooFew {
        /// The path given.
        path: PathBuf,
        /// How many there are.
        found: usize,
    },
}
