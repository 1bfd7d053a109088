//! Pages of the lessons for a browser: each is one file and needs no network.
//!
//! The words that a page shares with a lesson are taken from the lesson (`words`). What a page
//! computes is in the modules under `pages/`, which tests compare with the engine.
//!
//! Adding one: its files under `pages/`, and one entry in [`PAGES`].

mod script;
mod words;

use crate::teach::LESSONS;
use std::io;
use words::Words;

/// A page for the browser.
pub struct Page {
    /// Name of its file.
    pub file: &'static str,
    /// Title.
    pub title: &'static str,
    /// Numbers of the lessons that it belongs to.
    pub lessons: &'static [usize],
    /// Subject, in a sentence or two.
    summary: &'static str,
    /// HTML of the main part, with places for the words of lessons.
    body: &'static str,
    /// The JavaScript module that runs it, one of [`MODULES`](script::MODULES).
    main: &'static str,
    /// Recorded values: identifier and JSON.
    recorded: &'static [(&'static str, &'static str)],
}

/// Every page, in the order of the index.
pub const PAGES: &[Page] = &[
    Page {
        file: "playground.html",
        title: "Hyper-connections: a playground",
        lessons: &[3, 4, 7],
        summary: "A network whose read, write and mix weights you set by hand, the one dense \
                  matrix that they amount to, and puzzles. Begin here.",
        body: include_str!("../../pages/playground.html"),
        main: "playground",
        recorded: &[("trained", include_str!("../../pages/recorded/trained.json"))],
    },
    Page {
        file: "token.html",
        title: "One token, forward and backward",
        lessons: &[1, 2],
        summary: "Every number between H and Ĥ with its equation, and every gradient beside its \
                  finite difference.",
        body: include_str!("../../pages/token.html"),
        main: "token_page",
        recorded: &[("token", include_str!("../../pages/recorded/token.json"))],
    },
    Page {
        file: "streams.html",
        title: "Why one stream fails, and why the read starts one-hot",
        lessons: &[5],
        summary: "Unfolded matrices of one and of two streams, and two recorded trainings: one whose \
                  streams part, and one whose streams never do.",
        body: include_str!("../../pages/streams.html"),
        main: "streams_page",
        recorded: &[("streams", include_str!("../../pages/recorded/streams.json"))],
    },
    Page {
        file: "dynamic.html",
        title: "Dynamic coefficients",
        lessons: &[6],
        summary: "A text that a trained network has read: every letter has its own matrices.",
        body: include_str!("../../pages/dynamic.html"),
        main: "dynamic_page",
        recorded: &[("dynamic", include_str!("../../pages/recorded/dynamic.json"))],
    },
    Page {
        file: "break_it.html",
        title: "Break it: known bugs, and what notices",
        lessons: &[8],
        summary: "Nine bugs as switches, and which measurement gives the alarm.",
        body: include_str!("../../pages/break_it.html"),
        main: "break_page",
        recorded: &[("bugs", include_str!("../../pages/recorded/bugs.json"))],
    },
    Page {
        file: "sinkhorn.html",
        title: "Sinkhorn and the doubly stochastic mix",
        lessons: &[9],
        summary: "The mix of mHC: made, differentiated, multiplied, and compared between \
                  libraries.",
        body: include_str!("../../pages/sinkhorn.html"),
        main: "sinkhorn_page",
        recorded: &[],
    },
];

const STYLE: &str = include_str!("../../pages/style.css");
const INDEX: &str = "index.html";

/// The page of a lesson, numbered from 1.
pub fn page_of(lesson: usize) -> Option<&'static Page> {
    PAGES.iter().find(|page| page.lessons.contains(&lesson))
}

impl Page {
    /// The page as a file that stands for itself.
    ///
    /// # Errors
    /// If a lesson cannot be written to memory.
    pub fn alone(&self) -> io::Result<String> {
        Ok(self.html(&Words::new()?, ""))
    }

    fn html(&self, words: &Words, navigation: &str) -> String {
        let recorded: String = self
            .recorded
            .iter()
            .map(|(id, json)| {
                let json = json.trim_end().replace("</", "<\\/");
                format!("<script type=\"application/json\" id=\"{id}\">{json}</script>\n")
            })
            .collect();
        document(
            self.title,
            &format!(
                "{navigation}{body}\n{recorded}<script type=\"module\">\n{script}</script>\n",
                body = words.put_into(self.body),
                script = script::of(self.main)
            ),
        )
    }
}

fn document(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n"
    )
}

/// Every page and their index, as names and contents of files.
///
/// # Errors
/// If a lesson cannot be written to memory.
pub fn site() -> io::Result<Vec<(String, String)>> {
    let words = Words::new()?;
    let back = format!("<nav><a href=\"{INDEX}\">All lessons</a></nav>\n");
    let mut files = vec![(INDEX.to_owned(), index())];
    let pages = PAGES.iter();
    files.extend(pages.map(|page| (page.file.to_owned(), page.html(&words, &back))));
    Ok(files)
}

fn index() -> String {
    let entry = |page: &Page| {
        let Page {
            file,
            title,
            summary,
            ..
        } = page;
        let numbers = page.lessons.iter();
        let lessons: String = numbers
            .map(|n| format!("<li>{n}. {}</li>", LESSONS[n - 1].title))
            .collect();
        format!(
            "<li><a href=\"{file}\">{title}</a><p>{summary}</p>\
             <p class=\"faint\">With the lessons of the terminal:</p><ul class=\"faint\">{lessons}</ul></li>\n"
        )
    };
    let entries: String = PAGES.iter().map(entry).collect();
    document(
        "Lessons on hyper-connections",
        &format!(
            "<main class=\"index\"><h1>Lessons on hyper-connections</h1>\n\
             <p>Pages that compute as you touch them. What they compute is compared with the engine of \
             this workspace by its tests; <code>experiments teach N</code> prints the same lessons in \
             a terminal, and <code>experiments teach --html DIR</code> writes these pages.</p>\n\
             <ol class=\"cards\">\n{entries}</ol>\n</main>\n"
        ),
    )
}
