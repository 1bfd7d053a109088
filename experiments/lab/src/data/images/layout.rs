//! Layouts of sets of images on disk, and what is read from them.

use crate::data::{DataAccount, DataError, FileRead, bytes::most_bytes};
use std::{fmt, path::Path};

/// The longest side of an image.
pub(super) const LONGEST: usize = 1 << 14;

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

    /// Returns whether there is room for so many images of these sizes.
    pub(super) fn check_room(self, images: usize, path: &Path) -> Result<(), DataError> {
        let factors = [images, self.channels, self.side, self.side];
        let bytes = factors
            .iter()
            .try_fold(1_u64, |bytes, &factor| bytes.checked_mul(factor as u64));
        let limit = most_bytes();
        match bytes.is_some_and(|bytes| bytes <= limit) {
            true => Ok(()),
            false => Err(DataError::TooLarge {
                path: path.to_owned(),
                limit,
            }),
        }
    }
}

impl fmt::Display for ImageSizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { side, channels } = self;
        let s = if *channels == 1 { "" } else { "s" };
        write!(f, "{side} x {side} with {channels} channel{s}")
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
    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The pixels of one image.
    pub fn image(&self, index: usize, sizes: ImageSizes) -> &[u8] {
        &self.pixels[index * sizes.elements()..][..sizes.elements()]
    }

    pub(super) fn select(&self, indices: &[usize], sizes: ImageSizes) -> Self {
        Self {
            pixels: indices
                .iter()
                .flat_map(|&i| self.image(i, sizes).iter().copied())
                .collect(),
            labels: indices.iter().map(|&i| self.labels[i]).collect(),
        }
    }
}

/// Sizes and classes of images, as a network has to know them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measured {
    /// Their sizes; of images that can be resized, those that suit most of them.
    pub sizes: ImageSizes,
    /// Number of classes.
    pub classes: usize,
    /// `true` if they come in these sizes and no others.
    pub exact: bool,
}

impl Measured {
    /// The side of images for patches of this side: their own, or if they can be resized the
    /// largest multiple below it.
    pub fn side(&self, patch: usize) -> usize {
        match (self.exact, patch) {
            (true, _) | (_, 0) => self.sizes.side,
            (false, patch) => (self.sizes.side / patch).max(1) * patch,
        }
    }
}

/// Where images are and how they are told apart, before any pixel of them is read.
pub(super) trait Layout {
    /// Sizes and classes.
    fn measure(&self) -> Result<Measured, DataError>;

    /// All images; those that can be resized are brought to `sizes`.
    fn read(self: Box<Self>, sizes: ImageSizes) -> Result<Contents, DataError>;
}

/// Everything that was read.
pub(super) struct Contents {
    /// One part that is to be cut, or one to train on and one to test on.
    pub(super) parts: Vec<Reading>,
    pub(super) classes: Vec<String>,
    pub(super) sizes: ImageSizes,
    pub(super) account: DataAccount,
}

/// A part and the files that it is from.
#[derive(Default)]
pub(super) struct Reading {
    pub(super) part: Part,
    /// Name, kind and number of images.
    files: Vec<(String, String, usize)>,
}

impl Reading {
    /// Appends the images of a file, or of a folder that is read as one thing.
    pub(super) fn add(&mut self, name: &str, kind: &str, part: Part) {
        self.files
            .push((name.to_owned(), kind.to_owned(), part.len()));
        if self.part.is_empty() {
            self.part = part;
        } else {
            self.part.pixels.extend(part.pixels);
            self.part.labels.extend(part.labels);
        }
    }

    /// Leaves the images with these numbers, ascending.
    pub(super) fn keep(&mut self, indices: &[usize], sizes: ImageSizes) {
        self.part = self.part.select(indices, sizes);
        let mut start = 0;
        for (_, _, images) in &mut self.files {
            let end = start + *images;
            let before = |end: usize| indices.partition_point(|&index| index < end);
            *images = before(end) - before(start);
            start = end;
        }
    }

    /// Enters the files, of whose images those with the numbers `test` (ascending) are to test on.
    pub(super) fn enter(&self, account: &mut DataAccount, test: &[usize]) {
        let mut start = 0;
        for (name, kind, images) in &self.files {
            let before = |end: usize| test.partition_point(|&index| index < end);
            let validation = before(start + images) - before(start);
            account.read(FileRead {
                name: name.clone(),
                kind: kind.clone(),
                training: (images - validation) as u64,
                validation: validation as u64,
                ..FileRead::default()
            });
            start += images;
        }
    }
}
