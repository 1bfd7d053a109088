//! An inspection as pictures.

use super::{
    gain::Gain,
    inspection::{Inspection, ORIENTATION},
    matrix::{Matrix, PARTS},
    measures::Measure,
};
use figures::plot::{Axis, HeatMap, LineChart, LinePoint, LineSeries, Picture, Scale};

/// Colours of matrices are deepest here, if they have entries beyond it.
const LIMIT: f64 = 2.0;

impl Inspection {
    /// Every picture with the name of its file.
    pub fn pictures(&self) -> Vec<(String, Picture)> {
        let read = "row = reading sublayer, column = output (0 = embedding)";
        let unfolded = self.unfolded_matrices().into_iter();
        let shown = unfolded
            .chain(self.contributions())
            .chain(self.reference_matrices());
        let mut all: Vec<(String, Picture)> = shown.map(|matrix| heat_map(matrix, read)).collect();
        let layers = 0..self.layers.len();
        all.extend(layers.map(|k| heat_map(self.layer_matrix(k, PARTS[0]), ORIENTATION)));
        let mut draw = |name: &str, chart: LineChart| all.push((name.to_owned(), chart.draw()));
        let similarity = self.similarities().map(|(label, bands)| {
            let points = bands.iter().zip(1..).map(|(band, k)| LinePoint {
                x: f64::from(k),
                y: band.median,
                band: Some([band.low, band.high]),
            });
            (label, points.collect())
        });
        let title = "Inputs of sublayers k and k + 1: median, 5 to 95 % of the tokens";
        let axes = ["sublayer k", "cosine"].map(Axis::new);
        draw("similarity", chart(title, axes, similarity.collect()));

        let title = "Gradient of the loss at the output of a sublayer";
        let gradient = by_depth(&self.depth, |view| view.output_gradient);
        let series = vec![("gradient".to_owned(), gradient)];
        let axes = logarithmic("sublayer", "Frobenius norm");
        draw("gradient", chart(title, axes, series));

        if let Some(rate) = self.rate {
            let streams = (0..rate).map(|i| {
                let points = by_depth(&self.depth, |view| view.stream_rms[i]);
                (format!("stream {}", i + 1), points)
            });
            let axes = logarithmic("sublayer", "root mean square");
            let streams = chart("Streams before a sublayer", axes, streams.collect());
            draw("stream_rms", streams);

            let gains = GAINS.map(|(name, of)| {
                let points = by_depth(&self.gains, |gain| of(&gain.composed));
                (name.to_owned(), points)
            });
            let title = "Gain of all mixes up to a sublayer, mean over the tokens";
            let axes = logarithmic("sublayer", "gain");
            draw("gain", chart(title, axes, gains.into()));
        }
        if self.training.len() > 1 {
            let gains = GAINS.map(|(name, of)| {
                let last = self.training.iter().filter_map(|recorded| {
                    let last = recorded.gains.last()?;
                    Some((recorded.step as f64, of(&last.composed)))
                });
                (name.to_owned(), points(last))
            });
            let title = "Gain of all mixes over training, of the mean coefficients";
            let axes = logarithmic("step", "gain");
            draw("gain_training", chart(title, axes, gains.into()));
        }
        all
    }
}

/// Measures of the composed mixes.
pub(super) const GAINS: [Measure<Gain>; 3] = [
    ("forward", |gain| gain.forward),
    ("backward", |gain| gain.backward),
    ("spectral norm", |gain| gain.spectral_norm),
];

pub(super) fn by_depth<T>(sublayers: &[T], of: impl Fn(&T) -> f64) -> Vec<LinePoint> {
    points(
        sublayers
            .iter()
            .zip(1..)
            .map(|(one, k)| (f64::from(k), of(one))),
    )
}

fn points(places: impl Iterator<Item = (f64, f64)>) -> Vec<LinePoint> {
    places
        .map(|(x, y)| LinePoint { x, y, band: None })
        .collect()
}

/// Axes with a logarithmic y.
pub(super) fn logarithmic(x: &str, y: &str) -> [Axis; 2] {
    let scale = Scale::Log;
    [
        Axis::new(x),
        Axis {
            scale,
            ..Axis::new(y)
        },
    ]
}

pub(super) fn chart(
    title: &str,
    [x, y]: [Axis; 2],
    series: Vec<(String, Vec<LinePoint>)>,
) -> LineChart {
    let series = series.into_iter().zip(1..);
    LineChart {
        title: title.into(),
        x,
        y,
        series: series
            .map(|((label, points), index)| LineSeries {
                label,
                index,
                points,
            })
            .collect(),
        size: [640.0, 360.0],
    }
}

pub(super) fn heat_map(matrix: Matrix, note: &str) -> (String, Picture) {
    let limit = matrix.largest().min(LIMIT);
    let map = HeatMap {
        title: matrix.title,
        note: note.to_owned(),
        rows: matrix.rows,
        columns: matrix.columns,
        values: matrix.values,
        limit,
    };
    (matrix.name, map.draw())
}
