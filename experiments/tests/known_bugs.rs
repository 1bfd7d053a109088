//! Bugs of training harnesses, put back and found; `docs/known_bugs.md` lists them with
//! those of the connections.

mod common;

use common::corpus;
use lab::{
    config::{Layers, RunConfig},
    preset::Preset,
    train::{Quiet, TrainError, Trainer},
};
use models::model::ModelConfig;
use nn::{
    connection::{ConnectionConfig, ConstrainedInit, KromHcConfig, MhcConfig, MhcLiteConfig},
    guard::{Finding, WATCHED_STEPS, remarks},
};
use std::sync::atomic::AtomicBool;

fn config(overrides: &[&str]) -> RunConfig {
    let training = [
        "train.steps=12",
        "train.batch=4",
        "train.micro_batch=2",
        "train.shards=2",
        "train.warmup=4",
        "train.eval_batches=2",
    ];
    common::config(&training, overrides)
}

fn trainer(overrides: &[&str]) -> Trainer {
    Trainer::new(&config(overrides), &corpus()).unwrap()
}

#[test]
fn bug_12_arms_that_all_have_the_same_seed() {
    // What a fan-out has to give every arm: weights and data of its own.
    let collapsed = |seeds: [u64; 3]| {
        let runs = seeds.map(|seed| {
            let mut trainer = trainer(&[&format!("train.seed={seed}")]);
            let start: Vec<u32> = trainer
                .params()
                .slab()
                .iter()
                .map(|x| x.to_bits())
                .collect();
            (start, trainer.step().loss)
        });
        runs[0].0 == runs[1].0
            || runs[1].0 == runs[2].0
            || runs[0].1 == runs[1].1
            || runs[1].1 == runs[2].1
    };
    assert!(!collapsed([0, 1, 2]));
    assert!(collapsed([0, 0, 0]));
}

#[test]
fn bug_12_validation_is_not_what_the_guard_watches() {
    let mut trainer = trainer(&[]);
    trainer.step();
    let seen = trainer.state(0.0).guard;
    for _ in 0..20 {
        trainer.evaluate();
    }
    assert_eq!(trainer.state(0.0).guard, seen);
    trainer.step();
    assert_ne!(trainer.state(0.0).guard, seen);
}

fn run(overrides: &[&str]) -> Result<(), TrainError> {
    let stop = AtomicBool::new(false);
    trainer(overrides).run(None, &mut Quiet, &stop).map(|_| ())
}

#[test]
fn a_strict_run_ends_where_streams_stay_identical() {
    run(&["train.strict=true"]).unwrap();
    let uniform = "model.connection.read_init=uniform";
    run(&[uniform]).unwrap();
    let Err(TrainError::NotLearning(findings)) = run(&["train.strict=true", uniform]) else {
        panic!("identical streams went unnoticed");
    };
    let sites: Vec<&str> = findings.iter().map(Finding::name).collect();
    assert_eq!(sites, ["blocks.0.ffn", "blocks.1.attn", "blocks.1.ffn"]);
}

#[test]
fn bug_14_a_run_whose_state_overflows_is_told_to_have_diverged() {
    let mut trainer = trainer(&["model.init_std=1e30"]);
    let before = trainer.params().slab().to_vec();
    assert!(trainer.step().diverged());
    assert_eq!(trainer.params().slab(), before);
}

fn run_connection(connection: ConnectionConfig, more: &[&str]) -> Result<(), TrainError> {
    let mut config = config(&[&["train.strict=true", "train.warmup=10"], more].concat());
    let ModelConfig::Transformer(model) = &mut config.model else {
        panic!("the default is a transformer");
    };
    model.connection = connection;
    let mut trainer = Trainer::new(&config, &corpus()).unwrap();
    let stop = AtomicBool::new(false);
    trainer.run(None, &mut Quiet, &stop).map(|_| ())
}

/// A default is one that works.
#[test]
fn no_connection_is_accused_at_its_defaults() {
    for connection in ConnectionConfig::all() {
        let label = connection.spec().label();
        let result = run_connection(connection, &[]);
        result.unwrap_or_else(|error| panic!("{label}: {error}"));
    }
}

