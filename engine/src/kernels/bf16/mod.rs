//! Numbers rounded to bf16, and products of matrices of them with sums in f32.

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod dot;
mod pack;
#[cfg(target_arch = "x86_64")]
mod pack_avx512;
mod product;
mod rounding;
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "unused there"))]
mod tile;
mod unit;

pub use product::product;
pub use rounding::{round, rounded};
pub use unit::Unit;
