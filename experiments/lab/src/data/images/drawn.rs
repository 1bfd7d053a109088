//! Sets of images that this program draws.

use super::{DataError, ImageSet, ImageSizes, Part, clutter, shapes};
use crate::data::{DataAccount, FileRead, Unit};
use engine::rng::Key;
use nn::words;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// A set of images that is drawn where no path is given, the same for everyone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Drawn {
    /// Ten kinds of shapes, 9,000 images to train on and 1,000 to test on.
    #[default]
    Shapes,
    /// Twenty kinds of shapes, hard to name, 8,000 images to train on and 8,000 to test on.
    Clutter,
}

words!(Drawn);

impl Drawn {
    /// Returns whether this is the set of a run that does not name one.
    pub fn is_of_earlier_runs(&self) -> bool {
        *self == Self::Shapes
    }

    /// Name in accounts, tables and settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Shapes => "shapes",
            Self::Clutter => "clutter",
        }
    }

    /// Images to train on, and to test on.
    pub fn counts(self) -> [usize; 2] {
        match self {
            Self::Shapes => shapes::COUNTS,
            Self::Clutter => clutter::COUNTS,
        }
    }

    /// Names of the classes in the order of their labels.
    pub fn classes(self) -> Vec<&'static str> {
        match self {
            Self::Shapes => shapes::CLASSES.map(|(name, _)| name).into(),
            Self::Clutter => clutter::CLASSES.map(|(name, _)| name).into(),
        }
    }

    /// The images in these sizes; of those to train on the first `train`, where it is given.
    ///
    /// # Errors
    /// [`DataError::TooLarge`], [`DataError::Unusable`] if it has fewer images to train on.
    pub(super) fn draw(
        self,
        sizes: ImageSizes,
        train: Option<usize>,
    ) -> Result<ImageSet, DataError> {
        let place = Path::new(self.name());
        let [all, test] = self.counts();
        sizes.check_room(all + test, place)?;
        if let Some(wanted) = train.filter(|wanted| *wanted > all) {
            return Err(DataError::too_few_images(place, all, wanted));
        }
        let train = train.unwrap_or(all);
        let mut account = DataAccount::new(self.name(), Unit::Images);
        account.split = "images drawn for it".to_owned();
        account.read(FileRead {
            name: "drawn by this program".to_owned(),
            kind: self.name().to_owned(),
            training: train as u64,
            validation: test as u64,
            ..FileRead::default()
        });
        let classes = self.classes().into_iter().map(str::to_owned).collect();
        let [train, test] =
            [("train", train), ("test", test)].map(|(part, count)| self.part(part, count, sizes));
        Ok(ImageSet::new(account, train, test, classes, sizes))
    }

    /// Image i of a part is a function of the part's name, i and the sizes: its class is i modulo
    /// the number of classes, everything else comes from its key.
    fn part(self, name: &str, count: usize, sizes: ImageSizes) -> Part {
        let (seed, classes) = match self {
            Self::Shapes => (shapes::SEED, shapes::CLASSES.len()),
            Self::Clutter => (clutter::SEED, clutter::CLASSES.len()),
        };
        let key = Key::new(seed).named(name);
        let mut images = Part::default();
        for i in 0..count {
            let class = i % classes;
            let (pixels, rng) = (&mut images.pixels, &mut key.at(i as u64).rng());
            match self {
                Self::Shapes => shapes::append(pixels, class, sizes, rng),
                Self::Clutter => clutter::append(pixels, class, sizes, rng),
            }
            images.labels.push(class as u8);
        }
        images
    }
}
