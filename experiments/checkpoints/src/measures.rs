//! Measures of one mix.

/// How far a mix is from matrices that people know. Distances are root mean squares over the
/// entries.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MixMeasures {
    /// To the identity.
    pub identity: f64,
    /// To the nearest permutation.
    pub permutation: f64,
    /// To the matrix of equal weights 1/n.
    pub uniform: f64,
    /// The defect of a doubly stochastic matrix: the largest difference of a row or column sum
    /// from 1, or the largest negative entry.
    pub defect: f64,
}

/// The part of a logit: 0 read, 1 write, 2 mix.
pub(crate) fn part(logit: usize, streams: usize) -> usize {
    (logit / streams.max(1)).min(2)
}

impl MixMeasures {
    /// Of a matrix `[n, n]`, row-major.
    pub fn of(mix: &[f64]) -> Self {
        let n = mix.len().isqrt();
        let distance = |to: &dyn Fn(usize, usize) -> f64| {
            let squares = (0..n * n).map(|i| (mix[i] - to(i / n, i % n)).powi(2));
            (squares.sum::<f64>() / mix.len() as f64).sqrt()
        };
        let order = nearest(mix, n);
        let one = |yes: bool| f64::from(u8::from(yes));
        let sums = (0..n).flat_map(|i| {
            let row: f64 = mix[i * n..(i + 1) * n].iter().sum();
            let column: f64 = mix.iter().skip(i).step_by(n).sum();
            [(row - 1.0).abs(), (column - 1.0).abs()]
        });
        let defect = sums.chain(mix.iter().map(|x| -x)).fold(0.0, f64::max);
        Self {
            identity: distance(&|i, j| one(i == j)),
            permutation: distance(&|i, j| one(order[i] == j)),
            uniform: distance(&|_, _| 1.0 / n as f64),
            defect,
        }
    }
}

/// The permutation with the largest sum of entries, which is the nearest: exact by dynamic
/// programming over sets of columns up to 12 streams, else row by row.
fn nearest(mix: &[f64], n: usize) -> Vec<usize> {
    const EXACT: usize = 12;
    if n > EXACT {
        let mut free: Vec<usize> = (0..n).collect();
        let mut take = |i: usize| {
            let best = (0..free.len())
                .max_by(|&a, &b| f64::total_cmp(&mix[i * n + free[a]], &mix[i * n + free[b]]));
            free.swap_remove(best.expect("a column for every row"))
        };
        return (0..n).map(&mut take).collect();
    }
    // best[set] is for the first rows, as many as the set has columns.
    let mut best = vec![(f64::NEG_INFINITY, 0); 1 << n];
    best[0] = (0.0, 0);
    for set in 1_usize..1 << n {
        let row = set.count_ones() as usize - 1;
        for column in (0..n).filter(|column| set >> column & 1 == 1) {
            let sum = best[set & !(1 << column)].0 + mix[row * n + column];
            if sum > best[set].0 {
                best[set] = (sum, column);
            }
        }
    }
    let mut set = (1 << n) - 1;
    let mut order = vec![0; n];
    for row in (0..n).rev() {
        order[row] = best[set].1;
        set &= !(1 << order[row]);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_of_matrices_that_are_known() {
        let swap = MixMeasures::of(&[0.0, 1.0, 1.0, 0.0]);
        assert_eq!(
            (swap.permutation, swap.identity, swap.uniform),
            (0.0, 1.0, 0.5)
        );
        assert_eq!(swap.defect, 0.0);
        let half = MixMeasures::of(&[0.5, 0.5, 0.5, 0.25]);
        assert_eq!(half.defect, 0.25);
        assert!((half.uniform - 0.125).abs() < 1e-12);
        assert_eq!(MixMeasures::of(&[1.0, -0.5, 0.0, 1.0]).defect, 0.5);
    }

    #[test]
    fn the_nearest_permutation_is_not_the_greedy_one() {
        // Row by row would take 0.9 and then 0.
        assert_eq!(nearest(&[0.9, 0.8, 0.85, 0.0], 2), [1, 0]);
    }
}
