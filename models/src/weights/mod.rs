//! Weights as safetensors: named tensors that PyTorch and others read and write.
//!
//! A file holds every part of the parameters under its path
//! (`blocks.0.attn.q.weight`, `[out, in]`, F32, in registration order) and, in
//! `__metadata__`, `format_version` and `config`, the configuration as JSON. The bytes
//! are a function of the weights and the configuration alone.

mod error;
mod read;
mod write;

pub use error::WeightsError;
pub use read::TensorFile;
pub use write::to_bytes;

/// The version of the layout described above.
const FORMAT_VERSION: &str = "1";
