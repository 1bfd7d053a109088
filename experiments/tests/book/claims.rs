//! What the pages say in numbers, worked out again.

use crate::pages::{Page, all_pages, book};
use lab::preset::PRESETS;
use nn::connection::ConnectionConfig;
use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

/// Tables of several seeds whose contrasts were declared.
const DECLARED: [&str; 3] = ["ablation-rate-default", "tables-1-to-3", "precision"];
/// Tables of an earlier corpus, nothing of which was declared, with columns of their own.
const EXPLORATORY: [&str; 3] = ["ablation-rate-wikitext-2", "ablation-moe", "lr-sweep-best"];

fn page(of: &str) -> String {
    fs::read_to_string(book().join(of)).expect("a page")
}

fn number(text: &str) -> f64 {
    text.replace('−', "-")
        .parse()
        .unwrap_or_else(|_| panic!("{text} is no number"))
}

fn signed(value: f64, digits: usize) -> String {
    format!("{value:+.digits$}").replace('-', "−")
}

/// A row of a committed table, its cells by their column.
struct Recorded(HashMap<String, String>);

impl Recorded {
    fn all(folder: &str, file: &str) -> Vec<Self> {
        let text = page(&format!("results/{folder}/{file}.csv"));
        let mut lines = text.lines().map(cells);
        let columns = lines.next().expect("a header");
        lines
            .map(|row| Self(columns.iter().cloned().zip(row).collect()))
            .collect()
    }

    /// The text of a column, `None` if it is empty.
    fn text(&self, column: &str) -> Option<&str> {
        let text = self.0.get(column)?.as_str();
        (!text.is_empty()).then_some(text)
    }

    fn value(&self, column: &str) -> f64 {
        number(&self.0[column])
    }

    fn half_width(&self, column: &str) -> f64 {
        let [low, high] = ["low", "high"].map(|end| self.value(&format!("{column}_{end}")));
        (high - low) / 2.0
    }

    /// `−0.0312 ±0.0103`; nothing of the baseline.
    fn interval(&self, column: &str) -> String {
        match self.text(column) {
            Some(_) => {
                let half = self.half_width(column);
                format!("{} ±{half:.4}", signed(self.value(column), 4))
            }
            None => String::new(),
        }
    }

    /// `1.20 [1.16, 1.24]`; nothing of the baseline.
    fn factor(&self) -> String {
        let column = "convergence_factor";
        if self.text(column).is_none() {
            return String::new();
        }
        let ends = ["", "_low", "_high"].map(|end| self.value(&format!("{column}{end}")));
        format!("{:.2} [{:.2}, {:.2}]", ends[0], ends[1], ends[2])
    }

    /// The name of the arm as tables have it.
    fn label(&self) -> String {
        let label = self.0["arm"].replace("-no-tanh", " w/o tanh");
        let label = label.replace("_lr0.00", ", ") + if label.contains("_lr") { "e-3" } else { "" };
        let label = label
            .replace("-bf16", " bf16")
            .replace("-frozen-b", " frozen B");
        let label = label.replace("-frozen-wc", " frozen WC");
        label.replace("dhc-x", "DHC x").replace("shc-x", "SHC x")
    }

    /// The row of an arm in a table of differences.
    fn arm(&self) -> Vec<String> {
        let [loss, bits] = ["val_loss", "bits_per_byte"].map(|of| format!("{:.4}", self.value(of)));
        let mut cells = vec![self.label(), loss, bits];
        match self.text("delta") {
            Some(_) => cells.extend([
                self.interval("delta"),
                format!("±{:.4}", self.half_width("delta_seeds")),
                format!("{:.4}", self.value("text_se")),
                self.0["verdict"].clone(),
            ]),
            None => cells.push("baseline".to_owned()),
        }
        let paper = ["paper_delta_v2", "paper_delta_v3"].into_iter();
        cells.extend(paper.filter_map(|of| self.text(of).map(|delta| signed(number(delta), 3))));
        cells
    }

