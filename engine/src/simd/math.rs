//! Transcendental functions: branch-free polynomials, no table.
//!
//! The error bounds in the comments are asserted by the tests below over a sweep of
//! all magnitudes. An ulp is that of the exact result rounded to `f32`. On targets
//! without fused multiply-add the errors are slightly larger.

use std::f32::consts::LOG2_E;
use std::ops::{Add, Mul, Sub};

use super::F32;
use wide::bytemuck::cast;
use wide::i32x16;

/// Adding this to `|v| < 2^22` rounds `v` to an integer, found in the low bits.
const ROUND: f32 = 12_582_912.0;

/// ln 2 in two parts; the first has so few bits that multiples of it are exact.
const LN_2_HIGH: f32 = 355.0 / 512.0;
const LN_2_LOW: f32 = -2.121_944_4e-4;

/// Below this, e^x is not a normal number.
const SMALLEST_NORMAL_EXPONENT: f32 = -87.336_54;

/// Operations that the exponential needs of a vector of `f32`.
pub trait Vector: Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> {
    /// `x` in every lane.
    fn splat(x: f32) -> Self;
    /// `self * factor + term`, rounded once where the target has the instruction.
    fn mul_add(self, factor: Self, term: Self) -> Self;
    /// `term - self * factor`, likewise.
    fn mul_neg_add(self, factor: Self, term: Self) -> Self;
    /// 2^k for the integer `k` in the low bits of each lane, `-127 < k < 128`.
    fn power_of_two(self) -> Self;
    /// `self`, but zero where `x` is less than `bound`.
    fn zero_where_less(self, x: Self, bound: f32) -> Self;
}

macro_rules! impl_vector {
    ($($floats:ty, $integers:ty;)*) => {$(
        impl Vector for $floats {
            #[inline(always)]
            fn splat(x: f32) -> Self {
                <$floats>::splat(x)
            }

            #[inline(always)]
            fn mul_add(self, factor: Self, term: Self) -> Self {
                <$floats>::mul_add(self, factor, term)
            }

            #[inline(always)]
            fn mul_neg_add(self, factor: Self, term: Self) -> Self {
                <$floats>::mul_neg_add(self, factor, term)
            }

            #[inline(always)]
            fn power_of_two(self) -> Self {
                cast((cast::<$floats, $integers>(self) << 23) + <$integers>::splat(127 << 23))
            }

            #[inline(always)]
            fn zero_where_less(self, x: Self, bound: f32) -> Self {
                x.simd_lt(Self::splat(bound)).select(Self::ZERO, self)
            }
        }
    )*};
}

impl_vector! {
    F32, i32x16;
    wide::f32x8, wide::i32x8;
    wide::f32x4, wide::i32x4;
}

/// `(expm1(r), n)` where `x = n ln 2 + r` and `|r| <= ln(2) / 2`; `n` is [`ROUND`] plus
/// the integer.
#[inline(always)]
fn reduce_exponent<V: Vector>(x: V) -> (V, V) {
    let n = x.mul_add(V::splat(LOG2_E), V::splat(ROUND));
    let integer = n - V::splat(ROUND);
    let r = integer.mul_neg_add(V::splat(LN_2_HIGH), x);
    let r = integer.mul_neg_add(V::splat(LN_2_LOW), r);
    // (e^r - 1 - r) / r^2, interpolated at the Chebyshev nodes of the interval.
    let p = horner(
        r,
        [
            0.001_392_618_4,
            0.008_363_179,
            0.041_666_555,
            0.166_665_77,
            0.5,
        ],
    );
    ((r * r).mul_add(p, r), n)
}

/// A polynomial, coefficients from the highest power down.
#[inline(always)]
fn horner<V: Vector, const N: usize>(x: V, coefficients: [f32; N]) -> V {
    let mut value = V::splat(coefficients[0]);
    for &coefficient in &coefficients[1..] {
        value = value.mul_add(x, V::splat(coefficient));
    }
    value
}

