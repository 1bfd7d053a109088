//! Matrices as colours with their numbers.

use super::{Anchor, Canvas, Picture, canvas::text_width};

const CELL: [f64; 2] = [38.0, 24.0];
const MARGIN: f64 = 12.0;
/// Room for the heading, the note and the names of the columns.
const TOP: f64 = 74.0;
/// Room for the colours of the scale.
const BOTTOM: f64 = 48.0;

/// A matrix.
#[derive(Debug, Clone, PartialEq)]
pub struct HeatMap {
    /// Title.
    pub title: String,
    /// Way to read it.
    pub note: String,
    /// The names of the rows.
    pub rows: Vec<String>,
    /// The names of the columns.
    pub columns: Vec<String>,
    /// The entries by row; `None` where there is none.
    pub values: Vec<Vec<Option<f64>>>,
    /// Where colours are deepest; larger magnitudes are outlined, counted and said.
    pub limit: f64,
}

impl HeatMap {
    /// The matrix drawn: blue below zero, white at zero, orange above.
    pub fn draw(&self) -> Picture {
        let mut canvas = Canvas::new();
        let labels = self.rows.iter().map(|row| text_width(row));
        let left = MARGIN + labels.fold(0.0, f64::max) + 8.0;
        let [cell_width, cell_height] = CELL;
        let bottom = TOP + cell_height * self.rows.len() as f64;
        // The heading is larger and bold.
        let widest = [1.35 * text_width(&self.title), text_width(&self.note)];
        let right = left + cell_width * self.columns.len() as f64;
        let width = (right + MARGIN).max(widest[0].max(widest[1]) + 2.0 * MARGIN);
        canvas.text("heading", [MARGIN, 20.0], Anchor::Start, &self.title);
        canvas.text("faint", [MARGIN, 40.0], Anchor::Start, &self.note);
        for (j, name) in self.columns.iter().enumerate() {
            let x = left + cell_width * (j as f64 + 0.5);
            canvas.text("faint", [x, TOP - 8.0], Anchor::Middle, name);
        }
        let mut beyond = 0;
        for (i, (name, values)) in self.rows.iter().zip(&self.values).enumerate() {
            let y = TOP + cell_height * i as f64;
            canvas.text("faint", [left - 6.0, y + 16.0], Anchor::End, name);
            for (j, value) in values.iter().enumerate() {
                let Some(value) = value.filter(|value| value.is_finite()) else {
                    continue;
                };
                let is_beyond = value.abs() > self.limit;
                beyond += usize::from(is_beyond);
                let corner = [left + cell_width * j as f64, y];
                let title = format!("{name} / {}: {value:.4}", self.columns[j]);
                canvas.group("", &title, |canvas| {
                    self.cell(canvas, corner, value, is_beyond);
                });
            }
        }
        self.scale(&mut canvas, [MARGIN, bottom + 14.0], beyond);
        canvas.finish([width, bottom + BOTTOM], &self.title)
    }

    fn cell(&self, canvas: &mut Canvas, [x, y]: [f64; 2], value: f64, is_beyond: bool) {
        let [width, height] = CELL;
        let stroke = if is_beyond {
            " stroke=\"#111\" stroke-width=\"1.6\""
        } else {
            ""
        };
        canvas.element(
            "rect",
            format_args!(
                "x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{}\"{stroke}",
                x + 1.0,
                y + 1.0,
                width - 2.0,
                height - 2.0,
                diverging(value, self.limit)
            ),
        );
        let ink = match value.abs() > 0.6 * self.limit {
            true => "number light-ink",
            false => "number dark-ink",
        };
        let text = match value.abs() >= 10.0 {
            true => format!("{value:.1}"),
            false => format!("{value:.2}"),
        };
        canvas.text(ink, [x + width / 2.0, y + 16.0], Anchor::Middle, &text);
    }

    fn scale(&self, canvas: &mut Canvas, [x, y]: [f64; 2], beyond: usize) {
        const STEPS: i32 = 8;
        for step in -STEPS..=STEPS {
            let value = self.limit * f64::from(step) / f64::from(STEPS);
            let place = x + 60.0 + 8.0 * f64::from(step + STEPS);
            let fill = diverging(value, self.limit);
            canvas.element(
                "rect",
                format_args!(
                    "x=\"{place:.1}\" y=\"{y:.1}\" width=\"8\" height=\"14\" fill=\"{fill}\""
                ),
            );
        }
        let end = x + 60.0 + 8.0 * f64::from(2 * STEPS + 1);
        let low = format!("{:.2}", -self.limit);
        canvas.text("faint", [x + 54.0, y + 12.0], Anchor::End, &low);
        let mut high = format!("{:.2}", self.limit);
        if beyond > 0 {
            high.push_str(&format!("   outlined: {beyond} beyond the colours"));
        }
        canvas.text("faint", [end + 6.0, y + 12.0], Anchor::Start, &high);
    }
}

/// Blue for `-limit`, white for 0, orange for `limit`.
fn diverging(value: f64, limit: f64) -> String {
    let depth = if limit > 0.0 {
        (value.abs() / limit).min(1.0)
    } else {
        0.0
    };
    let end: [f64; 3] = match value < 0.0 {
        true => [33.0, 84.0, 158.0],
        false => [186.0, 74.0, 13.0],
    };
    let [red, green, blue] = end.map(|c| (255.0 + (c - 255.0) * depth).round() as u8);
    format!("#{red:02x}{green:02x}{blue:02x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_symmetric_about_white_and_beyond_the_limit_is_said() {
        let map = HeatMap {
            title: "a < b".into(),
            note: "row = source".into(),
            rows: vec!["1".into(), "2".into()],
            columns: vec!["1".into(), "2".into()],
            values: vec![vec![Some(-3.0), None], vec![Some(0.0), Some(1.0)]],
            limit: 2.0,
        };
        let svg = map.draw().to_svg();
        roxmltree::Document::parse(&svg).expect("XML");
        assert!(svg.contains("outlined: 1 beyond the colours"));
        assert!(svg.contains("-3.00"));
        assert_eq!(diverging(0.0, 2.0), "#ffffff");
        assert_eq!(diverging(-9.0, 2.0), diverging(-2.0, 2.0));
        assert_ne!(diverging(-2.0, 2.0), diverging(2.0, 2.0));
        let whole = HeatMap { limit: 3.0, ..map };
        assert!(!whole.draw().to_svg().contains("outlined"));
    }
}
