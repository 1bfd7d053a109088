//! What the pages say in numbers, worked out again.

use crate::pages::{Page, all_pages, book};
use figures::stats::holm;
use lab::preset::PRESETS;
use std::fs;

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

#[test]
fn results_are_called_shown_or_not_decidable_and_never_confirmed() {
    let text = fs::read_to_string(book().join("results/README.md")).expect("a page");
    let readme = fs::read_to_string(book().with_file_name("README.md")).expect("a page");
    for page in [&text, &readme] {
        for word in ["**confirmed", "| confirmed", "**refuted", "n = 4 most"] {
            assert!(!page.contains(word), "{word}");
        }
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
