//! What does not learn, and what is carried beside the state.

use super::exported;
use lab::parity::check;
use safetensors::SafeTensors;
use std::fs;

/// Of `[A_m | A_r]` the frozen columns have the gradient 0 and no others; what is frozen whole has
/// none in the file.
#[test]
fn frozen_parts_have_no_gradient() {
    for (frozen, zero, without) in [
        ("[\"read\"]", &[0][..], &[][..]),
        ("[\"mix\"]", &[1, 2], &[]),
        ("[\"dynamic\"]", &[], &["dynamic_alpha_fn", "norm.weight"]),
        ("[\"write\"]", &[], &["static_beta", "dynamic_beta_scale"]),
    ] {
        let bytes = exported("hyper", &["rate=2", &format!("frozen={frozen}")]);
        let file = SafeTensors::deserialize(&bytes).unwrap();
        for name in ["static_alpha", "dynamic_alpha_fn"] {
            let Ok(view) = file.tensor(&format!("grad.connection.{name}")) else {
                assert!(without.contains(&name), "{frozen}");
                continue;
            };
            let (words, _) = view.data().as_chunks();
            for (at, word) in words.iter().enumerate() {
                let is_zero = f32::from_le_bytes(*word) == 0.0;
                assert_eq!(is_zero, zero.contains(&(at % 3)), "{frozen} {name}");
            }
        }
        for name in without {
            let name = format!("grad.connection.{name}");
            assert!(file.tensor(&name).is_err(), "{frozen} {name}");
        }
        assert!(file.tensor("param.connection.static_beta").is_ok());
    }
}

/// Files whose memory contradicts the connection are refused.
#[test]
fn what_is_carried_has_to_be_whole() {
    let bytes = exported("delta_attention_residual", &["sublayer_index=2"]);
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("changed.safetensors");
    for (from, to, message) in [
        ("input.memory.1", "memory.1", "2 tensors input.memory.J and"),
        ("input.memory.1", "input.memory.4", "input.memory.1"),
        ("expect.memory.3", "expect.memory.9", "expect.memory.9"),
        (
            "input.memory_cotangent.3",
            "input.memory_cotangent.7",
            "_cotangent.3",
        ),
    ] {
        let renamed = file.iter().map(|(name, view)| match name == from {
            true => (to, view),
            false => (name, view),
        });
        let changed = safetensors::serialize(renamed, header.metadata().clone()).unwrap();
        fs::write(&path, changed).unwrap();
        let said = check(&path).unwrap_err().to_string();
        assert!(said.contains(message), "{said}");
    }
}
