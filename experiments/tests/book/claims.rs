//! What the pages say in numbers, worked out again.

use crate::pages::{Page, all_pages, book};
use figures::stats::holm;
use lab::preset::PRESETS;
use nn::connection::ConnectionConfig;
use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

/// The two-sided p value of a mean with the half-width of its 95 % interval over four seeds, by the
/// closed form of Student's distribution of three degrees of freedom.
fn p_value(mean: f64, half: f64) -> f64 {
    let angle = (3.182446 * (mean / half).abs() / 3_f64.sqrt()).atan();
    1.0 - 2.0 / std::f64::consts::PI * (angle + angle.sin() * angle.cos())
}

/// The rows of a table of Markdown whose header begins so, cell by cell.
fn rows(text: &str, header: &str) -> Vec<Vec<String>> {
    let lines = text.lines().skip_while(|line| !line.starts_with(header));
    let rows = lines.skip(2).take_while(|line| line.starts_with('|'));
    let cells = |line: &str| {
        line.trim_matches('|')
            .split('|')
            .map(|c| c.trim().to_owned())
            .collect()
    };
    rows.map(cells).collect()
}

fn number(text: &str) -> f64 {
    text.replace('−', "-")
        .parse()
        .unwrap_or_else(|_| panic!("{text} is no number"))
}

#[test]
fn contrasts_that_nobody_planned_are_corrected_and_none_is_called_shown() {
    let text = fs::read_to_string(book().join("results/README.md")).expect("a page");
    let rows = rows(&text, "| statement of the paper | contrast |");
    assert!(rows.len() > 2, "{rows:?}");
    let p_values: Vec<f64> = rows
        .iter()
        .map(|row| {
            let (mean, half) = row[2].split_once(" ±").expect("an interval");
            p_value(number(mean), number(half))
        })
        .collect();
    for ((row, p), corrected) in rows.iter().zip(&p_values).zip(holm(&p_values)) {
        assert!((number(&row[3]) - p).abs() < 0.006, "{row:?}: {p}");
        assert!(
            (number(&row[4]) - corrected).abs() < 0.006,
            "{row:?}: {corrected}"
        );
        assert!(corrected >= 0.05, "{row:?}");
    }
}

/// Only a contrast that was declared before the runs has an outcome.
#[test]
fn outcomes_on_the_pages_are_those_of_declared_contrasts() {
    let text = fs::read_to_string(book().join("results/README.md")).expect("a page");
    let readme = fs::read_to_string(book().with_file_name("README.md")).expect("a page");
    let spaced = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let file = book().join("results/ablation-rate-default/contrasts.csv");
    let file = fs::read_to_string(file).expect("statements");
    let mut outcomes = 0;
    for line in file.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        // The source has a comma in it, so the others are counted from both ends.
        let cell = |name: &str, from_end: usize| {
            assert!(file.lines().next().expect("a header").contains(name));
            cells[cells.len() - from_end]
        };
        let (declared, outcome) = (cell("declared", 15), cell("outcome", 14));
        assert_eq!(declared, "true", "{line}");
        let numbers = [12, 11, 10].map(|from_end| number(cell("estimate", from_end)));
        let estimate = format!("{:+.4} ±{:.4}", numbers[0], (numbers[2] - numbers[1]) / 2.0);
        let end = format!("{outcome} {}", estimate.replace('-', "−"));
        let on_page = format!("| {} |", end.replacen(' ', " | ", 1));
        let row = text
            .lines()
            .find(|row| row.starts_with(&format!("| {} |", cells[0])));
        assert!(row.is_some_and(|row| row.contains(&on_page)), "{on_page}");
        let shown = readme
            .lines()
            .find(|row| row.starts_with(cells[0]))
            .map(spaced);
        assert!(shown.is_some_and(|row| row.ends_with(&end)), "{end}");
        outcomes += 1;
    }
    for page in [&text, &readme] {
        let words = ["confirmed", "contrary", "undecided", "equivalent"];
        let count = |word| {
            page.matches(&format!("  {word}  ")).count()
                + page.matches(&format!("| {word} |")).count()
        };
        assert_eq!(words.map(count).iter().sum::<usize>(), outcomes);
        assert!(!page.contains("**confirmed") && !page.contains("refuted"));
    }
}

/// An arm of a committed table, its cells by their column.
struct Recorded(HashMap<String, String>);

