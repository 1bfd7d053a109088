//! A checkpoint on disk: a folder of shards with its index and configuration, or one file.

use super::{Entry, MOST_HEADER, Tensor, gguf, read_tensor, safetensors};
use crate::CheckpointError;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

const INDEX: &str = "model.safetensors.index.json";
const CONFIG: &str = "config.json";

/// Bytes of headers of all shards together.
const MOST_HEADERS: u64 = 2 * MOST_HEADER;

/// The tensors of interest in a checkpoint, and its configuration.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    files: Vec<PathBuf>,
    entries: BTreeMap<String, Entry>,
    absent: BTreeMap<String, String>,
    config: Map<String, Value>,
    looked: usize,
}

impl Store {
    /// Opens a folder or file, keeping the tensors whose names are `wanted`.
    ///
    /// # Errors
    /// All [`CheckpointError`]s of files.
    pub fn open(path: &Path, wanted: &dyn Fn(&str) -> bool) -> Result<Self, CheckpointError> {
        let mut store = Self {
            path: path.to_owned(),
            files: Vec::new(),
            entries: BTreeMap::new(),
            absent: BTreeMap::new(),
            config: Map::new(),
            looked: 0,
        };
        let there = fs::metadata(path).map_err(CheckpointError::unreadable(path))?;
        if there.is_dir() {
            store.config = config(&path.join(CONFIG))?;
            store.open_folder(path, wanted)?;
            return Ok(store);
        }
        if !there.is_file() {
            let reason = "this is a device or a pipe, expected a file or a folder";
            return Err(CheckpointError::malformed(path, reason));
        }
        let mut magic = [0; 8];
        let opened = File::open(path).map_err(CheckpointError::unreadable(path))?;
        let read = opened.take(8).read(&mut magic);
        read.map_err(CheckpointError::unreadable(path))?;
        let extension = path.extension().and_then(OsStr::to_str).unwrap_or("");
        if magic[..4] == *gguf::MAGIC || extension == "gguf" {
            let header = gguf::header(path)?;
            store.config = header.metadata;
            store.add(path, header.entries, wanted)?;
        } else if is_pickle(extension, magic) {
            let file = path.to_owned();
            return Err(CheckpointError::Pickle { file });
        } else {
            if let Some(folder) = path.parent() {
                store.config = config(&folder.join(CONFIG))?;
            }
            store.add(path, safetensors::entries(path, 0)?, wanted)?;
        }
        Ok(store)
    }

    fn open_folder(
        &mut self,
        folder: &Path,
        wanted: &dyn Fn(&str) -> bool,
    ) -> Result<(), CheckpointError> {
        let index = folder.join(INDEX);
        if index.is_file() {
            return self.open_index(&index, wanted);
        }
        let mut found = Vec::new();
        let mut pickle = None;
        let listing = fs::read_dir(folder).map_err(CheckpointError::unreadable(folder))?;
        for entry in listing {
            let file = entry.map_err(CheckpointError::unreadable(folder))?.path();
            match file.extension().and_then(OsStr::to_str) {
                Some("safetensors") if file.is_file() => found.push(file),
                Some(extension) if is_pickle(extension, [0; 8]) => pickle = Some(file),
                _ => {}
            }
        }
        let single = folder.join("model.safetensors");
        if found.contains(&single) {
            found = vec![single];
        }
        found.sort();
        match (found.is_empty(), pickle) {
            (false, _) => {}
            (true, Some(file)) => return Err(CheckpointError::Pickle { file }),
            (true, None) => {
                return Err(CheckpointError::malformed(
                    folder,
                    "no weights are in this folder; name the directory of a run, a folder with \
                     config.json and *.safetensors, or one .safetensors or .gguf file",
                ));
            }
        }
        self.bound(&found)?;
        for (at, file) in found.iter().enumerate() {
            self.add(file, safetensors::entries(file, at)?, wanted)?;
        }
        Ok(())
    }

    fn open_index(
        &mut self,
        index: &Path,
        wanted: &dyn Fn(&str) -> bool,
    ) -> Result<(), CheckpointError> {
        #[derive(Deserialize)]
        struct Index {
            weight_map: safetensors::Unique<String>,
        }
        let parsed: Index = parse(index)?;
        let (mut listed, mut shards) = (Vec::new(), BTreeSet::new());
        for (name, shard) in parsed.weight_map.0 {
            self.looked += 1;
            if wanted(&name) {
                if Path::new(&shard).file_name() != Some(OsStr::new(&shard)) {
                    let reason = format!("shard {shard:?} of {name} is no plain file name");
                    return Err(CheckpointError::malformed(index, reason));
                }
                printable(index, &shard)?;
                shards.insert(shard.clone());
                listed.push((name, shard));
            }
        }
        let folder = self.path.clone();
        let (here, elsewhere): (Vec<String>, Vec<String>) = shards
            .into_iter()
            .partition(|shard| folder.join(shard).is_file());
        let looked = self.looked;
        let files: Vec<_> = here.iter().map(|shard| folder.join(shard)).collect();
        self.bound(&files)?;
        for (at, file) in files.iter().enumerate() {
            self.add(file, safetensors::entries(file, at)?, wanted)?;
        }
        self.looked = looked;
        for (name, shard) in listed {
            let found = self.entries.get(&name).map(|entry| &self.files[entry.file]);
            let found = found.and_then(|file| file.file_name());
            let wrong = match found {
                Some(file) if file == OsStr::new(&shard) => continue,
                Some(file) => format!("in {}", file.display()),
                None if elsewhere.contains(&shard) => {
                    self.absent.insert(name, shard);
                    continue;
                }
                None => "not there".to_owned(),
            };
            let reason = format!("{name} should be in {shard}, and is {wrong}");
            return Err(CheckpointError::malformed(index, reason));
        }
        Ok(())
    }

