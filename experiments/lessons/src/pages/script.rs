//! The JavaScript modules of the pages, put together into one script.

use std::fmt::Write;

macro_rules! modules {
    ($($name:literal)*) => {
        &[$(($name, include_str!(concat!("../../pages/", $name, ".mjs")))),*]
    };
}

/// Every module: name and text.
const MODULES: &[(&str, &str)] = modules! {
    "break_page" "chart" "descriptions" "drawing" "dynamic" "dynamic_page" "elements" "hc_matrix" "network"
    "numbers" "patterns" "playground" "presets" "puzzle_panel" "puzzles" "sinkhorn" "sinkhorn_page"
    "streams_page" "token" "token_page" "undo" "unfolded_table"
};

/// The script of a module and all that it imports. Each becomes a constant with what it exports, so
/// that names inside of it stay its own.
///
/// # Panics
/// If there is no such module.
pub fn of(main: &str) -> String {
    let mut order = Vec::new();
    collect(main, &mut order);
    order.into_iter().map(scoped).collect()
}

/// The name and what follows `from './` in an import of one line.
fn import(line: &str) -> Option<(&str, &str)> {
    let (names, from) = line.strip_prefix("import ")?.split_once(" from './")?;
    Some((names, from.strip_suffix(".mjs';")?))
}

/// Adds a module after those that it imports, each once.
fn collect(name: &str, order: &mut Vec<(&'static str, &'static str)>) {
    if order.iter().any(|(known, _)| *known == name) {
        return;
    }
    let module = MODULES.iter().find(|(known, _)| *known == name);
    let &module = module.unwrap_or_else(|| panic!("there is no module {name}"));
    for (_, from) in module.1.lines().filter_map(import) {
        collect(from, order);
    }
    order.push(module);
}

fn scoped((name, text): (&str, &str)) -> String {
    let (mut body, mut exported) = (String::new(), Vec::new());
    for line in text.lines() {
        if let Some((names, from)) = import(line) {
            writeln!(body, "const {names} = {from}_module;").expect("a string");
            continue;
        }
        let line = match line.strip_prefix("export ") {
            None => line,
            Some(line) => {
                let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
                exported.extend(words.nth(1));
                line
            }
        };
        body += line;
        body.push('\n');
    }
    let exported = exported.join(", ");
    format!("const {name}_module = (() => {{\n{body}return {{ {exported} }};\n}})();\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_come_once_and_after_what_they_import() {
        let script = of("playground");
        for name in ["network", "sinkhorn", "elements", "playground"] {
            let start = format!("const {name}_module = (() =>");
            assert_eq!(script.matches(&start).count(), 1, "{name}");
        }
        let at = |name: &str| {
            script
                .find(&format!("const {name}_module = ("))
                .expect("a module")
        };
        assert!(at("network") < at("presets") && at("presets") < at("playground"));
        assert!(!script.contains("\nimport ") && !script.contains("\nexport "));
    }

    #[test]
    fn a_module_keeps_its_names() {
        let text = "import { a } from './other.mjs';\nconst b = a;\nexport function c() {}\n";
        let expected = "const it_module = (() => {\nconst { a } = other_module;\nconst b = a;\nfunction c() {}\n\
                        return { c };\n})();\n";
        assert_eq!(scoped(("it", text)), expected);
    }
}