impl Recorded {
    fn all(folder: &str) -> Vec<Self> {
        let path = book().join("results").join(folder).join("report.csv");
        let text = fs::read_to_string(path).expect("a table");
        let cells = |line: &str| line.split(',').map(str::to_owned).collect::<Vec<_>>();
        let columns = cells(text.lines().next().expect("a header"));
        let rows = text.lines().skip(1).map(cells);
        rows.map(|row| Self(columns.iter().cloned().zip(row).collect()))
            .collect()
    }

    fn value(&self, column: &str) -> f64 {
        number(&self.0[column])
    }

    fn signed(&self, column: &str, digits: usize) -> String {
        format!("{:+.digits$}", self.value(column)).replace('-', "−")
    }

    /// `−0.0312 ±0.0103`; nothing of the baseline.
    fn interval(&self, column: &str) -> String {
        if self.0[column].is_empty() {
            return String::new();
        }
        let [low, high] = ["low", "high"].map(|end| self.value(&format!("{column}_{end}")));
        format!("{} ±{:.4}", self.signed(column, 4), (high - low) / 2.0)
    }

    /// `1.20 [1.16, 1.24]`; nothing of the baseline.
    fn factor(&self) -> String {
        let column = "convergence_factor";
        if self.0[column].is_empty() {
            return String::new();
        }
        let ends = ["", "_low", "_high"].map(|end| self.value(&format!("{column}{end}")));
        format!("{:.2} [{:.2}, {:.2}]", ends[0], ends[1], ends[2])
    }

    /// The name of the arm as tables have it.
    fn label(&self) -> String {
        let label = self.0["arm"].replace("-no-tanh", " w/o tanh");
        let label = label.replace("_lr0.00", ", ") + if label.contains("_lr") { "e-3" } else { "" };
        label.replace("dhc-x", "DHC x").replace("shc-x", "SHC x")
    }
}

/// The cells in a row of Markdown.
fn row(cells: &[String]) -> String {
    let cells: Vec<&str> = cells.iter().map(|cell| cell.trim()).collect();
    format!("| {} |", cells.join(" | "))
        .replace("|  |", "| |")
        .replace("|  |", "| |")
}

/// No number of a page is another than that of the file beside it.
#[test]
fn tables_of_results_are_those_of_their_files() {
    let page = fs::read_to_string(book().join("results/README.md")).expect("a page");
    let readme = fs::read_to_string(book().with_file_name("README.md")).expect("a page");
    let readme = readme.split_whitespace().collect::<Vec<_>>().join(" ");
    let holds = |text: &str, expected: &str| assert!(text.contains(expected), "{expected}");
    let loss = |arm: &Recorded| format!("{:.4}", arm.value("val_loss"));
    for arm in Recorded::all("ablation-rate") {
        let [delta, timed] = ["delta", "timing_delta_at_equal_time"].map(|of| arm.interval(of));
        let cells = [arm.label(), loss(&arm), delta.clone(), timed, arm.factor()];
        holds(&page, &row(&cells));
    }
    for arm in Recorded::all("ablation-rate-default") {
        let bits = format!("{:.4}", arm.value("bits_per_byte"));
        let mut cells = vec![arm.label(), loss(&arm), bits];
        if !arm.0["delta"].is_empty() {
            let [low, high] = ["low", "high"].map(|end| arm.value(&format!("delta_seeds_{end}")));
            cells.extend([
                arm.interval("delta"),
                format!("±{:.4}", (high - low) / 2.0),
                format!("{:.4}", arm.value("text_se")),
                arm.0["verdict"].clone(),
                arm.signed("paper_delta_v2", 3),
            ]);
        }
        holds(&page, row(&cells).trim_end_matches(" |"));
        holds(&readme, &cells.join(" "));
    }
    for folder in ["ablation-rate-wikitext-2", "ablation-moe", "lr-sweep-best"] {
        for arm in Recorded::all(folder) {
            let [delta, timed] = ["delta", "timing_delta_at_equal_time"].map(|of| arm.interval(of));
            let verdict = arm.0["verdict"].clone();
            holds(
                &page,
                &row(&[arm.label(), loss(&arm), delta, verdict, timed, arm.factor()]),
            );
        }
    }
    for folder in ["ablation-vit", "ablation-vit-mnist"] {
        for arm in Recorded::all(folder) {
            let percent = format!("{:.2}", 100.0 * arm.value("accuracy"));
            holds(
                &page,
                &row(&[arm.label(), loss(&arm), arm.interval("delta"), percent]),
            );
        }
    }
    for arm in Recorded::all("lr-sweep") {
        holds(&page, &loss(&arm));
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
