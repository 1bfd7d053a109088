//! Checkpoints of other programs as pictures.

use super::{
    checkpoint::CheckpointView,
    inspection::ORIENTATION,
    matrix::Matrix,
    pictures::{GAINS, by_depth, chart, heat_map, logarithmic},
};
use figures::plot::{Axis, LinePoint, Picture};

impl CheckpointView {
    /// Every picture with the name of its file: the unfolded matrices, what acts at every site and,
    /// beside it, at those of other checkpoints, and measures over depth.
    pub fn pictures(&self) -> Vec<(String, Picture)> {
        let read = "row = reader, column = output (0 = embedding)";
        let unfolded = self.unfolded_matrices().into_iter();
        let mut all: Vec<_> = unfolded.map(|matrix| heat_map(matrix, read)).collect();
        for k in 0..self.sites() {
            let Some(matrix) = self.site_matrices(k).pop() else {
                continue;
            };
            let pairs = self.compared_matrices(k).into_iter();
            let pairs: Vec<_> = pairs.map(|other| matrix.beside(&other)).collect();
            let shown = std::iter::once(matrix).chain(pairs);
            all.extend(shown.map(|matrix| heat_map(matrix, ORIENTATION)));
        }
        let depth = |y: &str, log: bool| match log {
            true => logarithmic("site", y),
            false => ["site", y].map(Axis::new),
        };
        for of in self.charts() {
            let drawn = |y: &f64| !of.log || *y > 0.0;
            let series = of.series.into_iter().map(|(name, values)| {
                let points = values.into_iter().zip(1..).filter_map(|(y, k)| {
                    let y = y.filter(drawn)?;
                    Some(LinePoint {
                        x: f64::from(k),
                        y,
                        band: None,
                    })
                });
                (name, points.collect::<Vec<_>>())
            });
            let series: Vec<_> = series.filter(|(_, points)| !points.is_empty()).collect();
            if !series.is_empty() {
                let picture = chart(of.title, depth(of.file, of.log), series).draw();
                all.push((of.file.to_owned(), picture));
            }
        }
        for (part, streams) in self.bands() {
            let series = streams.iter().zip(1..).map(|(sites, i)| {
                let points = sites.iter().zip(1..).filter_map(|(band, k)| {
                    let band = band.as_ref()?;
                    Some(LinePoint {
                        x: f64::from(k),
                        y: band.median,
                        band: Some([band.low, band.high]),
                    })
                });
                (format!("stream {i}"), points.collect())
            });
            let title = format!("{part} of every stream: median, 5 to 95 % of the tokens");
            let picture = chart(&title, depth(part, false), series.collect()).draw();
            all.push((format!("band_{part}"), picture));
        }
        if !self.gains.is_empty() {
            let gains = GAINS.map(|(name, of)| {
                (
                    name.to_owned(),
                    by_depth(&self.gains, |gain| of(&gain.composed)),
                )
            });
            let title = "Gain of all mixes up to a site";
            all.push((
                "gain".to_owned(),
                chart(title, depth("gain", true), gains.into()).draw(),
            ));
        }
        all
    }
}

impl Matrix {
    /// Another matrix with the same rows to the right of this one.
    fn beside(&self, other: &Self) -> Self {
        let joined = |mine: &[String], theirs: &[String]| [mine, &[String::new()], theirs].concat();
        let rows = self.values.iter().zip(&other.values);
        Self {
            name: other.name.clone(),
            title: format!("{}; right: {}", self.title, other.title),
            rows: self.rows.clone(),
            columns: joined(&self.columns, &other.columns),
            values: rows
                .map(|(mine, theirs)| [mine, &[None][..], theirs].concat())
                .collect(),
        }
    }
}
