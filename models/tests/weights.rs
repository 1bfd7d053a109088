//! Weights as files: what is written is read back, by others too, and what does not fit
//! is refused by name.

use engine::{params::Params, rng::Key};
use models::{
    config::FfnConfig,
    transformer::{Transformer, TransformerConfig},
    weights::{TensorFile, WeightsError, settings_of_json, to_bytes, to_bytes_at},
};
use nn::{
    connection::{ConnectionConfig, HyperConfig},
    settings::Setting,
};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

fn config() -> TransformerConfig {
    TransformerConfig {
        vocab_size: 7,
        dim: 8,
        layers: 1,
        heads: 2,
        seq: 3,
        ffn: FfnConfig::SwiGlu { hidden: 10 },
        connection: ConnectionConfig::Hyper(HyperConfig::default()),
        ..TransformerConfig::default()
    }
}

fn network(seed: u64) -> Params {
    let (_, params) = Transformer::new(&config(), Key::new(seed)).expect("a network");
    params
}

fn file(bytes: Vec<u8>) -> TensorFile {
    TensorFile::from_bytes("some.safetensors", bytes).expect("a whole file")
}

#[test]
fn every_connection_is_read_from_json_as_it_was_written() {
    for connection in ConnectionConfig::all() {
        let mut json = serde_json::to_value(&connection).expect("JSON");
        let again = ConnectionConfig::read(&settings_of_json(json.clone()));
        assert_eq!(again, Ok(connection), "{json}");
        // No value is none of a number.
        let Some((key, value)) = json
            .as_object_mut()
            .and_then(|settings| settings.iter_mut().find(|(_, value)| value.is_number()))
        else {
            continue;
        };
        let key = key.clone();
        *value = serde_json::Value::Null;
        let error = ConnectionConfig::read(&settings_of_json(json)).expect_err(&key);
        assert_eq!(error.key, [key]);
    }
}

#[test]
fn weights_and_configuration_survive_a_file() {
    let saved = network(1);
    let file = file(to_bytes(&saved, &config()));
    assert_eq!(file.config::<TransformerConfig>().unwrap(), config());
    let mut loaded = network(2);
    assert_ne!(loaded.slab(), saved.slab());
    file.load("", &mut loaded).unwrap();
    assert_eq!(loaded.slab(), saved.slab());
}

#[test]
fn the_same_weights_are_the_same_bytes() {
    let bytes = to_bytes(&network(1), &config());
    assert_eq!(bytes, to_bytes(&network(1), &config()));
}

#[test]
fn others_see_the_parts_of_fused_weights_by_name() {
    let params = network(1);
    let bytes = to_bytes(&params, &config());
    let theirs = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(theirs.len(), params.parts().count());
    let key = theirs.tensor("blocks.0.attn.k.weight").unwrap();
    assert_eq!((key.dtype(), key.shape()), (Dtype::F32, &[8, 8][..]));
    let part = params.part("blocks.0.attn.k.weight").unwrap();
    let values = &params.slab()[part.range.clone()];
    let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
    assert_eq!(key.data(), bytes);
    for name in ["ffn.gate.weight", "attn_connection.dynamic_alpha_fn"] {
        theirs.tensor(&format!("blocks.0.{name}")).unwrap();
    }
}

/// Name, type, shape and bytes of a tensor.
type Stored = (String, Dtype, Vec<usize>, Vec<u8>);

/// The file of a network, written by others after a change.
fn changed(change: impl Fn(&mut Vec<Stored>)) -> TensorFile {
    let bytes = to_bytes(&network(1), &config());
    let mut tensors: Vec<_> = SafeTensors::deserialize(&bytes)
        .unwrap()
        .iter()
        .map(|(name, view)| {
            let shape = view.shape().to_vec();
            (name.to_owned(), view.dtype(), shape, view.data().to_vec())
        })
        .collect();
    tensors.sort();
    change(&mut tensors);
    let views = tensors.iter().map(|(name, dtype, shape, data)| {
        let view = TensorView::new(*dtype, shape.clone(), data).unwrap();
        (name.clone(), view)
    });
    file(safetensors::serialize(views, None).unwrap())
}

