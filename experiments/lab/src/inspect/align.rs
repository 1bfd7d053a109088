//! Two networks side by side: streams have no names, so they are matched first.

use figures::unfold::LayerCoefficients;
use serde::Serialize;

/// The most streams whose permutations are all tried.
pub const MOST_STREAMS: usize = 8;

/// Distance of two networks.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Alignment {
    /// The streams of the second network, from 1, that stand for stream 1, 2, ... of the first.
    pub permutation: Vec<usize>,
    /// The root mean square difference of all coefficients under it.
    pub distance: f64,
    /// The same without permuting.
    pub distance_as_they_are: f64,
    /// The mean over all permutations: what a match by chance would give.
    pub distance_by_chance: f64,
    /// The difference of each sublayer under the permutation.
    pub by_layer: Vec<f64>,
}

/// Aligns the streams of `second` to those of `first`: of all permutations P, the one with the
/// smallest sum over the sublayers of `|A_m - P A_m'|^2 + |A_r - P A_r' P^T|^2 + |B - P B'|^2`.
/// `None` if they have other numbers of streams or sublayers, or more than 8 streams.
pub fn align(first: &[LayerCoefficients], second: &[LayerCoefficients]) -> Option<Alignment> {
    let rate = first.first()?.rate();
    let same =
        first.len() == second.len() && first.iter().chain(second).all(|layer| layer.rate() == rate);
    if !same || rate > MOST_STREAMS {
        return None;
    }
    let count = (first.len() * rate * (rate + 2)) as f64;
    let distance = |permutation: &[usize]| {
        let layers = first.iter().zip(second);
        let squares: f64 = layers.map(|(a, b)| difference(a, b, permutation)).sum();
        (squares / count).sqrt()
    };
    let mut all = Vec::new();
    permutations(&mut (0..rate).collect::<Vec<_>>(), 0, &mut all);
    let scored: Vec<f64> = all.iter().map(|p| distance(p)).collect();
    let best = (0..all.len()).min_by(|&a, &b| scored[a].total_cmp(&scored[b]))?;
    let by_layer = first.iter().zip(second).map(|(a, b)| {
        let squares = difference(a, b, &all[best]);
        (squares / (rate * (rate + 2)) as f64).sqrt()
    });
    Some(Alignment {
        by_layer: by_layer.collect(),
        permutation: all[best].iter().map(|stream| stream + 1).collect(),
        distance: scored[best],
        // The first of all permutations leaves the streams in their order.
        distance_as_they_are: scored[0],
        distance_by_chance: scored.iter().sum::<f64>() / scored.len() as f64,
    })
}

impl Alignment {
    /// The coefficients of a sublayer of the second network with its streams in the order of the
    /// first.
    pub(super) fn applied(&self, layer: &LayerCoefficients) -> LayerCoefficients {
        let columns = layer.rate() + 1;
        let order = || self.permutation.iter().map(|stream| stream - 1);
        let row = |from: usize| {
            let row = &layer.alpha[from * columns..][..columns];
            [row[0]]
                .into_iter()
                .chain(order().map(move |to| row[1 + to]))
        };
        LayerCoefficients {
            alpha: order().flat_map(row).collect(),
            beta: order().map(|from| layer.beta[from]).collect(),
        }
    }
}

/// The sum of squared differences of a and the permuted b.
fn difference(a: &LayerCoefficients, b: &LayerCoefficients, permutation: &[usize]) -> f64 {
    let (rate, columns) = (a.rate(), a.rate() + 1);
    let mut sum = 0.0;
    for i in 0..rate {
        let from = permutation[i];
        sum += f64::from(a.beta[i] - b.beta[from]).powi(2);
        sum += f64::from(a.alpha[i * columns] - b.alpha[from * columns]).powi(2);
        for (j, &to) in permutation.iter().enumerate() {
            sum += (a.mix(i, j) - b.mix(from, to)).powi(2);
        }
    }
    sum
}

/// All permutations of `items` from `fixed` on.
fn permutations(items: &mut [usize], fixed: usize, all: &mut Vec<Vec<usize>>) {
    if fixed == items.len() {
        all.push(items.to_vec());
        return;
    }
    for i in fixed..items.len() {
        items.swap(fixed, i);
        permutations(items, fixed + 1, all);
        items.swap(fixed, i);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(rate: usize, offset: usize) -> LayerCoefficients {
        let value = |at: usize| ((at + offset) * 37 % 101) as f32 / 50.0;
        LayerCoefficients {
            alpha: (0..rate * (rate + 1)).map(value).collect(),
            beta: (0..rate).map(|at| value(at + 50)).collect(),
        }
    }

    #[test]
    fn a_network_with_renamed_streams_is_found_to_be_the_same() {
        let rate = 4;
        let first: Vec<_> = (0..3).map(|k| layer(rate, 7 * k)).collect();
        // Stream i of the second is stream order[i] of the first.
        let order = [2, 0, 3, 1];
        let second: Vec<_> = first
            .iter()
            .map(|layer| {
                let alpha = order.iter().flat_map(|&i| {
                    let read = layer.alpha[i * (rate + 1)];
                    let mix = order.iter().map(move |&j| layer.mix(i, j) as f32);
                    std::iter::once(read).chain(mix)
                });
                LayerCoefficients {
                    alpha: alpha.collect(),
                    beta: order.iter().map(|&i| layer.beta[i]).collect(),
                }
            })
            .collect();
        let found = align(&first, &second).expect("the same shape");
        assert_eq!(found.permutation, [2, 4, 1, 3]);
        assert!(found.distance < 1e-6);
        let aligned: Vec<_> = second.iter().map(|layer| found.applied(layer)).collect();
        assert_eq!(aligned, first);
        assert!(found.distance_as_they_are > 0.1 && found.distance_by_chance > 0.1);
    }

    /// Two streams that differ in B alone, by 1 and by 3: of 2 (2 + 2) coefficients two differ.
    #[test]
    fn distances_are_root_mean_squares_and_chance_is_the_mean_over_permutations() {
        let with = |beta: [f32; 2]| LayerCoefficients {
            alpha: vec![0.0; 6],
            beta: beta.to_vec(),
        };
        let found = align(&[with([0.0, 1.0])], &[with([3.0, 1.0])]).expect("the same shape");
        let as_they_are = (9.0_f64 / 8.0).sqrt();
        let swapped = ((1.0 + 4.0) / 8.0_f64).sqrt();
        assert_eq!(found.permutation, [2, 1]);
        assert!((found.distance - swapped).abs() < 1e-12);
        assert!((found.distance_as_they_are - as_they_are).abs() < 1e-12);
        assert!((found.distance_by_chance - (swapped + as_they_are) / 2.0).abs() < 1e-12);
        assert_eq!(found.by_layer, [found.distance]);
    }

    #[test]
    fn other_shapes_are_not_compared() {
        assert_eq!(align(&[layer(2, 0)], &[layer(3, 0)]), None);
        assert_eq!(align(&[layer(2, 0)], &[layer(2, 0), layer(2, 1)]), None);
    }
}
