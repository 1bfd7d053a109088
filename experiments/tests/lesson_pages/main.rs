//! The pages of the lessons: their modules run by Node and the pages themselves by Chromium, both
//! beside values of the engine. Skipped with a line where there is no Node, or no Chromium.

mod break_it;
#[path = "../common/browser.rs"]
mod browser;
mod driven;
mod dynamic;
mod network;
mod node;
mod playground;
mod playground_words;
mod record;
mod sinkhorn;
mod streams;
mod token;

use browser::{chromium, width_in};
use engine::skipped::skipped;
use lessons::pages::{PAGES, page_of, site};
use lessons::teach::LESSONS;
use std::{fs, path::Path};

/// Runs where there is Node.
fn with_node(test: impl FnOnce()) {
    match node::present() {
        true => test(),
        false => skipped("there is no node"),
    }
}

/// Drives a page and returns what was seen; none where there is no browser.
fn seen(file: &str, script: &str) -> Option<serde_json::Value> {
    let Some(browser) = chromium() else {
        skipped("there is no chromium");
        return None;
    };
    let page = PAGES.iter().find(|page| page.file == file);
    let page = page.expect("a page").alone().expect("memory");
    let root = tempfile::tempdir().expect("a directory");
    let seen = driven::driven(&browser, root.path(), &page, script);
    assert_eq!(seen["wrong"], serde_json::json!([]), "{file}");
    assert_eq!(seen["fetched"], 0, "{file}");
    Some(seen)
}

#[test]
fn every_lesson_has_a_page_and_every_page_stands_alone() {
    for lesson in 1..=LESSONS.len() {
        assert!(page_of(lesson).is_some(), "lesson {lesson}");
    }
    for page in PAGES {
        let html = page.alone().expect("memory");
        let size = html.len();
        assert!(size < 500_000, "{}: {size} bytes", page.file);
        let outside = ["src=", "@import", "url(h", "fetch(", "<link"];
        for way in outside {
            assert!(!html.contains(way), "{}: {way}", page.file);
        }
        assert!(html.contains("<summary>Answer</summary>"), "{}", page.file);
    }
}

/// Every control has a name for those who do not see it, and every page has one heading.
#[test]
fn pages_load_without_complaint_and_their_controls_have_names() {
    const NAMES: &str = r#"
        const named = e => e.getAttribute('aria-label') || e.textContent.trim() || e.labels?.length || e.getAttribute('aria-labelledby');
        const all = [...document.querySelectorAll('input,button,select,summary,[tabindex="0"],svg[role]')];
        seen.controls = all.length;
        seen.nameless = all.filter(e => !named(e)).map(e => e.outerHTML);
        seen.headings = document.querySelectorAll('h1').length;
        seen.places = document.querySelector('main').textContent.includes('{{');
    "#;
    for page in PAGES {
        let Some(seen) = seen(page.file, NAMES) else {
            return;
        };
        assert_eq!(seen["nameless"], serde_json::json!([]), "{}", page.file);
        assert_eq!(seen["headings"], 1, "{}", page.file);
        assert_eq!(seen["places"], false, "{}", page.file);
        assert!(seen["controls"].as_u64() > Some(3), "{}", page.file);
    }
}

#[test]
fn pages_fit_a_phone() {
    let Some(browser) = chromium() else {
        skipped("there is no chromium");
        return;
    };
    let root = tempfile::tempdir().expect("a directory");
    for page in PAGES {
        let html = page.alone().expect("memory");
        let width = width_in(&browser, root.path(), &html, 390);
        assert!(width <= 390, "{}: {width} pixels", page.file);
    }
}

#[test]
fn the_site_under_docs_is_what_the_command_writes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/lessons");
    for (name, text) in site().expect("memory") {
        let committed = fs::read_to_string(folder.join(&name)).unwrap_or_default();
        assert!(
            committed == text,
            "docs/lessons/{name} is not what `experiments teach --html docs/lessons` writes"
        );
    }
}