/// The error of loading; the network is as it was.
#[track_caller]
fn refused(file: &TensorFile) -> (WeightsError, String) {
    let mut params = network(2);
    let error = file.load("", &mut params).unwrap_err();
    assert_eq!(params.slab(), network(2).slab());
    let message = error.to_string();
    assert!(message.starts_with("some.safetensors: "), "{message}");
    (error, message)
}

const NAME: &str = "head.weight";

#[test]
fn tensors_that_do_not_fit_are_refused_by_name() {
    let (error, message) = refused(&changed(|tensors| tensors.retain(|t| t.0 != NAME)));
    assert!(matches!(error, WeightsError::Missing { .. }));
    assert!(message.contains("head.weight is missing"), "{message}");

    let (error, message) = refused(&changed(|tensors| {
        tensors.push(("extra".into(), Dtype::F32, vec![1], vec![0; 4]));
    }));
    assert!(matches!(error, WeightsError::Unexpected { .. }));
    assert!(message.contains("extra is not part"), "{message}");

    let edit = |f: &dyn Fn(&mut Stored)| {
        refused(&changed(|tensors| {
            f(tensors.iter_mut().find(|t| t.0 == NAME).unwrap());
        }))
    };
    let (error, message) = edit(&|tensor| tensor.2 = vec![8, 7]);
    assert!(matches!(error, WeightsError::Shape { .. }));
    let expected = "head.weight is [8, 7], expected [7, 8]";
    assert!(message.contains(expected), "{message}");

    let (error, message) = edit(&|tensor| {
        tensor.1 = Dtype::BF16;
        tensor.3.truncate(2 * 56);
    });
    assert!(matches!(error, WeightsError::Dtype { .. }));
    assert!(message.contains("is BF16, expected F32"), "{message}");

    let (error, message) = edit(&|tensor| tensor.3[8..12].copy_from_slice(&[0, 0, 0xc0, 0x7f]));
    assert!(matches!(error, WeightsError::NotFinite { index: 2, .. }));
    assert!(
        message.contains("element 2 of head.weight is NaN"),
        "{message}"
    );
}

#[test]
fn a_truncated_or_longer_file_is_refused() {
    let whole = to_bytes(&network(1), &config());
    let malformed = |bytes: &[u8]| {
        let error = TensorFile::from_bytes("some.safetensors", bytes.to_vec()).unwrap_err();
        let empty = matches!(error, WeightsError::Foreign { .. }) && bytes.is_empty();
        assert!(
            empty || matches!(error, WeightsError::Malformed { .. }),
            "{error}"
        );
    };
    for length in (0..whole.len()).step_by(61).chain([whole.len() - 1]) {
        malformed(&whole[..length]);
    }
    malformed(&[&whole[..], &[0]].concat());
}

#[test]
fn a_damaged_header_is_refused_or_read_but_never_panics() {
    let whole = to_bytes(&network(1), &config());
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    for at in 0..header {
        for byte in [0x00, b'9', b'"', 0xff] {
            let mut damaged = whole.clone();
            damaged[at] = byte;
            if let Ok(file) = TensorFile::from_bytes("some.safetensors", damaged) {
                let _ = file.load("", &mut network(2));
                let _ = file.config::<TransformerConfig>();
            }
        }
    }
}

#[test]
fn a_configuration_of_another_version_is_refused() {
    let bytes = to_bytes(&network(1), &config());
    let text = b"\"format_version\":\"1\"";
    let at = bytes.windows(text.len()).position(|w| w == text).unwrap();
    let mut newer = bytes.clone();
    newer[at + text.len() - 2] = b'2';
    let error = file(newer).config::<TransformerConfig>().unwrap_err();
    assert!(error.to_string().contains("format version 2"), "{error}");
    let none = changed(|_| {}).config::<TransformerConfig>().unwrap_err();
    let said = "another program has written this file";
    assert!(none.to_string().contains(said), "{none}");
}

