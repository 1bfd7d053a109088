//! From parameters to the content of a file.

use super::FORMAT_VERSION;
use engine::params::{Params, Part};
use serde::{Serialize, Serializer, ser::SerializeMap};

/// The header and with it the data start at multiples of this many bytes.
const ALIGNMENT: usize = 8;

/// The weights and the configuration of a network as the content of a file.
///
/// # Panics
/// If the configuration cannot be represented as JSON.
pub fn to_bytes(params: &Params, config: &impl Serialize) -> Vec<u8> {
    let config = serde_json::to_string(config).expect("weights: a configuration fits JSON");
    let parts: Vec<&Part> = params.parts().collect();
    let header = Header {
        config: &config,
        parts: &parts,
    };
    let mut header = serde_json::to_vec(&header).expect("weights: names and shapes fit JSON");
    header.resize(header.len().next_multiple_of(ALIGNMENT), b' ');
    let elements: usize = parts.iter().map(|part| part.shape.len()).sum();
    let mut bytes = Vec::with_capacity(8 + header.len() + 4 * elements);
    bytes.extend((header.len() as u64).to_le_bytes());
    bytes.extend(header);
    for part in parts {
        let values = &params.slab()[part.range.clone()];
        bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }
    bytes
}

/// The header, in registration order; a hash map would change the bytes of every file.
struct Header<'a> {
    config: &'a str,
    parts: &'a [&'a Part],
}

#[derive(Serialize)]
struct HeaderMetadata<'a> {
    format_version: &'static str,
    config: &'a str,
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
        let metadata = HeaderMetadata {
            format_version: FORMAT_VERSION,
            config: self.config,
        };
        map.serialize_entry("__metadata__", &metadata)?;
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
