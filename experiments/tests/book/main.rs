//! The pages under `docs/`: their links, what they quote, and their figures.

mod claims;
mod pages;

use pages::{Page, all_pages, book, normal};
use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, Output},
};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_experiments"))
        .args(arguments)
        .output()
        .expect("the binary of this package")
}

/// What is wrong with one link, if anything is.
fn fault(page: &Page, link: &str) -> Option<String> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (file, anchor) = match link.split_once('#') {
        Some((file, anchor)) => (file, Some(anchor)),
        None => (link, None),
    };
    let target = match file {
        "" => page.path.clone(),
        _ => normal(&page.path.with_file_name(file)),
    };
    if !target.exists() {
        return Some("there is no such file".into());
    }
    let anchor = anchor?;
    let known = Page::read(&target).anchors;
    (!known.contains(anchor)).then(|| format!("no heading; there are {known:?}"))
}

#[test]
fn every_link_of_a_page_leads_to_a_file_and_a_heading() {
    let mut faults = Vec::new();
    for page in all_pages() {
        for link in &page.links {
            if let Some(fault) = fault(&page, link) {
                faults.push(format!("{}: ({link}): {fault}", page.path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_dead_link_and_a_dead_anchor_are_noticed() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("page.md");
    let text = "# A page: *its* `name`\n\n[a](#a-page-its-name) [b](none.md) [c](page.md#other)\n\
                \n```text\n[d](code.md)\n```\n";
    fs::write(&path, text).expect("a written page");
    let page = Page::read(&path);
    let faulty = page.links.iter().map(|link| fault(&page, link).is_some());
    assert_eq!(faulty.collect::<Vec<_>>(), [false, true, true]);
}

#[test]
fn the_summary_lists_every_page_once_and_the_pages_stay_inside_of_the_book() {
    let book = book();
    let listed: Vec<_> = Page::read(&book.join("SUMMARY.md")).links;
    let unique: BTreeSet<_> = listed.iter().cloned().collect();
    assert_eq!(listed.len(), unique.len(), "a page is listed twice");
    let mut present = BTreeSet::new();
    for page in all_pages() {
        let Ok(name) = page.path.strip_prefix(&book) else {
            continue;
        };
        for link in page.links.iter().filter(|link| !link.contains("://")) {
            let file = link.split('#').next().unwrap_or_default();
            let target = normal(&page.path.with_file_name(file));
            assert!(
                file.is_empty() || target.starts_with(&book),
                "{}: ({link}) leaves the book: a reader of it has only docs/",
                name.display()
            );
        }
        if name != Path::new("SUMMARY.md") {
            present.insert(name.to_str().expect("a plain name").to_owned());
        }
    }
    assert_eq!(
        unique, present,
        "SUMMARY.md on the left, docs/ on the right"
    );
}

/// A block that starts with `$ experiments ..` quotes what the command prints; `...` stands
/// for lines left out.
#[test]
fn quoted_output_is_what_the_command_prints() {
    let mut quotes = 0;
    for page in all_pages() {
        for block in &page.console {
            let (command, quoted) = block.split_once('\n').unwrap_or((block, ""));
            let Some(command) = command.strip_prefix("$ experiments ") else {
                panic!("{}: not a command: {command}", page.path.display());
            };
            let arguments: Vec<&str> = command.split_whitespace().collect();
            let output = run(&arguments);
            assert!(output.status.success(), "{command} failed");
            let printed = String::from_utf8(output.stdout).expect("text");
            let mut rest = &printed[..];
            for part in quoted.split("...\n").filter(|part| !part.is_empty()) {
                let Some(at) = rest.find(part) else {
                    panic!(
                        "{}: {command} no longer prints\n{part}",
                        page.path.display()
                    );
                };
                rest = &rest[at + part.len()..];
            }
            quotes += 1;
        }
    }
    assert!(quotes > 0, "no page quotes a command");
}

/// Up to digits, which may differ in the last place from processor to processor.
#[test]
fn the_figure_of_the_tape_is_what_graph_draws() {
    let directory = tempfile::tempdir().expect("a directory");
    let out = directory.path().to_str().expect("a plain path");
    assert!(run(&["graph", "lesson", "--out", out]).status.success());
    let [drawn, kept] = [directory.path(), &book().join("figures")].map(|folder| {
        let text = fs::read_to_string(folder.join("lesson.svg")).expect("a figure");
        text.replace(|c: char| c.is_ascii_digit() || c == '-', "")
    });
    assert!(
        drawn == kept,
        "docs/figures/lesson.svg is old: experiments graph lesson --out docs/figures"
    );
}

/// The page of the inspected network: its data are of a run that is not here, its layout is ours.
#[test]
fn the_page_of_the_inspected_network_has_the_layout_of_this_build() {
    let template = Path::new(env!("CARGO_MANIFEST_DIR")).join("lab/src/inspect/page.html");
    let template = fs::read_to_string(template).expect("the template");
    let page = fs::read_to_string(book().join("inspection/index.html")).expect("the page");
    let (before, after) = template
        .split_once("/*DATA*/")
        .expect("the place of the data");
    assert!(
        page.starts_with(before) && page.ends_with(after),
        "put the data of docs/inspection/index.html into page.html"
    );
}
