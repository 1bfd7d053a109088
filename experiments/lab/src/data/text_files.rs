//! Reading text from the file system, the same way every time.

use super::{
    DataError, LeftOut,
    decode::{Decoded, NoText, decode},
    kind::{FileKind, recognise},
    most_bytes,
};
use crate::run_dir::is_run_directory;
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read},
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
    /// How it was read, if not as it is.
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

/// What a folder holds.
#[derive(Debug, Default)]
pub(super) struct Folder {
    pub files: Vec<TextFile>,
    pub left_out: Vec<LeftOut>,
    /// How many images are among these.
    pub images: usize,
}

/// Opens a regular file that is not empty; with its length. A device or pipe may never end, so
/// the kind is checked before.
pub(super) fn open(path: &Path) -> Result<(File, u64), DataError> {
    let failed = |error| unreadable(path, error);
    let metadata = fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        return Err(DataError::NotRegular {
            path: path.to_owned(),
        });
    }
    // The kernel shows its own state as files without length, and some never answer.
    if metadata.len() == 0 {
        return Err(DataError::Empty {
            path: path.to_owned(),
        });
    }
    Ok((File::open(path).map_err(failed)?, metadata.len()))
}

/// The text of a regular file, of at most `most` bytes.
pub(super) fn read_file(path: &Path, most: u64) -> Result<Decoded, DataError> {
    let (file, length) = open(path)?;
    let path = path.to_owned();
    decode(file, length, most).map_err(|why| match why {
        NoText::Empty => DataError::Empty { path },
        NoText::Binary { byte, offset, head } => DataError::Binary {
            kind: recognise(&head, &path),
            path,
            byte,
            offset,
        },
        NoText::Damaged(reason) => DataError::Damaged { path, reason },
        NoText::TooLarge { limit } => DataError::TooLarge { path, limit },
        NoText::Io(error) => unreadable(&path, error),
    })
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
    let most = most_bytes();
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
            Err(error) => {
                let kind = error.kind();
                folder.images += kind.map_or(0, |kind| kind.images());
                match (&error, kind) {
                    (_, Some(FileKind { name, .. })) => name.to_string(),
                    (DataError::Empty { .. }, _) => "empty".to_owned(),
                    (DataError::Binary { .. }, _) => "bytes that no text has".to_owned(),
                    (DataError::Damaged { .. }, _) => "damaged gzip".to_owned(),
                    (DataError::TooLarge { .. }, _) => "it expands too far".to_owned(),
                    (DataError::Unreadable { source, .. }, _) => source.to_string(),
                    _ => "it went away".to_owned(),
                }
            }
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
            Err(error) if directory == root => return Err(unreadable(root, error)),
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
                return Err(DataError::TooManyFiles {
                    path: root.to_owned(),
                    limit: most,
                });
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

/// The bytes of a regular file that has no more than `most`.
pub(super) fn read_bytes(path: &Path, most: u64) -> Result<Vec<u8>, DataError> {
    let (file, _) = open(path)?;
    let mut bytes = Vec::new();
    let read = file.take(most + 1).read_to_end(&mut bytes);
    read.map_err(|error| unreadable(path, error))?;
    match bytes.len() as u64 > most {
        true => Err(DataError::TooLarge {
            path: path.to_owned(),
            limit: most,
        }),
        false => Ok(bytes),
    }
}

/// The names in a folder that are not hidden, sorted.
pub(super) fn names_in(folder: &Path) -> Result<Vec<String>, DataError> {
    let entries = fs::read_dir(folder).map_err(|error| unreadable(folder, error))?;
    let mut names: Vec<String> = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.'))
        .collect();
    names.sort();
    Ok(names)
}

pub(super) fn unreadable(path: &Path, source: io::Error) -> DataError {
    let path = path.to_owned();
    if source.kind() == io::ErrorKind::NotFound {
        DataError::Missing { path }
    } else {
        DataError::Unreadable { path, source }
    }
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
