//! Differentiable operations: each file has the formula, the function, the backward
//! and its check.

mod activation;
mod arith;
mod attention;
mod dropout;
mod embedding;
mod linear;
mod linear_parts;
mod loss;
mod norm;
mod streams;
mod tokens;

pub use activation::{gelu, sigmoid, silu, swiglu, tanh};
pub use arith::{mean, scale, sum};
pub use attention::{Rotary, attention};
pub use dropout::dropout;
pub use embedding::embedding;
pub use linear::{linear, matmul};
pub use linear_parts::linear_parts;
pub use loss::{cross_entropy, soft_cross_entropy, softmax};
pub use norm::{layer_norm, qk_norm, rms_norm};
pub use streams::{replicate, sum_streams};
pub use tokens::{add_to_each, first_token, mean_of_tokens, prepend_token};
