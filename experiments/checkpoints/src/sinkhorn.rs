//! The rules by which logits become a (nearly) doubly stochastic matrix.

/// The direction that is normalised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Each row sums to 1: what a source stream gives away.
    Rows,
    /// Each column sums to 1: what a destination stream receives.
    Columns,
}

/// The divisor of a normalisation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Divisor {
    /// The sum plus eps.
    Plus(f64),
    /// The sum, at least eps.
    Floor(f64),
}

impl Divisor {
    fn of(self, sum: f64) -> f64 {
        match self {
            Self::Plus(eps) => sum + eps,
            Self::Floor(eps) => sum.max(eps),
        }
    }
}

/// A Sinkhorn iteration as one library does it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sinkhorn {
    /// Logits are limited to plus and minus this first.
    pub clamp: Option<f64>,
    /// Logits are divided by this.
    pub temperature: f64,
    /// The start: the softmax of each row plus this eps, which counts as the first row
    /// normalisation (DeepSeek-V4); `None` for the exponential of the logits.
    pub softmax: Option<f64>,
    /// Whether rows or columns come first in an iteration.
    pub first: Direction,
    /// The number of iterations, each over both directions.
    pub iterations: usize,
    /// The divisor.
    pub divisor: Divisor,
}

impl Sinkhorn {
    /// The matrix of `n x n` logits, row-major.
    pub fn apply(&self, logits: &[f64], n: usize) -> Vec<f64> {
        let clamp = self.clamp.unwrap_or(f64::INFINITY);
        let scaled = logits
            .iter()
            .map(|x| x.clamp(-clamp, clamp) / self.temperature);
        let mut matrix: Vec<f64> = scaled.collect();
        let second = match self.first {
            Direction::Rows => Direction::Columns,
            Direction::Columns => Direction::Rows,
        };
        let mut passes = [self.first, second].repeat(self.iterations).into_iter();
        // The largest of each line becomes 1: the first normalisation undoes the factor.
        exponentials(&mut matrix, n, self.first);
        if let Some(eps) = self.softmax {
            passes.next();
            normalise(&mut matrix, n, Direction::Rows, Divisor::Plus(0.0));
            matrix.iter_mut().for_each(|x| *x += eps);
        }
        for direction in passes {
            normalise(&mut matrix, n, direction, self.divisor);
        }
        matrix
    }
}

fn line(n: usize, direction: Direction, i: usize) -> impl Iterator<Item = usize> + Clone {
    let (start, step) = match direction {
        Direction::Rows => (i * n, 1),
        Direction::Columns => (i, n),
    };
    (0..n).map(move |j| start + j * step)
}

fn exponentials(matrix: &mut [f64], n: usize, direction: Direction) {
    for i in 0..n {
        let at = line(n, direction, i);
        let largest = at
            .clone()
            .map(|x| matrix[x])
            .fold(f64::NEG_INFINITY, f64::max);
        at.for_each(|x| matrix[x] = (matrix[x] - largest).exp());
    }
}

fn normalise(matrix: &mut [f64], n: usize, direction: Direction, divisor: Divisor) {
    for i in 0..n {
        let at = line(n, direction, i);
        let sum = divisor.of(at.clone().map(|x| matrix[x]).sum());
        if sum > 0.0 {
            at.for_each(|x| matrix[x] /= sum);
        }
    }
}

/// The sum of weights times permutation matrices, in the order of Python's
/// `itertools.permutations`: permutation p has a 1 in row i and column `p[i]`.
pub fn permutations(weights: &[f64], n: usize) -> Vec<f64> {
    let mut matrix = vec![0.0; n * n];
    let mut order: Vec<usize> = (0..n).collect();
    for &weight in weights {
        for (i, &j) in order.iter().enumerate() {
            matrix[i * n + j] += weight;
        }
        next(&mut order);
    }
    matrix
}

/// The next permutation in lexicographic order; the last stays.
fn next(order: &mut [usize]) {
    let Some(at) = order.windows(2).rposition(|pair| pair[0] < pair[1]) else {
        return;
    };
    let larger = order.iter().rposition(|&x| x > order[at]);
    order.swap(at, larger.expect("the one after it is larger"));
    order[at + 1..].reverse();
}

/// The softmax.
pub fn softmax(logits: &[f64]) -> Vec<f64> {
    let mut weights = logits.to_vec();
    let n = weights.len();
    let largest = weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    weights.iter_mut().for_each(|x| *x = (*x - largest).exp());
    let sum: f64 = weights[..n].iter().sum();
    weights.iter_mut().for_each(|x| *x /= sum);
    weights
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permutations_are_in_the_order_of_itertools() {
        let mut order = vec![0, 1, 2];
        let mut all = vec![order.clone()];
        for _ in 0..5 {
            next(&mut order);
            all.push(order.clone());
        }
        let expected = [
            [0, 1, 2],
            [0, 2, 1],
            [1, 0, 2],
            [1, 2, 0],
            [2, 0, 1],
            [2, 1, 0],
        ];
        assert_eq!(all, expected);
        let mut weights = [0.0; 6];
        weights[3] = 1.0;
        assert_eq!(
            permutations(&weights, 3),
            [0., 1., 0., 0., 0., 1., 1., 0., 0.]
        );
    }

    #[test]
    fn many_iterations_make_every_row_and_column_sum_to_one() {
        let logits: Vec<f64> = (0..16).map(|i| f64::from(i * i % 7)).collect();
        for first in [Direction::Rows, Direction::Columns] {
            let rule = Sinkhorn {
                clamp: None,
                temperature: 1.0,
                softmax: None,
                first,
                iterations: 200,
                divisor: Divisor::Floor(1e-12),
            };
            let m = rule.apply(&logits, 4);
            for i in 0..4 {
                for direction in [Direction::Rows, Direction::Columns] {
                    let sum: f64 = line(4, direction, i).map(|x| m[x]).sum();
                    assert!((sum - 1.0).abs() < 1e-9);
                }
            }
        }
    }

    #[test]
    fn logits_of_any_size_give_finite_numbers() {
        let rule = Sinkhorn {
            clamp: None,
            temperature: 0.05,
            softmax: None,
            first: Direction::Rows,
            iterations: 10,
            divisor: Divisor::Plus(0.0),
        };
        let m = rule.apply(&[1e30, 0.0, 1e30, 0.0], 2);
        assert!(m.iter().all(|x| x.is_finite()), "{m:?}");
    }
}
