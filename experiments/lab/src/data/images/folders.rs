//! Folders of PNG and JPEG images, in the layouts that are in use:
//!
//! | layout | class |
//! |--------|-------|
//! | `CLASS/*` | the folder's name |
//! | `CLASS/images/*` (Tiny-ImageNet) | the folder's name |
//! | `val/images/*` with `val/val_annotations.txt` (Tiny-ImageNet) | in the annotations |
//! | `cat.0.jpg`, `cat_1.jpg`, `0002_dog.png`, .. in one folder | the name without its number |
//!
//! Each of them alone or in `train` beside `test` or `val`.

use super::{
    ImageSizes, Part,
    layout::{Contents, Layout, Measured, Reading},
    pictures::{self, format_of},
};
use crate::{
    data::{DataAccount, DataError, bytes::entries},
    files::{file_name, read_text},
};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// Where images for training may be, in capital or small letters.
const TRAININGS: [&str; 3] = ["train", "training", "training_set"];
/// Where images for testing may be, the best place first.
const TESTS: [&str; 6] = ["test", "testing", "test_set", "val", "valid", "validation"];
/// The most classes; a label is a byte.
const MOST_CLASSES: usize = 256;
/// The longest side that is taken from images rather than set.
const LARGEST_SIDE: usize = 64;

/// Images of some classes by the names of the classes.
type Classes = BTreeMap<String, Vec<PathBuf>>;

/// Images found below a directory.
#[derive(Debug)]
pub(super) struct Folders {
    root: PathBuf,
    /// To train on, and to test on if that is there.
    parts: Vec<Classes>,
    account: DataAccount,
}

/// The images below a directory, if there are any.
pub(super) fn find(path: &Path) -> Result<Option<Folders>, DataError> {
    let mut found = Folders {
        root: path.to_owned(),
        parts: Vec::new(),
        account: DataAccount::default(),
    };
    if let Some(directory) = named(path, &TRAININGS)?.first() {
        let classes = found.part(directory)?;
        if !classes.is_empty() {
            found.parts.push(classes);
            found.add_test_part(path)?;
        }
    }
    if found.parts.is_empty() {
        found.add_single_part(path)?;
    }
    match found.parts.first().map_or(0, BTreeMap::len) {
        0 => Ok(None),
        1..=MOST_CLASSES => Ok(Some(found)),
        count => {
            let reason = format!(
                "has {count} classes, at most {MOST_CLASSES} are supported: take a part of them"
            );
            Err(DataError::unusable(path, reason))
        }
    }
}

/// Returns whether a folder's name says that it is a part of a set.
fn is_part(name: &str) -> bool {
    let name = name.to_lowercase();
    TRAININGS.contains(&&*name) || TESTS.contains(&&*name)
}

/// The folders in a directory that have one of these names, in the order of the names.
fn named(directory: &Path, names: &[&str]) -> Result<Vec<PathBuf>, DataError> {
    let of = |path: &Path| {
        let name = file_name(path).to_lowercase();
        names.iter().position(|wanted| *wanted == name)
    };
    let mut found = entries(directory)?;
    found.retain(|path| path.is_dir() && of(path).is_some());
    found.sort_by_key(|path| of(path));
    Ok(found)
}

impl Folders {
    fn leave_out(&mut self, path: &Path, reason: impl Into<String>) {
        let name = path.strip_prefix(&self.root).unwrap_or(path);
        self.account.leave_out(name.display().to_string(), reason);
    }

