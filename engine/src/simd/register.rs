//! One vector register of the target, for kernels whose sums must stay in registers.
//!
//! Where an [`F32`](super::F32) is several registers, the compiler keeps arrays of it in
//! memory: a tile of matrix product then runs at half its speed or less.

#[cfg(target_feature = "avx512f")]
pub use super::{F32 as Register, LANES, load, load_partial, store, store_partial};

#[cfg(not(target_feature = "avx512f"))]
pub use narrow::*;

#[cfg(not(target_feature = "avx512f"))]
mod narrow {
    /// As many `f32` as a register holds.
    #[cfg(target_feature = "avx")]
    pub type Register = wide::f32x8;
    /// As many `f32` as a register holds.
    #[cfg(not(target_feature = "avx"))]
    pub type Register = wide::f32x4;

    /// Elements in a [`Register`].
    pub const LANES: usize = size_of::<Register>() / size_of::<f32>();

    /// The first [`LANES`] elements of `x`.
    #[inline(always)]
    pub fn load(x: &[f32]) -> Register {
        Register::new(x[..LANES].try_into().expect("LANES elements"))
    }

    /// Writes `v` to the first [`LANES`] elements of `x`.
    #[inline(always)]
    pub fn store(x: &mut [f32], v: Register) {
        x[..LANES].copy_from_slice(v.as_array());
    }

    /// Up to [`LANES`] elements of `x`, the rest filled with zero.
    #[inline(always)]
    pub fn load_partial(x: &[f32]) -> Register {
        #[cfg(all(target_arch = "x86_64", target_feature = "avx"))]
        {
            // SAFETY: the build has AVX (cfg above); lanes whose mask is clear are not
            // read, and the mask has at most x.len() lanes.
            unsafe { core::arch::x86_64::_mm256_maskload_ps(x.as_ptr(), first_lanes(x.len())) }
                .into()
        }
        #[cfg(not(all(target_arch = "x86_64", target_feature = "avx")))]
        {
            let mut lanes = [0.0; LANES];
            let count = x.len().min(LANES);
            lanes[..count].copy_from_slice(&x[..count]);
            Register::new(lanes)
        }
    }

    /// Writes as many lanes of `v` as `x` has room for, at most [`LANES`].
    #[inline(always)]
    pub fn store_partial(x: &mut [f32], v: Register) {
        #[cfg(all(target_arch = "x86_64", target_feature = "avx"))]
        {
            let mask = first_lanes(x.len());
            // SAFETY: the build has AVX (cfg above); lanes whose mask is clear are not
            // written, and the mask has at most x.len() lanes.
            unsafe { core::arch::x86_64::_mm256_maskstore_ps(x.as_mut_ptr(), mask, v.into()) }
        }
        #[cfg(not(all(target_arch = "x86_64", target_feature = "avx")))]
        {
            let count = x.len().min(LANES);
            x[..count].copy_from_slice(&v.as_array()[..count]);
        }
    }

    /// A mask of the first `count` lanes, all of them where `count` is [`LANES`] or more.
    #[cfg(all(target_arch = "x86_64", target_feature = "avx"))]
    #[inline(always)]
    fn first_lanes(count: usize) -> core::arch::x86_64::__m256i {
        let count = wide::i32x8::splat(count.min(LANES) as i32);
        count
            .simd_gt(wide::i32x8::new([0, 1, 2, 3, 4, 5, 6, 7]))
            .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partial_loads_fill_with_zero_and_partial_stores_stop_at_the_end() {
        let source: Vec<f32> = (1..=40).map(|i| i as f32).collect();
        for count in 0..=LANES + 4 {
            let lanes = load_partial(&source[..count]).to_array();
            for (i, lane) in lanes.iter().enumerate() {
                let expected = if i < count { source[i] } else { 0.0 };
                assert_eq!(*lane, expected, "lane {i} of {count}");
            }
            let mut target = [-1.0f32; 40];
            store_partial(&mut target[3..3 + count], load(&source));
            for (i, value) in target.iter().enumerate() {
                let written = i >= 3 && i < 3 + count.min(LANES);
                let expected = if written { source[i - 3] } else { -1.0 };
                assert_eq!(*value, expected, "element {i} of {count}");
            }
            store(&mut target, load(&source));
            assert_eq!(target[..LANES], source[..LANES]);
        }
    }
}
