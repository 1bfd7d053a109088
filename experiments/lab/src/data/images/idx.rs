//! IDX files: MNIST, EMNIST, Fashion-MNIST, KMNIST and their relatives.
//!
//! Four bytes `0, 0, type, dimensions`, each dimension as a big-endian number, the data.
//! What a file holds is told by its content; its name says which set and which part it is
//! of, in any of the spellings in use (`train-images-idx3-ubyte`, `t10k-images.idx3-ubyte`,
//! `emnist-letters-test-labels-idx1-ubyte.gz`).

use super::{
    ImageError, ImageSizes, LONGEST, Part,
    bytes::{Source, entries, malformed},
    open::{Contents, Measured, Reading},
};
use crate::data::{DataAccount, file_name};
use std::{
    collections::{BTreeMap, BTreeSet},
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    Train,
    Test,
    /// Nothing in the name says which.
    Whole,
}

/// The files of a part: of images and of labels, in the order of their names.
type Found = [Vec<PathBuf>; 2];
const WHAT: [&str; 2] = ["images", "labels"];

/// The files of one set in a directory, or of the set of a file.
pub(super) fn find(path: &Path) -> Result<Option<Files>, ImageError> {
    let directory = match path.is_dir() {
        true => path,
        false => path
            .parent()
            .filter(|parent| parent.is_dir())
            .unwrap_or(Path::new(".")),
    };
    let mut sets: BTreeMap<String, BTreeMap<Role, Found>> = BTreeMap::new();
    let mut account = DataAccount::default();
    for file in entries(directory)? {
        let Some(what) = kind(&file) else {
            account.leave_out(file_name(&file), "no IDX file");
            continue;
        };
        let (set, role) = meaning(&file);
        let parts = sets.entry(set).or_default();
        parts.entry(role).or_default()[what].push(file);
    }
    if !path.is_dir() {
        let (wanted, _) = meaning(path);
        sets.retain(|set, parts| {
            let mut files = parts.values().flatten().flatten();
            *set == wanted && files.any(|file| file.file_name() == path.file_name())
        });
    }
    if sets.len() > 1 {
        let file =
            |parts: &BTreeMap<Role, Found>| parts.values().flatten().flatten().next().cloned();
        return Err(ImageError::SeveralSets {
            path: path.to_owned(),
            sets: sets.keys().cloned().collect(),
            file: sets.values().find_map(file).unwrap_or_default(),
        });
    }
    let Some(parts) = sets.into_values().next() else {
        return Ok(None);
    };
    files(directory, parts, account).map(Some)
}

/// 0 for a file of images, 1 for one of labels: by its first bytes, or by its name if they are
/// not those of an IDX file.
fn kind(path: &Path) -> Option<usize> {
    if !path.is_file() {
        return None;
    }
    let named = |word: &str| words(path).any(|w| w == word);
    // What cannot be unpacked is found by its name and refused when it is read.
    let source = Source::open(path);
    let start = source.as_ref().map(Source::head);
    match start {
        Ok([0, 0, kind, 3, ..]) if TYPES.contains(kind) => Some(0),
        Ok([0, 0, kind, 1 | 2, ..]) if TYPES.contains(kind) => Some(1),
        _ if named("idx3") => Some(0),
        _ if named("idx1") => Some(1),
        _ => None,
    }
}

/// The words of a file's name in small letters.
fn words(path: &Path) -> impl Iterator<Item = String> {
    let name = file_name(path).to_lowercase();
    let words = name.split(|c: char| !c.is_alphanumeric());
    words.map(str::to_owned).collect::<Vec<_>>().into_iter()
}

/// The set and the part that a file's name says it is of.
fn meaning(path: &Path) -> (String, Role) {
    const OF_ALL: [&str; 19] = [
        "images", "image", "img", "labels", "label", "idx", "idx1", "idx2", "idx3", "ubyte",
        "uint8", "int", "bin", "dat", "data", "raw", "gz", "x", "y",
    ];
    const OF_TEST: [&str; 4] = ["t10k", "val", "valid", "validation"];
    let mut role = Role::Whole;
    let mut set = Vec::new();
    for word in words(path) {
        if word.starts_with("train") {
            role = Role::Train;
        } else if word.starts_with("test") || OF_TEST.contains(&&*word) {
            role = Role::Test;
        } else if !OF_ALL.contains(&&*word) && !word.is_empty() {
            set.push(word);
        }
    }
    (set.join("-"), role)
}

/// One pair for each part, and what is missing or left out.
fn files(
    directory: &Path,
    parts: BTreeMap<Role, Found>,
    mut account: DataAccount,
) -> Result<Files, ImageError> {
    let mut pairs = Vec::new();
    for found in parts.values() {
        let mut chosen = Vec::new();
        for files in found {
            let Some((first, copies)) = files.split_first() else {
                continue;
            };
            for copy in copies {
                if Source::open(first)?.rest()? != Source::open(copy)?.rest()? {
                    return Err(ImageError::Contradiction {
                        paths: [first.clone(), copy.clone()],
                    });
                }
                account.leave_out(file_name(copy), format!("a copy of {}", file_name(first)));
            }
            chosen.push(first.clone());
        }
        match <[PathBuf; 2]>::try_from(chosen) {
            Ok([images, labels]) => pairs.push(Pair { images, labels }),
            Err(alone) => {
                let missing = WHAT[usize::from(!found[0].is_empty())];
                return Err(ImageError::HalfMissing {
                    path: alone[0].clone(),
                    missing,
                });
            }
        }
    }
    let remark = match parts.keys().copied().collect::<Vec<_>>()[..] {
        [Role::Train, Role::Test] | [Role::Whole] => None,
        [Role::Train] => Some("only the training part is here, no test files (t10k, test)"),
        [Role::Test] => Some(
            "only the test part (t10k, test) is here, no training files: it is trained on, so \
             what is measured is no test accuracy of this set",
        ),
        _ => {
            let reason = "some IDX files are named train or test, others neither";
            return Err(malformed(directory, reason.to_owned()));
        }
    };
    account.remarks.extend(remark.map(str::to_owned));
    Ok(Files { pairs, account })
}

