//! Sets of images that this program draws.

use super::{DataError, ImageSet, ImageSizes, clutter, shapes};
use crate::data::{DataAccount, FileRead, Unit};
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
        let part = match self {
            Self::Shapes => shapes::draw,
            Self::Clutter => clutter::draw,
        };
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
        let (train, test) = (part("train", train, sizes), part("test", test, sizes));
        Ok(ImageSet::new(account, train, test, classes, sizes))
    }
}
