//! Families whose files are not given: small ones, with values computed in PyTorch (float64) from
//! the formulas.

mod common;

use checkpoints::{Checkpoint, Form, Mix, Predictor};
use common::{computed, given, parsed, worst};
use std::fs;

const OTHERS: [(&str, &str); 15] = [
    ("deepseek_v41", "deepseek_v41"),
    ("openpangu", "openpangu"),
    ("motif3", "motif3"),
    ("xing4", "xing4"),
    ("qwen4_exp", "qwen4_exp"),
    ("lucidrains_mhc", "lucidrains_mhc"),
    ("lucidrains_mhc_v2", "lucidrains_mhc"),
    ("lucidrains_mhc_v2_mixed", "lucidrains_mhc"),
    ("lucidrains_views", "lucidrains"),
    ("mhc_lite_permutations", "mhc_lite"),
    ("mhc_lite_sinkhorn", "mhc_lite"),
    ("tokenbender", "tokenbender"),
    ("megatron", "megatron"),
    ("megatron_single_pass", "megatron"),
    ("deepseek_v4.gguf", "deepseek_v4"),
];

fn expected(name: &str) -> std::path::PathBuf {
    given(&format!("{}.expected.safetensors", name.replace('.', "_")))
}

#[test]
fn all_families_are_recognised_and_computed() {
    for (name, dialect) in OTHERS {
        let path = given(name);
        let found = Checkpoint::open(&path, None).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(found.dialect.name, dialect, "{name}");
        assert_eq!((found.streams, found.sites.len()), (3, 4), "{name}");
        assert_eq!(found.missing, Vec::<String>::new(), "{name}");
        let want = parsed(&fs::read(expected(name)).expect("expected values"));
        let states = (name != "tokenbender").then(|| expected(name));
        let worst = worst(&computed(&path, None, states.as_deref()), &want);
        assert!(worst < 2e-6, "{name}: {worst:e}");
        let forced = Checkpoint::open(&path, Some(dialect)).expect("by its name");
        assert_eq!(forced.sites, found.sites, "{name}");
    }
}

/// The largest difference that a mistake makes in a folder.
fn with_mistake(name: &str, mistake: impl Fn(&mut Form)) -> f64 {
    let found = Checkpoint::open(&given(name), None).expect("a known family");
    let want = parsed(&fs::read(expected(name)).expect("expected values"));
    let mut worst = 0.0_f64;
    for (k, site) in found.sites.iter().enumerate() {
        let mut form = found.form(site).expect("complete");
        mistake(&mut form);
        let (shape, states) = &want[&format!("site.{k}.states")];
        let size = shape[1] * shape[2];
        for (t, token) in states.chunks_exact(size).enumerate() {
            let token: Vec<f64> = token.iter().map(|&x| x.into()).collect();
            let got = form.of_token(&token).mix;
            let wanted = &want[&format!("site.{k}.comb")].1[t * got.len()..];
            for (a, b) in got.iter().zip(wanted) {
                worst = worst.max((a - f64::from(*b)).abs());
            }
        }
    }
    worst
}

fn predictor(form: &mut Form) -> &mut Predictor {
    form.predictor.as_mut().expect("dynamic")
}

/// The checks of the other tests have a tolerance of 1e-5; each of these is far beyond it.
#[test]
fn common_mistakes_would_be_noticed() {
    use checkpoints::{Direction, Divisor, Eps};
    for name in ["deepseek_v4", "deepseek_v41", "xing4"] {
        assert!(
            with_mistake(name, |_| ()) < 1e-6,
            "{name} without a mistake"
        );
        let transposed = with_mistake(name, |form| {
            if let Mix::Sinkhorn { transposed, .. } = &mut form.mix {
                *transposed = !*transposed;
            }
        });
        assert!(transposed > 1e-2, "{name}, transposed: {transposed:e}");
        let rows_last = with_mistake(name, |form| {
            if let Mix::Sinkhorn { rule, .. } = &mut form.mix {
                rule.first = Direction::Columns;
            }
        });
        let least = if name == "deepseek_v4" { 2e-5 } else { 1e-3 };
        assert!(rows_last > least, "{name}, rows last: {rows_last:e}");
    }
    for name in ["deepseek_v41", "xing4"] {
        let confused = with_mistake(name, |form| {
            let Eps::Inside(norm) = predictor(form).eps else {
                panic!("eps is inside the root");
            };
            let Mix::Sinkhorn { rule, .. } = &mut form.mix else {
                panic!("a Sinkhorn");
            };
            let Divisor::Plus(eps) = rule.divisor else {
                panic!("eps is added");
            };
            rule.divisor = Divisor::Plus(norm);
            rule.softmax = rule.softmax.map(|_| norm);
            predictor(form).eps = Eps::Inside(eps);
        });
        assert!(
            confused > 1e-3,
            "{name}, the two eps confused: {confused:e}"
        );
    }
}
