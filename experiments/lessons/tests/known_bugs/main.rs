//! Bugs that were found in published implementations of hyper-connections, each with the
//! diagnostic that finds it: the diagnostic is silent about the implementation here and
//! about the reference of this test, and it speaks when the bug is put back. The numbers
//! are those of `docs/known_bugs.md`.

mod network;
mod sinkhorn;

use engine::{
    ops::softmax,
    params::{Decay, Gradients, Params},
    tape::Tape,
};
use lessons::known_bugs::{Bug, Suspect};
use network::{DIM, EPS, Network, RATE, SUBLAYERS, TOKENS};
use nn::{
    connection::{
        HyperConfig, MhcConfig, MhcLiteConfig, PreNormConfig, Spec, constrained::ConstrainedInit,
        hyper::ReadInit,
    },
    guard::{Finding, Guard, WATCHED_STEPS},
    optim::{AdamW, AdamWConfig},
};

/// Static hyper-connections as a user gets them.
fn hyper() -> HyperConfig {
    HyperConfig {
        rate: RATE,
        dynamic: false,
        ..HyperConfig::default()
    }
}

/// The plain implementation of the bench, static, with a bug or none.
fn suspect(bug: impl Into<Option<Bug>>) -> Suspect {
    Suspect {
        rate: RATE,
        dynamic: false,
        bug: bug.into(),
    }
}

/// The diagnostic finds nothing in the implementation nor in the reference, and finds the
/// bug.
#[track_caller]
fn only_the_bug_is_found(bug: Bug, finds: impl Fn(&dyn Spec) -> bool) {
    assert!(!finds(&hyper()), "the implementation is accused");
    assert!(!finds(&suspect(None)), "the reference is accused");
    assert!(finds(&suspect(bug)), "{bug:?} goes unnoticed");
}

/// The last state in f64, as Algorithms 1 and 2 of the paper say.
fn algorithm_2(network: &Network) -> Vec<f64> {
    let wide =
        |name: String| -> Vec<f64> { network.value(&name).iter().map(|&x| f64::from(x)).collect() };
    let embedding = engine::check::CheckInput::normal([TOKENS, DIM], 1.0, 1).data;
    let tokens = embedding.chunks(DIM).flat_map(|h| {
        let h: Vec<f64> = h.iter().map(|&x| f64::from(x)).collect();
        let mut streams = vec![h; RATE];
        for k in 0..SUBLAYERS {
            let alpha = wide(format!("{k}.connection.static_alpha"));
            let beta = wide(format!("{k}.connection.static_beta"));
            let mixed = |column: usize| -> Vec<f64> {
                (0..DIM)
                    .map(|i| {
                        (0..RATE)
                            .map(|s| alpha[s * (RATE + 1) + column] * streams[s][i])
                            .sum()
                    })
                    .collect()
            };
            let h0 = mixed(0);
            let n = DIM as f64;
            let mean = h0.iter().sum::<f64>() / n;
            let variance = h0.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
            let normed: Vec<f64> = h0
                .iter()
                .map(|x| (x - mean) / (variance + f64::from(EPS)).sqrt())
                .collect();
            let weight = wide(format!("{k}.weight"));
            let output: Vec<f64> = weight
                .chunks(DIM)
                .map(|row| {
                    row.iter()
                        .zip(&normed)
                        .map(|(w, x)| w * x)
                        .sum::<f64>()
                        .tanh()
                })
                .collect();
            streams = (0..RATE)
                .map(|j| {
                    let carried = mixed(1 + j);
                    carried
                        .iter()
                        .zip(&output)
                        .map(|(c, o)| c + beta[j] * o)
                        .collect()
                })
                .collect();
        }
        (0..DIM)
            .map(move |i| streams.iter().map(|s| s[i]).sum())
            .collect::<Vec<f64>>()
    });
    tokens.collect()
}

/// Returns whether the network computes anything else than Algorithm 2, off its initialisation.
fn deviates_from_algorithm_2(spec: &dyn Spec) -> bool {
    let mut network = Network::new(spec);
    network.perturb();
    let tape = Tape::new();
    tape.bind(&network.params);
    let got = network.reduced(&tape).value();
    engine::check::relative_error(&got, &algorithm_2(&network)) > 1e-4
}

