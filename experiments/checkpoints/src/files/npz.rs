//! Files of stream states: safetensors, or NumPy arrays in a zip archive.

use super::{Dtype, Entry, MOST_HEADER, MOST_NUMBERS, Tensor, count, read_tensor, safetensors};
use crate::CheckpointError;
use flate2::read::DeflateDecoder;
use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

/// A file of named arrays.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
    arrays: BTreeMap<String, Array>,
}

#[derive(Debug)]
enum Array {
    Plain(Entry),
    Zipped(Member),
}

/// A file of a zip archive.
#[derive(Debug)]
struct Member {
    deflated: bool,
    start: u64,
    packed: u64,
}

impl StateFile {
    /// Opens a file.
    ///
    /// # Errors
    /// [`CheckpointError::Unreadable`] and [`CheckpointError::Malformed`].
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        let mut magic = [0; 4];
        let file = File::open(path).map_err(CheckpointError::unreadable(path))?;
        let read = file.take(4).read(&mut magic);
        read.map_err(CheckpointError::unreadable(path))?;
        let arrays = match magic == *b"PK\x03\x04" {
            true => members(path)?,
            false => {
                let entries = safetensors::entries(path, 0)?.into_iter();
                entries.map(|(name, at)| (name, Array::Plain(at))).collect()
            }
        };
        let path = path.to_owned();
        Ok(Self { path, arrays })
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names of all arrays.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.arrays.keys().map(String::as_str)
    }

    /// Reads an array, if there is one of this name.
    ///
    /// # Errors
    /// [`CheckpointError::Tensor`] if it cannot be read or has numbers that are not finite.
    pub fn read(&self, name: &str) -> Result<Option<Tensor>, CheckpointError> {
        match self.arrays.get(name) {
            None => Ok(None),
            Some(Array::Plain(entry)) => read_tensor(&self.path, name, entry).map(Some),
            Some(Array::Zipped(member)) => {
                let read = array(&self.path, member);
                read.map(Some).map_err(|reason| CheckpointError::Tensor {
                    name: name.to_owned(),
                    file: self.path.clone(),
                    reason,
                })
            }
        }
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b))
}

/// The arrays of an archive by its central directory.
fn members(path: &Path) -> Result<BTreeMap<String, Array>, CheckpointError> {
    const END: &[u8] = b"PK\x05\x06";
    let malformed = |reason: &str| CheckpointError::malformed(path, reason);
    let unreadable = || CheckpointError::unreadable(path);
    let mut file = File::open(path).map_err(unreadable())?;
    let whole = file.metadata().map_err(unreadable())?.len();
    let tail = whole.min(65_600);
    file.seek(SeekFrom::Start(whole - tail))
        .map_err(unreadable())?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(unreadable())?;
    let at = bytes.windows(4).rposition(|window| window == END);
    let end = at.and_then(|at| bytes.get(at..at + 22));
    let end = end.ok_or_else(|| malformed("the archive has no end; it is truncated"))?;
    let (length, start) = (number(&end[12..16]), number(&end[16..20]));
    if start + length > whole || length > MOST_HEADER {
        return Err(malformed("the directory of the archive is not inside it"));
    }
    file.seek(SeekFrom::Start(start)).map_err(unreadable())?;
    let directory = safetensors::read_all(file.take(length)).map_err(unreadable())?;
    let mut found = BTreeMap::new();
    let mut rest = &directory[..];
    while let Some(fixed) = rest.get(..46) {
        if fixed[..4] != *b"PK\x01\x02" {
            return Err(malformed("the directory of the archive is damaged"));
        }
        let field = |at: usize| number(&fixed[at..at + 2]) as usize;
        let (name_length, skipped) = (field(28), field(30) + field(32));
        let name = rest.get(46..46 + name_length);
        let name = name.ok_or_else(|| malformed("the directory of the archive is cut off"))?;
        let extra = rest.get(46 + name_length..46 + name_length + field(30));
        let name = String::from_utf8_lossy(name).into_owned();
        let mut member = Member {
            deflated: field(10) == 8,
            packed: number(&fixed[20..24]),
            start: number(&fixed[42..46]),
        };
        wide(&mut member, number(&fixed[24..28]), extra.unwrap_or(&[]));
        if !matches!(field(10), 0 | 8) || member.start.checked_add(30).is_none_or(|end| end > whole)
        {
            return Err(malformed("a member of the archive cannot be read"));
        }
        let name = name.strip_suffix(".npy").unwrap_or(&name).to_owned();
        if found.insert(name, Array::Zipped(member)).is_some() {
            return Err(malformed("an array stands twice in the archive"));
        }
        rest = rest.get(46 + name_length + skipped..).unwrap_or(&[]);
    }
    Ok(found)
}

