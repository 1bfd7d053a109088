//! Scalars in f64 over which a formula is written once: plain numbers, and numbers that record how
//! they were made, for exact gradients.
//!
//! ```
//! use engine::scalar::{Real, Trace};
//!
//! fn formula<T: Real>(x: T, y: T) -> T {
//!     (x * y).exp() / T::from(2.0)
//! }
//! let trace = Trace::new();
//! let [x, y] = [0.5, 3.0].map(|value| trace.input(value));
//! let z = formula(x, y);
//! assert_eq!(z.value(), formula(0.5, 3.0));
//! // dz/dx = y z, dz/dy = x z.
//! let slopes = trace.gradient(&[(z, 1.0)], &[x, y]);
//! assert_eq!(slopes, [3.0 * z.value(), 0.5 * z.value()]);
//! ```

use std::{
    cell::RefCell,
    f64::consts::PI,
    iter::Sum,
    ops::{Add, Div, Mul, Neg, Sub},
};

/// A number, or one that can be differentiated.
pub trait Real:
    Copy
    + From<f64>
    + Sum
    + Neg<Output = Self>
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
{
    /// The number.
    fn value(self) -> f64;

    /// A function of this scalar, given by its value and its derivative here.
    fn mapped(self, value: f64, slope: f64) -> Self;

    /// `e^x`.
    fn exp(self) -> Self {
        let y = self.value().exp();
        self.mapped(y, y)
    }

    /// `tanh x`.
    fn tanh(self) -> Self {
        let y = self.value().tanh();
        self.mapped(y, 1.0 - y * y)
    }

    /// The square root.
    fn sqrt(self) -> Self {
        let y = self.value().sqrt();
        self.mapped(y, 0.5 / y)
    }

    /// The logistic function `1 / (1 + e^-x)`.
    fn sigmoid(self) -> Self {
        let y = 1.0 / (1.0 + (-self.value()).exp());
        self.mapped(y, y * (1.0 - y))
    }

    /// GELU, `x Phi(x)` with the exact normal distribution function.
    fn gelu(self) -> Self {
        let x = self.value();
        let (below, density) = normal(x);
        self.mapped(x * below, below + x * density)
    }
}

/// The normal distribution function and its density, to an absolute error of rounding.
fn normal(x: f64) -> (f64, f64) {
    let density = (-x * x / 2.0).exp() / (2.0 * PI).sqrt();
    // Phi(-9) is 1e-19.
    if x.abs() > 9.0 {
        return (if x > 0.0 { 1.0 } else { 0.0 }, density);
    }
    // Phi(x) - 1/2 = phi(x) (x + x^3/3 + x^5/(3*5) + ...), all terms of one sign.
    let (mut term, mut sum, mut k) = (x, x, 1.0);
    while term.abs() > sum.abs() * 1e-18 {
        k += 2.0;
        term *= x * x / k;
        sum += term;
    }
    (0.5 + density * sum, density)
}

impl Real for f64 {
    fn value(self) -> f64 {
        self
    }

    fn mapped(self, value: f64, _: f64) -> Self {
        value
    }
}

/// A record of operations on scalars.
#[derive(Debug)]
pub struct Trace {
    /// For each scalar, of which others it was made and its derivatives by them. The first stands
    /// for all constants.
    made: RefCell<Vec<[(u32, f64); 2]>>,
}

/// A scalar of a [`Trace`], or a constant.
#[derive(Clone, Copy, Debug)]
pub struct Traced<'t> {
    value: f64,
    trace: Option<&'t Trace>,
    index: u32,
}

impl Default for Trace {
    fn default() -> Self {
        Self::new()
    }
}

impl Trace {
    /// An empty record.
    pub fn new() -> Self {
        let made = RefCell::new(vec![[(0, 0.0); 2]]);
        Self { made }
    }

