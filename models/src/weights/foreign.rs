//! Files of other programs, by their first bytes.

/// What to open instead.
pub(super) const ADVICE: &str = "this program opens networks that it has trained: give a run \
                                 directory, or the model.safetensors in one";

/// What a file that is no safetensors file is, where that is known.
pub(super) fn kind(bytes: &[u8]) -> Option<&'static str> {
    let names = &bytes[..bytes.len().min(4096)];
    // The length of a header, in the first 8 bytes, is below 2^32.
    let no_header = bytes.len() < 8 || bytes[4..8] != [0; 4];
    let has = |name: &[u8]| names.windows(name.len()).any(|window| window == name);
    match bytes {
        [b'P', b'K', 3, 4, ..] if has(b"data.pkl") => Some("a PyTorch checkpoint"),
        [b'P', b'K', 3, 4, ..] if has(b".npy") => Some("an archive of NumPy arrays"),
        [b'P', b'K', 3, 4, ..] => Some("a zip archive"),
        [0x80, 2..=5, ..] if no_header => Some("a Python pickle, as old PyTorch checkpoints are"),
        [b'G', b'G', b'U', b'F', ..] => Some("a GGUF file, of llama.cpp"),
        [0x89, b'H', b'D', b'F', ..] => Some("an HDF5 file, as Keras writes"),
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => Some("a NumPy array"),
        [0x1f, 0x8b, ..] => Some("a gzip file"),
        [b'{', ..] if no_header => Some("a JSON file"),
        [] => Some("an empty file"),
        _ if no_header && is_text(names) => Some("a text"),
        _ => None,
    }
}

/// Whether bytes, perhaps cut in mid-character, are UTF-8 without control characters but white space.
fn is_text(bytes: &[u8]) -> bool {
    let whole = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) if error.error_len().is_some() => return false,
        Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
    };
    !whole.contains(|c: char| c.is_control() && !c.is_whitespace())
}