#[test]
fn a_file_of_another_program_is_said_to_be_one() {
    for (bytes, said) in [
        (
            &b"PK\x03\x04\0\0\x08\x08....archive/data.pkl"[..],
            "a PyTorch checkpoint",
        ),
        (b"PK\x03\x04\x14\0\0\0....weight.npy", "NumPy arrays"),
        (b"\x80\x02\x8a\x0al\xfc\x9cF\xf9", "a Python pickle"),
        (b"GGUF\x03\0\0\0", "a GGUF file"),
        (b"Call me Ishmael.\nSome years ago", "a text"),
        ("na\u{ef}ve caf\u{e9}".as_bytes(), "a text"),
        (b"", "an empty file"),
        (b"{\"architectures\": []}", "a JSON file"),
        (b"\x08\x07\x12\x07pytorch\0", "of a kind that is not known"),
    ] {
        let error = TensorFile::from_bytes("model.pt", bytes.to_vec()).unwrap_err();
        let message = error.to_string();
        assert!(message.contains(said), "{message}");
        assert!(message.contains("give a run directory"), "{message}");
    }
    let mut cut = to_bytes(&network(1), &config());
    cut[..8].copy_from_slice(&0x280_u64.to_le_bytes());
    let error = TensorFile::from_bytes("some.safetensors", cut[..100].to_vec()).unwrap_err();
    assert!(!error.to_string().contains("pickle"), "{error}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = TensorFile::open("no/such.safetensors".as_ref()).unwrap_err();
    assert!(matches!(error, WeightsError::Unreadable { .. }));
    assert!(error.to_string().starts_with("no/such.safetensors: "));
}

/// Whichever bit is changed: the file is refused, or says what it said before.
#[test]
fn a_changed_byte_is_never_read_as_other_weights() {
    let saved = network(1);
    let whole = to_bytes_at(&saved, &config(), 80);
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let mut refused = 0;
    for at in (0..header).chain((header..whole.len()).step_by(7)) {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        let Ok(file) = TensorFile::from_bytes("some.safetensors", damaged) else {
            refused += 1;
            continue;
        };
        assert!(at < header, "byte {at} of the data");
        let mut loaded = network(2);
        let read = file.config::<TransformerConfig>();
        if let (Ok(read), Ok(())) = (read, file.load("", &mut loaded)) {
            assert_eq!(read, config(), "byte {at}");
            assert_eq!(loaded.slab(), saved.slab(), "byte {at}");
            assert_eq!(file.step(), Some(80), "byte {at}");
        }
    }
    assert!(refused > 100);
}

#[test]
fn a_file_says_its_step_and_whether_it_could_be_checked() {
    let trained = file(to_bytes_at(&network(1), &config(), 80));
    assert_eq!((trained.step(), trained.is_checked()), (Some(80), true));
    let untrained = file(to_bytes(&network(1), &config()));
    assert_eq!((untrained.step(), untrained.is_checked()), (None, true));
    let of_others = changed(|_| {});
    assert_eq!((of_others.step(), of_others.is_checked()), (None, false));
    of_others.load("", &mut network(2)).unwrap();
}

/// Readers that keep metadata and write tensors in another order do not break the checksum.
#[test]
fn a_file_that_others_have_written_again_is_still_checked() {
    let bytes = to_bytes_at(&network(1), &config(), 80);
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let theirs = SafeTensors::deserialize(&bytes).unwrap();
    let again = safetensors::serialize(theirs.tensors(), header.metadata().clone()).unwrap();
    assert_ne!(again, bytes);
    assert!(file(again).is_checked());
}
