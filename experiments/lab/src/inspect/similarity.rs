//! Representation collapse: how alike the inputs of adjacent sublayers are.

use super::Trace;
use serde::Serialize;

/// The distribution of a number over the tokens.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Band {
    /// The 5th percentile.
    pub low: f64,
    /// The median.
    pub median: f64,
    /// The 95th percentile.
    pub high: f64,
}

impl Band {
    /// Of some numbers, interpolating between neighbours.
    ///
    /// # Panics
    /// If there are none.
    pub fn of(mut values: Vec<f64>) -> Self {
        assert!(!values.is_empty(), "band: no values");
        values.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let place = share * (values.len() - 1) as f64;
            let (below, above) = (
                values[place.floor() as usize],
                values[place.ceil() as usize],
            );
            below + place.fract() * (above - below)
        };
        Self {
            low: at(0.05),
            median: at(0.5),
            high: at(0.95),
        }
    }
}

/// The cosine of the inputs of sublayers k and k + 1 over the tokens, for k = 1 to L - 1 (the
/// paper's Fig. 3). Near 1 everywhere is collapse: layers see the same again and again.
pub fn adjacent_similarity(trace: &Trace) -> Vec<Band> {
    let pairs = trace.layers.windows(2);
    pairs
        .map(|pair| {
            let rows = pair[0].input.chunks_exact(trace.dim);
            let next = pair[1].input.chunks_exact(trace.dim);
            Band::of(rows.zip(next).map(|(a, b)| cosine(a, b)).collect())
        })
        .collect()
}

/// The cosine of the angle between two vectors; 0 if one of them is 0.
pub(super) fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let (mut dot, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (&a, &b) in a.iter().zip(b) {
        let (a, b) = (f64::from(a), f64::from(b));
        dot += a * b;
        aa += a * a;
        bb += b * b;
    }
    let norms = (aa * bb).sqrt();
    if norms > 0.0 { dot / norms } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_band_is_the_percentiles() {
        let band = Band::of((0..=100).rev().map(f64::from).collect());
        assert_eq!((band.low, band.median, band.high), (5.0, 50.0, 95.0));
        let band = Band::of(vec![1.0, 2.0]);
        assert!((band.low - 1.05).abs() < 1e-12 && band.median == 1.5);
    }

    #[test]
    fn cosines_are_of_directions() {
        assert!((cosine(&[1.0, 1.0], &[2.0, 2.0]) - 1.0).abs() < 1e-12);
        assert!((cosine(&[1.0, 0.0], &[-3.0, 0.0]) + 1.0).abs() < 1e-12);
        assert_eq!(cosine(&[0.0, 0.0], &[1.0, 0.0]), 0.0);
    }
}
