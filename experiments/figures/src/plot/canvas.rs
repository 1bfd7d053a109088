//! Writing SVG.

use super::STYLE;
use std::fmt::{Display, Write};

/// Text for the inside of an element or of an attribute of XML.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// Which part of a text stands at its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// Its beginning.
    Start,
    /// Its middle.
    Middle,
    /// Its end.
    End,
}

/// A drawing in progress. Places are in pixels from the upper left corner.
#[derive(Debug, Clone, Default)]
pub struct Canvas {
    body: String,
}

impl Canvas {
    /// Nothing drawn yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// An element without content: its name and its attributes as written in XML.
    pub fn element(&mut self, name: &str, attributes: impl Display) {
        writeln!(self.body, "<{name} {attributes}/>").expect("a string");
    }

    /// A straight line.
    pub fn line(&mut self, class: &str, [x0, y0]: [f64; 2], [x1, y1]: [f64; 2]) {
        self.path(class, &format!("M{x0:.1},{y0:.1}L{x1:.1},{y1:.1}"));
    }

    /// A path with its data.
    pub fn path(&mut self, class: &str, data: &str) {
        self.element("path", format_args!("class=\"{class}\" d=\"{data}\""));
    }

    /// A text of one line; `class` may be empty.
    pub fn text(&mut self, class: &str, [x, y]: [f64; 2], anchor: Anchor, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "",
            Anchor::Middle => " middle",
            Anchor::End => " end",
        };
        let class = format!("{class}{anchor}");
        let text = escaped(text);
        writeln!(
            self.body,
            "<text class=\"{}\" x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>",
            class.trim()
        )
        .expect("a string");
    }

    /// A group, with a title that shows when the mouse rests on it unless it is empty.
    pub fn group(&mut self, class: &str, title: &str, draw: impl FnOnce(&mut Self)) {
        writeln!(self.body, "<g class=\"{class}\">").expect("a string");
        if !title.is_empty() {
            writeln!(self.body, "<title>{}</title>", escaped(title)).expect("a string");
        }
        draw(self);
        self.body.push_str("</g>\n");
    }

    /// What `draw` draws, in the same places, but only where it is inside of the rectangle.
    pub fn clipped(
        &mut self,
        [x, y]: [f64; 2],
        [width, height]: [f64; 2],
        draw: impl FnOnce(&mut Self),
    ) {
        writeln!(
            self.body,
            "<svg x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" \
             viewBox=\"{x:.1} {y:.1} {width:.1} {height:.1}\">"
        )
        .expect("a string");
        draw(self);
        self.body.push_str("</svg>\n");
    }

    /// The finished picture. The title is for those who do not see it.
    pub fn finish(self, size: [f64; 2], title: &str) -> Picture {
        Picture {
            size,
            title: title.to_owned(),
            body: self.body,
        }
    }
}

/// A finished drawing.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    size: [f64; 2],
    title: String,
    body: String,
}

impl Picture {
    /// Width and height in pixels.
    pub fn size(&self) -> [f64; 2] {
        self.size
    }

    /// An SVG file, with its style and its ground.
    pub fn to_svg(&self) -> String {
        self.written(
            " xmlns=\"http://www.w3.org/2000/svg\"",
            &format!(
                "<style>{STYLE}</style>\n\
                 <rect class=\"ground\" width=\"100%\" height=\"100%\"/>\n"
            ),
        )
    }

    /// An element of a page that has [`STYLE`] itself. It is as wide as the picture where there
    /// is room, else as there is.
    pub fn to_inline_svg(&self) -> String {
        self.written(" style=\"max-width:100%;height:auto\"", "")
    }

    fn written(&self, attributes: &str, head: &str) -> String {
        let [width, height] = self.size;
        format!(
            "<svg{attributes} class=\"plot\" role=\"img\" width=\"{width:.0}\" \
             height=\"{height:.0}\" viewBox=\"0 0 {width:.0} {height:.0}\">\n\
             <title>{}</title>\n{head}{}</svg>\n",
            escaped(&self.title),
            self.body
        )
    }
}
