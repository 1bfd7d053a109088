//! CIFAR-10 and CIFAR-100 in their binary versions: records of one or two labels and
//! 3 x 32 x 32 bytes.

use super::{
    ImageError, ImageSizes, Part,
    bytes::{Source, entries, malformed},
    open::{Contents, Measured, Reading},
};
use crate::data::{DataAccount, file_name};
use std::{
    fs,
    path::{Path, PathBuf},
};

const SIZES: ImageSizes = ImageSizes {
    side: 32,
    channels: 3,
};

/// One of the two sets.
#[derive(Debug)]
struct Kind {
    train: &'static [&'static str],
    test: &'static str,
    /// Bytes before the pixels; the last one is the class.
    labels: usize,
    classes: usize,
    /// Images in a training batch; a test batch has 10,000.
    images: usize,
}

const TEST_IMAGES: usize = 10_000;

const CIFAR_10: Kind = Kind {
    train: &[
        "data_batch_1.bin",
        "data_batch_2.bin",
        "data_batch_3.bin",
        "data_batch_4.bin",
        "data_batch_5.bin",
    ],
    test: "test_batch.bin",
    labels: 1,
    classes: 10,
    images: 10_000,
};

const CIFAR_100: Kind = Kind {
    train: &["train.bin"],
    test: "test.bin",
    labels: 2,
    classes: 100,
    images: 50_000,
};

/// The names of CIFAR-10's classes in the order of their labels.
const NAMES_10: [&str; 10] = [
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
];
/// The file of CIFAR-100's, one a line.
const NAMES_100: &str = "fine_label_names.txt";

/// The batches in a directory.
#[derive(Debug)]
pub(super) struct Batches {
    kind: &'static Kind,
    directory: PathBuf,
    /// Of the training part, then of the test part.
    parts: [Vec<PathBuf>; 2],
    account: DataAccount,
}

/// The batches in `directory`, if there are any. Training batches that are missing beside
/// others are an error unless a `partial` set is wanted.
pub(super) fn find(directory: &Path, partial: bool) -> Result<Option<Batches>, ImageError> {
    // Compressed or not.
    let file = |name: &&str| {
        let paths = [directory.join(name), directory.join(format!("{name}.gz"))];
        paths.into_iter().find(|path| path.is_file())
    };
    let of = |kind: &Kind| {
        let train: Vec<PathBuf> = kind.train.iter().filter_map(file).collect();
        [train, file(&kind.test).into_iter().collect()]
    };
    let ten = of(&CIFAR_10);
    // Names that other data have too, alone.
    let hundred = of(&CIFAR_100);
    let is_hundred = hundred.iter().filter(|files| !files.is_empty()).count() == 2
        || file(&NAMES_100).is_some() && hundred.concat().len() == 1;
    let (kind, parts) = match (ten.concat().is_empty(), is_hundred) {
        (false, _) => (&CIFAR_10, ten),
        (true, true) => (&CIFAR_100, hundred),
        (true, false) => return Ok(None),
    };
    let mut account = DataAccount::default();
    let found: Vec<String> = parts.concat().iter().map(|path| file_name(path)).collect();
    let missing: Vec<&str> = kind
        .train
        .iter()
        .filter(|name| file(name).is_none())
        .copied()
        .collect();
    match (missing.len(), partial) {
        (0, _) => {}
        (n, _) if n == kind.train.len() => account.remarks.push(format!(
            "only the test part ({}) is here, no training batches: it is trained on, so what is \
             measured is no test accuracy of this set",
            kind.test
        )),
        (_, true) => account
            .remarks
            .push(format!("missing: {}", missing.join(", "))),
        (_, false) => {
            return Err(ImageError::BatchesMissing {
                path: directory.to_owned(),
                missing: missing.join(", "),
            });
        }
    }
    if parts[1].is_empty() {
        account
            .remarks
            .push(format!("only the training part is here, no {}", kind.test));
    }
    for entry in entries(directory)? {
        let name = file_name(&entry);
        if !found.contains(&name) && name != NAMES_100 {
            account.leave_out(name, "no batch of CIFAR");
        }
    }
    Ok(Some(Batches {
        kind,
        directory: directory.to_owned(),
        parts,
        account,
    }))
}

impl Batches {
    pub(super) fn measure(&self) -> Measured {
        Measured {
            sizes: SIZES,
            classes: self.kind.classes,
            exact: true,
        }
    }

    pub(super) fn read(self) -> Result<Contents, ImageError> {
        let mut account = self.account;
        let mut parts = Vec::new();
        for (files, whole) in self.parts.iter().zip([self.kind.images, TEST_IMAGES]) {
            let mut reading = Reading::default();
            for path in files {
                let part = self.kind.read(path)?;
                if part.len() != whole {
                    account.remarks.push(format!(
                        "{} has {} images, the original {whole}",
                        file_name(path),
                        part.len()
                    ));
                }
                reading.add(&file_name(path), "bin", part);
            }
            if !files.is_empty() {
                parts.push(reading);
            }
        }
        Ok(Contents {
            parts,
            classes: self.kind.names(&self.directory),
            sizes: SIZES,
            account,
        })
    }
}

impl Kind {
    fn read(&self, path: &Path) -> Result<Part, ImageError> {
        let record = self.labels + SIZES.elements();
        let bytes = Source::open(path)?.rest()?;
        let size = bytes.len();
        if size == 0 || !size.is_multiple_of(record) {
            return Err(malformed(
                path,
                format!("it has {size} bytes, expected records of {record}"),
            ));
        }
        let mut part = Part::default();
        for record in bytes.chunks_exact(record) {
            let (labels, pixels) = record.split_at(self.labels);
            let label = labels[self.labels - 1];
            if usize::from(label) >= self.classes {
                let last = self.classes - 1;
                return Err(malformed(
                    path,
                    format!("a label is {label}, expected 0 to {last}"),
                ));
            }
            part.labels.push(label);
            part.pixels.extend_from_slice(pixels);
        }
        Ok(part)
    }

    /// The names of the classes; their numbers where the names are not there.
    fn names(&self, directory: &Path) -> Vec<String> {
        if self.classes == NAMES_10.len() {
            return NAMES_10.map(str::to_owned).to_vec();
        }
        let path = directory.join(NAMES_100);
        let text = path.is_file().then(|| fs::read_to_string(path).ok());
        let text = text.flatten().unwrap_or_default();
        let names: Vec<String> = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect();
        match names.len() == self.classes {
            true => names,
            false => (0..self.classes).map(|class| class.to_string()).collect(),
        }
    }
}
