//! Folders that real libraries wrote: the matrices are those that the libraries compute.

mod common;

use checkpoints::{Checkpoint, Kind, Last};
use common::{computed, given, parsed, worst};
use std::fs;

const FOLDERS: [(&str, &str); 4] = [
    ("deepseek_v4", "deepseek_v4"),
    ("glm5_next_bf16", "glm5_next"),
    ("hy_v4", "hy_v4"),
    ("lucidrains", "lucidrains"),
];

#[test]
fn static_and_dynamic_coefficients_are_those_of_the_libraries() {
    for (folder, dialect) in FOLDERS {
        let expected = given(&format!("{folder}.expected.safetensors"));
        let got = computed(&given(folder), None, Some(&expected));
        let want = parsed(&fs::read(&expected).expect("expected values"));
        let worst = worst(&got, &want);
        assert!(worst < 1e-6, "{dialect}: {worst:e}");
    }
}

/// Nothing in a file tells whether there was a tanh. The values are those of the library's module.
#[test]
fn lucidrains_without_tanh_has_to_be_named() {
    let expected = given("lucidrains_no_tanh.expected.safetensors");
    let want = parsed(&fs::read(&expected).expect("expected values"));
    let off = |dialect| {
        worst(
            &computed(&given("lucidrains"), dialect, Some(&expected)),
            &want,
        )
    };
    let named = off(Some("lucidrains_no_tanh"));
    assert!(named < 1e-6, "{named:e}");
    assert!(off(None) > 0.1);
}

#[test]
fn families_sizes_and_sites_are_recognised() {
    for (folder, dialect) in FOLDERS {
        let found = Checkpoint::open(&given(folder), None).expect("a known family");
        assert_eq!(found.dialect.name, dialect);
        assert_eq!((found.streams, found.width), (4, Some(16)), "{dialect}");
        assert_eq!(found.sites.len(), 6);
        assert!(found.missing.is_empty() && found.to_fetch.is_empty() && found.whole());
        let kinds = found.sites.iter().map(|site| site.kind);
        if dialect != "lucidrains" {
            let expected = [Kind::Attention, Kind::FeedForward].repeat(3);
            assert_eq!(kinds.collect::<Vec<_>>(), expected);
        }
        let last = match dialect {
            "glm5_next" => Last::Mean,
            "lucidrains" => Last::Sum,
            _ => Last::Learned,
        };
        assert_eq!(found.last(), last);
    }
}

#[test]
fn states_may_be_arrays_of_numpy_packed_or_not() {
    let want = parsed(&fs::read(given("deepseek_v4.expected.safetensors")).expect("values"));
    for states in ["states.npz", "states_packed.npz"] {
        let got = computed(&given("deepseek_v4"), None, Some(&given(states)));
        for part in ["pre", "post", "comb"] {
            let name = format!("site.0.{part}");
            let differences = got[&name]
                .1
                .iter()
                .zip(&want[&name].1)
                .map(|(a, b)| (a - b).abs());
            assert!(differences.fold(0.0, f32::max) < 1e-6, "{states}: {name}");
        }
        assert!(!got.contains_key("site.1.pre") && got.contains_key("site.1.static_pre"));
    }
}
