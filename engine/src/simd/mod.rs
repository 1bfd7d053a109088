//! The SIMD vocabulary of the kernels: one vector type, loads, stores, sums in a
//! fixed order, and the transcendental functions that the operations need.
//!
//! Everything is built on [`wide`]: with AVX-512 an [`F32`] is one register, with
//! AVX2 it is two, elsewhere four. Kernels walk a slice in steps of [`LANES`] and
//! treat the rest with [`load_partial`] / [`store_partial`], so that every element
//! goes through the same arithmetic whatever the length of the slice.

mod map;
mod math;
pub mod register;
mod sums;

pub use map::{map, visit};
pub use math::{exp, exp_nonpositive, normal, sigmoid, tanh};
pub use sums::{dot, reduce_add, reduce_max, sum};

/// Sixteen `f32` in a vector.
pub type F32 = wide::f32x16;

/// Elements in an [`F32`].
pub const LANES: usize = 16;

/// The first [`LANES`] elements of `x`.
#[inline(always)]
pub fn load(x: &[f32]) -> F32 {
    F32::new(x[..LANES].try_into().expect("LANES elements"))
}

/// Writes `v` to the first [`LANES`] elements of `x`.
#[inline(always)]
pub fn store(x: &mut [f32], v: F32) {
    x[..LANES].copy_from_slice(&v.to_array());
}

/// Up to [`LANES`] elements of `x`, the rest filled with zero.
#[inline(always)]
pub fn load_partial(x: &[f32]) -> F32 {
    #[cfg(target_feature = "avx512f")]
    {
        load_partial_or(x, F32::ZERO)
    }
    #[cfg(not(target_feature = "avx512f"))]
    {
        // A copy of unknown length would be a call of memcpy.
        let parts: [register::Register; LANES / register::LANES] =
            std::array::from_fn(|i| register::load_partial(&x[x.len().min(i * register::LANES)..]));
        bytemuck::cast(parts)
    }
}

/// Up to [`LANES`] elements of `x`, the rest filled from `fill`.
#[inline(always)]
pub fn load_partial_or(x: &[f32], fill: F32) -> F32 {
    #[cfg(all(target_arch = "x86_64", target_feature = "avx512f"))]
    {
        // SAFETY: the build has AVX-512F (cfg above); lanes whose mask bit is 0 are
        // not read, and the mask has at most x.len() bits.
        unsafe {
            core::arch::x86_64::_mm512_mask_loadu_ps(fill.into(), first_lanes(x.len()), x.as_ptr())
        }
        .into()
    }
    #[cfg(not(all(target_arch = "x86_64", target_feature = "avx512f")))]
    {
        let mut lanes = fill.to_array();
        let count = x.len().min(LANES);
        lanes[..count].copy_from_slice(&x[..count]);
        F32::new(lanes)
    }
}

/// Writes as many lanes of `v` as `x` has room for, at most [`LANES`].
#[inline(always)]
pub fn store_partial(x: &mut [f32], v: F32) {
    #[cfg(all(target_arch = "x86_64", target_feature = "avx512f"))]
    {
        // SAFETY: the build has AVX-512F (cfg above); lanes whose mask bit is 0 are
        // not written, and the mask has at most x.len() bits.
        unsafe {
            core::arch::x86_64::_mm512_mask_storeu_ps(
                x.as_mut_ptr(),
                first_lanes(x.len()),
                v.into(),
            );
        }
    }
    #[cfg(not(all(target_arch = "x86_64", target_feature = "avx512f")))]
    {
        let parts: [register::Register; LANES / register::LANES] = bytemuck::cast(v);
        for (x, part) in x.chunks_mut(register::LANES).zip(parts) {
            if x.len() == register::LANES {
                register::store(x, part);
            } else {
                register::store_partial(x, part);
            }
        }
    }
}

/// A mask of the first `count` lanes, all of them where `count` is [`LANES`] or more.
#[cfg(all(target_arch = "x86_64", target_feature = "avx512f"))]
#[inline(always)]
fn first_lanes(count: usize) -> u16 {
    ((1u32 << count.min(LANES)) - 1) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partial_loads_fill_with_zero_and_partial_stores_stop_at_the_end() {
        let source: Vec<f32> = (1..=40).map(|i| i as f32).collect();
        for count in 0..=20 {
            let lanes = load_partial(&source[..count]).to_array();
            for (i, lane) in lanes.iter().enumerate() {
                let expected = if i < count { source[i] } else { 0.0 };
                assert_eq!(*lane, expected, "lane {i} of {count}");
            }
            let filled = load_partial_or(&source[..count], F32::splat(-7.0)).to_array();
            for (i, lane) in filled.iter().enumerate() {
                let expected = if i < count { source[i] } else { -7.0 };
                assert_eq!(*lane, expected, "filled lane {i} of {count}");
            }
            let mut target = [-1.0f32; 40];
            store_partial(&mut target[3..3 + count], load(&source));
            for (i, value) in target.iter().enumerate() {
                let written = i >= 3 && i < 3 + count.min(LANES);
                let expected = if written { source[i - 3] } else { -1.0 };
                assert_eq!(*value, expected, "element {i} of {count}");
            }
        }
    }
}
