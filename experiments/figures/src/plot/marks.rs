//! Marks of points, legends, and how much room a text takes.

use super::{Anchor, Canvas, series_class};
use unicode_width::UnicodeWidthStr;

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
