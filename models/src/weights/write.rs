//! From parameters to the content of a file.

use super::FORMAT_VERSION;
use engine::{
    params::{Params, Part},
    shape::Shape,
};
use safetensors::Dtype;
use serde::{Serialize, Serializer, ser::SerializeMap};
use sha2::{Digest, Sha256};

/// The header and with it the data start at multiples of this many bytes.
const ALIGNMENT: usize = 8;

/// The weights and the configuration of a network as the content of a file.
///
/// # Panics
/// If the configuration cannot be represented as JSON.
pub fn to_bytes(params: &Params, config: &impl Serialize) -> Vec<u8> {
    file(params, config, None)
}

/// The weights that a training has reached after some steps.
///
/// # Panics
/// If the configuration cannot be represented as JSON.
pub fn to_bytes_at(params: &Params, config: &impl Serialize, step: u64) -> Vec<u8> {
    file(params, config, Some(step.to_string()))
}

fn file(params: &Params, config: &impl Serialize, step: Option<String>) -> Vec<u8> {
    let config = serde_json::to_string(config).expect("weights: a configuration fits JSON");
    let parts: Vec<&Part> = params.parts().collect();
    let values = parts.iter().map(|part| &params.slab()[part.range.clone()]);
    let values = values.map(little_endian).collect::<Vec<_>>();
    let tensors = parts.iter().zip(&values).map(|(part, bytes)| Tensor {
        name: &part.name,
        dtype: Dtype::F32,
        shape: part.shape.dims(),
        bytes,
    });
    let tensors: Vec<Tensor<'_>> = tensors.collect();
    let metadata = [Some(FORMAT_VERSION), Some(&config), step.as_deref()];
    let metadata = HeaderMetadata {
        format_version: FORMAT_VERSION,
        config: &config,
        step: step.as_deref(),
        sha256: checksum(&metadata, tensors.clone()),
    };
    assembled(metadata, &tensors)
}

/// The elements of a tensor.
#[derive(Clone, Debug)]
pub enum Values {
    /// Numbers, stored as F32.
    Floats(Vec<f32>),
    /// Indices, stored as I32.
    Indices(Vec<u32>),
}

/// Named tensors in this order, with their shapes, as the content of a file; `metadata` is a
/// record of texts.
///
/// # Panics
/// If the metadata cannot be represented as JSON.
pub fn named_to_bytes(metadata: &impl Serialize, tensors: &[(String, Shape, Values)]) -> Vec<u8> {
    let stored = tensors.iter().map(|(.., values)| match values {
        Values::Floats(values) => (Dtype::F32, little_endian(values)),
        Values::Indices(values) => {
            let bytes = values.iter().flat_map(|value| value.to_le_bytes());
            (Dtype::I32, bytes.collect())
        }
    });
    let stored: Vec<(Dtype, Vec<u8>)> = stored.collect();
    let tensors = tensors.iter().zip(&stored);
    let tensors = tensors.map(|((name, shape, _), (dtype, bytes))| Tensor {
        name,
        dtype: *dtype,
        shape: shape.dims(),
        bytes,
    });
    assembled(metadata, &tensors.collect::<Vec<_>>())
}

fn little_endian(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

fn assembled(metadata: impl Serialize, tensors: &[Tensor<'_>]) -> Vec<u8> {
    let header = Header { metadata, tensors };
    let mut header = serde_json::to_vec(&header).expect("weights: names and shapes fit JSON");
    header.resize(header.len().next_multiple_of(ALIGNMENT), b' ');
    let data: usize = tensors.iter().map(|tensor| tensor.bytes.len()).sum();
    let mut bytes = Vec::with_capacity(8 + header.len() + data);
    bytes.extend((header.len() as u64).to_le_bytes());
    bytes.extend(header);
    tensors.iter().for_each(|tensor| bytes.extend(tensor.bytes));
    bytes
}

/// The header, in registration order; a hash map would change the bytes of every file.
struct Header<'a, M> {
    metadata: M,
    tensors: &'a [Tensor<'a>],
}

#[derive(Serialize)]
struct HeaderMetadata<'a> {
    format_version: &'static str,
    config: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<&'a str>,
    sha256: String,
}

#[derive(Serialize)]
struct HeaderTensor<'a> {
    dtype: Dtype,
    shape: &'a [usize],
    data_offsets: [usize; 2],
}

impl<M: Serialize> Serialize for Header<'_, M> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("__metadata__", &self.metadata)?;
        let mut end = 0;
        for tensor in self.tensors {
            let start = end;
            end += tensor.bytes.len();
            let of_header = HeaderTensor {
                dtype: tensor.dtype,
                shape: tensor.shape,
                data_offsets: [start, end],
            };
            map.serialize_entry(tensor.name, &of_header)?;
        }
        map.end()
    }
}

/// A tensor of a file.
#[derive(Clone, Copy)]
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