#[test]
fn the_published_starts_are_accused_once_and_told_the_cure() {
    let init = ConstrainedInit::MhcLiteCode;
    for connection in [
        ConnectionConfig::Mhc(MhcConfig {
            init,
            ..MhcConfig::default()
        }),
        ConnectionConfig::MhcLite(MhcLiteConfig {
            init,
            ..MhcLiteConfig::default()
        }),
        ConnectionConfig::KromHc(KromHcConfig {
            init,
            ..KromHcConfig::default()
        }),
    ] {
        let label = connection.spec().label();
        let Err(TrainError::NotLearning(findings)) = run_connection(connection, &[]) else {
            panic!("the saturated mixes of {label} go unnoticed");
        };
        // A saturated mix may leave its own logits without a gradient.
        let of_mix =
            |f: &Finding| matches!(f, Finding::SaturatedMix { .. }) || f.name().ends_with("_res");
        assert!(findings.iter().all(of_mix), "{label}: {findings:?}");
        let said = remarks(&findings);
        let saturated: Vec<&String> = said.iter().filter(|s| s.contains("saturated")).collect();
        assert_eq!(saturated.len(), 1, "{said:?}");
        assert!(saturated[0].contains("init = \"mild\""), "{said:?}");
    }
}

/// The mean of the outputs of all sublayers is below the root of 1e-5 in a default network.
#[test]
fn an_eps_that_shrinks_small_states_is_named() {
    let averages = || ConnectionConfig::AttentionResidual(Default::default());
    run_connection(averages(), &[]).unwrap();
    let Err(TrainError::NotLearning(findings)) =
        run_connection(averages(), &["model.norm.eps=1e-5", "model.layers=8"])
    else {
        panic!("the large eps went unnoticed");
    };
    let large = |f: &Finding| matches!(f, Finding::LargeEps { .. });
    assert!(findings.iter().all(large), "{findings:?}");
    assert_eq!(remarks(&findings).len(), 1);
}

/// After the watched steps of the smallest preset, on which everybody tries things.
fn findings_of_smoke(overrides: &[&str]) -> Vec<String> {
    let preset = Preset::named("smoke").expect("the preset");
    let layers = preset.layers().set(overrides);
    let config = layers.and_then(Layers::resolve).unwrap();
    let mut trainer = Trainer::new(&config, &corpus()).unwrap();
    for _ in 0..WATCHED_STEPS {
        trainer.step();
    }
    remarks(&trainer.findings())
}

#[test]
fn no_connection_is_accused_in_the_smallest_preset() {
    let mut all: Vec<String> = Vec::new();
    for connection in ConnectionConfig::all() {
        let table = toml::Table::try_from(&connection).unwrap();
        let kind = format!("model.connection.type={}", table["type"].as_str().unwrap());
        for more in [None, Some("train.seed=1"), Some("train.seed=2")] {
            let overrides: Vec<&str> = [kind.as_str()].into_iter().chain(more).collect();
            let said = findings_of_smoke(&overrides);
            all.extend(said.iter().map(|said| format!("{overrides:?}: {said}")));
        }
    }
    // With two streams, all parameters may move alike for a while.
    let hyper = "model.connection.type=hyper";
    for dynamic in [true, false] {
        let dynamic = format!("model.connection.dynamic={dynamic}");
        for seed in 0..12 {
            let seed = format!("train.seed={seed}");
            let overrides = [hyper, "model.connection.rate=2", &dynamic, &seed];
            let said = findings_of_smoke(&overrides);
            all.extend(said.iter().map(|said| format!("{overrides:?}: {said}")));
        }
    }
    all.extend(findings_of_smoke(&[
        hyper,
        "model.connection.dynamic=false",
    ]));
    assert!(all.is_empty(), "{all:#?}");
    // The symmetry of bug 10 is seen here as well.
    let uniform = "model.connection.read_init=uniform";
    assert_eq!(findings_of_smoke(&[hyper, uniform]).len(), 1);
}
