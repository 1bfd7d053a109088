//! A checksum of everything that a file of weights says.

use safetensors::Dtype;
use sha2::{Digest, Sha256};

/// A tensor as the checksum sees it.
pub(super) struct Tensor<'a> {
    pub name: &'a str,
    pub dtype: Dtype,
    pub shape: &'a [usize],
    pub bytes: &'a [u8],
}

/// The SHA-256 of metadata and tensors, in hexadecimal, in the order of the tensors' names: the
/// same for a file that others have read and written again. Every text and every list comes with
/// its length, numbers as 8 bytes, little-endian.
pub(super) fn checksum(metadata: &[Option<&str>], mut tensors: Vec<Tensor<'_>>) -> String {
    let mut hash = Sha256::new();
    let mut add = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    metadata
        .iter()
        .for_each(|text| add(text.unwrap_or_default().as_bytes()));
    tensors.sort_by_key(|tensor| tensor.name);
    for tensor in tensors {
        add(tensor.name.as_bytes());
        add(tensor.dtype.to_string().as_bytes());
        let sizes = tensor
            .shape
            .iter()
            .flat_map(|&size| (size as u64).to_le_bytes());
        add(&sizes.collect::<Vec<u8>>());
        add(tensor.bytes);
    }
    hex(&hash.finalize())
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
