//! Effects with their intervals, one below the other.

use super::{
    Anchor, Axis, Canvas, Picture,
    canvas::{mark, text_width},
};

const ROW: f64 = 28.0;
const TOP: f64 = 66.0;
const BOTTOM: f64 = 52.0;
const MARGIN: f64 = 12.0;

/// An effect.
#[derive(Debug, Clone, PartialEq)]
pub struct ForestRow {
    /// Name of the effect.
    pub label: String,
    /// Size and the ends of its interval; `None` for a row of which nothing is known.
    pub effect: Option<(f64, Option<[f64; 2]>)>,
    /// The effect in numbers.
    pub text: String,
    /// Class of its colour: `good`, `bad` or `plain`.
    pub tone: &'static str,
    /// An effect from elsewhere to compare with, shown as a hollow diamond.
    pub reference: Option<f64>,
}

/// A forest plot.
#[derive(Debug, Clone, PartialEq)]
pub struct Forest {
    /// Title.
    pub title: String,
    /// Unit and sign of effects.
    pub axis: Axis,
    /// The effects, from above.
    pub rows: Vec<ForestRow>,
    /// Meaning of the hollow diamonds, if there are any.
    pub reference: Option<String>,
    /// Width in pixels; the height follows from the rows.
    pub width: f64,
}

impl Forest {
    /// The plot drawn.
    pub fn draw(&self) -> Picture {
        let mut canvas = Canvas::new();
        let height = TOP + ROW * self.rows.len() as f64 + BOTTOM;
        let widest = |text: fn(&ForestRow) -> &str| {
            let widths = self.rows.iter().map(|row| text_width(text(row)));
            widths.fold(0.0, f64::max)
        };
        let left = MARGIN + widest(|row| &row.label) + 16.0;
        let right = self.width - MARGIN - widest(|row| &row.text) - 16.0;
        let right = right.max(left + 80.0);
        let bottom = height - BOTTOM;
        let shown = self.rows.iter().flat_map(|row| {
            let (mean, interval) = row.effect.unwrap_or((0.0, None));
            let [low, high] = interval.unwrap_or([mean; 2]);
            [0.0, low, mean, high, row.reference.unwrap_or(0.0)]
        });
        let x = self.axis.over(shown, [left, right]);
        canvas.text("heading", [MARGIN, 20.0], Anchor::Start, &self.title);
        if let Some(reference) = &self.reference {
            mark(&mut canvas, 2, "hollow plain", [MARGIN + 6.0, 38.0]);
            canvas.text("faint", [MARGIN + 18.0, 42.0], Anchor::Start, reference);
        }
        for (value, text) in x.ticks(((right - left) / 75.0) as usize) {
            let place = x.place(value);
            canvas.line("grid", [place, TOP - 8.0], [place, bottom]);
            canvas.text("number", [place, bottom + 18.0], Anchor::Middle, &text);
        }
        let zero = x.place(0.0);
        canvas.line("zero", [zero, TOP - 8.0], [zero, bottom]);
        let middle = (left + right) / 2.0;
        canvas.text(
            "faint",
            [middle, bottom + 38.0],
            Anchor::Middle,
            &self.axis.label,
        );
        for (i, row) in self.rows.iter().enumerate() {
            let y = TOP + ROW * (i as f64 + 0.5);
            canvas.text("", [MARGIN, y + 4.0], Anchor::Start, &row.label);
            let end = [self.width - MARGIN, y + 4.0];
            canvas.text("number", end, Anchor::End, &row.text);
            let title = format!("{}: {}", row.label, row.text);
            canvas.group("", &title, |canvas| {
                if let Some(reference) = row.reference {
                    mark(canvas, 2, "hollow plain", [x.place(reference), y]);
                }
                if let Some((mean, interval)) = row.effect {
                    let class = format!("whisker {}", row.tone);
                    if let Some([low, high]) = interval {
                        canvas.line(&class, [x.place(low), y], [x.place(high), y]);
                        for end in [low, high].map(|end| x.place(end)) {
                            canvas.line(&class, [end, y - 4.0], [end, y + 4.0]);
                        }
                    }
                    mark(canvas, 1, row.tone, [x.place(mean), y]);
                }
            });
        }
        canvas.finish([self.width, height], &self.title)
    }
}
