//! From a path to a set: which layout it is, what is in it, and how it is cut.

use super::{
    FEWEST, ImageSet, ImageSizes, ImageSource, Part, cifar, folders, idx,
    layout::{Contents, Layout},
};
use crate::{
    data::{DataError, Unit, bytes::entries},
    files::file_name,
    run_dir::is_run_directory,
};
use engine::rng::Key;
use rand::seq::SliceRandom;
use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

/// The layout of what is at a path.
pub(super) fn find(path: &Path, partial: bool) -> Result<Box<dyn Layout>, DataError> {
    let path_of = || path.to_owned();
    if !path.exists() {
        return Err(DataError::Missing { path: path_of() });
    }
    known(path, partial)?.ok_or_else(|| DataError::NoImages {
        path: path_of(),
        hint: hint(path).unwrap_or_default(),
    })
}

fn known(path: &Path, partial: bool) -> Result<Option<Box<dyn Layout>>, DataError> {
    if let Some(files) = idx::find(path)? {
        return Ok(Some(Box::new(files)));
    }
    if !path.is_dir() {
        return Ok(None);
    }
    if let Some(batches) = cifar::find(path, partial)? {
        return Ok(Some(Box::new(batches)));
    }
    let folders = folders::find(path)?;
    Ok(folders.map(|folders| Box::new(folders) as Box<dyn Layout>))
}

/// The images at the path of a source, in a training and a test part.
pub(super) fn load(path: &Path, source: &ImageSource) -> Result<ImageSet, DataError> {
    let Contents {
        mut parts,
        classes,
        sizes,
        mut account,
    } = find(path, source.partial)?.read(source.sizes)?;
    let found = parts.iter().map(|reading| reading.part.len()).sum();
    if found < FEWEST || parts.iter().any(|reading| reading.part.is_empty()) {
        let needed = format!("at least {FEWEST} are needed, to train and to test on");
        return Err(DataError::unusable(
            path,
            format!("holds {found} images: {needed}"),
        ));
    }
    account.name = file_name(path);
    account.unit = Unit::Images;
    let about = match &classes[..] {
        [class] => format!("images of {sizes}, all of them of one class, {class}"),
        _ => format!("images of {sizes} in {} classes", classes.len()),
    };
    account.remarks.insert(0, about);
    let (train, test) = match &mut parts[..] {
        [train, test] => {
            "the test part that comes with the images".clone_into(&mut account.split);
            let all = train.part.len();
            if let Some(wanted) = source.train {
                if wanted > all {
                    return Err(DataError::too_few_images(path, all, wanted));
                }
                train.keep(&some_of(all, wanted), sizes);
                account.remarks.push(format!(
                    "{wanted} of its {all} training images are trained on, drawn once and for all"
                ));
            }
            train.enter(&mut account, &[]);
            test.enter(&mut account, &(0..test.part.len()).collect::<Vec<_>>());
            (
                std::mem::take(&mut train.part),
                std::mem::take(&mut test.part),
            )
        }
        parts => {
            let for_test = match source.train {
                None => found / 10,
                Some(wanted) if wanted < found => found - wanted,
                Some(wanted) => {
                    return Err(DataError::too_few_images(path, found - 1, wanted));
                }
            };
            account.split = match source.train {
                None => "a tenth of the images, drawn once and for all".to_owned(),
                Some(_) => format!("{for_test} of the images, drawn once and for all"),
            };
            let [train, test] = cut(found, for_test);
            parts[0].enter(&mut account, &test);
            let part = |indices: &[usize]| parts[0].part.select(indices, sizes);
            (part(&train), part(&test))
        }
    };
    let trained = |label: usize| train.labels.iter().any(|&one| usize::from(one) == label);
    let untrained = (0..classes.len()).filter(|&label| source.train.is_some() && !trained(label));
    let untrained: Vec<&str> = untrained.map(|label| &*classes[label]).collect();
    if let Some(first) = untrained.first() {
        let count = untrained.len();
        let remark = format!("no image is trained on of {count} classes, such as {first}");
        account.remarks.push(remark);
    }
    account.remarks.extend(repeated(&train, &test, sizes));
    Ok(ImageSet::new(account, train, test, classes, sizes))
}

/// Remarks on images that occur several times.
fn repeated(train: &Part, test: &Part, sizes: ImageSizes) -> Vec<String> {
    let known: HashSet<&[u8]> = (0..train.len())
        .map(|index| train.image(index, sizes))
        .collect();
    let copies = train.len() - known.len();
    let leaked = (0..test.len())
        .filter(|&index| known.contains(test.image(index, sizes)))
        .count();
    let mut remarks = Vec::new();
    if copies > 0 {
        remarks.push(format!(
            "{copies} of the {} images to train on are copies of others",
            train.len()
        ));
    }
    if leaked > 0 {
        remarks.push(format!(
            "{leaked} of the {} images to test on are also trained on: what is measured looks better \
             than it is",
            test.len()
        ));
    }
    remarks
}

/// The numbers of so many of the images to train on, ascending.
fn some_of(images: usize, wanted: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..images).collect();
    order.shuffle(&mut Key::new(0).named("images to train on").rng());
    order.truncate(wanted);
    order.sort_unstable();
    order
}

/// The numbers of the images to train on and of those to test on, ascending.
fn cut(images: usize, for_test: usize) -> [Vec<usize>; 2] {
    let mut order: Vec<usize> = (0..images).collect();
    order.shuffle(&mut Key::new(0).named("test images").rng());
    let (test, train) = order.split_at_mut(for_test);
    // Back in the order of the files: only the choice is random.
    test.sort_unstable();
    train.sort_unstable();
    [train.to_vec(), test.to_vec()]
}

/// A hint at what may have been meant by a path that holds no images.
fn hint(path: &Path) -> Option<String> {
    /// Depth below a path, and number of folders, within which a set is looked for.
    const DEPTH: usize = 3;
    const FOLDERS: usize = 50;
    if is_run_directory(path) {
        return Some(
            "; it is a run of this program, for train --resume, inspect or sample".to_owned(),
        );
    }
    if path.join("data_batch_1").is_file() {
        return Some("; these are CIFAR's batches for Python, not the binary ones".to_owned());
    }
    let mut directories = vec![path.to_owned()];
    for _ in 0..DEPTH {
        let below = directories
            .iter()
            .flat_map(|path| entries(path).unwrap_or_default());
        directories = below.filter(|path| path.is_dir()).take(FOLDERS).collect();
        let is_set = |path: &&PathBuf| known(path, true).is_ok_and(|found| found.is_some());
        if let Some(found) = directories.iter().find(is_set) {
            return Some(format!("; there are images in {}", found.display()));
        }
    }
    None
}
