//! Numbers rounded to bf16, and products of matrices of them with sums in f32.

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod dot;
#[cfg(target_arch = "x86_64")]
mod pack;
#[cfg(target_arch = "x86_64")]
mod pack_avx512;
#[cfg(target_arch = "x86_64")]
mod product;
mod rounding;
mod unit;

#[cfg(target_arch = "x86_64")]
pub use product::product;
pub use rounding::{round, rounded};
pub use unit::Unit;
