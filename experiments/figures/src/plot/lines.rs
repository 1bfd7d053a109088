//! Curves with their uncertainty.

use super::{
    Axis, Canvas, Picture,
    axis::{Placed, draw_axes},
    canvas::legend,
    series_class,
};
use std::fmt::Write;

/// Room for the numbers of the vertical axis.
const LEFT: f64 = 60.0;
const RIGHT: f64 = 16.0;
/// Room for the numbers and the label of the horizontal axis.
const BOTTOM: f64 = 48.0;

/// A point of a curve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LinePoint {
    /// Where it is on the horizontal axis.
    pub x: f64,
    /// Value.
    pub y: f64,
    /// Ends of the band around it.
    pub band: Option<[f64; 2]>,
}

/// A curve.
#[derive(Debug, Clone, PartialEq)]
pub struct LineSeries {
    /// Name.
    pub label: String,
    /// Which colour it has.
    pub index: usize,
    /// Points from left to right; the line is broken where one is not finite.
    pub points: Vec<LinePoint>,
}

/// Curves over common axes.
#[derive(Debug, Clone, PartialEq)]
pub struct LineChart {
    /// Title.
    pub title: String,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// The curves, the first at the back.
    pub series: Vec<LineSeries>,
    /// Width and height in pixels.
    pub size: [f64; 2],
}

impl LineChart {
    /// The chart drawn.
    pub fn draw(&self) -> Picture {
        let mut canvas = Canvas::new();
        let [width, height] = self.size;
        canvas.text(
            "heading",
            [LEFT - 48.0, 20.0],
            super::Anchor::Start,
            &self.title,
        );
        let labels = self.series.iter().map(|s| (s.index, s.label.as_str()));
        let used = legend(&mut canvas, labels, [LEFT - 48.0, 32.0], width - RIGHT);
        let [left, right] = [LEFT, width - RIGHT];
        let [top, bottom] = [32.0 + used + 24.0, height - BOTTOM];
        let points = || self.series.iter().flat_map(|series| &series.points);
        let x = self.x.over(points().map(|point| point.x), [left, right]);
        let shown = points().flat_map(|point| {
            let [low, high] = point.band.unwrap_or([point.y; 2]);
            [low, point.y, high]
        });
        let y = self.y.over(shown, [bottom, top]);
        draw_axes(&mut canvas, (&self.x, &x), (&self.y, &y));
        canvas.clipped([left, top], [right - left, bottom - top], |canvas| {
            for series in &self.series {
                series.draw(canvas, &x, &y);
            }
        });
        canvas.finish(self.size, &self.title)
    }
}

impl LineSeries {
    fn draw(&self, canvas: &mut Canvas, x: &Placed, y: &Placed) {
        let class = series_class(self.index);
        canvas.group("", &self.label, |canvas| {
            let finite = |point: &LinePoint| point.x.is_finite() && point.y.is_finite();
            for part in self.points.split(|point| !finite(point)) {
                let band: Vec<(f64, [f64; 2])> = part
                    .iter()
                    .filter_map(|point| Some((point.x, point.band?)))
                    .filter(|(_, band)| band.iter().all(|end| end.is_finite()))
                    .collect();
                let lower = band.iter().map(|&(at, [low, _])| [at, low]);
                let upper = band.iter().rev().map(|&(at, [_, high])| [at, high]);
                if band.len() > 1 {
                    let data = path(lower.chain(upper), x, y) + "z";
                    canvas.path(&format!("band {class}"), &data);
                }
                match part {
                    [] => {}
                    [point] => {
                        let place = [x.place(point.x), y.place(point.y)];
                        super::canvas::mark(canvas, 0, &class, place);
                    }
                    part => {
                        let data = path(part.iter().map(|point| [point.x, point.y]), x, y);
                        canvas.path(&format!("line {class}"), &data);
                    }
                }
            }
        });
    }
}

fn path(points: impl Iterator<Item = [f64; 2]>, x: &Placed, y: &Placed) -> String {
    let mut data = String::new();
    for (i, [at, value]) in points.enumerate() {
        let command = if i == 0 { 'M' } else { 'L' };
        write!(data, "{command}{:.1},{:.1}", x.place(at), y.place(value)).expect("a string");
    }
    data
}
