//! Rounding to bf16, the upper half of an f32: 8 exponent and 7 fraction bits.

use crate::kernels::expect_len;

/// Bits of an f32 that a bf16 keeps.
const KEPT: u32 = 0xffff_0000;
/// Bit that makes a NaN quiet.
const QUIET: u32 = 0x0040_0000;

/// The nearest bf16, as an f32: ties to even, beyond the largest one to infinity. Not a number
/// stays that.
#[inline(always)]
pub fn rounded(x: f32) -> f32 {
    let bits = x.to_bits();
    // Half of the last kept place, less one where that is even: a carry rounds up.
    let half = 0x7fff + (bits >> 16 & 1);
    f32::from_bits(match x.is_nan() {
        // Its fraction may lie in the lower half only.
        true => (bits | QUIET) & KEPT,
        false => bits.wrapping_add(half) & KEPT,
    })
}

/// `out[i] = rounded(x[i])`.
///
/// # Panics
/// If the slices differ in length.
#[track_caller]
pub fn round(x: &[f32], out: &mut [f32]) {
    expect_len("bf16", "out", out.len(), x.len());
    for (out, &x) in out.iter_mut().zip(x) {
        *out = rounded(x);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The neighbours in bf16 of a finite x, the one towards zero first, and the nearer of them.
    fn nearest(x: f32) -> f32 {
        let low = f32::from_bits(x.to_bits() & KEPT);
        let high = f32::from_bits((x.to_bits() & KEPT) + 0x1_0000);
        // Beyond the largest number the next place would be 2^128.
        let place = if high.is_infinite() {
            2f64.powi(128).copysign(x.into())
        } else {
            high.into()
        };
        let (below, above) = (f64::from(x) - f64::from(low), place - f64::from(x));
        match below.abs().total_cmp(&above.abs()) {
            std::cmp::Ordering::Less => low,
            std::cmp::Ordering::Greater => high,
            std::cmp::Ordering::Equal if low.to_bits() & 0x1_0000 == 0 => low,
            std::cmp::Ordering::Equal => high,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5000))]

        #[test]
        fn every_number_goes_to_the_nearest(bits: u32) {
            let x = f32::from_bits(bits);
            if x.is_finite() {
                prop_assert_eq!(rounded(x).to_bits(), nearest(x).to_bits());
            }
        }

        #[test]
        fn ties_go_to_the_even_neighbour(bits: u32) {
            let x = f32::from_bits(bits & KEPT | 0x8000);
            if x.is_finite() {
                prop_assert_eq!(rounded(x).to_bits(), nearest(x).to_bits());
                prop_assert_eq!(rounded(x).to_bits() & 0x1_0000, 0);
            }
        }
    }

    #[test]
    fn special_values_stay_what_they_are() {
        for x in [
            0.0,
            -0.0,
            1.0,
            -1.5,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::MIN_POSITIVE,
        ] {
            assert_eq!(rounded(x).to_bits(), x.to_bits(), "{x}");
        }
        assert_eq!(rounded(f32::MAX), f32::INFINITY);
        assert_eq!(rounded(f32::MIN), f32::NEG_INFINITY);
        for bits in [
            0x7f80_0001,
            0x7fff_ffff,
            0xff80_0001,
            0xffff_ffff,
            0x7fc0_0000,
        ] {
            let nan = rounded(f32::from_bits(bits));
            assert!(nan.is_nan(), "{bits:x}");
            assert_eq!(nan.to_bits() & !KEPT, 0, "{bits:x}");
            assert_eq!(nan.is_sign_negative(), bits >> 31 == 1, "{bits:x}");
        }
        assert_eq!(rounded(1.0 + 1.0 / 256.0), 1.0, "a tie, down to even");
        assert_eq!(
            rounded(1.0 + 3.0 / 256.0),
            1.0 + 1.0 / 64.0,
            "a tie, up to even"
        );
    }

    #[test]
    fn a_slice_is_rounded_one_by_one() {
        let x: Vec<f32> = (0..37).map(|i| (i as f32 * 0.37).sin()).collect();
        let mut out = vec![0.0; 37];
        round(&x, &mut out);
        let one_by_one: Vec<f32> = x.iter().map(|&x| rounded(x)).collect();
        assert_eq!(out, one_by_one);
    }
}
