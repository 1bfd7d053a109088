//! Files that hold tensors: only headers and the tensors asked for are read.

mod folder;
mod gguf;
mod npz;
mod safetensors;

pub use folder::Store;
pub use npz::StateFile;
pub use safetensors::metadata_keys;

use crate::CheckpointError;
use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
};

/// Bytes that a header may have; the bound of the safetensors format.
pub(crate) const MOST_HEADER: u64 = 100_000_000;

/// Numbers that a tensor read whole may have: twice the largest predictor known.
pub(crate) const MOST_NUMBERS: u64 = 1 << 24;

/// The formats of numbers that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dtype {
    F64,
    F32,
    F16,
    Bf16,
}

impl Dtype {
    pub(crate) fn size(self) -> u64 {
        match self {
            Self::F64 => 8,
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    /// All numbers of these bytes, little endian.
    pub(crate) fn decode(self, bytes: &[u8]) -> Vec<f64> {
        let chunks = bytes.chunks_exact(self.size() as usize);
        let number = |chunk: &[u8]| {
            let mut padded = [0; 8];
            padded[..chunk.len()].copy_from_slice(chunk);
            let bits = u64::from_le_bytes(padded);
            match self {
                Self::F64 => f64::from_bits(bits),
                Self::F32 => f32::from_bits(bits as u32).into(),
                Self::Bf16 => f32::from_bits((bits as u32) << 16).into(),
                Self::F16 => half(bits as u16),
            }
        };
        chunks.map(number).collect()
    }
}

/// A number of IEEE 754 binary16.
fn half(bits: u16) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
    let magnitude = match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + fraction) * 2f64.powi(exponent - 25),
    };
    sign * magnitude
}

/// Where a tensor lies in its file.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// The index of the file in its store.
    pub(crate) file: usize,
    /// The format; what it is called if it is none of those that are read.
    pub(crate) dtype: Result<Dtype, String>,
    pub(crate) shape: Vec<u64>,
    pub(crate) start: u64,
    pub(crate) bytes: u64,
}

/// The number of entries of a shape, unless it overflows.
pub(crate) fn count(shape: &[u64]) -> Option<u64> {
    shape.iter().try_fold(1_u64, |n, &size| n.checked_mul(size))
}

/// A tensor in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// The sizes of its dimensions, slowest first.
    pub shape: Vec<usize>,
    /// Entries in C order.
    pub values: Vec<f64>,
}

/// Reads the numbers of an entry, all of them finite.
pub(crate) fn read_tensor(
    path: &Path,
    name: &str,
    entry: &Entry,
) -> Result<Tensor, CheckpointError> {
    let fail = |reason: String| CheckpointError::Tensor {
        name: name.to_owned(),
        file: path.to_owned(),
        reason,
    };
    let dtype = match &entry.dtype {
        Ok(dtype) => *dtype,
        Err(called) => {
            return Err(fail(format!(
                "the numbers are {called}, expected F32, BF16, F16 or F64; take a copy whose \
                 hyper-connections are not quantised"
            )));
        }
    };
    let numbers = entry.bytes / dtype.size();
    if numbers > MOST_NUMBERS {
        return Err(fail(format!(
            "{numbers} numbers, more than the {MOST_NUMBERS} of any hyper-connection"
        )));
    }
    let mut file = File::open(path).map_err(CheckpointError::unreadable(path))?;
    let mut bytes = vec![0; entry.bytes as usize];
    file.seek(SeekFrom::Start(entry.start))
        .and_then(|_| file.read_exact(&mut bytes))
        .map_err(CheckpointError::unreadable(path))?;
    let values = dtype.decode(&bytes);
    if let Some(at) = values.iter().position(|x| !x.is_finite()) {
        let (bad, count) = (values[at], values.len());
        return Err(fail(format!(
            "number {at} of {count} is {bad}; the file is damaged or the training diverged"
        )));
    }
    let shape = entry.shape.iter().map(|&size| size as usize).collect();
    Ok(Tensor { shape, values })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_what_the_standard_says() {
        for (bits, number) in [
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x0001, 2f64.powi(-24)),
            (0x0400, 2f64.powi(-14)),
            (0x3555, 0.333_251_953_125),
        ] {
            assert_eq!(half(bits), number);
        }
        assert!(half(0x7e00).is_nan());
        assert_eq!(Dtype::Bf16.decode(&[0x80, 0x3f, 0x00, 0xc0]), [1.0, -2.0]);
    }
}
