//! IDX files: MNIST, EMNIST, Fashion-MNIST, KMNIST and their relatives.
//!
//! Four bytes `0, 0, type, dimensions`, each dimension as a big-endian number, the data.
//! What a file holds is told by its content; its name says which set and which part it is
//! of, in any of the spellings in use (`train-images-idx3-ubyte`, `t10k-images.idx3-ubyte`,
//! `emnist-letters-test-labels-idx1-ubyte.gz`).

use super::{
    ImageSizes, Part,
    layout::{Contents, LONGEST, Layout, Measured, Reading},
};
use crate::{
    data::{
        DataAccount, DataError,
        bytes::{Unpacked, entries},
    },
    files::file_name,
};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// The type of unsigned bytes.
const UNSIGNED_BYTE: u8 = 8;
/// Types that the format knows.
const TYPES: [u8; 6] = [UNSIGNED_BYTE, 9, 0xb, 0xc, 0xd, 0xe];

/// A file of images and the file of their labels.
#[derive(Debug)]
struct Pair {
    images: PathBuf,
    labels: PathBuf,
}

/// The pairs of one set: the first to train on, the other to test on, or one that is both.
#[derive(Debug)]
pub(super) struct Files {
    pairs: Vec<Pair>,
    account: DataAccount,
}

#[derive(Clone, Copy, Debug)]
enum Role {
    Train,
    Test,
    /// Nothing in the name says which.
    Whole,
}

/// The files of a part: of images and of labels, in the order of their names.
type Found = [Vec<PathBuf>; 2];
/// By [`Role`].
type Parts = [Found; 3];
const WHAT: [&str; 2] = ["images", "labels"];

/// The files of one set in a directory, or of the set of a file.
pub(super) fn find(path: &Path) -> Result<Option<Files>, DataError> {
    let directory = match path.is_dir() {
        true => path,
        false => path
            .parent()
            .filter(|parent| parent.is_dir())
            .unwrap_or(Path::new(".")),
    };
    let mut sets: BTreeMap<String, Parts> = BTreeMap::new();
    let mut account = DataAccount::default();
    for file in entries(directory)? {
        let Some(what) = kind(&file) else {
            account.leave_out(file_name(&file), "no IDX file");
            continue;
        };
        let (set, role) = meaning(&file);
        let parts = sets.entry(set).or_default();
        parts[role as usize][what].push(file);
    }
    let files = |parts: &Parts| parts.iter().flatten().flatten().cloned().collect();
    if !path.is_dir() {
        let (wanted, _) = meaning(path);
        sets.retain(|set, parts| {
            let files: Vec<PathBuf> = files(parts);
            let is_here = |file: &PathBuf| file.file_name() == path.file_name();
            *set == wanted && files.iter().any(is_here)
        });
    }
    match sets.len() {
        0 => Ok(None),
        1 => {
            let parts = sets.into_values().next().unwrap_or_default();
            pair_up(directory, parts, account).map(Some)
        }
        _ => {
            let names: Vec<&str> = sets.keys().map(String::as_str).collect();
            let file: PathBuf = sets.values().flat_map(files).next().unwrap_or_default();
            let reason = format!(
                "holds IDX files of several sets ({}): give a file of the one you want, such as {}",
                names.join(", "),
                file.display()
            );
            Err(DataError::unusable(path, reason))
        }
    }
}

/// 0 for a file of images, 1 for one of labels: by its first bytes, or by its name if they are
/// not those of an IDX file.
fn kind(path: &Path) -> Option<usize> {
    if !path.is_file() {
        return None;
    }
    // What cannot be unpacked is found by its name and refused when it is read.
    let head = Unpacked::open(path).map(|source| source.head);
    match head.as_deref() {
        Ok([0, 0, kind, dimensions @ 1..=3, ..]) if TYPES.contains(kind) => {
            Some(usize::from(*dimensions < 3))
        }
        _ => ["idx3", "idx1"]
            .iter()
            .position(|wanted| words(path).iter().any(|word| word == wanted)),
    }
}