/// Returns whether loss and gradients of the layers differ from pre-norm's at initialisation.
fn differs_from_pre_norm_at_init(spec: &dyn Spec) -> bool {
    let (network, pre_norm) = (Network::new(spec), Network::new(&PreNormConfig::default()));
    let (gradients, expected) = (network.gradients(), pre_norm.gradients());
    let close = |a: f32, b: f32| (a - b).abs() < 1e-4;
    let same = (0..SUBLAYERS).all(|k| {
        let part = |params: &Params| params.part(&format!("{k}.weight")).unwrap().range.clone();
        let got = &gradients.slab()[part(&network.params)];
        let expected = &expected.slab()[part(&pre_norm.params)];
        got.iter().zip(expected).all(|(&a, &b)| close(a, b))
    });
    !(same && close(network.loss_value(), pre_norm.loss_value()))
}

/// Returns whether some elements of `static_alpha` have no influence on the loss: those of the
/// columns in `columns`. One read of a stream that is always zero is no reason to speak,
/// a whole column in some sublayer is.
fn column_without_influence(spec: &dyn Spec, columns: std::ops::Range<usize>) -> bool {
    let mut network = Network::new(spec);
    network.perturb();
    let gradients = network.gradients();
    (0..SUBLAYERS).any(|k| {
        let part = network.params.part(&format!("{k}.connection.static_alpha"));
        let Some(part) = part else { return true };
        let gradient = &gradients.slab()[part.range.clone()];
        columns
            .clone()
            .any(|j| gradient.iter().skip(j).step_by(RATE + 1).all(|&g| g == 0.0))
    })
}

/// Findings of the guard about the values after the first steps of training.
fn guarded_values(spec: &dyn Spec) -> Vec<Finding> {
    let (network, guard) = watched(spec);
    let mut tape = Tape::new();
    tape.set_probing();
    tape.bind(&network.params);
    network.loss(&tape);
    guard.values(&tape)
}

/// Findings of the guard about the parameters after the first steps of training.
fn guarded_parameters(spec: &dyn Spec) -> Vec<Finding> {
    let (network, guard) = watched(spec);
    guard.parameters(&network.params, AdamWConfig::default().eps)
}

/// A network after the first steps of training, and the guard that watched them.
fn watched(spec: &dyn Spec) -> (Network, Guard) {
    let mut network = Network::new(spec);
    let mut guard = Guard::new(&network.params);
    network.train(WATCHED_STEPS, |params, gradients, learning_rate| {
        guard.watch(params, gradients, learning_rate);
    });
    (network, guard)
}

fn streams_stay_identical(spec: &dyn Spec) -> bool {
    let findings = guarded_values(spec);
    findings
        .iter()
        .any(|finding| matches!(finding, Finding::IdenticalStreams { .. }))
}

#[test]
fn bug_01_a_mixing_matrix_that_is_not_applied() {
    only_the_bug_is_found(Bug::DeadMix, |spec| {
        column_without_influence(spec, 1..RATE + 1)
    });
    // Invisible at the start, where A_r is the identity.
    assert!(!differs_from_pre_norm_at_init(&suspect(Bug::DeadMix)));
}

#[test]
fn bug_03_a_mixing_matrix_of_ones() {
    only_the_bug_is_found(Bug::AllOnesMix, |spec| {
        column_without_influence(spec, 1..RATE + 1)
    });
    // Every sublayer multiplies the state by the number of streams.
    let growth = |spec: &dyn Spec| {
        let network = Network::new(spec);
        let tape = Tape::new();
        tape.bind(&network.params);
        let norm = |x: &[f32]| x.iter().map(|x| x * x).sum::<f32>().sqrt();
        network.reduced(&tape).with_value(norm)
    };
    only_the_bug_is_found(Bug::AllOnesMix, |spec| {
        growth(spec) > 3.0 * RATE as f32 * growth(&PreNormConfig::default())
    });
}

#[test]
fn bug_06_a_read_whose_gradient_is_lost() {
    only_the_bug_is_found(Bug::ReadWithoutGradient, |spec| {
        column_without_influence(spec, 0..1)
    });
    // The forward is that of the paper, and the tensor as a whole has a gradient.
    assert!(!deviates_from_algorithm_2(&suspect(
        Bug::ReadWithoutGradient
    )));
    assert_eq!(guarded_parameters(&suspect(Bug::ReadWithoutGradient)), []);
}

