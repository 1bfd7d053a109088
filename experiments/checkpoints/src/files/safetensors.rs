//! Headers of safetensors files.

use super::{Dtype, Entry, MOST_HEADER, count};
use crate::CheckpointError;
use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, Visitor},
};
use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    fs::File,
    io::{Read, Take},
    path::Path,
};

/// Names with what a map holds for each, in order; a name that stands twice is an error.
pub(super) struct Unique<V>(pub(super) Vec<(String, V)>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Unique<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names<V>(std::marker::PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for Names<V> {
            type Value = Unique<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of names")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Unique<V>, M::Error> {
                let (mut found, mut seen) = (Vec::new(), HashSet::new());
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        map.next_value::<IgnoredAny>()?;
                        continue;
                    }
                    if !seen.insert(name.clone()) {
                        return Err(M::Error::custom(format!("{name} stands there twice")));
                    }
                    found.push((name, map.next_value()?));
                }
                Ok(Unique(found))
            }
        }
        deserializer.deserialize_map(Names(std::marker::PhantomData))
    }
}

#[derive(Deserialize)]
struct Info {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

/// The bytes of the header of a file, and the size of the file.
fn header(path: &Path) -> Result<(Vec<u8>, u64), CheckpointError> {
    let malformed = |reason: String| CheckpointError::malformed(path, reason);
    let mut file = File::open(path).map_err(CheckpointError::unreadable(path))?;
    let whole = file
        .metadata()
        .map_err(CheckpointError::unreadable(path))?
        .len();
    if whole < 8 {
        return Err(malformed(format!("{whole} bytes are no safetensors file")));
    }
    let mut length = [0; 8];
    file.read_exact(&mut length)
        .map_err(CheckpointError::unreadable(path))?;
    let length = u64::from_le_bytes(length);
    if length > MOST_HEADER || length > whole - 8 {
        return Err(malformed(format!(
            "a header of {length} bytes does not fit a file of {whole} (at most {MOST_HEADER}); \
             the file is truncated or no safetensors"
        )));
    }
    let header = read_all(file.take(length)).map_err(CheckpointError::unreadable(path))?;
    Ok((header, whole))
}

/// The keys of the metadata of a safetensors file.
///
/// # Errors
/// [`CheckpointError::Unreadable`], and [`CheckpointError::Malformed`] if it is none.
pub fn metadata_keys(path: &Path) -> Result<Vec<String>, CheckpointError> {
    #[derive(Deserialize)]
    struct Header {
        #[serde(rename = "__metadata__", default)]
        metadata: BTreeMap<String, IgnoredAny>,
    }
    let (bytes, _) = header(path)?;
    let header: Header = serde_json::from_slice(&bytes).map_err(|error| {
        CheckpointError::malformed(path, format!("the header cannot be read: {error}"))
    })?;
    Ok(header.metadata.into_keys().collect())
}

/// The entries of a file, every one inside it; `index` is the number of the file.
pub(super) fn entries(path: &Path, index: usize) -> Result<Vec<(String, Entry)>, CheckpointError> {
    let malformed = |reason: String| CheckpointError::malformed(path, reason);
    let (header, whole) = header(path)?;
    let data = 8 + header.len() as u64;
    let header: Unique<Info> = serde_json::from_slice(&header)
        .map_err(|error| malformed(format!("the header cannot be read: {error}")))?;
    let entries = header.0.into_iter().map(|(name, info)| {
        let [start, end] = info.data_offsets;
        if start > end {
            let reason = format!("tensor {name} begins at byte {start} and ends at {end}");
            return Err(malformed(reason));
        }
        let inside = data.checked_add(end).is_some_and(|end| end <= whole);
        if !inside {
            return Err(malformed(format!(
                "tensor {name} lies at bytes {start} to {end} of the data, beyond the {} that the \
                 file has; the file is truncated, download it again",
                whole - data
            )));
        }
        let dtype = match info.dtype.as_str() {
            "F64" => Ok(Dtype::F64),
            "F32" => Ok(Dtype::F32),
            "F16" => Ok(Dtype::F16),
            "BF16" => Ok(Dtype::Bf16),
            _ => Err(info.dtype),
        };
        if let Ok(dtype) = dtype {
            let expected = count(&info.shape).and_then(|n| n.checked_mul(dtype.size()));
            if expected != Some(end - start) {
                return Err(malformed(format!(
                    "tensor {name} has the shape {:?} but {} bytes",
                    info.shape,
                    end - start
                )));
            }
        }
        let entry = Entry {
            file: index,
            dtype,
            shape: info.shape,
            start: data + start,
            bytes: end - start,
        };
        Ok((name, entry))
    });
    entries.collect()
}

/// All bytes of a bounded part of a file.
pub(super) fn read_all(mut part: Take<File>) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    part.read_to_end(&mut bytes)?;
    Ok(bytes)
}
