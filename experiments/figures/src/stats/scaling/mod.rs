//! Loss as a function of the length of the training, from runs of several lengths.

use serde::Serialize;

/// As many lengths determine a power law; between fewer the loss is interpolated.
const FITTED: usize = 3;
/// Exponents b of the power law: at the first the curve is a straight line in the logarithm.
const EXPONENTS: [f64; 2] = [1e-3, 5.0];
/// Exponents p of a gap.
pub const GAP_EXPONENTS: [f64; 2] = [-3.0, 5.0];
/// Steps of a search, before the interval is divided further.
const STEPS: usize = 64;
/// Divisions of an interval by two.
const HALVINGS: usize = 48;

/// The fit `L = E + A (t / t_1)^-b`, `t_1` the fewest tokens.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PowerLaw {
    /// E, the loss that no training falls below.
    pub limit: f64,
    /// A, the loss above it at the fewest tokens.
    pub excess: f64,
    /// b.
    pub exponent: f64,
    /// Largest distance of a point from the curve.
    pub residual: f64,
}

/// Final loss as a function of tokens, through all of its points: of two the straight line in the
/// logarithm of the tokens, of more the least-squares fit of a [`PowerLaw`], with what the points deviate
/// from it in straight lines between neighbours. It has no value outside its points.
#[derive(Debug, Clone, PartialEq)]
pub struct LossCurve {
    /// `ln(t / t_1)`, ascending.
    x: Vec<f64>,
    losses: Vec<f64>,
    first: f64,
    law: Option<PowerLaw>,
}

/// Which side of a bound a number lies on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// Here or below.
    AtMost,
    /// Here or above.
    AtLeast,
}

/// A number of tokens, or the end of the curve beyond which it lies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Located {
    /// Tokens.
    pub tokens: f64,
    /// The side, if the curve gives no more than a bound.
    pub bound: Option<Bound>,
}

impl PowerLaw {
    /// Weights of the losses at `points` in the fit at `x`, both `ln(t / t_1)`: the projection of its
    /// derivatives there on those at the points.
    fn weights(&self, points: &[f64], x: f64) -> Vec<f64> {
        // The columns dL/dE, dL/dA and dL/db, up to a factor, the last of an exponent that is free; the last
        // entry is at x. Made orthonormal over the points.
        let decay = |x: f64| (-self.exponent * x).exp();
        let of: [&dyn Fn(f64) -> f64; 3] = [&|_| 1.0, &decay, &|x| x * decay(x)];
        let free = if self.is_at_an_end() { 2 } else { 3 };
        let n = points.len();
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(&b[..n]).map(|(a, b)| a * b).sum::<f64>();
        let mut weights = vec![0.0; n];
        let mut columns: Vec<Vec<f64>> = Vec::new();
        for column in &of[..free] {
            let mut column: Vec<f64> = points.iter().chain([&x]).map(|&x| column(x)).collect();
            // Twice, since the columns are nearly parallel where the exponent is small.
            for _ in 0..2 {
                for before in &columns {
                    let share = dot(before, &column);
                    let both = column.iter_mut().zip(before);
                    both.for_each(|(entry, before)| *entry -= share * before);
                }
            }
            let norm = dot(&column, &column).sqrt();
            column.iter_mut().for_each(|entry| *entry /= norm);
            let there = column[n];
            let both = weights.iter_mut().zip(&column);
            both.for_each(|(weight, entry)| *weight += there * entry);
            columns.push(column);
        }
        weights
    }

    /// Returns whether no exponent between the largest and the smallest fits better: at the smallest the
    /// curve is a straight line in the logarithm of the tokens.
    pub fn is_at_an_end(&self) -> bool {
        let [low, high] = EXPONENTS;
        !(1.01 * low..0.99 * high).contains(&self.exponent)
    }
}