    /// The row of a declared contrast in the table of statements.
    fn statement(&self) -> Vec<String> {
        let expected = match self.text("margin") {
            Some(margin) => format!("{} (margin {margin})", self.0["expect"]),
            None => self.0["expect"].clone(),
        };
        let text = |of: &str| self.0[of].clone();
        vec![
            text("statement"),
            text("source"),
            text("contrast"),
            expected,
            text("outcome"),
            self.interval("estimate"),
            format!("±{:.4}", self.half_width("seeds")),
            format!("{:.4}", self.value("text_se")),
            format!("{:.3}", self.value("p_holm")),
        ]
    }
}

/// The cells of a line of CSV; a comma between quotes ends none.
fn cells(line: &str) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            c => cells.last_mut().expect("a cell").push(c),
        }
    }
    cells
}

/// The cells in a row of Markdown.
fn row(cells: &[String]) -> String {
    let cells: Vec<&str> = cells.iter().map(|cell| cell.trim()).collect();
    format!("| {} |", cells.join(" | "))
        .replace("|  |", "| |")
        .replace("|  |", "| |")
}

fn holds(text: &str, expected: &str) {
    assert!(text.contains(expected), "{expected}");
}

/// Only a contrast that was declared before the runs has an outcome, and every one of them stands
/// on the page.
#[test]
fn outcomes_on_the_pages_are_those_of_declared_contrasts() {
    let results = page("results/README.md");
    let readme = page("../README.md");
    let spaced = readme.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut outcomes = [0, 0];
    for folder in DECLARED {
        for contrast in Recorded::all(folder, "contrasts") {
            assert_eq!(contrast.0["declared"], "true");
            let cells = contrast.statement();
            holds(&results, &row(&cells));
            outcomes[0] += 1;
            if folder == DECLARED[0] {
                let shown = [0, 3, 4, 5].map(|of| cells[of].as_str());
                holds(&spaced, &shown.join(" "));
                outcomes[1] += 1;
            }
        }
    }
    for (page, outcomes) in [&results, &readme].into_iter().zip(outcomes) {
        let words = ["confirmed", "contrary", "undecided", "equivalent"];
        let count = |word| {
            page.matches(&format!("  {word}  ")).count()
                + page.matches(&format!("| {word} |")).count()
        };
        assert_eq!(words.map(count).iter().sum::<usize>(), outcomes);
        assert!(!page.contains("**confirmed") && !page.contains("refuted"));
    }
}

/// No number of a page is another than that of the file beside it.
#[test]
fn tables_of_results_are_those_of_their_files() {
    let results = page("results/README.md");
    let readme = page("../README.md");
    let readme = readme.split_whitespace().collect::<Vec<_>>().join(" ");
    for (index, folder) in DECLARED.into_iter().enumerate() {
        for arm in Recorded::all(folder, "report") {
            holds(&results, row(&arm.arm()).trim_end_matches(" |"));
            if index == 0 {
                // The last column of the program's table has no room there.
                let cells = arm.arm();
                holds(&readme, &cells[..cells.len().min(8)].join(" "));
            }
        }
    }
    let loss = |arm: &Recorded| format!("{:.4}", arm.value("val_loss"));
    for folder in EXPLORATORY {
        for arm in Recorded::all(folder, "report") {
            let [delta, timed] = ["delta", "timing_delta_at_equal_time"].map(|of| arm.interval(of));
            let verdict = arm.0["verdict"].clone();
            holds(
                &results,
                &row(&[arm.label(), loss(&arm), delta, verdict, timed, arm.factor()]),
            );
        }
    }
    for folder in ["ablation-vit", "ablation-vit-mnist"] {
        for arm in Recorded::all(folder, "report") {
            let percent = format!("{:.2}", 100.0 * arm.value("accuracy"));
            holds(
                &results,
                &row(&[arm.label(), loss(&arm), arm.interval("delta"), percent]),
            );
        }
    }
    for arm in Recorded::all("lr-sweep", "report") {
        holds(&results, &loss(&arm));
    }
}

