//! Lost and full devices for the commands that tests run.

use engine::skipped::skipped;
use std::{path::Path, process::Command};

/// The variables under which a command's Vulkan device has `fault`, as `layer.rs` reads it;
/// `directory` takes the compiled layer. `None`, with a word about it, without a compiler.
pub fn environment(directory: &Path, fault: &str) -> Option<[(&'static str, String); 3]> {
    let library = directory.join("libvulkan_faults.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/layer.rs");
    let compiled = Command::new("rustc")
        .args(["--edition=2024", "--crate-type=cdylib", "-o"])
        .args([&library, &source])
        .output();
    let compiled = match compiled {
        Ok(compiled) => compiled,
        Err(error) => {
            skipped(format_args!("rustc: {error}"));
            return None;
        }
    };
    let message = String::from_utf8_lossy(&compiled.stderr);
    assert!(compiled.status.success(), "{message}");
    let name = "VK_LAYER_TEST_faults";
    let manifest = serde_json::json!({
        "file_format_version": "1.2.0",
        "layer": {
            "name": name,
            "type": "GLOBAL",
            "library_path": library,
            "api_version": "1.3.0",
            "implementation_version": "1",
            "description": "makes calls fail",
        },
    });
    std::fs::write(directory.join("faults.json"), manifest.to_string()).unwrap();
    Some([
        ("VK_LAYER_PATH", directory.display().to_string()),
        ("VK_INSTANCE_LAYERS", name.into()),
        ("VULKAN_FAULT", fault.into()),
    ])
}
