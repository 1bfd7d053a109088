//! Headers of GGUF files, versions 2 and 3 (little endian).

use super::{Dtype, Entry, MOST_HEADER, count};
use crate::CheckpointError;
use serde_json::{Map, Value};
use std::{
    collections::HashSet,
    fs::File,
    io::{BufReader, Read},
    path::Path,
};

/// The first bytes of every GGUF file.
pub(super) const MAGIC: &[u8; 4] = b"GGUF";

/// Bytes that a name or a text that is kept may have.
const MOST_TEXT: u64 = 1 << 16;

/// How deep arrays of metadata may be nested.
const DEEPEST: usize = 4;

/// The metadata that are numbers or texts, and the tensors.
pub(super) struct Header {
    pub(super) metadata: Map<String, Value>,
    pub(super) entries: Vec<(String, Entry)>,
}

/// The header of a file, every tensor inside it.
pub(super) fn header(path: &Path) -> Result<Header, CheckpointError> {
    let file = File::open(path).map_err(CheckpointError::unreadable(path))?;
    let whole = file
        .metadata()
        .map_err(CheckpointError::unreadable(path))?
        .len();
    let mut reader = Reader {
        file: BufReader::new(file),
        at: 0,
    };
    reader
        .header(whole)
        .map_err(|reason| CheckpointError::malformed(path, reason))
}

struct Reader {
    file: BufReader<File>,
    at: u64,
}

impl Reader {
    fn header(&mut self, whole: u64) -> Result<Header, String> {
        if self.bytes::<4>()? != *MAGIC {
            return Err("the first bytes are not those of GGUF".into());
        }
        let version = self.u32()?;
        if !(2..=3).contains(&version) {
            return Err(format!(
                "GGUF version {version}, expected 2 or 3 (little endian); convert the model again \
                 with a llama.cpp of today"
            ));
        }
        let (tensors, pairs) = (self.u64()?, self.u64()?);
        let mut metadata = Map::new();
        for _ in 0..pairs {
            let key = self.text()?;
            let kind = self.u32()?;
            let value = self.value(kind, DEEPEST)?;
            if metadata.insert(key.clone(), value).is_some() {
                return Err(format!("{key} stands twice in the metadata"));
            }
        }
        let mut entries = Vec::new();
        let mut seen = HashSet::new();
        for _ in 0..tensors {
            let (name, entry) = self.entry()?;
            if !seen.insert(name.clone()) {
                return Err(format!("{name} stands there twice"));
            }
            entries.push((name, entry));
        }
        let alignment = metadata.get("general.alignment").and_then(Value::as_u64);
        let alignment = alignment.unwrap_or(32);
        if !alignment.is_power_of_two() || alignment > 1 << 20 {
            return Err(format!("general.alignment is {alignment}, no power of two"));
        }
        let data = self.at.next_multiple_of(alignment);
        for (name, entry) in &mut entries {
            let start = data.checked_add(entry.start);
            let end = start.and_then(|start| start.checked_add(entry.bytes));
            match (start, end) {
                (Some(start), Some(end)) if end <= whole => entry.start = start,
                _ => {
                    return Err(format!(
                        "tensor {name} ends beyond the {whole} bytes of the file; the file is \
                         truncated, download it again"
                    ));
                }
            }
        }
        metadata.retain(|_, value| !value.is_null());
        Ok(Header { metadata, entries })
    }

    fn entry(&mut self) -> Result<(String, Entry), String> {
        let name = self.text()?;
        let rank = self.u32()?;
        if rank > 8 {
            return Err(format!("tensor {name} has {rank} dimensions"));
        }
        // Fastest first in the file.
        let mut shape = Vec::new();
        for _ in 0..rank {
            shape.insert(0, self.u64()?);
        }
        let (kind, offset) = (self.u32()?, self.u64()?);
        let dtype = match kind {
            0 => Ok(Dtype::F32),
            1 => Ok(Dtype::F16),
            28 => Ok(Dtype::F64),
            30 => Ok(Dtype::Bf16),
            other => Err(format!("of the quantised type {other} of ggml")),
        };
        let numbers =
            count(&shape).ok_or_else(|| format!("tensor {name} has too large a shape"))?;
        let bytes = match &dtype {
            Ok(dtype) => numbers.checked_mul(dtype.size()),
            Err(_) => Some(0),
        };
        let entry = Entry {
            file: 0,
            dtype,
            shape,
            start: offset,
            bytes: bytes.ok_or_else(|| format!("tensor {name} has too large a shape"))?,
        };
        Ok((name, entry))
    }

