//! Every built-in ablation and preset resolves to the byte as recorded in `tables.snapshot`, so
//! that runs begun by earlier versions of the program go on: those on the built-in corpus with
//! `data.builtin=files`, those of `ablation-vit` on drawn images with `data.drawn=shapes`.

use lab::{
    ablation::{ABLATIONS, Ablation, Arm, Sweep, Tanh},
    config::{Layers, RunConfig},
    preset::{PRESETS, Preset},
};
use sha2::{Digest, Sha256};
use std::{fmt::Write, fs, path::Path};
use toml::Table;

const SNAPSHOT: &str = include_str!("tables.snapshot");

/// The settings of a preset in those versions.
fn layers(preset: &Preset) -> Layers {
    let settings = preset.layers().set(&["data.builtin=files"]);
    settings.expect("a setting")
}

fn config(preset: &Preset) -> RunConfig {
    layers(preset).resolve().expect("a preset is valid")
}

/// The settings under the names that the record has.
fn recorded(mut config: Table) -> String {
    let train = config
        .get_mut("train")
        .and_then(|train| train.as_table_mut());
    let train = train.expect("a section");
    for (old, new) in [("decline", "schedule"), ("final_fraction", "min_lr_ratio")] {
        if let Some(value) = train.remove(new) {
            train.insert(old.to_owned(), value);
        }
    }
    config.to_string()
}

fn sweep(ablation: &'static Ablation, preset: &Preset, tanh: Tanh) -> Sweep {
    let common = layers(preset);
    let place = (
        "runs".into(),
        format!("{}-{}", ablation.name, preset.size()),
    );
    let arms = ablation.arms(tanh);
    Sweep::new(
        ablation.into(),
        arms,
        &common,
        &[],
        preset.seeds.clone(),
        place,
    )
    .expect("arms")
}

fn arm_line(arm: &Arm) -> String {
    let paper = arm.paper.as_ref();
    let paper = paper.map(|row| format!("{} {:?}", row.method, row.deltas));
    format!(
        "{} | {} | {} | {} | {}",
        arm.name,
        arm.label,
        arm.baseline.as_deref().unwrap_or("-"),
        paper.as_deref().unwrap_or("-"),
        if arm.matched { "matched" } else { "-" }
    )
}

fn write_ablation(text: &mut String, ablation: &'static Ablation) {
    let _ = writeln!(text, "\n== {}: {}", ablation.name, ablation.title);
    if let Some(paper) = &ablation.paper {
        let (place, scale, about) = (&paper.place, &paper.scale, &paper.about);
        let _ = writeln!(text, "{place}; {scale}; {:?}; {about}", paper.quantity);
        let _ = writeln!(text, "{:?}", paper.columns);
        let _ = writeln!(text, "{}", paper.note.as_deref().unwrap_or_default());
    }
    let presets = || Preset::of(&ablation.body);
    for (choice, tanh) in [("on", Tanh::On), ("off", Tanh::Off), ("both", Tanh::Both)] {
        let _ = writeln!(text, "-- --tanh {choice}");
        for arm in &ablation.arms(tanh) {
            let _ = writeln!(text, "{}", arm_line(arm));
        }
        for preset in presets() {
            let sweep = sweep(ablation, preset, tanh);
            let jobs = sweep.jobs().expect("seeds");
            let first = jobs[0].id.path.display();
            let _ = write!(text, "{} {first} {}:", preset.name, jobs.len());
            for job in &jobs {
                let (arm, seed) = (&sweep.arms[job.arm], job.id.seed);
                let expected = format!("runs/{}/{}/seed{seed}", sweep.name, arm.name);
                assert_eq!(job.id.path, Path::new(&expected));
                if seed == 0 {
                    let hash = Sha256::digest(recorded(job.config.to_table()));
                    let _ = write!(text, " ");
                    for byte in &hash[..5] {
                        let _ = write!(text, "{byte:02x}");
                    }
                }
            }
            let _ = writeln!(text);
        }
    }
    for contrast in ablation.contrasts(Tanh::Both) {
        let (sum, expected) = (contrast.sum(), contrast.expected());
        let source = contrast.source.as_deref().unwrap_or("-");
        let _ = writeln!(
            text,
            "{} | {source} | {sum} | {expected}",
            contrast.statement
        );
    }
}

#[test]
fn every_arm_and_every_preset_is_what_it_was() {
    let mut text = String::new();
    for preset in PRESETS.iter() {
        let (name, about, seeds) = (preset.name, &preset.about, preset.seeds.clone());
        let _ = writeln!(text, "== {name}: {about}; seeds {seeds:?}");
        text.push_str(&recorded(config(preset).to_table()));
    }
    // The states of runs are tied to their configuration by this text.
    for preset in PRESETS.iter().filter(|preset| preset.body() != "moe") {
        assert!(text.contains(&config(preset).identity()), "{}", preset.name);
    }
    for ablation in ABLATIONS.iter() {
        write_ablation(&mut text, ablation);
    }
    if text != SNAPSHOT {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tables.snapshot");
        fs::write(&path, &text).expect("a writable directory");
        let differs = text
            .lines()
            .zip(SNAPSHOT.lines())
            .find(|(now, was)| now != was);
        panic!(
            "{differs:?} (now, before); the whole is in {}",
            path.display()
        );
    }
}