    /// The best test part beside the training part, which has to have the same classes.
    fn add_test_part(&mut self, root: &Path) -> Result<(), DataError> {
        for directory in named(root, &TESTS)? {
            let classes = self.part(&directory)?;
            let train = &self.parts[0];
            if classes.is_empty() {
                self.leave_out(&directory, "its images have no classes");
            } else if !classes.keys().any(|class| train.contains_key(class)) {
                self.leave_out(&directory, "it has none of the classes of train");
            } else if self.parts.len() == 2 {
                self.leave_out(&directory, "another part validates");
            } else {
                self.parts.push(classes);
            }
        }
        if let [train, test] = &self.parts[..] {
            for (here, there, part) in [(test, train, "training"), (train, test, "test")] {
                if let Some(class) = here.keys().find(|class| !there.contains_key(*class)) {
                    let reason = format!(
                        "has no {part} images of its class {class}: add some, or take the class out \
                         of the other part"
                    );
                    return Err(DataError::unusable(root, reason));
                }
            }
        } else {
            let remark = "no test part with classes (test, val) is here";
            self.account.remarks.push(remark.to_owned());
        }
        for entry in entries(root)? {
            if !is_part(&file_name(&entry)) {
                self.leave_out(&entry, "beside the folders train and test");
            }
        }
        Ok(())
    }

    /// Classes in the directory itself, or a test part alone.
    fn add_single_part(&mut self, root: &Path) -> Result<(), DataError> {
        for directory in [vec![root.to_owned()], named(root, &TESTS)?].concat() {
            let classes = self.part(&directory)?;
            if classes.is_empty() {
                continue;
            }
            if directory != root {
                self.account.remarks.push(format!(
                    "only the test part ({}) is here, no folder train: it is trained on, so what \
                     is measured is no test accuracy of this set",
                    file_name(&directory)
                ));
            }
            self.parts.push(classes);
            break;
        }
        Ok(())
    }

    /// The classes of a part, in whichever layout; none if it has no images of classes.
    fn part(&mut self, directory: &Path) -> Result<Classes, DataError> {
        if !directory.is_dir() {
            return Ok(Classes::new());
        }
        let annotations = directory.join(format!("{}_annotations.txt", file_name(directory)));
        if annotations.is_file() {
            return self.annotated(directory, &annotations);
        }
        let mut classes = Classes::new();
        let mut others = Vec::new();
        for class in entries(directory)? {
            let name = file_name(&class);
            // Parts, not classes; and the images of Tiny-ImageNet's test part have no class.
            let is_part = directory == self.root && is_part(&name) && name == name.to_lowercase();
            let is_images = name == "images" && TESTS.contains(&&*file_name(directory));
            if !class.is_dir() || is_part || is_images {
                others.push(class);
                continue;
            }
            let images = match class.join("images") {
                inner if inner.is_dir() => {
                    [self.pictures(&class)?, self.pictures(&inner)?].concat()
                }
                _ => self.pictures(&class)?,
            };
            match images.is_empty() {
                true => self.leave_out(&class, "no PNG or JPEG image in it"),
                false => drop(classes.insert(name, images)),
            }
        }
        if classes.is_empty() {
            return self.by_name(directory);
        }
        for other in others {
            self.leave_out(&other, "no folder of a class");
        }
        Ok(classes)
    }

    /// The images directly in a directory; the rest is left out.
    fn pictures(&mut self, directory: &Path) -> Result<Vec<PathBuf>, DataError> {
        let mut images = Vec::new();
        for path in entries(directory)? {
            match format_of(&path) {
                Some("PNG" | "JPEG") => images.push(path),
                Some(name) => self.leave_out(&path, format!("{name} image")),
                // Damaged, and refused when it is read.
                None if path.is_file() && pictures::is_named(&path) => images.push(path),
                None if path.is_dir() && file_name(&path) == "images" => {}
                None => self.leave_out(&path, "no image"),
            }
        }
        Ok(images)
    }

    /// Images of which a file beside them says the class: name, class, and what nobody needs.
    fn annotated(&mut self, directory: &Path, file: &Path) -> Result<Classes, DataError> {
        let text = read_text(file).map_err(|error| DataError::reading(file, error))?;
        let mut classes = Classes::new();
        for (number, line) in (1..).zip(text.lines()) {
            let wrong = |what: &str| DataError::malformed(file, format!("line {number} {what}"));
            let mut words = line.split('\t');
            let (Some(name), Some(class)) = (words.next(), words.next()) else {
                return Err(wrong("has no name and class with a tab between"));
            };
            if Path::new(name)
                .file_name()
                .is_none_or(|plain| plain != name)
            {
                return Err(wrong("names no file"));
            }
            let path = directory.join("images").join(name);
            if !path.is_file() {
                return Err(wrong(&format!("names {name}, which is not in images")));
            }
            classes.entry(class.to_owned()).or_default().push(path);
        }
        Ok(classes)
    }