impl LossCurve {
    /// The curve through `(tokens, loss)`, in ascending order of tokens; `None` for fewer than two
    /// points, and where the loss does not fall with the tokens.
    pub fn of(points: &[(f64, f64)]) -> Option<Self> {
        let first = points.first()?.0;
        let x: Vec<f64> = points.iter().map(|(t, _)| (t / first).ln()).collect();
        let losses: Vec<f64> = points.iter().map(|(_, loss)| *loss).collect();
        let finite = x.iter().chain(&losses).all(|value| value.is_finite());
        let ascending = x.len() > 1 && x.windows(2).all(|pair| pair[0] < pair[1]);
        let falling = losses.windows(2).all(|pair| pair[0] > pair[1]);
        let law = (x.len() >= FITTED && finite)
            .then(|| power_law(&x, &losses))
            .flatten();
        (finite && ascending && falling).then_some(Self {
            x,
            losses,
            first,
            law,
        })
    }

    /// The power law, if one was fitted.
    pub fn law(&self) -> Option<&PowerLaw> {
        self.law.as_ref()
    }

    /// The fewest and the most tokens.
    pub fn ends(&self) -> [f64; 2] {
        let last = self.x.last().expect("two points at least");
        [self.first, self.first * last.exp()]
    }

    /// Weights of the losses of the points in the loss at `tokens`, which lie between the ends: the curve
    /// there is their sum, and moves with them, to first order, by these. They sum to 1.
    pub fn weights(&self, tokens: f64) -> Vec<f64> {
        let x = (tokens / self.first).ln();
        let line = self.neighbours(x);
        let Some(law) = &self.law else {
            return line;
        };
        let mut weights = law.weights(&self.x, x);
        for (index, &share) in line.iter().enumerate().filter(|(_, share)| **share != 0.0) {
            let there = law.weights(&self.x, self.x[index]);
            let both = weights.iter_mut().zip(there);
            both.for_each(|(weight, there)| *weight -= share * there);
            weights[index] += share;
        }
        weights
    }

    /// Shares of the points in the straight line between the neighbours of x.
    fn neighbours(&self, x: f64) -> Vec<f64> {
        let after = self.x.partition_point(|&point| point < x);
        let after = after.clamp(1, self.x.len() - 1);
        let [low, high] = [self.x[after - 1], self.x[after]];
        let share = ((x - low) / (high - low)).clamp(0.0, 1.0);
        let mut shares = vec![0.0; self.x.len()];
        shares[after - 1] = 1.0 - share;
        shares[after] = share;
        shares
    }

    /// The loss at `tokens`, which lie between the ends.
    pub fn at(&self, tokens: f64) -> f64 {
        let weights = self.weights(tokens);
        weights.iter().zip(&self.losses).map(|(w, l)| w * l).sum()
    }

    /// The tokens at which the curve has this loss. Beyond an end it is not continued: that end is
    /// a bound.
    pub fn tokens_at(&self, loss: f64) -> Located {
        let [low, high] = self.ends();
        if loss > self.at(low) {
            return Located {
                tokens: low,
                bound: Some(Bound::AtMost),
            };
        }
        if loss < self.at(high) || loss.is_nan() {
            return Located {
                tokens: high,
                bound: Some(Bound::AtLeast),
            };
        }
        let above = |x: f64| self.at(self.first * x.exp()) > loss;
        let x = boundary(above, 0.0, (high / low).ln());
        Located {
            tokens: self.first * x.exp(),
            bound: None,
        }
    }
}

/// The least-squares fit over `x = ln(t / t_1)`; `None` if the loss does not fall.
fn power_law(x: &[f64], losses: &[f64]) -> Option<PowerLaw> {
    let n = x.len() as f64;
    let mean = losses.iter().sum::<f64>() / n;
    // Of a given exponent the rest is a straight line.
    let line = |exponent: f64| {
        let z: Vec<f64> = x.iter().map(|x| (-exponent * x).exp()).collect();
        let middle = z.iter().sum::<f64>() / n;
        let both = z.iter().zip(losses);
        let covariance: f64 = both.map(|(z, l)| (z - middle) * (l - mean)).sum();
        let variance: f64 = z.iter().map(|z| (z - middle).powi(2)).sum();
        let excess = covariance / variance;
        let limit = mean - excess * middle;
        let off = |(z, l): (&f64, &f64)| l - limit - excess * z;
        let residuals: Vec<f64> = z.iter().zip(losses).map(off).collect();
        (limit, excess, residuals)
    };
    let squares = |log: f64| {
        let (_, _, residuals) = line(log.exp());
        residuals.iter().map(|r| r * r).sum()
    };
    let exponent = minimum(squares, EXPONENTS.map(f64::ln)).exp();
    let (limit, excess, residuals) = line(exponent);
    let residual = residuals.iter().fold(0.0, |most: f64, r| most.max(r.abs()));
    (excess > 0.0 && limit.is_finite()).then_some(PowerLaw {
        limit,
        excess,
        exponent,
        residual,
    })
}

