//! Reading a page of Markdown.

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};
use std::{
    collections::BTreeSet,
    fs,
    path::{Component, Path, PathBuf},
};

/// What the tests look at.
pub struct Page {
    pub path: PathBuf,
    /// Destinations of links and images, in order.
    pub links: Vec<String>,
    /// The names that headings can be linked to by.
    pub anchors: BTreeSet<String>,
    /// Blocks of the language `console`.
    pub console: Vec<String>,
    /// Blocks of the language `python`.
    pub python: Vec<String>,
}

impl Page {
    pub fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path)
            .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
        let mut page = Self {
            path: path.to_owned(),
            links: Vec::new(),
            anchors: BTreeSet::new(),
            console: Vec::new(),
            python: Vec::new(),
        };
        let mut heading: Option<String> = None;
        let mut block: Option<(String, String)> = None;
        for event in Parser::new_ext(&text, Options::ENABLE_TABLES) {
            match event {
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    page.links.push(dest_url.into_string());
                }
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    page.anchors
                        .insert(anchor(&heading.take().unwrap_or_default()));
                }
                Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(language))) => {
                    block = Some((language.into_string(), String::new()));
                }
                Event::End(TagEnd::CodeBlock) => match block.take() {
                    Some((language, text)) if language == "console" => page.console.push(text),
                    Some((language, text)) if language == "python" => page.python.push(text),
                    _ => {}
                },
                Event::Text(part) | Event::Code(part) => {
                    let block = block.as_mut().map(|(_, text)| text);
                    for text in heading.iter_mut().chain(block) {
                        text.push_str(&part);
                    }
                }
                _ => {}
            }
        }
        page
    }
}

/// The name of a heading as forges and mdBook make it.
fn anchor(heading: &str) -> String {
    heading
        .to_lowercase()
        .chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            '-' | '_' => Some(c),
            _ => c.is_alphanumeric().then_some(c),
        })
        .collect()
}

/// The folder of the book.
pub fn book() -> PathBuf {
    normal(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs"))
}

/// All pages of the repository: the README and the book.
pub fn all_pages() -> Vec<Page> {
    let book = book();
    let mut paths = vec![book.with_file_name("README.md")];
    let mut folders = vec![book];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of pages") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                paths.push(path);
            }
        }
    }
    paths.sort();
    paths.iter().map(|path| Page::read(path)).collect()
}

/// A path without `.` and `..`.
pub fn normal(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    plain
}