/// The words of a file's name in small letters.
fn words(path: &Path) -> Vec<String> {
    let name = file_name(path).to_lowercase();
    let words = name.split(|c: char| !c.is_alphanumeric());
    words.map(str::to_owned).collect()
}

/// The set and the part that a file's name says it is of.
fn meaning(path: &Path) -> (String, Role) {
    const OF_ALL: &str = " images image img labels label idx idx1 idx2 idx3 ubyte uint8 int bin \
                          dat data raw gz x y ";
    const OF_TEST: [&str; 4] = ["t10k", "val", "valid", "validation"];
    let mut role = Role::Whole;
    let mut set = Vec::new();
    for word in words(path) {
        if word.starts_with("train") {
            role = Role::Train;
        } else if word.starts_with("test") || OF_TEST.contains(&&*word) {
            role = Role::Test;
        } else if !OF_ALL.contains(&format!(" {word} ")) && !word.is_empty() {
            set.push(word);
        }
    }
    (set.join("-"), role)
}

/// One pair for each part, and what is missing or left out.
fn pair_up(directory: &Path, parts: Parts, mut account: DataAccount) -> Result<Files, DataError> {
    let is_here = |role: Role| parts[role as usize].iter().any(|files| !files.is_empty());
    let here = [Role::Train, Role::Test, Role::Whole].map(is_here);
    let mut pairs = Vec::new();
    for found in parts {
        for files in &found {
            let Some((first, copies)) = files.split_first() else {
                continue;
            };
            for copy in copies {
                if Unpacked::open(first)?.rest()? != Unpacked::open(copy)?.rest()? {
                    return Err(contradiction(
                        first,
                        copy,
                        "the same part with another content",
                    ));
                }
                account.leave_out(file_name(copy), format!("a copy of {}", file_name(first)));
            }
        }
        let [images, labels] = found.map(|files| files.into_iter().next());
        match (images, labels) {
            (Some(images), Some(labels)) => pairs.push(Pair { images, labels }),
            (None, None) => {}
            (images, labels) => {
                let missing = WHAT[usize::from(images.is_some())];
                let reason = format!(
                    "is alone, the {missing} to it are missing: put their file beside it, or leave \
                     this one out"
                );
                let path = images.or(labels).unwrap_or_default();
                return Err(DataError::unusable(&path, reason));
            }
        }
    }
    let remark = match here {
        [true, true, false] | [false, false, true] => None,
        [true, false, false] => Some("only the training part is here, no test files (t10k, test)"),
        [false, true, false] => Some(
            "only the test part (t10k, test) is here, no training files: it is trained on, so \
             what is measured is no test accuracy of this set",
        ),
        _ => {
            let reason = "some IDX files are named train or test, others neither";
            return Err(DataError::malformed(directory, reason));
        }
    };
    account.remarks.extend(remark.map(str::to_owned));
    Ok(Files { pairs, account })
}

/// Two files of one set that do not go together.
fn contradiction(path: &Path, other: &Path, reason: &str) -> DataError {
    let other = other.display();
    let reason =
        format!("and {other} contradict each other ({reason}): leave out the one that is wrong");
    DataError::unusable(path, reason)
}

impl Files {
    /// The sizes of all images.
    fn sizes(&self) -> Result<ImageSizes, DataError> {
        let first = self.pairs[0].sizes()?;
        for pair in &self.pairs[1..] {
            let other = pair.sizes()?;
            if other != first {
                let reason = format!("images of {first}, of {other}");
                return Err(contradiction(&self.pairs[0].images, &pair.images, &reason));
            }
        }
        Ok(first)
    }
}

impl Layout for Files {
    fn measure(&self) -> Result<Measured, DataError> {
        let mut labels = Vec::new();
        for pair in &self.pairs {
            labels.extend(pair.labels()?);
        }
        Ok(Measured {
            sizes: self.sizes()?,
            classes: occurring(&labels).len(),
            exact: true,
        })
    }