/// The exponent p of the least-squares fit `gap = a (t / t_1)^-p` to `(tokens, gap)`; `None` for fewer
/// than two, where gaps have different signs, and where the best exponent is at an end of
/// [`GAP_EXPONENTS`].
pub fn gap_exponent(gaps: &[(f64, f64)]) -> Option<f64> {
    let first = gaps.first()?.0;
    let one_sign = gaps.iter().all(|(_, gap)| *gap > 0.0) || gaps.iter().all(|(_, gap)| *gap < 0.0);
    if gaps.len() < 2 || !one_sign {
        return None;
    }
    let explained = |p: f64| {
        let (mut product, mut squares) = (0.0, 0.0);
        for (tokens, gap) in gaps {
            let z = (tokens / first).powf(-p);
            product += gap * z;
            squares += z * z;
        }
        -product * product / squares
    };
    let found = minimum(explained, GAP_EXPONENTS);
    let [low, high] = GAP_EXPONENTS;
    let spare = 1e-3 * (high - low);
    (low + spare < found && found < high - spare).then_some(found)
}

/// Weights `w_h` of gaps at these tokens whose sum `sum_h w_h gap_h` is zero on average if they are
/// `a t^-p`, whatever a: the derivative by p of the least-squares fit,
/// `w_h = z_h (x_h - sum z^2 x / sum z^2)` with `x = ln(t / t_1)` and `z = e^(-p x)`.
pub fn gap_weights(tokens: &[f64], p: f64) -> Vec<f64> {
    let x: Vec<f64> = tokens.iter().map(|t| (t / tokens[0]).ln()).collect();
    let z: Vec<f64> = x.iter().map(|x| (-p * x).exp()).collect();
    let squares: f64 = z.iter().map(|z| z * z).sum();
    let middle = x.iter().zip(&z).map(|(x, z)| x * z * z).sum::<f64>() / squares;
    x.iter().zip(&z).map(|(x, z)| z * (x - middle)).collect()
}

/// Ends of the values around `from`, between `low` and `high`, that a test does not reject; `None`
/// for an end that the test finds no value of.
pub fn not_rejected(
    rejects: impl Fn(f64) -> bool,
    from: f64,
    [low, high]: [f64; 2],
) -> [Option<f64>; 2] {
    [low, high].map(|end| {
        if end == from {
            return None;
        }
        let step = (end - from) / STEPS as f64;
        let mut places = (1..=STEPS).map(|i| from + step * i as f64);
        let out = places.find(|&at| rejects(at))?;
        Some(boundary(|at| !rejects(at), out - step, out))
    })
}

/// Where something stops to hold between `inside`, where it does, and `outside`.
fn boundary(holds: impl Fn(f64) -> bool, mut inside: f64, mut outside: f64) -> f64 {
    for _ in 0..HALVINGS {
        let middle = (inside + outside) / 2.0;
        match holds(middle) {
            true => inside = middle,
            false => outside = middle,
        }
    }
    (inside + outside) / 2.0
}

/// Where a function is least: the least of some places, and from there by the golden section.
fn minimum(of: impl Fn(f64) -> f64, [low, high]: [f64; 2]) -> f64 {
    let step = (high - low) / STEPS as f64;
    let places = (0..=STEPS).map(|i| low + step * i as f64);
    let best = places.min_by(|a, b| of(*a).total_cmp(&of(*b)));
    let best = best.expect("several places");
    let [mut a, mut b] = [(best - step).max(low), (best + step).min(high)];
    let golden = (5.0_f64.sqrt() - 1.0) / 2.0;
    for _ in 0..HALVINGS {
        let [left, right] = [b - golden * (b - a), a + golden * (b - a)];
        match of(left) < of(right) {
            true => b = right,
            false => a = left,
        }
    }
    (a + b) / 2.0
}

#[cfg(test)]
mod tests;