/// e^x. Error: 1.25 ulp, denormal results included; 0 and +inf outside of the range.
#[inline(always)]
pub fn exp(x: F32) -> F32 {
    let x = x.fast_clamp(F32::splat(-104.0), F32::splat(89.0));
    let (expm1, n) = reduce_exponent(x);
    // 2^n may lie outside of the normal numbers: multiply by two powers near its root.
    let n = cast::<F32, i32x16>(n) - i32x16::splat(ROUND.to_bits() as i32);
    let half = n >> 1;
    let bias = i32x16::splat(127);
    let low: F32 = cast((half + bias) << 23);
    let high: F32 = cast((n - half + bias) << 23);
    (expm1 + F32::ONE) * low * high
}

/// e^x for x <= 0, as softmax needs it. Error: 1.25 ulp; results below the smallest
/// normal number (x < -87.336) are exactly 0. For x > 0 the result is unspecified.
#[inline(always)]
pub fn exp_nonpositive<V: Vector>(x: V) -> V {
    let (expm1, n) = reduce_exponent(x);
    let scale = n.power_of_two();
    let value = expm1.mul_add(scale, scale);
    // Where x is far below, `value` is meaningless, even NaN: it is replaced.
    value.zero_where_less(x, SMALLEST_NORMAL_EXPONENT)
}

/// tanh x. Error: 3 ulp, near zero and for denormals too; exactly odd.
#[inline(always)]
pub fn tanh(x: F32) -> F32 {
    // With m = expm1(-2 |x|): tanh |x| = -m / (m + 2), nowhere a cancellation.
    let y = (x.abs() * F32::splat(-2.0)).fast_clamp(F32::splat(-20.0), F32::ZERO);
    let (expm1, n) = reduce_exponent(y);
    let scale = n.power_of_two();
    let m = expm1.mul_add(scale, scale - F32::ONE);
    let magnitude = (m / (m + F32::splat(2.0))).abs();
    magnitude | (x & F32::splat(-0.0))
}

/// 1 / (1 + e^-x). Error: 2.5 ulp on both sides; results below the smallest normal
/// number (x < -87.336) are exactly 0.
#[inline(always)]
pub fn sigmoid(x: F32) -> F32 {
    let e = exp_nonpositive(-x.abs());
    let numerator = x.simd_ge(F32::ZERO).select(F32::ONE, e);
    numerator / (e + F32::ONE)
}

/// The normal distribution at x: `(Phi(x), phi(x))` with
/// `Phi(x) = (1 + erf(x / sqrt 2)) / 2` and `phi(x) = exp(-x^2 / 2) / sqrt(2 pi)`,
/// which is all that the exact GELU and its derivative need.
///
/// Error of `Phi`: 2.25 ulp for x >= 0; a relative 1.5e-6 for -6 <= x < 0, growing with
/// `x^2` further down, until it becomes exactly 0 below x = -13.2. `phi` likewise.
#[inline(always)]
pub fn normal(x: F32) -> (F32, F32) {
    // Beyond 14 both are 0 or 1 already; the clamp keeps infinities out of w.
    let t = x.abs().fast_clamp(F32::ZERO, F32::splat(14.0));
    let e = exp_nonpositive(t * t * F32::splat(-0.5));
    // The tail is exp(-t^2 / 2) times a function close to 1 / t: here u = 1 / (1 + 0.3 t)
    // times a polynomial in w = 0.3 t u, interpolated at the Chebyshev nodes of
    // 0 <= t <= 14, exact at t = 0.
    let scaled = t * F32::splat(0.3);
    let u = F32::ONE / (scaled + F32::ONE);
    let w = scaled * u;
    let ratio = u * horner(
        w,
        [
            0.018_008_055,
            -0.063_803_41,
            0.057_229_46,
            0.021_249_54,
            0.018_216_837,
            -0.138_347_67,
            -0.081_226_21,
            0.618_160_26,
            -0.829_807_6,
            0.5,
        ],
    );
    let tail = e * ratio;
    let distribution = x.simd_lt(F32::ZERO).select(tail, F32::ONE - tail);
    const INV_SQRT_2_PI: f32 = 0.398_942_3;
    (distribution, e * F32::splat(INV_SQRT_2_PI))
}

#[cfg(test)]
#[path = "math_tests.rs"]
mod tests;
