use super::super::{
    ABLATIONS, Contrast, Expect, Quantity, Recorded, Tanh,
    results::{
        probe_tests::probed,
        tests::{results, with_units},
    },
};
use super::*;
use crate::{
    config::Layers,
    data::{Corpus, Data, DataAccount},
};
use std::{path::PathBuf, sync::Arc};

fn text(losses: &[(&str, &[Option<f64>])]) -> String {
    shown(&results(losses))
}

fn shown(results: &Results) -> String {
    shown_on(results, 80)
}

fn shown_on(results: &Results, width: usize) -> String {
    reported(results, |report| report.to_text(width, Colour::Off))
}

fn reported<T>(results: &Results, say: impl Fn(&Report<'_>) -> T) -> T {
    let ablation = &ABLATIONS[0];
    let arms = ablation.arms(Tanh::Both);
    let place = (PathBuf::from("runs"), "test".to_owned());
    let sweep = Sweep::new(
        ablation.into(),
        arms,
        &Layers::defaults(),
        &[],
        vec![0],
        place,
    );
    let corpus = Arc::new(Corpus {
        train: vec![b'a'; 900].into(),
        validation: vec![b'a'; 100].into(),
        validation_files: Vec::new(),
        vocabulary: 256,
        vocabulary_from: String::new(),
        account: DataAccount {
            name: "text".into(),
            fingerprint: "0123456789abcdef0123".into(),
            ..DataAccount::default()
        },
    });
    say(&Report {
        sweep: &sweep.expect("the defaults"),
        results,
        data: &Data::from(&corpus),
        command: "experiments ablation-rate",
    })
}

const BASE: (&str, &[Option<f64>]) = ("pre-norm", &[Some(2.0), Some(2.2), Some(2.1)]);

#[test]
fn results_that_a_device_has_made_say_so() {
    let mut results = results(&[BASE]);
    assert!(!shown(&results).contains("products of matrices by"));
    results.arms[0].runs[1].backend = "wgpu: a card (Vulkan), then cpu".into();
    let text = shown(&results);
    assert!(
        text.contains("by: cpu; wgpu: a card (Vulkan), then cpu"),
        "{text}"
    );
}

/// Two files that differ by 0.08 say too little of any text for a difference of 0.05.
#[test]
fn the_errors_of_seeds_and_of_the_text_stand_beside_each_other() {
    let files = [(0, 0.04), (1, -0.04)];
    let text = shown_on(&with_units([-0.01, 0.0, 0.01], &files, None), 120);
    let row = text.lines().find(|line| line.contains("−0.0500"));
    let row = row.expect("a row");
    assert!(row.contains("±0.0248") && row.contains("0.0400"), "{text}");
    assert!(row.contains("not shown"), "{text}");
    assert!(
        text.contains("more text") && text.contains("of 2 files"),
        "{text}"
    );
    let text = shown(&with_units([-0.01, 0.0, 0.01], &files, Some(2)));
    assert!(
        text.contains("over SEEDS ALONE") && !text.contains("text s.e."),
        "{text}"
    );
}

#[test]
fn a_difference_is_called_by_its_name_and_noise_is_not() {
    let text = text(&[
        BASE,
        ("lower", &[Some(1.951), Some(2.149), Some(2.050)]),
        ("noisy", &[Some(1.7), Some(2.2), Some(2.1)]),
    ]);
    let row = |name: &str| text.lines().find(|line| line.starts_with(name));
    assert!(
        row("lower").is_some_and(|row| row.contains("better")),
        "{text}"
    );
    assert!(
        row("lower").is_some_and(|row| row.contains("−0.0500")),
        "{text}"
    );
    assert!(
        row("noisy").is_some_and(|row| row.contains("not shown")),
        "{text}"
    );
}

#[test]
fn a_column_for_other_programs_holds_what_its_name_says() {
    let results = results(&[
        BASE,
        ("lower", &[Some(1.951), Some(2.149), Some(2.050)]),
        ("noisy", &[Some(1.7), Some(2.2), Some(2.1)]),
    ]);
    let csv = reported(&results, |report| report.csv());
    let cells = |line: &str| line.split(',').map(str::to_owned).collect::<Vec<_>>();
    let mut lines = csv.lines().map(cells);
    let names = lines.next().expect("a heading");
    let rows: Vec<Vec<String>> = lines.collect();
    for (arm, row) in results.arms.iter().zip(&rows) {
        let delta = arm.delta.as_ref();
        let ends = delta.and_then(|delta| delta.interval);
        let expected = [
            ("val_loss", arm.val_loss),
            ("bits_per_byte", arm.bits_per_byte),
            ("sd_over_seeds", arm.sd_over_seeds),
            ("delta", delta.map(|delta| delta.mean)),
            ("delta_low", ends.map(|ends| ends[0])),
            ("delta_high", ends.map(|ends| ends[1])),
            ("p_value", delta.and_then(|delta| delta.p_value)),
            ("p_holm", delta.and_then(|delta| delta.p_holm)),
            ("effect_size", delta.and_then(|delta| delta.effect_size)),
            ("extra_flops_fraction", arm.extra_flops_fraction),
            ("convergence_factor", arm.convergence.map(|c| c.factor)),
            ("timing_step_ms", arm.timing.step_ms),
            ("steps", arm.steps.map(|steps| steps as f64)),
        ];
        for (name, value) in expected {
            let column = names.iter().position(|known| known == name);
            let cell = &row[column.unwrap_or_else(|| panic!("no {name} in {names:?}"))];
            let value = value.map_or_else(String::new, |value| value.to_string());
            assert_eq!(*cell, value, "{name} of {}", arm.name);
        }
    }
    // Two of three arms have a difference, and their p values are not each other's.
    let column = names.iter().position(|name| name == "p_holm").expect("it");
    assert_ne!(rows[1][column], rows[1][column - 1]);
}

#[test]
fn a_diverged_arm_is_a_row_that_says_when() {
    let text = text(&[BASE, ("wild", &[None, None, None])]);
    let row = text.lines().find(|line| line.starts_with("wild"));
    assert!(
        row.is_some_and(|row| row.contains("diverged at step 13")),
        "{text}"
    );
}

#[test]
fn an_arm_with_a_diverged_seed_is_never_called_better() {
    let text = text(&[
        ("pre-norm", &[Some(2.0), Some(2.2), Some(2.1), Some(2.0)]),
        (
            "DHC x8 w/o tanh",
            &[Some(1.951), Some(2.149), Some(2.050), None],
        ),
    ]);
    let row = text
        .lines()
        .find(|line| line.starts_with("DHC"))
        .expect("a row");
    assert!(
        row.contains("diverged 1/4") && !row.contains("better"),
        "{text}"
    );
}

fn stated() -> Results {
    let contrast = |arm: &str, declared: bool| Recorded {
        contrast: Contrast {
            statement: format!("{arm} is better than a network without hyper-connections"),
            source: Some("somebody, Table 1".into()),
            of: Quantity::Loss,
            arms: [(arm.to_owned(), 1.0), ("pre-norm".to_owned(), -1.0)].into(),
            expect: Expect::Lower,
            margin: Some(0.01),
        },
        declared,
        seeds: None,
    };
    let contrasts = [contrast("lower", true), contrast("noisy", false)];
    let results = results(&[
        BASE,
        ("lower", &[Some(1.951), Some(2.149), Some(2.050)]),
        ("noisy", &[Some(1.7), Some(2.2), Some(2.1)]),
    ]);
    results.with_statements(&contrasts)
}

#[test]
fn declared_statements_have_an_outcome_and_exploratory_ones_stand_apart() {
    use unicode_width::UnicodeWidthStr;
    let results = stated();
    for width in [40, 80, 120] {
        let text = shown_on(&results, width);
        assert!(text.lines().all(|line| line.width() <= width), "{text}");
        let (before, apart) = text.split_once("EXPLORATORY").expect("both kinds");
        assert!(before.contains("confirmed"), "{text}");
        assert!(
            !apart.contains("confirmed  ") && apart.contains("exploratory"),
            "{text}"
        );
    }
    let markdown = reported(&results, |report| report.to_markdown());
    assert!(
        markdown.contains("## Statements declared before the runs"),
        "{markdown}"
    );
    assert!(markdown.contains("lower − pre-norm"), "{markdown}");
    let csv = reported(&results, |report| report.statements_csv()).expect("statements");
    let rows: Vec<&str> = csv.lines().collect();
    assert_eq!(rows.len(), 3);
    assert!(
        rows[1].contains(",\"somebody, Table 1\",lower − pre-norm,lower,0.01,true,confirmed,3,"),
        "{csv}"
    );
    assert!(rows[2].contains(",false,exploratory,3,"), "{csv}");
    let none = super::super::results::tests::results(&[BASE]);
    assert_eq!(reported(&none, |report| report.statements_csv()), None);
}

#[test]
fn nothing_is_wider_than_a_terminal() {
    use unicode_width::UnicodeWidthStr;
    let results = results(&[
        BASE,
        ("DHC x8 w/o tanh", &[Some(1.9), Some(2.149), Some(2.050)]),
        ("wild", &[None, None, None]),
    ]);
    for width in [40, 60, 80, 120] {
        for line in shown_on(&results, width).lines() {
            assert!(line.width() <= width, "{width}: {line}");
        }
    }
}

#[test]
fn a_probe_has_a_table_under_its_chance_level_and_no_arm_that_diverged_is_better() {
    use unicode_width::UnicodeWidthStr;
    let results = probed(&[
        ("pre-norm", &[Some(10), Some(12), Some(11)]),
        ("good", &[Some(35), Some(36), Some(37)]),
        ("wild", &[Some(35), None, Some(37)]),
    ]);
    for width in [40, 80] {
        let text = shown_on(&results, width);
        assert!(text.lines().all(|line| line.width() <= width), "{text}");
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            words.contains("Probe brackets: 40 items in 20 clusters, chance 33.3 %"),
            "{text}"
        );
    }
    let text = shown_on(&results, 100);
    let (_, probe) = text.split_once("Probe brackets").expect("a table");
    let row = |name: &str| {
        let row = probe.lines().find(|line| line.starts_with(name));
        row.expect("a row").to_owned()
    };
    assert!(row("pre-norm").contains("27.50"), "{probe}");
    assert!(
        row("good").contains("90.00") && row("good").contains("better"),
        "{probe}"
    );
    assert!(row("wild").contains("diverged 1/3"), "{probe}");
    assert!(!row("wild").contains("better"), "{probe}");
    let csv = reported(&results, |report| report.probes_csv()).expect("probes");
    let rows: Vec<&str> = csv.lines().collect();
    assert!(
        rows[1].starts_with("brackets,pre-norm,,3,0,40,20,0.3333333333333333,0.275,"),
        "{csv}"
    );
    assert!(
        rows[3].starts_with("brackets,wild,pre-norm,2,1,40,"),
        "{csv}"
    );
}

#[test]
fn runs_that_diverged_have_a_table_and_without_any_there_is_none() {
    use unicode_width::UnicodeWidthStr;
    let wild = results(&[
        ("pre-norm", &[Some(2.0), Some(2.2), Some(2.1), Some(2.0)]),
        ("wild", &[None; 4]),
    ]);
    for width in [40, 80] {
        let text = shown_on(&wild, width);
        assert!(text.lines().all(|line| line.width() <= width), "{text}");
        assert!(
            text.contains("Stability: runs that diverged or spiked"),
            "{text}"
        );
        assert!(
            text.contains("+100 [+31, +100]") && text.contains("0.029"),
            "{text}"
        );
        assert!(text.contains("4/4") && text.contains("0/4"), "{text}");
    }
    let csv = reported(&wild, |report| report.stability_csv()).expect("runs that diverged");
    assert!(csv.contains("\nwild,pre-norm,4,4,1,0.3"), "{csv}");
    let sound = results(&[BASE]);
    assert!(!shown(&sound).contains("Stability"));
    assert_eq!(reported(&sound, |report| report.stability_csv()), None);
    assert_eq!(reported(&sound, |report| report.probes_csv()), None);
}