/// Sizes of 64 bits in the extra field (zip64), in place of those that say `ffffffff`.
fn wide(member: &mut Member, unpacked: u64, mut extra: &[u8]) {
    const ELSEWHERE: u64 = 0xffff_ffff;
    while let Some(head) = extra.get(..4) {
        let (id, length) = (number(&head[..2]), number(&head[2..]) as usize);
        let Some(field) = extra.get(4..4 + length) else {
            return;
        };
        if id == 1 {
            let mut numbers = field.chunks_exact(8).map(number);
            if unpacked == ELSEWHERE {
                numbers.next();
            }
            for size in [&mut member.packed, &mut member.start] {
                if *size == ELSEWHERE {
                    *size = numbers.next().unwrap_or(*size);
                }
            }
        }
        extra = &extra[4 + length..];
    }
}

/// An array of NumPy's format, versions 1 to 3, in C order.
fn array(path: &Path, member: &Member) -> Result<Tensor, String> {
    let text = |error: std::io::Error| error.to_string();
    let mut file = File::open(path).map_err(text)?;
    file.seek(SeekFrom::Start(member.start)).map_err(text)?;
    let mut local = [0; 30];
    file.read_exact(&mut local).map_err(text)?;
    let skipped = number(&local[26..28]) + number(&local[28..30]);
    file.seek(SeekFrom::Current(skipped as i64)).map_err(text)?;
    let packed = file.take(member.packed);
    let mut content: Box<dyn Read> = match member.deflated {
        true => Box::new(DeflateDecoder::new(packed)),
        false => Box::new(packed),
    };
    let mut fixed = [0; 10];
    content.read_exact(&mut fixed).map_err(text)?;
    if fixed[..6] != *b"\x93NUMPY" {
        return Err("this is no array of NumPy".into());
    }
    let mut length = number(&fixed[8..]);
    if fixed[6] > 1 {
        let mut more = [0; 2];
        content.read_exact(&mut more).map_err(text)?;
        length |= number(&more) << 16;
    }
    if length > 1 << 16 {
        return Err(format!("its header has {length} bytes"));
    }
    let mut header = vec![0; length as usize];
    content.read_exact(&mut header).map_err(text)?;
    let header = String::from_utf8_lossy(&header);
    let after = |key: &str| {
        header
            .split(key)
            .nth(1)
            .unwrap_or("")
            .trim_start_matches(['\'', ':', ' '])
    };
    let dtype = match after("descr") {
        kind if kind.starts_with("<f8") => Dtype::F64,
        kind if kind.starts_with("<f4") => Dtype::F32,
        kind if kind.starts_with("<f2") => Dtype::F16,
        _ => return Err("expected float16, float32 or float64, little endian".into()),
    };
    if after("fortran_order").starts_with("True") {
        return Err("the order is that of Fortran; save numpy.ascontiguousarray of it".into());
    }
    let sizes = after("shape").trim_start_matches('(');
    let sizes = sizes.split(')').next().unwrap_or("").split(',');
    let shape: Option<Vec<u64>> = sizes
        .map(str::trim)
        .filter(|size| !size.is_empty())
        .map(|size| size.parse().ok())
        .collect();
    let shape = shape.ok_or("its shape cannot be read")?;
    let numbers = count(&shape).filter(|&n| n <= MOST_NUMBERS);
    let numbers = numbers.ok_or_else(|| format!("{shape:?} are too many numbers"))?;
    let mut bytes = Vec::new();
    let wanted = numbers * dtype.size();
    content.take(wanted).read_to_end(&mut bytes).map_err(text)?;
    if bytes.len() as u64 != wanted {
        return Err("the array is cut off".into());
    }
    let values = dtype.decode(&bytes);
    if values.iter().any(|x| !x.is_finite()) {
        return Err("a number is not finite".into());
    }
    let shape = shape.into_iter().map(|size| size as usize).collect();
    Ok(Tensor { shape, values })
}