impl Files {
    pub(super) fn measure(&self) -> Result<Measured, ImageError> {
        let mut labels = BTreeSet::new();
        for pair in &self.pairs {
            labels.extend(pair.labels()?);
        }
        Ok(Measured {
            sizes: self.sizes()?,
            classes: labels.len(),
            exact: true,
        })
    }

    /// The sizes of all images.
    fn sizes(&self) -> Result<ImageSizes, ImageError> {
        let mut all = self.pairs.iter().map(Pair::sizes);
        let first = all.next().expect("a pair")?;
        for (other, pair) in all.zip(&self.pairs[1..]) {
            let other = other?;
            if other != first {
                return Err(ImageError::SizesDiffer {
                    paths: [self.pairs[0].images.clone(), pair.images.clone()],
                    sizes: [first, other],
                });
            }
        }
        Ok(first)
    }

    pub(super) fn read(self) -> Result<Contents, ImageError> {
        let sizes = self.sizes()?;
        let mut account = self.account;
        let mut parts = Vec::new();
        for pair in &self.pairs {
            let mut reading = Reading::default();
            let part = pair.read(sizes)?;
            reading.add(&file_name(&pair.images), "idx", part);
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

/// Numbers the labels that occur from 0 on, in their order, and names the classes by them.
fn name_classes(parts: &mut [Reading], account: &mut DataAccount) -> Vec<String> {
    let of = |reading: &Reading| reading.part.labels.iter().copied().collect();
    let in_parts: Vec<BTreeSet<u8>> = parts.iter().map(of).collect();
    let all: BTreeSet<u8> = in_parts.iter().flatten().copied().collect();
    let labels: Vec<u8> = all.into_iter().collect();
    let names = |labels: &[u8]| labels.iter().map(u8::to_string).collect::<Vec<_>>();
    if let (Some(&first), Some(&last)) = (labels.first(), labels.last())
        && usize::from(last) + 1 != labels.len()
    {
        account.remarks.push(format!(
            "labels go from {first} to {last}, and {} of them occur: class 0 of the network is \
             label {first}",
            labels.len()
        ));
    }
    for (labels_here, part) in in_parts.iter().zip(["training", "test"]) {
        let without: Vec<u8> = labels
            .iter()
            .copied()
            .filter(|l| !labels_here.contains(l))
            .collect();
        if !without.is_empty() {
            account.remarks.push(format!(
                "no {part} image has label {}",
                names(&without).join(", ")
            ));
        }
    }
    for label in parts
        .iter_mut()
        .flat_map(|reading| &mut reading.part.labels)
    {
        *label = labels.binary_search(label).expect("it occurs") as u8;
    }
    names(&labels)
}

impl Pair {
    fn sizes(&self) -> Result<ImageSizes, ImageError> {
        let mut file = Source::open(&self.images)?;
        let [_, height, width] = header(&mut file, &self.images)?.map(|x| x as usize);
        if height != width || height == 0 || height > LONGEST {
            return Err(malformed(
                &self.images,
                format!("its images are {height} x {width}, expected squares of 1 to {LONGEST}"),
            ));
        }
        Ok(ImageSizes {
            side: height,
            channels: 1,
        })
    }

    fn labels(&self) -> Result<Vec<u8>, ImageError> {
        let mut file = Source::open(&self.labels)?;
        let [count] = header(&mut file, &self.labels)?;
        let labels = file.exactly(count.into(), "the labels")?;
        file.end()?;
        Ok(labels)
    }

    fn read(&self, sizes: ImageSizes) -> Result<Part, ImageError> {
        let mut file = Source::open(&self.images)?;
        let [count, ..]: [u32; 3] = header(&mut file, &self.images)?;
        let size = u64::from(count) * sizes.elements() as u64;
        let pixels = file.exactly(size, "the images")?;
        file.end()?;
        let labels = self.labels()?;
        if labels.len() != count as usize {
            return Err(malformed(
                &self.labels,
                format!("it has {} labels for {count} images", labels.len()),
            ));
        }
        Ok(Part { pixels, labels })
    }
}

fn header<const N: usize>(file: &mut Source<'_>, path: &Path) -> Result<[u32; N], ImageError> {
    let magic = file.big_endian("the header")?;
    let expected = u32::from_be_bytes([0, 0, UNSIGNED_BYTE, N as u8]);
    if magic != expected {
        return Err(malformed(
            path,
            format!(
                "it starts with {magic:#010x}, unsigned bytes in {N} dimensions with {expected:#010x}"
            ),
        ));
    }
    let mut dimensions = [0; N];
    for dimension in &mut dimensions {
        *dimension = file.big_endian("the header")?;
    }
    Ok(dimensions)
}