    /// Images in one folder whose names begin or end with a number and else say the class.
    fn by_name(&mut self, directory: &Path) -> Result<Classes, DataError> {
        let mut classes = Classes::new();
        let before = self.account.clone();
        for path in self.pictures(directory)? {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            classes.entry(without_number(&stem)).or_default().push(path);
        }
        // Numbers alone, or names each of its own, are no classes.
        if classes.len() < 2
            || classes
                .iter()
                .any(|(name, of)| name.is_empty() || of.len() < 2)
        {
            self.account = before;
            return Ok(Classes::new());
        }
        let names: Vec<&str> = classes.keys().map(String::as_str).collect();
        self.account.remarks.push(format!(
            "classes of {} are taken from the names of its files: {}",
            file_name(directory),
            names.join(", ")
        ));
        Ok(classes)
    }
}

/// A name without the number at its end, or else at its beginning.
fn without_number(name: &str) -> String {
    let separates = |c: char| " ._-()".contains(c);
    let digit = |c: char| c.is_ascii_digit();
    let front = name.trim_end_matches(')').trim_end_matches(digit);
    match front.len() < name.trim_end_matches(')').len() {
        true => front.trim_end_matches(separates).to_owned(),
        false => name
            .trim_start_matches(digit)
            .trim_start_matches(separates)
            .to_owned(),
    }
}

impl Layout for Folders {
    /// One side and number of channels for all: that of most of them.
    fn measure(&self) -> Result<Measured, DataError> {
        let mut sides = Vec::new();
        let mut grey = true;
        for path in self.parts.iter().flat_map(BTreeMap::values).flatten() {
            let header = pictures::header(path)?;
            sides.push(header.height.min(header.width));
            grey &= header.grey;
        }
        sides.sort_unstable();
        let sizes = ImageSizes {
            side: sides[sides.len() / 2].clamp(1, LARGEST_SIDE),
            channels: if grey { 1 } else { 3 },
        };
        Ok(Measured {
            sizes,
            classes: self.parts[0].len(),
            exact: false,
        })
    }

    /// All images, brought to `sizes`.
    fn read(self: Box<Self>, sizes: ImageSizes) -> Result<Contents, DataError> {
        if ![1, 3].contains(&sizes.channels) {
            let reason = format!(
                "holds pictures, which are read as 1 (grey) or 3 (colours), but model.channels is {}",
                sizes.channels
            );
            return Err(DataError::unusable(&self.root, reason));
        }
        let images = self.parts.iter().flat_map(BTreeMap::values).map(Vec::len);
        sizes.check_room(images.sum(), &self.root)?;
        let classes: Vec<String> = self.parts[0].keys().cloned().collect();
        let mut account = self.account;
        let mut parts = Vec::new();
        let (mut least, mut most) = (usize::MAX, 0);
        for of_class in &self.parts {
            let mut reading = Reading::default();
            for (label, (name, paths)) in of_class.iter().enumerate() {
                let mut part = Part::default();
                for path in paths {
                    let picture = pictures::decode(path)?;
                    picture.append_square(sizes, &mut part.pixels);
                    least = least.min(picture.square());
                    most = most.max(picture.square());
                    part.labels.push(label as u8);
                }
                reading.add(name, name, part);
            }
            parts.push(reading);
        }
        if [least, most] != [sizes.side; 2] {
            account.remarks.push(format!(
                "central squares of {least} to {most} pixels a side were brought to {}",
                sizes.side
            ));
        }
        Ok(Contents {
            parts,
            classes,
            sizes,
            account,
        })
    }
}
