//! Reading text from the file system, the same way every time.

use super::{
    DataError, LeftOut,
    bytes::{Unpacked, most_text},
    decode::{Decoded, decode},
};
use crate::run_dir::is_run_directory;
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Files and folders that are looked at, a few seconds' work: more is a whole disk, not a text.
pub(super) const MOST_ENTRIES: usize = 200_000;
const UNREADABLE: &str = "this folder cannot be read, or not to its end";

/// The content of one text file.
#[derive(Debug)]
pub(super) struct TextFile {
    /// Below the path that was given.
    pub name: String,
    pub bytes: Vec<u8>,
    /// SHA-256 of `bytes`.
    pub digest: [u8; 32],
    /// Decoding that was needed, if any.
    pub read_as: Option<String>,
}

impl TextFile {
    pub(super) fn new(name: String, bytes: Vec<u8>) -> Self {
        let digest = Sha256::digest(&bytes).into();
        Self {
            name,
            bytes,
            digest,
            read_as: None,
        }
    }
}

/// Content of a folder.
#[derive(Debug, Default)]
pub(super) struct Folder {
    pub files: Vec<TextFile>,
    pub left_out: Vec<LeftOut>,
    /// Number of images among these.
    pub images: usize,
}

/// The text of a regular file, of at most `most` bytes.
pub(super) fn read_file(path: &Path, most: u64) -> Result<Decoded, DataError> {
    decode(Unpacked::open(path)?, most)
}

/// The texts below `root` in sorted order of their paths, without those whose content came before.
pub(super) fn read_directory(root: &Path) -> Result<Folder, DataError> {
    let Walk { files, left_out } = walk(root, MOST_ENTRIES)?;
    let name = |path: &Path| {
        let below = path.strip_prefix(root).unwrap_or(path);
        below.display().to_string()
    };
    let mut folder = Folder::default();
    for (path, reason) in left_out {
        folder.left_out.push(LeftOut::new(name(&path), reason));
    }
    let most = most_text();
    let mut room = most;
    let mut seen: BTreeMap<[u8; 32], String> = BTreeMap::new();
    for path in files {
        let name = name(&path);
        let reason = match read_file(&path, room) {
            Ok(Decoded { bytes, read_as }) => {
                let file = TextFile {
                    read_as,
                    ..TextFile::new(name.clone(), bytes)
                };
                match seen.get(&file.digest) {
                    Some(original) => format!("a copy of {original}"),
                    None => {
                        room -= file.bytes.len() as u64;
                        seen.insert(file.digest, name);
                        folder.files.push(file);
                        continue;
                    }
                }
            }
            Err(DataError::TooLarge { limit, .. }) if limit == room => {
                return Err(DataError::TooLarge {
                    path: root.to_owned(),
                    limit: most,
                });
            }
            Err(DataError::Binary { kind, .. }) => {
                folder.images += kind.map_or(0, |kind| kind.images());
                kind.map_or("bytes that no text has", |kind| kind.name)
                    .to_owned()
            }
            Err(DataError::Empty { .. }) => "empty".to_owned(),
            Err(DataError::Malformed { .. }) => "damaged gzip".to_owned(),
            Err(DataError::TooLarge { .. }) => "it expands too far".to_owned(),
            Err(DataError::Unreadable { source, .. }) => source.to_string(),
            Err(_) => "it went away".to_owned(),
        };
        folder.left_out.push(LeftOut { name, reason });
    }
    folder.left_out.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(folder)
}

/// Files below a folder, and what of it is not looked into.
pub(super) struct Walk {
    pub files: Vec<PathBuf>,
    /// Paths and reasons.
    pub left_out: Vec<(PathBuf, &'static str)>,
}

/// Regular files below `root`, sorted by path. Hidden ones are left out, so are runs of this
/// program. Links to files are followed, links to directories are not, since they may form a
/// circle.
pub(super) fn walk(root: &Path, most: usize) -> Result<Walk, DataError> {
    let mut found = Walk {
        files: Vec::new(),
        left_out: Vec::new(),
    };
    let mut seen = 0;
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if directory == root => return Err(DataError::reading(root, error)),
            Err(_) => {
                found.left_out.push((directory, UNREADABLE));
                continue;
            }
        };
        for entry in entries {
            let Ok(entry) = entry else {
                found.left_out.push((directory, UNREADABLE));
                break;
            };
            seen += 1;
            if seen > most {
                let reason = format!(
                    "holds more than {most} files and folders: give the folder with the text, or \
                     join the texts into fewer files"
                );
                return Err(DataError::unusable(root, reason));
            }
            let path = entry.path();
            let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let reason = match fs::metadata(&path) {
                _ if hidden => "hidden",
                _ if is_directory && is_run_directory(&path) => "a run of this program",
                _ if is_directory => {
                    directories.push(path);
                    continue;
                }
                Ok(target) if target.is_file() => {
                    found.files.push(path);
                    continue;
                }
                Ok(target) if target.is_dir() => "a link to a folder, not followed",
                Ok(_) => "a device, pipe or socket",
                Err(_) => "a link that leads nowhere",
            };
            found.left_out.push((path, reason));
        }
    }
    found.files.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_with_too_many_entries_is_refused_and_named() {
        let directory = tempfile::tempdir().expect("a directory");
        for name in ["a", "b", "c"] {
            fs::write(directory.path().join(name), name).expect("space");
        }
        assert!(walk(directory.path(), 3).is_ok());
        let error = walk(directory.path(), 2).err().expect("one too many");
        let text = error.to_string();
        let name = directory.path().display().to_string();
        assert!(
            text.contains(&name) && text.contains("more than 2 files"),
            "{text}"
        );
    }
}