    /// A scalar that gradients are taken of.
    pub fn input(&self, value: f64) -> Traced<'_> {
        self.record(value, [(0, 0.0); 2])
    }

    fn record(&self, value: f64, from: [(u32, f64); 2]) -> Traced<'_> {
        let mut made = self.made.borrow_mut();
        let index = u32::try_from(made.len()).expect("fewer than 2^32 operations");
        made.push(from);
        Traced {
            value,
            trace: Some(self),
            index,
        }
    }

    /// The derivatives of `sum(output * factor)` by the inputs, exact but for rounding.
    pub fn gradient(&self, outputs: &[(Traced<'_>, f64)], inputs: &[Traced<'_>]) -> Vec<f64> {
        let made = self.made.borrow();
        let mut slopes = vec![0.0; made.len()];
        for (output, factor) in outputs {
            slopes[output.index as usize] += factor;
        }
        for (at, from) in made.iter().enumerate().rev() {
            let slope = slopes[at];
            for &(index, factor) in from {
                slopes[index as usize] += slope * factor;
            }
        }
        inputs.iter().map(|x| slopes[x.index as usize]).collect()
    }
}

impl<'t> Traced<'t> {
    fn with(self, other: Self, value: f64, slopes: [f64; 2]) -> Self {
        let from = [(self.index, slopes[0]), (other.index, slopes[1])];
        match self.trace.or(other.trace) {
            Some(trace) => trace.record(value, from),
            None => value.into(),
        }
    }
}

impl From<f64> for Traced<'_> {
    fn from(value: f64) -> Self {
        Self {
            value,
            trace: None,
            index: 0,
        }
    }
}

impl Real for Traced<'_> {
    fn value(self) -> f64 {
        self.value
    }

    fn mapped(self, value: f64, slope: f64) -> Self {
        self.with(value.into(), value, [slope, 0.0])
    }
}

impl Add for Traced<'_> {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.with(other, self.value + other.value, [1.0, 1.0])
    }
}

impl Sub for Traced<'_> {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self.with(other, self.value - other.value, [1.0, -1.0])
    }
}

impl Mul for Traced<'_> {
    type Output = Self;

    fn mul(self, other: Self) -> Self {
        let slopes = [other.value, self.value];
        self.with(other, self.value * other.value, slopes)
    }
}

impl Div for Traced<'_> {
    type Output = Self;

    fn div(self, other: Self) -> Self {
        let value = self.value / other.value;
        self.with(other, value, [1.0 / other.value, -value / other.value])
    }
}

impl Neg for Traced<'_> {
    type Output = Self;

    fn neg(self) -> Self {
        self.mapped(-self.value, -1.0)
    }
}

impl Sum for Traced<'_> {
    fn sum<I: Iterator<Item = Self>>(terms: I) -> Self {
        terms.reduce(Add::add).unwrap_or(0.0.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every operation, the inputs of some used twice.
    fn formula<T: Real>(x: &[T]) -> T {
        let [a, b] = [x[0], x[1]];
        let squares: T = x.iter().map(|&x| x * x).sum();
        let ratio = (a - b.exp()) / (squares + T::from(1.0)).sqrt();
        -ratio.tanh() + (a * b).gelu() * b.sigmoid()
    }

    #[test]
    fn slopes_are_those_of_finite_differences() {
        for start in [[0.3, -1.2], [2.0, 0.7], [-5.0, 1.5]] {
            let trace = Trace::new();
            let x = start.map(|x| trace.input(x));
            let y = formula(&x);
            assert_eq!(y.value(), formula(&start));
            let slopes = trace.gradient(&[(y, 2.0)], &x);
            for i in 0..2 {
                const H: f64 = 1e-5;
                let [above, below] = [H, -H].map(|step| {
                    let mut moved = start;
                    moved[i] += step;
                    formula(&moved)
                });
                let expected = 2.0 * (above - below) / (2.0 * H);
                assert!((slopes[i] - expected).abs() < 1e-9, "{slopes:?} {expected}");
            }
        }
    }

    /// From tables of the normal distribution.
    #[test]
    fn the_normal_distribution_is_exact() {
        for (x, expected) in [
            (0.0, 0.5),
            (1.0, 0.841_344_746_068_542_9),
            (-2.0, 0.022_750_131_948_179_2),
            (8.0, 0.999_999_999_999_999_4),
            (-40.0, 0.0),
        ] {
            let found = normal(x).0;
            assert!((found - expected).abs() < 1e-15, "Phi({x}) = {found}");
        }
    }
}
