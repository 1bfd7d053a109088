//! What PyTorch makes of an exported run, and the run that comes back from there.

use super::{Place, weights, works};
use lab::{
    config::RunConfig,
    data::Data,
    run_dir::{CONFIG_FILE, WEIGHTS_FILE},
    torch::MODEL_FILE,
    train::Trainer,
};
use models::weights::TensorFile;
use std::{fs, path::Path, process::Command};

fn has_torch() -> bool {
    let python = Command::new("python3")
        .args(["-c", "import torch"])
        .output();
    let found = python.is_ok_and(|output| output.status.success());
    if !found {
        println!("skipped: python3 cannot import torch");
    }
    found
}

fn python(directory: &Path, arguments: &[&str]) -> String {
    let python = Command::new("python3")
        .current_dir(directory)
        .args(arguments)
        .output();
    let output = python.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_program_has_the_validation_loss_of_the_run() {
    if !has_torch() {
        return;
    }
    let hyper = "--set=model.connection.type=hyper";
    let no_tanh = "--set=model.connection={type=\"hyper\",rate=2,tanh=false,norm=\"rmsnorm\"}";
    let bare = "--set=model.connection={type=\"hyper\",rate=3,norm=\"none\",reduction=\"mean\"}";
    let statics = "--set=model.connection={type=\"hyper\",rate=3,dynamic=false}";
    let head = "--set=model.connection={type=\"hyper\",rate=3,reduction=\"sigmoid_head\",\
                delayed_reads=true}";
    let scaled = "--set=model.connection={type=\"hyper\",expansion=\"learned_scale\",\
                  frozen=[\"mix\",\"dynamic\"]}";
    let delayed = "--set=model.connection={type=\"hyper\",dynamic=false,delayed_reads=true,\
                   expansion=\"learned_scale\",reduction=\"sigmoid_head\"}";
    let gelu = "--set=model.ffn={type=\"gelu\",hidden=64}";
    let rms = [
        "--set=model.norm={type=\"rmsnorm\",eps=1e-3}",
        "--set=model.qk_norm=true",
    ];
    let tied = "--set=model.tied_embeddings=true";
    for (preset, settings) in [
        ("smoke", &[][..]),
        ("smoke", &[hyper]),
        ("smoke", &[no_tanh, rms[0], rms[1]]),
        ("smoke", &[bare]),
        ("smoke", &[statics, gelu, tied]),
        ("smoke", &[head]),
        ("smoke", &[scaled]),
        ("moe-smoke", &[]),
        ("moe-smoke", &[hyper, "--set=model.ffn.top_k=1"]),
        ("vit-smoke", &[]),
        ("moe-smoke", &[delayed]),
        ("vit-smoke", &[hyper, "--set=model.pool=mean"]),
        ("vit-smoke", &[head]),
        (
            "vit-smoke",
            &[statics, "--set=model.ffn={type=\"swiglu\",hidden=24}"],
        ),
    ] {
        let place = Place::new(preset, settings);
        let said = python(&place.export(), &[MODEL_FILE]);
        println!("{preset} {settings:?}: {said}");
        // A file without a loss would end well too.
        assert!(
            said.contains("difference") && !said.contains("nan"),
            "{said}"
        );
    }
}

/// The program of the page, which changes the weights and prints their loss.
fn program_of_the_page() -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/pytorch.md");
    let page = fs::read_to_string(page).unwrap();
    let mut programs = page.split("```python\n").skip(1);
    let (program, _) = programs.next().unwrap().split_once("```").unwrap();
    program.to_owned()
}

#[test]
fn weights_that_pytorch_has_changed_have_the_same_loss_here() {
    if !has_torch() {
        return;
    }
    for (preset, settings) in [
        ("smoke", "--set=model.connection.type=hyper"),
        ("moe-smoke", "--set=model.connection.type=pre_norm"),
        ("vit-smoke", "--set=model.connection.type=hyper"),
    ] {
        let place = Place::new(preset, &[settings]);
        let torch = place.export();
        let there: f64 = python(&torch, &["-c", &program_of_the_page()])
            .trim()
            .parse()
            .unwrap();
        let back = place.path("back");
        works(&["import", torch.to_str().unwrap(), "--out", &back]);
        assert_ne!(weights(place.path("run")), weights(&back));
        let config = RunConfig::of_run(&Path::new(&back).join(CONFIG_FILE)).unwrap();
        let mut trainer = Trainer::new(&config, Data::open(&config).unwrap()).unwrap();
        let file = TensorFile::open(&Path::new(&back).join(WEIGHTS_FILE)).unwrap();
        trainer.start_from(&file).unwrap();
        let here = trainer.evaluate();
        println!("{preset}: {here}, there {there}");
        assert!(
            (here - there).abs() < 1e-5,
            "{preset}: {here}, there {there}"
        );
    }
}

/// What is frozen here has no gradient there, and what learns has one.
#[test]
fn frozen_parts_stay_frozen_in_pytorch() {
    if !has_torch() {
        return;
    }
    let program = "
import json, model, torch
network = model.load()
tokens = model.read('validation.safetensors')[0]['inputs'][:2].long()
network(tokens).square().sum().backward()
for name, parameter in network.blocks[1].attn_connection.named_parameters():
    moves = 0 if parameter.grad is None else (parameter.grad != 0).double()
    print(name, ''.join(str(int(x)) for x in (moves * torch.ones_like(parameter)).flatten()))
";
    for (frozen, expected) in [
        ("read", ["011", "011", "11", "11", "1", "1"]),
        ("mix", ["100", "100", "11", "11", "1", "1"]),
        ("write", ["111", "111", "00", "00", "1", "0"]),
        ("dynamic", ["111", "000", "11", "00", "0", "0"]),
    ] {
        let setting =
            format!("--set=model.connection={{type=\"hyper\",rate=2,frozen=[\"{frozen}\"]}}");
        let place = Place::new("smoke", &[&setting]);
        let said = python(&place.export(), &["-c", program]);
        let of = |name: &str| -> &str {
            let mut lines = said.lines().filter_map(|line| line.split_once(' '));
            let found = lines.find(|(parameter, _)| *parameter == name);
            found.unwrap().1
        };
        for (name, expected) in [
            "static_alpha",
            "dynamic_alpha_fn",
            "static_beta",
            "dynamic_beta_fn",
            "dynamic_alpha_scale",
            "dynamic_beta_scale",
        ]
        .into_iter()
        .zip(expected)
        {
            let found = of(name);
            assert!(
                !found.is_empty() && found == expected.repeat(found.len() / expected.len()),
                "{frozen}: {name}: {found}"
            );
        }
    }
}
