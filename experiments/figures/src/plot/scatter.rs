//! Points with names, such as gains over costs.

use super::{
    Anchor, Axis, Canvas, Picture,
    axis::draw_axes,
    canvas::{mark, text_width},
    series_class,
};

const LEFT: f64 = 60.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 54.0;
const BOTTOM: f64 = 48.0;
/// Half of a line of text.
const HALF: f64 = 7.0;

/// A point.
#[derive(Debug, Clone, PartialEq)]
pub struct ScatterPoint {
    /// Name.
    pub label: String,
    /// Which colour and mark it has.
    pub index: usize,
    /// Where it is on the horizontal axis.
    pub x: f64,
    /// Value.
    pub y: f64,
    /// Ends of the interval of its value.
    pub interval: Option<[f64; 2]>,
}

/// A scatter plot.
#[derive(Debug, Clone, PartialEq)]
pub struct Scatter {
    /// Title.
    pub title: String,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// The points; those with a coordinate that is not finite are left out.
    pub points: Vec<ScatterPoint>,
    /// Width and height in pixels.
    pub size: [f64; 2],
}

impl Scatter {
    /// The plot drawn.
    pub fn draw(&self) -> Picture {
        let mut canvas = Canvas::new();
        let [width, height] = self.size;
        let [left, right, top, bottom] = [LEFT, width - RIGHT, TOP, height - BOTTOM];
        let finite = |point: &&ScatterPoint| point.x.is_finite() && point.y.is_finite();
        let points: Vec<&ScatterPoint> = self.points.iter().filter(finite).collect();
        let x = self.x.over(points.iter().map(|p| p.x), [left, right]);
        let shown = points.iter().flat_map(|point| {
            let [low, high] = point.interval.unwrap_or([point.y; 2]);
            [low, point.y, high]
        });
        let y = self.y.over(shown, [bottom, top]);
        canvas.text("heading", [LEFT - 48.0, 20.0], Anchor::Start, &self.title);
        draw_axes(&mut canvas, (&self.x, &x), (&self.y, &y));
        let places: Vec<[f64; 2]> = points
            .iter()
            .map(|p| [x.place(p.x), y.place(p.y)])
            .collect();
        let mut taken: Vec<[f64; 4]> = places
            .iter()
            .map(|&[x, y]| [x - 6.0, y - 6.0, x + 6.0, y + 6.0])
            .collect();
        for (point, &place) in points.iter().zip(&places) {
            let class = series_class(point.index);
            canvas.group("", &point.label, |canvas| {
                if let Some(interval) = point.interval {
                    let [low, high] = interval.map(|end| y.place(end));
                    let whisker = format!("whisker {class}");
                    canvas.line(&whisker, [place[0], low], [place[0], high]);
                    for end in [low, high] {
                        canvas.line(&whisker, [place[0] - 4.0, end], [place[0] + 4.0, end]);
                    }
                }
                mark(canvas, point.index, &class, place);
            });
        }
        let area = [[left, right], [top, bottom]];
        for (point, &place) in points.iter().zip(&places) {
            let label = label_place(place, text_width(&point.label), &taken, area);
            taken.push(label.taken);
            if let Some(end) = label.leader {
                canvas.line("axis", place, end);
            }
            canvas.text("", label.at, label.anchor, &point.label);
        }
        canvas.finish(self.size, &self.title)
    }
}

/// A label with its place.
#[derive(Clone, Copy)]
struct Label {
    anchor: Anchor,
    at: [f64; 2],
    /// The rectangle that the text takes.
    taken: [f64; 4],
    /// The end of a line from the point, for a label that is not beside it.
    leader: Option<[f64; 2]>,
}

/// Beside a point where nothing else is, to its right if it is free there; where everything beside
/// it is taken, above or below, as near as there is room.
fn label_place(
    [x, y]: [f64; 2],
    width: f64,
    taken: &[[f64; 4]],
    [[left, right], [top, bottom]]: [[f64; 2]; 2],
) -> Label {
    let beside = [-9.0, 9.0, -23.0, 23.0, 0.0].into_iter();
    let beyond =
        (2..40).flat_map(|line| [-9.0 - 14.0 * f64::from(line), 9.0 + 14.0 * f64::from(line)]);
    let candidates = beside.chain(beyond).flat_map(|down| {
        let line = y + down;
        [(Anchor::Start, x + 9.0), (Anchor::End, x - 9.0 - width)].map(|(anchor, from)| {
            let end = match anchor {
                Anchor::Start => from,
                _ => from + width,
            };
            Label {
                anchor,
                at: [end, line + 4.0],
                taken: [from, line - HALF, from + width, line + HALF],
                leader: (down.abs() > 23.0).then_some([end, line]),
            }
        })
    });
    let free = |label: &Label| {
        let [x0, y0, x1, y1] = label.taken;
        let clear = |&[a0, b0, a1, b1]: &[f64; 4]| x1 <= a0 || a1 <= x0 || y1 <= b0 || b1 <= y0;
        let within = label.leader.is_none() || y0 >= top && y1 <= bottom;
        within && x0 >= left - 40.0 && x1 <= right + 8.0 && taken.iter().all(clear)
    };
    let mut candidates = candidates.peekable();
    let first = *candidates.peek().expect("there are many");
    candidates.find(free).unwrap_or(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As many arms as an ablation of all connections has, most of them close together.
    #[test]
    fn labels_of_many_points_do_not_overlap() {
        let area = [[60.0, 744.0], [54.0, 372.0]];
        let places = (0..22).map(|i| [300.0 + f64::from(i % 5), 200.0 + f64::from(i)]);
        let mut taken: Vec<[f64; 4]> = Vec::new();
        for place in places {
            let label = label_place(place, 90.0, &taken, area);
            let [x0, y0, x1, y1] = label.taken;
            for [a0, b0, a1, b1] in &taken {
                assert!(x1 <= *a0 || *a1 <= x0 || y1 <= *b0 || *b1 <= y0);
            }
            assert!(x0 >= 20.0 && x1 <= 752.0 && y0 >= 54.0 && y1 <= 372.0);
            taken.push(label.taken);
        }
    }
}
