//! The program of docs/pytorch.md, where `python3` can import torch.

use crate::{
    pages::{Page, book},
    run,
};
use std::{fs, path::Path, process::Command};

fn has_torch() -> bool {
    let python = Command::new("python3")
        .args(["-c", "import torch"])
        .output();
    python.is_ok_and(|output| output.status.success())
}

/// Text with bytes beyond ASCII where it is cut.
fn text() -> String {
    let words = ["so ", "it ", "goes, ", "and ", "\u{e9}t\u{e9} ends. "];
    (0..5000_usize)
        .map(|i| words[(i * i + i / 7) % 5])
        .collect()
}

fn rebuilt(program: &Path, root: &Path, name: &str, settings: &[&str]) {
    let [corpus, out] = [root.join("text.txt"), root.join(name)];
    let [corpus_name, out_name] = [&corpus, &out].map(|path| path.to_str().expect("plain"));
    let mut arguments = vec![
        "train",
        "--preset=smoke",
        "--data",
        corpus_name,
        "--out",
        out_name,
    ];
    // Far enough from the start that dynamic parts matter.
    arguments.extend(["--set=train.steps=40", "--set=train.learning_rate=1e-2"]);
    arguments.extend(settings);
    let trained = run(&arguments);
    assert!(
        trained.status.success(),
        "{}",
        String::from_utf8_lossy(&trained.stderr)
    );
    let output = Command::new("python3")
        .arg(program)
        .args([&out, &corpus])
        .output();
    let output = output.expect("python3 starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {said}");
}

#[test]
fn the_program_of_the_page_rebuilds_trained_runs_in_pytorch() {
    if !has_torch() {
        println!("skipped: python3 cannot import torch");
        return;
    }
    let page = Page::read(&book().join("pytorch.md"));
    let [program] = &page.python[..] else {
        panic!("the page has one program");
    };
    let root = tempfile::tempdir().expect("a directory");
    let root = root.path();
    fs::write(root.join("text.txt"), text()).expect("space");
    let path = root.join("rebuild.py");
    fs::write(&path, program).expect("space");
    rebuilt(
        &path,
        root,
        "dynamic",
        &["--set=model.connection.type=hyper"],
    );
    let no_tanh = "--set=model.connection={type=\"hyper\",rate=2,tanh=false,norm=\"rmsnorm\"}";
    let other = [
        "--set=model.norm.type=rmsnorm",
        "--set=model.qk_norm=true",
        no_tanh,
    ];
    rebuilt(&path, root, "without-tanh", &other);
    let statics = "--set=model.connection={type=\"hyper\",rate=3,dynamic=false}";
    let gelu = [
        "--set=model.ffn={type=\"gelu\",hidden=64}",
        "--set=model.tied_embeddings=true",
    ];
    rebuilt(&path, root, "static", &[&gelu[..], &[statics]].concat());
    rebuilt(&path, root, "pre-norm", &[]);
}