    /// A value of metadata; null for arrays and long texts, which are skipped.
    fn value(&mut self, kind: u32, deepest: usize) -> Result<Value, String> {
        Ok(match kind {
            0 => self.bytes::<1>()?[0].into(),
            1 => i8::from_le_bytes(self.bytes()?).into(),
            2 => u16::from_le_bytes(self.bytes()?).into(),
            3 => i16::from_le_bytes(self.bytes()?).into(),
            4 => self.u32()?.into(),
            5 => i32::from_le_bytes(self.bytes()?).into(),
            // Through its shortest decimals: 1e-6, not 9.99999997e-7.
            6 => decimals(f32::from_le_bytes(self.bytes()?)),
            7 => (self.bytes::<1>()?[0] != 0).into(),
            8 => match self.u64()? {
                length @ 0..=MOST_TEXT => self.text_of(length)?.into(),
                length => self.skip(length)?,
            },
            9 => self.array(deepest)?,
            10 => self.u64()?.into(),
            11 => i64::from_le_bytes(self.bytes()?).into(),
            12 => f64::from_le_bytes(self.bytes()?).into(),
            other => return Err(format!("metadata of the unknown type {other}")),
        })
    }

    fn array(&mut self, deepest: usize) -> Result<Value, String> {
        let (kind, length) = (self.u32()?, self.u64()?);
        let size = match kind {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            10..=12 => 8,
            8 => {
                for _ in 0..length {
                    let length = self.u64()?;
                    self.skip(length)?;
                }
                return Ok(Value::Null);
            }
            _ if deepest > 0 => {
                for _ in 0..length {
                    self.value(kind, deepest - 1)?;
                }
                return Ok(Value::Null);
            }
            _ => return Err("arrays of metadata are nested too deep".into()),
        };
        let bytes = length.checked_mul(size);
        self.skip(bytes.ok_or("an array of metadata is too long")?)
    }

    fn skip(&mut self, length: u64) -> Result<Value, String> {
        self.advance(length)?;
        let offset = length as i64;
        self.file
            .seek_relative(offset)
            .map_err(|error| error.to_string())?;
        Ok(Value::Null)
    }

    fn text(&mut self) -> Result<String, String> {
        match self.u64()? {
            length @ 0..=MOST_TEXT => self.text_of(length),
            length => Err(format!("a name of {length} bytes")),
        }
    }

    fn text_of(&mut self, length: u64) -> Result<String, String> {
        self.advance(length)?;
        let mut bytes = vec![0; length as usize];
        self.read(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn u32(&mut self) -> Result<u32, String> {
        Ok(u32::from_le_bytes(self.bytes()?))
    }

    fn u64(&mut self) -> Result<u64, String> {
        Ok(u64::from_le_bytes(self.bytes()?))
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], String> {
        self.advance(N as u64)?;
        let mut bytes = [0; N];
        self.read(&mut bytes)?;
        Ok(bytes)
    }

    fn read(&mut self, bytes: &mut [u8]) -> Result<(), String> {
        let read = self.file.read_exact(bytes);
        read.map_err(|error| {
            format!("the file ends within its header ({error}); download it again")
        })
    }

    /// Counts bytes of the header against their bound.
    fn advance(&mut self, length: u64) -> Result<(), String> {
        match self.at.checked_add(length) {
            Some(at) if at <= MOST_HEADER => self.at = at,
            _ => return Err(format!("the header is longer than {MOST_HEADER} bytes")),
        }
        Ok(())
    }
}

fn decimals(number: f32) -> Value {
    number
        .to_string()
        .parse::<f64>()
        .map_or(Value::Null, Value::from)
}