    fn read(self: Box<Self>, _: ImageSizes) -> Result<Contents, DataError> {
        let sizes = self.sizes()?;
        let mut account = self.account;
        let mut parts = Vec::new();
        for pair in &self.pairs {
            let mut reading = Reading::default();
            reading.add(&file_name(&pair.images), "idx", pair.read(sizes)?);
            parts.push(reading);
        }
        let classes = name_classes(&mut parts, &mut account);
        Ok(Contents {
            parts,
            classes,
            sizes,
            account,
        })
    }
}

/// The labels that occur, ascending.
fn occurring(labels: &[u8]) -> Vec<u8> {
    let mut occurs = [false; 256];
    for &label in labels {
        occurs[usize::from(label)] = true;
    }
    let occurs = |label: &u8| occurs[usize::from(*label)];
    (0..=u8::MAX).filter(occurs).collect()
}

/// Numbers the labels that occur from 0 on, in their order, and names the classes by them.
fn name_classes(parts: &mut [Reading], account: &mut DataAccount) -> Vec<String> {
    let in_parts: Vec<Vec<u8>> = parts
        .iter()
        .map(|one| occurring(&one.part.labels))
        .collect();
    let labels = occurring(&in_parts.concat());
    if let (Some(&first), Some(&last)) = (labels.first(), labels.last())
        && usize::from(last) + 1 != labels.len()
    {
        account.remarks.push(format!(
            "labels go from {first} to {last}, and {} of them occur: class 0 of the network is \
             label {first}",
            labels.len()
        ));
    }
    for (here, part) in in_parts.iter().zip(["training", "test"]) {
        let missing = labels.iter().filter(|label| !here.contains(label));
        let without: Vec<String> = missing.map(u8::to_string).collect();
        if !without.is_empty() {
            let without = without.join(", ");
            account
                .remarks
                .push(format!("no {part} image has label {without}"));
        }
    }
    for reading in parts {
        for label in &mut reading.part.labels {
            *label = labels.binary_search(label).expect("it occurs") as u8;
        }
    }
    labels.iter().map(u8::to_string).collect()
}

impl Pair {
    fn sizes(&self) -> Result<ImageSizes, DataError> {
        let mut file = Unpacked::open(&self.images)?;
        let [_, height, width] = header(&mut file)?.map(|x| x as usize);
        if height != width || height == 0 || height > LONGEST {
            return Err(DataError::malformed(
                &self.images,
                format!("its images are {height} x {width}, expected squares of 1 to {LONGEST}"),
            ));
        }
        Ok(ImageSizes {
            side: height,
            channels: 1,
        })
    }

    fn labels(&self) -> Result<Vec<u8>, DataError> {
        let mut file = Unpacked::open(&self.labels)?;
        let [count] = header(&mut file)?;
        let labels = file.exactly(count.into(), "the labels")?;
        file.end()?;
        Ok(labels)
    }

    fn read(&self, sizes: ImageSizes) -> Result<Part, DataError> {
        let mut file = Unpacked::open(&self.images)?;
        let [count, _, _] = header(&mut file)?;
        let size = u64::from(count) * sizes.elements() as u64;
        let pixels = file.exactly(size, "the images")?;
        file.end()?;
        let labels = self.labels()?;
        if labels.len() != count as usize {
            let reason = format!("it has {} labels for {count} images", labels.len());
            return Err(DataError::malformed(&self.labels, reason));
        }
        Ok(Part { pixels, labels })
    }
}

/// The dimensions of a file of unsigned bytes.
fn header<const N: usize>(file: &mut Unpacked<'_>) -> Result<[u32; N], DataError> {
    let magic = file.big_endian("the header")?;
    let expected = u32::from_be_bytes([0, 0, UNSIGNED_BYTE, N as u8]);
    if magic != expected {
        let reason = format!(
            "it starts with {magic:#010x}, unsigned bytes in {N} dimensions with {expected:#010x}"
        );
        return Err(DataError::malformed(file.path, reason));
    }
    let mut dimensions = [0; N];
    for dimension in &mut dimensions {
        *dimension = file.big_endian("the header")?;
    }
    Ok(dimensions)
}
