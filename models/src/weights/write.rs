//! From parameters to the content of a file.

use super::FORMAT_VERSION;
use engine::params::{Params, Part};
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
    let elements: usize = parts.iter().map(|part| part.shape.len()).sum();
    let mut data = Vec::with_capacity(4 * elements);
    let mut ends = Vec::with_capacity(parts.len());
    for part in &parts {
        let values = &params.slab()[part.range.clone()];
        data.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        ends.push(data.len());
    }
    let tensors = parts.iter().zip(&ends).map(|(part, &end)| Tensor {
        name: &part.name,
        dtype: Dtype::F32,
        shape: part.shape.dims(),
        bytes: &data[end - 4 * part.shape.len()..end],
    });
    let metadata = [Some(FORMAT_VERSION), Some(&config), step.as_deref()];
    let header = Header {
        metadata: HeaderMetadata {
            format_version: FORMAT_VERSION,
            config: &config,
            step: step.as_deref(),
            sha256: checksum(&metadata, tensors.collect()),
        },
        parts: &parts,
    };
    let mut header = serde_json::to_vec(&header).expect("weights: names and shapes fit JSON");
    header.resize(header.len().next_multiple_of(ALIGNMENT), b' ');
    let mut bytes = Vec::with_capacity(8 + header.len() + data.len());
    bytes.extend((header.len() as u64).to_le_bytes());
    bytes.extend(header);
    bytes.extend(data);
    bytes
}

/// The header, in registration order; a hash map would change the bytes of every file.
struct Header<'a> {
    metadata: HeaderMetadata<'a>,
    parts: &'a [&'a Part],
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
    dtype: &'static str,
    shape: &'a [usize],
    data_offsets: [usize; 2],
}

impl Serialize for Header<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("__metadata__", &self.metadata)?;
        let mut end = 0;
        for part in self.parts {
            let start = end;
            end += 4 * part.shape.len();
            let tensor = HeaderTensor {
                dtype: "F32",
                shape: part.shape.dims(),
                data_offsets: [start, end],
            };
            map.serialize_entry(&part.name, &tensor)?;
        }
        map.end()
    }
}

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
