use super::*;
use crate::{
    ablation::{ABLATIONS, Tanh},
    preset::{PRESETS, Preset},
};
use models::transformer::Transformer;

fn sweep(ablation: &'static Ablation, settings: &[&str]) -> Result<Sweep, SweepError> {
    let keys: Vec<String> = settings
        .iter()
        .filter_map(|s| Some(s.split_once('=')?.0.to_owned()))
        .collect();
    let common = Layers::defaults().set(settings)?;
    let place = (PathBuf::from("runs"), "test".to_owned());
    let arms = ablation.arms(Tanh::Both);
    Sweep::new(ablation.into(), arms, &common, &keys, vec![0, 1], place)
}

#[test]
fn every_arm_of_every_ablation_can_be_built_in_every_preset() {
    for ablation in ABLATIONS.iter() {
        for preset in Preset::of(&ablation.body) {
            let common = preset.layers();
            let place = (PathBuf::from("runs"), "test".to_owned());
            let arms = ablation.arms(Tanh::Both);
            let sweep = Sweep::new(ablation.into(), arms, &common, &[], vec![0], place);
            sweep.and_then(|sweep| sweep.jobs()).expect(preset.name);
        }
    }
}

#[test]
fn arms_have_names_of_their_own_and_baselines_that_come_before_them() {
    for ablation in ABLATIONS.iter() {
        let arms = ablation.arms(Tanh::Both);
        for (index, arm) in arms.iter().enumerate() {
            assert!(
                arms[..index].iter().all(|a| a.name != arm.name),
                "{}",
                arm.name
            );
            assert!(
                arms[..index].iter().all(|a| a.label != arm.label),
                "{}",
                arm.label
            );
            if let Some(baseline) = &arm.baseline {
                let found = arms[..index].iter().find(|a| &a.name == baseline);
                assert!(found.is_some_and(Arm::is_baseline), "{}", arm.name);
            }
        }
    }
}

#[test]
fn the_papers_tables_are_met_row_by_row() {
    for ablation in ABLATIONS.iter() {
        let Some(table) = &ablation.paper else {
            continue;
        };
        let arms = ablation.arms(Tanh::Both);
        for row in &table.rows {
            // A diffusion transformer of another size is in the note alone.
            if table.baseline.as_ref() == Some(&row.method) || row.method.starts_with("DiT") {
                continue;
            }
            let row = table.row(&row.method);
            let found = arms.iter().any(|arm| arm.paper == row);
            assert!(found, "{}: {}", table.place, row.expect("a row").method);
        }
    }
}

#[test]
fn every_arm_has_its_first_seed_before_any_has_its_second() {
    let sweep = sweep(&ABLATIONS[0], &[]).expect("the defaults");
    let jobs = sweep.jobs().expect("two seeds");
    let arms = sweep.arms.len();
    assert_eq!(jobs.len(), 2 * arms);
    assert!(jobs[..arms].iter().all(|job| job.id.seed == 0));
    let order: Vec<usize> = jobs[arms..].iter().map(|job| job.arm).collect();
    assert_eq!(order, (0..arms).collect::<Vec<_>>());
    assert!(jobs.iter().all(|job| job.config.train.seed == job.id.seed));
}

#[test]
fn a_setting_that_the_arms_differ_in_cannot_be_set_for_all() {
    for key in ["model.connection.rate=2", "model.connection={ rate = 2 }"] {
        let error = sweep(&ABLATIONS[0], &[key]).expect_err("in the arms' hands");
        assert!(matches!(error, SweepError::SetByArms { .. }), "{error}");
    }
    assert!(sweep(&ABLATIONS[0], &["model.dim=32", "train.steps=3"]).is_ok());
    // Under the name that it had first, too.
    let arms = vec![Arm::pre_norm().with("train.schedule", "constant")];
    let keys = ["train.decline".to_owned()];
    let place = (PathBuf::from("runs"), "test".to_owned());
    let common = Layers::defaults();
    let error = Sweep::new((&ABLATIONS[0]).into(), arms, &common, &keys, vec![0], place);
    assert!(
        matches!(error, Err(SweepError::SetByArms { .. })),
        "{error:?}"
    );
}

#[test]
fn a_statement_on_accuracy_is_for_networks_that_classify() {
    let of_accuracy = |name: &str| {
        let found = ABLATIONS.iter().find(|known| known.name == "ablation-vit");
        let mut contrasts = found.expect("it is there").contrasts(Tanh::On);
        contrasts.retain(|contrast| contrast.of == Quantity::Accuracy);
        assert!(!contrasts.is_empty());
        let ablation = ABLATIONS.iter().find(|known| known.name == name);
        let ablation = ablation.expect("it is there");
        let preset = Preset::of(&ablation.body).next().expect("a preset");
        let place = (PathBuf::from("runs"), "test".to_owned());
        let arms = ablation.arms(Tanh::On);
        let common = preset.layers();
        let sweep = Sweep::new(ablation.into(), arms, &common, &[], vec![0], place);
        sweep.and_then(|sweep| sweep.declaring(contrasts))
    };
    assert!(of_accuracy("ablation-vit").is_ok());
    for name in ["ablation-static", "ablation-dit"] {
        let error = of_accuracy(name).expect_err("no accuracy").to_string();
        assert!(
            error.contains("static n = 2 has a higher accuracy"),
            "{error}"
        );
    }
}

/// Differences by seed mean something because of this.
#[test]
fn all_arms_of_a_seed_start_from_one_backbone() {
    let arms = ABLATIONS[0].arms(Tanh::Both);
    let place = (PathBuf::from("runs"), "test".to_owned());
    let smoke = PRESETS[0].layers();
    let sweep = Sweep::new((&ABLATIONS[0]).into(), arms, &smoke, &[], vec![0], place);
    let sweep = sweep.expect("the smoke preset");
    let params: Vec<_> = sweep
        .configs
        .iter()
        .map(|config| {
            let key = engine::rng::Key::new(7);
            let model = config.model.transformer().expect("a decoder");
            Transformer::new(model, key).expect("it is valid").1
        })
        .collect();
    let (baseline, others) = params.split_first().expect("arms");
    for other in others {
        for part in baseline.parts() {
            let same = other.part(&part.name).expect("the backbone is shared");
            assert_eq!(
                baseline.slab()[part.range.clone()],
                other.slab()[same.range.clone()],
                "{}",
                part.name
            );
        }
    }
}