    /// Checks that the headers of these files may be read.
    fn bound(&self, files: &[PathBuf]) -> Result<(), CheckpointError> {
        let mut sum = 0_u64;
        for path in files {
            let mut length = [0; 8];
            let file = File::open(path).map_err(CheckpointError::unreadable(path))?;
            let read = file.take(8).read(&mut length);
            read.map_err(CheckpointError::unreadable(path))?;
            // A single one above the bound is refused where it is read.
            sum += u64::from_le_bytes(length).min(MOST_HEADER + 1);
        }
        if sum > MOST_HEADERS && files.len() > 1 {
            let reason = format!("the headers of all shards have more than {MOST_HEADERS} bytes");
            return Err(CheckpointError::malformed(&self.path, reason));
        }
        Ok(())
    }

    fn add(
        &mut self,
        file: &Path,
        entries: Vec<(String, Entry)>,
        wanted: &dyn Fn(&str) -> bool,
    ) -> Result<(), CheckpointError> {
        self.files.push(file.to_owned());
        self.looked += entries.len();
        for (name, entry) in entries {
            if !wanted(&name) {
                continue;
            }
            printable(file, &name)?;
            if let Some(other) = self.entries.get(&name) {
                let reason = format!("{name} is in {} too", self.files[other.file].display());
                return Err(CheckpointError::malformed(file, reason));
            }
            self.entries.insert(name, entry);
        }
        Ok(())
    }

    /// The path that was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The configuration: that of the folder, or the metadata of a GGUF file.
    pub fn config(&self) -> &Map<String, Value> {
        &self.config
    }

    /// The number of names that were looked at.
    pub fn looked(&self) -> usize {
        self.looked
    }

    /// The names of all tensors of interest, whether their shard is here or not.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let absent = self.absent.keys();
        self.entries.keys().chain(absent).map(String::as_str)
    }

    /// The shape of a tensor whose shard is here.
    pub fn shape(&self, name: &str) -> Option<Vec<usize>> {
        let shape = &self.entries.get(name)?.shape;
        Some(shape.iter().map(|&size| size as usize).collect())
    }

    /// The file name of the shard that holds or should hold a tensor.
    pub fn shard(&self, name: &str) -> Option<String> {
        let here = self.entries.get(name).map(|entry| {
            let file = self.files[entry.file].file_name().unwrap_or_default();
            file.to_string_lossy().into_owned()
        });
        here.or_else(|| self.absent.get(name).cloned())
    }

    /// The shard to download for a tensor, if it is not here.
    pub fn to_fetch(&self, name: &str) -> Option<&str> {
        self.absent.get(name).map(String::as_str)
    }

    /// Reads a tensor.
    ///
    /// # Errors
    /// [`CheckpointError::Tensor`] if a number is not finite or of another format,
    /// [`CheckpointError::ToFetch`] if its shard is not here.
    pub fn read(&self, name: &str) -> Result<Tensor, CheckpointError> {
        match self.entries.get(name) {
            Some(entry) => read_tensor(&self.files[entry.file], name, entry),
            None => Err(CheckpointError::ToFetch {
                path: self.path.clone(),
                shards: self.absent.get(name).cloned().into_iter().collect(),
            }),
        }
    }

    /// The file of a tensor that is here.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        let entry = self.entries.get(name);
        entry.map_or_else(|| self.path.clone(), |entry| self.files[entry.file].clone())
    }
}

/// Checks that a name can stand in a line.
fn printable(file: &Path, name: &str) -> Result<(), CheckpointError> {
    match name.chars().any(char::is_control) {
        false => Ok(()),
        true => {
            let reason = format!("the name {name:?} has characters that cannot be shown");
            Err(CheckpointError::malformed(file, reason))
        }
    }
}

/// Whether a file is a pickle or an archive of PyTorch, by its name or its first bytes.
fn is_pickle(extension: &str, magic: [u8; 8]) -> bool {
    let named = ["pt", "pth", "bin", "ckpt", "pkl"].contains(&extension);
    // A safetensors file begins with a length, whose upper bytes are zero.
    let protocol = magic[0] == 0x80 && (2..=5).contains(&magic[1]) && magic[4..] != [0; 4];
    named || magic[..4] == *b"PK\x03\x04" || protocol
}

/// The configuration at a path; empty if there is none.
fn config(path: &Path) -> Result<Map<String, Value>, CheckpointError> {
    match path.is_file() {
        true => parse(path),
        false => Ok(Map::new()),
    }
}

fn parse<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T, CheckpointError> {
    let file = File::open(path).map_err(CheckpointError::unreadable(path))?;
    let bytes =
        safetensors::read_all(file.take(MOST_HEADER)).map_err(CheckpointError::unreadable(path))?;
    serde_json::from_slice(&bytes)
        .map_err(|error| CheckpointError::malformed(path, format!("not as expected: {error}")))
}
