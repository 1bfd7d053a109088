//! An inspection as pictures.

use super::{Inspection, Matrix, ORIENTATION, PARTS};
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
        all.push(("similarity".into(), self.similarity_chart()));
        all.push((
            "gradient".into(),
            self.depth_chart(
                "Gradient of the loss at the output of a sublayer",
                "Frobenius norm",
                vec![("gradient".into(), of(&self.depth, |d| d.output_gradient))],
            ),
        ));
        if let Some(rate) = self.rate {
            let stream = |i: usize| {
                let name = format!("stream {}", i + 1);
                (name, of(&self.depth, |d| d.stream_rms[i]))
            };
            let streams = (0..rate).map(stream).collect();
            let title = "Streams before a sublayer";
            let chart = self.depth_chart(title, "root mean square", streams);
            all.push(("stream_rms".into(), chart));
            let gains = vec![
                ("forward".into(), of(&self.gains, |g| g.composed.forward)),
                ("backward".into(), of(&self.gains, |g| g.composed.backward)),
                (
                    "spectral norm".into(),
                    of(&self.gains, |g| g.composed.spectral_norm),
                ),
            ];
            let title = "Gain of all mixes up to a sublayer, mean over the tokens";
            all.push(("gain".into(), self.depth_chart(title, "gain", gains)));
        }
        all.extend(
            self.gain_over_training()
                .map(|chart| ("gain_training".into(), chart)),
        );
        all
    }

    fn similarity_chart(&self) -> Picture {
        let mine = (&self.name, &self.label, &self.similarity);
        let others = self
            .compared
            .iter()
            .map(|c| (&c.name, &c.label, &c.similarity));
        let series = [mine].into_iter().chain(others).enumerate();
        let series = series.map(|(index, (name, label, bands))| LineSeries {
            label: format!("{name}, {label}"),
            index: index + 1,
            points: bands
                .iter()
                .enumerate()
                .map(|(k, band)| LinePoint {
                    x: (k + 1) as f64,
                    y: band.median,
                    band: Some([band.low, band.high]),
                })
                .collect(),
        });
        LineChart {
            title: "Inputs of sublayers k and k + 1: median, 5 to 95 % of the tokens".into(),
            x: Axis::new("sublayer k"),
            y: Axis::new("cosine"),
            series: series.collect(),
            size: [640.0, 360.0],
        }
        .draw()
    }

    fn depth_chart(&self, title: &str, unit: &str, series: Vec<(String, Vec<f64>)>) -> Picture {
        let series = series.into_iter().enumerate();
        let series = series.map(|(index, (label, values))| LineSeries {
            label,
            index: index + 1,
            points: points(
                values
                    .into_iter()
                    .enumerate()
                    .map(|(k, y)| ((k + 1) as f64, y)),
            ),
        });
        log_chart(title, "sublayer", unit, series.collect())
    }

    /// The gain of all mixes at every recorded step, if there are several.
    fn gain_over_training(&self) -> Option<Picture> {
        if self.training.len() < 2 {
            return None;
        }
        let series = |index: usize, label: &str, of: fn(&super::Gain) -> f64| LineSeries {
            label: label.into(),
            index,
            points: points(self.training.iter().filter_map(|step| {
                let last = step.gains.last()?;
                Some((step.step as f64, of(&last.composed)))
            })),
        };
        Some(log_chart(
            "Gain of all mixes over training, of the mean coefficients",
            "step",
            "gain",
            vec![
                series(1, "forward", |g| g.forward),
                series(2, "backward", |g| g.backward),
                series(3, "spectral norm", |g| g.spectral_norm),
            ],
        ))
    }
}

fn of<T>(all: &[T], value: impl Fn(&T) -> f64) -> Vec<f64> {
    all.iter().map(value).collect()
}

fn points(places: impl Iterator<Item = (f64, f64)>) -> Vec<LinePoint> {
    places
        .map(|(x, y)| LinePoint { x, y, band: None })
        .collect()
}

fn log_chart(title: &str, x: &str, y: &str, series: Vec<LineSeries>) -> Picture {
    LineChart {
        title: title.into(),
        x: Axis::new(x),
        y: Axis {
            scale: Scale::Log,
            ..Axis::new(y)
        },
        series,
        size: [640.0, 360.0],
    }
    .draw()
}

fn heat_map(matrix: Matrix, note: &str) -> (String, Picture) {
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