#[test]
fn bug_06_every_part_of_dynamic_coefficients_has_a_gradient() {
    let mut network = Network::new(&HyperConfig {
        dynamic: true,
        ..hyper()
    });
    network.perturb();
    let gradients = network.gradients();
    for k in 0..SUBLAYERS {
        let parts = network.params.parts();
        let of_connection = format!("{k}.connection");
        for part in parts.filter(|part| part.name.starts_with(&of_connection)) {
            let gradient = &gradients.slab()[part.range.clone()];
            // The columns of alpha are the read and the mixes, elsewhere one is all.
            let columns = if part.name.contains("alpha") {
                part.shape.width()
            } else {
                1
            };
            for column in 0..columns {
                let some = gradient
                    .iter()
                    .skip(column)
                    .step_by(columns)
                    .any(|&g| g != 0.0);
                assert!(some, "column {column} of {} has no gradient", part.name);
            }
        }
    }
}

#[test]
fn bug_07_a_static_part_that_is_no_parameter() {
    let names = |spec: &dyn Spec| -> Vec<String> {
        let network = Network::new(spec);
        let names = network.params.parts().map(|part| part.name.clone());
        names
            .filter(|name| name.starts_with("0.connection"))
            .collect()
    };
    let expected = ["0.connection.static_alpha", "0.connection.static_beta"];
    only_the_bug_is_found(Bug::StaticNotTrained, |spec| names(spec) != expected);
    assert!(!differs_from_pre_norm_at_init(&suspect(
        Bug::StaticNotTrained
    )));
    let dynamic = HyperConfig {
        dynamic: true,
        ..hyper()
    };
    let rest = [
        "0.connection.dynamic_alpha_fn",
        "0.connection.dynamic_alpha_scale",
        "0.connection.dynamic_beta_fn",
        "0.connection.dynamic_beta_scale",
        "0.connection.norm.weight",
        "0.connection.norm.bias",
    ];
    assert_eq!(names(&dynamic), [&expected[..], &rest[..]].concat());
}

#[test]
fn bug_08_the_mean_in_place_of_the_read() {
    only_the_bug_is_found(Bug::MeanRead, deviates_from_algorithm_2);
    // While all streams are equal their mean is each of them.
    assert!(!differs_from_pre_norm_at_init(&suspect(Bug::MeanRead)));
}

#[test]
fn bug_09_a_mix_that_is_applied_transposed() {
    only_the_bug_is_found(Bug::TransposedMix, deviates_from_algorithm_2);
    assert!(!differs_from_pre_norm_at_init(&suspect(Bug::TransposedMix)));
    // Every element has a gradient, too.
    assert!(!column_without_influence(
        &suspect(Bug::TransposedMix),
        0..RATE + 1
    ));
}

#[test]
fn bug_10_a_uniform_read_never_separates_the_streams() {
    assert!(!streams_stay_identical(&hyper()));
    assert!(!streams_stay_identical(&suspect(None)));
    let uniform = HyperConfig {
        read_init: ReadInit::Uniform,
        ..hyper()
    };
    assert!(streams_stay_identical(&uniform));
    assert!(streams_stay_identical(&HyperConfig {
        dynamic: true,
        ..uniform.clone()
    }));
    // Every parameter has a gradient (though that of A_m is rounding), and the start is
    // that of pre-norm.
    assert_eq!(guarded_parameters(&uniform), []);
    assert!(!differs_from_pre_norm_at_init(&uniform));
}

#[test]
fn bug_11_a_mix_that_is_saturated() {
    let saturated = |spec: &dyn Spec| -> Vec<String> {
        let findings = guarded_values(spec).into_iter();
        let saturated = findings.filter(|f| matches!(f, Finding::SaturatedMix { .. }));
        saturated.map(|finding| finding.name().to_owned()).collect()
    };
    let specs = |init| -> [Box<dyn Spec>; 2] {
        [
            Box::new(MhcConfig {
                init,
                ..MhcConfig::default()
            }),
            Box::new(MhcLiteConfig {
                init,
                ..MhcLiteConfig::default()
            }),
        ]
    };
    for spec in specs(ConstrainedInit::Mild) {
        assert_eq!(saturated(&*spec), [""; 0], "{}", spec.label());
    }
    // The start that was published, as a setting: all mixes that could learn are named.
    for spec in specs(ConstrainedInit::MhcLiteCode) {
        let found = saturated(&*spec);
        assert!(found.len() >= SUBLAYERS - 2, "{}: {found:?}", spec.label());
        assert!(
            !found.contains(&"sublayer 0".to_owned()),
            "{}",
            spec.label()
        );
    }
    // Unconstrained mixes start at the identity too, and leave it at once.
    assert_eq!(saturated(&hyper()), [""; 0]);
}

