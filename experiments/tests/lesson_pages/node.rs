//! The modules of the pages, run by Node.

use serde_json::Value;
use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

/// Returns whether the machine has Node.
pub fn present() -> bool {
    let mut command = Command::new("node");
    command
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// The value of an expression that sees what the modules export, and `input`.
pub fn value(modules: &[&str], expression: &str, input: &Value) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("lessons/pages");
    let mut program = String::from("import { readFileSync } from 'node:fs';\n");
    for (i, module) in modules.iter().enumerate() {
        let url = format!("file://{}/{module}.mjs", folder.display());
        program += &format!("import * as m{i} from '{url}';\nObject.assign(globalThis, m{i});\n");
    }
    program += "const input = JSON.parse(readFileSync(0, 'utf8'));\n";
    program += &format!("process.stdout.write(JSON.stringify({expression}));\n");
    let mut child = Command::new("node")
        .args(["--input-type=module", "--eval", &program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin
        .write_all(input.to_string().as_bytes())
        .expect("an open pipe");
    drop(stdin);
    let output = child.wait_with_output().expect("its output");
    assert!(output.status.success(), "{expression} fails");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// All numbers of a value, in order; texts have none.
pub fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(items) => items.iter().flat_map(numbers).collect(),
        Value::Object(fields) => fields.values().flat_map(numbers).collect(),
        Value::Number(number) => vec![number.as_f64().expect("a number")],
        _ => Vec::new(),
    }
}

/// Panics where numbers differ by more than 1e-5 of the largest.
#[track_caller]
pub fn assert_close(page: &[f64], engine: &[f64], what: &str) {
    assert_eq!(page.len(), engine.len(), "{what}: as many numbers");
    let size = engine.iter().fold(1.0, |m: f64, x| m.max(x.abs()));
    for (at, (a, b)) in page.iter().zip(engine).enumerate() {
        assert!(
            (a - b).abs() <= 1e-5 * size,
            "{what}, number {at}: the page has {a}, the engine {b}"
        );
    }
}