/// A folder of results that no page shows is not read by anybody.
#[test]
fn every_folder_of_results_is_linked_and_checked() {
    let results = page("results/README.md");
    for entry in fs::read_dir(book().join("results")).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .expect("a name");
        assert_eq!(
            path.join("contrasts.csv").exists(),
            DECLARED.contains(&name),
            "{name}"
        );
        assert!(
            !path.is_dir() || results.contains(&format!("({name}/")),
            "{name}"
        );
    }
}

/// `import json` forgotten is a program that stops at once.
#[test]
fn python_on_a_page_imports_what_it_uses() {
    let mut blocks = 0;
    for Page { path, python, .. } in all_pages() {
        for block in python {
            let imports: String = block
                .lines()
                .filter(|line| line.contains("import "))
                .collect();
            for module in ["json", "math", "struct", "sys", "torch"] {
                let words = block.split(|c: char| !(c.is_alphanumeric() || "._".contains(c)));
                let used = words
                    .into_iter()
                    .any(|word| word.starts_with(&format!("{module}.")));
                assert!(
                    !used || imports.contains(module),
                    "{}: {module}",
                    path.display()
                );
            }
            blocks += 1;
        }
    }
    assert!(blocks > 1);
}

#[test]
fn every_preset_has_its_row() {
    let text = fs::read_to_string(book().join("experiments.md")).expect("a page");
    for preset in PRESETS.iter() {
        assert!(
            text.contains(&format!("`{}`", preset.name)),
            "{}",
            preset.name
        );
    }
}

/// One word for one verdict, in committed tables too.
#[test]
fn verdicts_are_named_alike_in_tables_and_files() {
    for entry in fs::read_dir(book().join("results")).expect("a folder") {
        let path = entry.expect("an entry").path().join("report.csv");
        if let Ok(text) = fs::read_to_string(&path) {
            assert!(
                !text.contains("difference shown") && !text.contains("too few"),
                "{}",
                path.display()
            );
        }
    }
}

/// Which source was read, what it was checked by, and what differs; every test named is there.
#[test]
fn every_connection_has_its_source_its_check_and_its_differences() {
    let text = fs::read_to_string(book().join("connections.md")).expect("a page");
    let sections: Vec<&str> = text.split("\n### ").skip(1).collect();
    for connection in ConnectionConfig::all() {
        let table = toml::Table::try_from(&connection).expect("a table");
        let name = format!("`{}`", table["type"].as_str().expect("a name"));
        let of_it = |section: &&&str| {
            section
                .lines()
                .next()
                .is_some_and(|line| line.contains(&name))
        };
        let section = sections.iter().find(of_it);
        let section = section.unwrap_or_else(|| panic!("{name} has no entry"));
        for part in ["Source", "Check", "Differs"] {
            assert!(section.contains(part), "{name}: {part}");
        }
    }
    let code = tests_of_the_workspace();
    let names = text.split('`').skip(1).step_by(2);
    let is_test = |name: &&str| {
        let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        name.matches('_').count() >= 3 && name.chars().all(word)
    };
    let mut tests = 0;
    for name in names.filter(is_test) {
        let fixture = format!("{name}.safetensors");
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        let there = code.contains(&format!("fn {name}(")) || fixtures.join(fixture).exists();
        assert!(there, "there is no test {name}");
        tests += 1;
    }
    assert!(tests > 20, "{tests}");
}

/// The code of the crates in which connections are tested.
fn tests_of_the_workspace() -> String {
    let mut code = String::new();
    let root = book().with_file_name("");
    let mut folders: Vec<PathBuf> = ["nn", "models"].map(|of| root.join(of)).into();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                code += &fs::read_to_string(&path).expect("code");
            }
        }
    }
    code
}