#[test]
fn bug_11_a_temperature_that_underflows() {
    let slope = |bias: f32, temperature: f32| {
        let tape = Tape::new();
        let logits: Vec<f32> = (0..9)
            .map(|i| if i % 4 == 0 { 0.0 } else { bias })
            .collect();
        let logits = tape.input([1, 3, 3], &logits);
        let weights = softmax(engine::ops::scale(logits, 1.0 / temperature));
        let mut none = Gradients::new(&Params::default());
        let cotangent: Vec<f32> = (0..9).map(|i| i as f32).collect();
        tape.backward_from(&[(weights, &cotangent)], &mut none);
        tape.grad(logits)
            .iter()
            .fold(0.0_f32, |max, g| max.max(g.abs()))
    };
    assert!(slope(-2.0, 1.0) > 0.1);
    assert!(slope(-8.0, 1.0) < 2e-3);
    assert_eq!(slope(-8.0, 0.05), 0.0);
}

#[test]
fn bug_13_static_parts_that_decay() {
    let shrinks = |spec: &dyn Spec| {
        let mut network = Network::new(spec);
        let before = network.value("0.connection.static_alpha").to_vec();
        let mut none = Gradients::new(&network.params);
        none.settle(&network.params);
        let mut optimiser = AdamW::new(&network.params, AdamWConfig::default());
        optimiser.update(&mut network.params, &none, 0.1);
        network.value("0.connection.static_alpha") != before
    };
    only_the_bug_is_found(Bug::DecayOnStatic, shrinks);
    let dynamic = HyperConfig {
        dynamic: true,
        ..hyper()
    };
    for (_, param) in Network::new(&dynamic).params.iter() {
        let decays = ["weight", "dynamic_alpha_fn", "dynamic_beta_fn"]
            .iter()
            .any(|name| param.name.ends_with(name) && !param.name.contains("norm"));
        assert_eq!(param.decay == Decay::Yes, decays, "{}", param.name);
    }
}

#[test]
fn bug_14_coefficients_in_half_precision() {
    only_the_bug_is_found(Bug::Bf16Coefficients, deviates_from_algorithm_2);
}

#[test]
fn bug_14_a_state_that_overflows_stops_the_optimiser() {
    let mut network = Network::new(&hyper());
    let range = network
        .params
        .part("2.connection.static_beta")
        .unwrap()
        .range
        .clone();
    network.params.slab_mut()[range].fill(f32::MAX);
    let before = network.params.slab().to_vec();
    let gradients = network.gradients();
    let mut optimiser = AdamW::new(&network.params, AdamWConfig::default());
    assert!(
        !optimiser
            .update(&mut network.params, &gradients, 0.1)
            .is_finite()
    );
    assert_eq!(network.params.slab(), before);
}

#[test]
fn streams_that_are_collapsed_after_every_sublayer() {
    only_the_bug_is_found(Bug::CollapsePerSublayer, streams_stay_identical);
}

#[test]
fn the_norm_before_the_sum() {
    only_the_bug_is_found(Bug::NormBeforeSum, deviates_from_algorithm_2);
}

#[test]
fn a_layer_index_that_counts_blocks() {
    // The first sublayers read all streams, one each.
    let reads = |network: &Network| -> Vec<usize> {
        (0..RATE)
            .map(|k| {
                let alpha = network.value(&format!("{k}.connection.static_alpha"));
                let column: Vec<f32> = alpha.iter().step_by(RATE + 1).copied().collect();
                column.iter().position(|&read| read == 1.0).unwrap()
            })
            .collect()
    };
    assert_eq!(reads(&Network::new(&hyper())), [0, 1, 2]);
    assert_eq!(reads(&Network::new(&suspect(None))), [0, 1, 2]);
    assert_ne!(reads(&Network::with_index(&hyper(), |k| k / 2)), [0, 1, 2]);
}
