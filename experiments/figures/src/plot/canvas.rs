//! Writing SVG: the canvas, marks of points, legends and the style sheet.

use std::fmt::{Display, Write};
use unicode_width::UnicodeWidthStr;

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
    /// Beginning.
    Start,
    /// Middle.
    Middle,
    /// End.
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

    /// Draws as `draw` does, in the same places, but only where it is inside of the rectangle.
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

/// A little more than the mean width of a letter at 12 pixels: nobody knows the reader's font.
const LETTER: f64 = 6.9;

/// About how wide a text of the usual size is.
pub(super) fn text_width(text: &str) -> f64 {
    text.width() as f64 * LETTER
}

/// The mark of a point: circles, squares, diamonds and triangles in turn.
pub(super) fn mark(canvas: &mut Canvas, index: usize, class: &str, [x, y]: [f64; 2]) {
    let data = match index % 4 {
        0 => format!(
            "M{:.1},{y:.1}a4.5,4.5 0 1 0 9,0a4.5,4.5 0 1 0 -9,0z",
            x - 4.5
        ),
        1 => format!("M{:.1},{:.1}h8v8h-8z", x - 4.0, y - 4.0),
        2 => format!("M{x:.1},{:.1}l5.5,5.5l-5.5,5.5l-5.5,-5.5z", y - 5.5),
        _ => format!("M{x:.1},{:.1}l5.5,9h-11z", y - 5.5),
    };
    canvas.path(class, &data);
}

/// The names of series in rows from `corner` on, none longer than to `right`; returns the
/// height they take.
pub(super) fn legend<'l>(
    canvas: &mut Canvas,
    labels: impl Iterator<Item = (usize, &'l str)>,
    corner: [f64; 2],
    right: f64,
) -> f64 {
    const ROW: f64 = 20.0;
    let [left, top] = corner;
    let (mut x, mut y) = (left, top);
    for (index, label) in labels {
        let width = 30.0 + text_width(label) + 14.0;
        if x > left && x + width > right {
            (x, y) = (left, y + ROW);
        }
        let class = format!("line {}", series_class(index));
        canvas.line(&class, [x, y + 6.0], [x + 24.0, y + 6.0]);
        canvas.text("", [x + 30.0, y + 10.0], Anchor::Start, label);
        x += width;
    }
    y + ROW - top
}

/// Number of colours for series; later ones have the same colours, dashed.
pub const SERIES: usize = 8;

/// The style sheet of every plot. The colours of the series are those of M. Okabe and K. Ito,
/// "Color universal design" (2008), made darker on white and lighter on dark until each has a
/// contrast of 3 to 1 with the ground; the first, grey, is for a baseline.
pub const STYLE: &str = "\
.plot text{font-family:system-ui,'DejaVu Sans',sans-serif;font-size:12px;fill:#333}
.plot .heading{font-size:14px;font-weight:600;fill:#111}
.plot .end{text-anchor:end}.plot .middle{text-anchor:middle}
.plot .faint{fill:#666}.plot .number{font-variant-numeric:tabular-nums}
.plot .ground{fill:#fff}.plot .grid{stroke:#e3e3e3;stroke-width:1;fill:none}
.plot .axis{stroke:#888;stroke-width:1;fill:none}
.plot .zero{stroke:#555;stroke-width:1.2;fill:none}
.plot .line{fill:none;stroke-width:1.8;stroke-linejoin:round}
.plot .whisker{fill:none;stroke-width:1.6}
.plot .band{fill-opacity:.16;stroke:none}
.plot .hollow{fill:none;stroke-width:1.5}
.plot .dashed{stroke-dasharray:6 3}
.plot .s0{stroke:#666;fill:#666}.plot .s1{stroke:#0072b2;fill:#0072b2}
.plot .s2{stroke:#c24e00;fill:#c24e00}.plot .s3{stroke:#00805e;fill:#00805e}
.plot .s4{stroke:#b0508c;fill:#b0508c}.plot .s5{stroke:#a07400;fill:#a07400}
.plot .s6{stroke:#5b4fc0;fill:#5b4fc0}.plot .s7{stroke:#7c3a1d;fill:#7c3a1d}
.plot .good{stroke:#00805e;fill:#00805e}.plot .bad{stroke:#c24e00;fill:#c24e00}
.plot .plain{stroke:#666;fill:#666}
.plot .dark-ink{fill:#111}.plot .light-ink{fill:#fff}
.plot .band{stroke:none}.plot .line,.plot .whisker,.plot .hollow{fill:none}
@media (prefers-color-scheme:dark){
.plot text{fill:#ccc}.plot .heading{fill:#eee}.plot .faint{fill:#999}
.plot .ground{fill:#16181c}.plot .grid{stroke:#2c2f36}.plot .axis{stroke:#777}
.plot .zero{stroke:#aaa}.plot .band{fill-opacity:.22}
.plot .s0{stroke:#aaa;fill:#aaa}.plot .s1{stroke:#56b4e9;fill:#56b4e9}
.plot .s2{stroke:#ff8c42;fill:#ff8c42}.plot .s3{stroke:#2cc295;fill:#2cc295}
.plot .s4{stroke:#e39bc9;fill:#e39bc9}.plot .s5{stroke:#e6b422;fill:#e6b422}
.plot .s6{stroke:#a59bff;fill:#a59bff}.plot .s7{stroke:#d9a27e;fill:#d9a27e}
.plot .good{stroke:#2cc295;fill:#2cc295}.plot .bad{stroke:#ff8c42;fill:#ff8c42}
.plot .plain{stroke:#aaa;fill:#aaa}
.plot .band{stroke:none}.plot .line,.plot .whisker,.plot .hollow{fill:none}
}
";

/// The classes of the series at `index`.
pub fn series_class(index: usize) -> String {
    let dashed = if index / SERIES % 2 == 1 {
        " dashed"
    } else {
        ""
    };
    format!("s{}{dashed}", index % SERIES)
}
