//! Weights as safetensors: named tensors that PyTorch and others read and write.
//!
//! A file holds every part of the parameters under its path
//! (`blocks.0.attn.q.weight`, `[out, in]`, F32, in registration order) and, in
//! `__metadata__`, `format_version`, `config`, the configuration as JSON, `step` where the
//! weights are of a training, and `sha256`, a checksum of all of this. Files without a checksum,
//! which others write and earlier versions wrote, are read too. The bytes are a function of the
//! weights, the configuration and the step alone.

mod error;
mod read;
mod write;

pub use error::WeightsError;
pub use read::{TensorFile, settings_of_json};
pub use write::{Values, hex, named_to_bytes, to_bytes, to_bytes_at};

/// The version of the layout described above.
const FORMAT_VERSION: &str = "1";
