//! CIFAR-10 and CIFAR-100 in their binary versions: records of one or two labels and
//! 3 x 32 x 32 bytes.

use super::{
    ImageSizes, Part,
    layout::{Contents, Layout, Measured, Reading},
};
use crate::{
    data::{
        DataAccount, DataError,
        bytes::{Unpacked, entries},
    },
    files::{file_name, read_text},
};
use std::path::{Path, PathBuf};

const SIZES: ImageSizes = ImageSizes {
    side: 32,
    channels: 3,
};

/// One of the two sets.
#[derive(Debug)]
struct Kind {
    /// Names of the training batches.
    train: &'static str,
    test: &'static str,
    /// Bytes before the pixels; the last one is the class.
    labels: usize,
    classes: usize,
    /// Images in a training batch.
    images: usize,
}

/// Images in a test batch.
const TEST_IMAGES: usize = 10_000;

const CIFAR_10: Kind = Kind {
    train: "data_batch_1.bin data_batch_2.bin data_batch_3.bin data_batch_4.bin data_batch_5.bin",
    test: "test_batch.bin",
    labels: 1,
    classes: 10,
    images: 10_000,
};

const CIFAR_100: Kind = Kind {
    train: "train.bin",
    test: "test.bin",
    labels: 2,
    classes: 100,
    images: 50_000,
};

/// The names of CIFAR-10's classes in the order of their labels.
const NAMES_10: &str = "airplane automobile bird cat deer dog frog horse ship truck";
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
pub(super) fn find(directory: &Path, partial: bool) -> Result<Option<Batches>, DataError> {
    // Compressed or not.
    let file = |name: &str| {
        let paths = [directory.join(name), directory.join(format!("{name}.gz"))];
        paths.into_iter().find(|path| path.is_file())
    };
    let of = |names: &str| -> Vec<PathBuf> { names.split(' ').filter_map(file).collect() };
    let [ten, hundred] = [CIFAR_10, CIFAR_100].map(|kind| [of(kind.train), of(kind.test)]);
    // Names that other data have too, alone.
    let is_hundred = hundred.iter().all(|files| !files.is_empty())
        || file(NAMES_100).is_some() && hundred.concat().len() == 1;
    let (kind, parts) = match (ten.concat().is_empty(), is_hundred) {
        (false, _) => (&CIFAR_10, ten),
        (true, true) => (&CIFAR_100, hundred),
        (true, false) => return Ok(None),
    };
    let mut account = DataAccount::default();
    let missing = kind.train.split(' ').filter(|name| file(name).is_none());
    let missing = missing.collect::<Vec<_>>().join(", ");
    let remark = match (&parts, partial) {
        _ if missing.is_empty() => None,
        ([train, _], _) if train.is_empty() => Some(format!(
            "only the test part ({}) is here, no training batches: it is trained on, so what is \
             measured is no test accuracy of this set",
            kind.test
        )),
        (_, true) => Some(format!("missing: {missing}")),
        (_, false) => {
            let reason = format!(
                "is a part of CIFAR, with {missing} missing: fetch the whole set, or set \
                 data.partial=true to train on a part"
            );
            return Err(DataError::unusable(directory, reason));
        }
    };
    account.remarks.extend(remark);
    if parts[1].is_empty() {
        let remark = format!("only the training part is here, no {}", kind.test);
        account.remarks.push(remark);
    }
    let found = parts.concat();
    for entry in entries(directory)? {
        let name = file_name(&entry);
        if !found.contains(&entry) && name != NAMES_100 {
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

impl Layout for Batches {
    fn measure(&self) -> Result<Measured, DataError> {
        Ok(Measured {
            sizes: SIZES,
            classes: self.kind.classes,
            exact: true,
        })
    }

    fn read(self: Box<Self>, _: ImageSizes) -> Result<Contents, DataError> {
        let mut account = self.account;
        let mut parts = Vec::new();
        for (files, whole) in self.parts.iter().zip([self.kind.images, TEST_IMAGES]) {
            let mut reading = Reading::default();
            for path in files {
                let part = self.kind.read(path)?;
                let (name, images) = (file_name(path), part.len());
                if images != whole {
                    let remark = format!("{name} has {images} images, the original {whole}");
                    account.remarks.push(remark);
                }
                reading.add(&name, "bin", part);
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
    fn read(&self, path: &Path) -> Result<Part, DataError> {
        let record = self.labels + SIZES.elements();
        let bytes = Unpacked::open(path)?.rest()?;
        let size = bytes.len();
        let malformed = |reason: String| Err(DataError::malformed(path, reason));
        if size == 0 || !size.is_multiple_of(record) {
            return malformed(format!("it has {size} bytes, expected records of {record}"));
        }
        let mut part = Part::default();
        for record in bytes.chunks_exact(record) {
            let (labels, pixels) = record.split_at(self.labels);
            let label = labels[self.labels - 1];
            if usize::from(label) >= self.classes {
                let last = self.classes - 1;
                return malformed(format!("a label is {label}, expected 0 to {last}"));
            }
            part.labels.push(label);
            part.pixels.extend_from_slice(pixels);
        }
        Ok(part)
    }

    /// The names of the classes; their numbers where the names are not there.
    fn names(&self, directory: &Path) -> Vec<String> {
        let text = match self.classes {
            10 => NAMES_10.replace(' ', "\n"),
            _ => read_text(&directory.join(NAMES_100)).unwrap_or_default(),
        };
        let names = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let names: Vec<String> = names.map(str::to_owned).collect();
        match names.len() == self.classes {
            true => names,
            false => (0..self.classes).map(|class| class.to_string()).collect(),
        }
    }
}
