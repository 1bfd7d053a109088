//! A tape-based autograd tensor engine in f32 for the CPU.
//!
//! A [`Tape`](tape::Tape) records [operations](ops) as they run and replays them
//! backwards; [parameters](params) live in one slab; a training step runs over
//! [shards](parallel) of the batch. Kernels are plain functions over slices.
//!
//! ```
//! use engine::{ops, params::{Builder, Decay, Gradients, Init}, rng::Key, tape::Tape};
//!
//! let mut builder = Builder::new(Key::new(0));
//! let weight = builder.param("weight", [1, 2], Decay::Yes, Init::Values(vec![2.0, -1.0]));
//! let params = builder.finish();
//!
//! let tape = Tape::new();
//! tape.bind(&params);
//! let x = tape.constant([3, 2], &[1.0, 0.0, 0.0, 1.0, 1.0, 1.0]);
//! let y = ops::linear(x, tape.param(weight), None);
//! assert_eq!(y.value(), [2.0, -1.0, 1.0]);
//!
//! let mut gradients = Gradients::new(&params);
//! tape.backward(ops::sum(y * y), &mut gradients);
//! // d/dw of (w x)² summed over the rows: 2 Σ (w x) x.
//! assert_eq!(gradients.slab()[params.get(weight).range.clone()], [6.0, 0.0]);
//! ```

pub mod backend;
pub mod buffer;
pub mod check;
pub mod kernels;
pub mod op;
pub mod ops;
pub mod parallel;
pub mod params;
pub mod peak;
pub mod profile;
pub mod rng;
pub mod scalar;
pub mod shape;
pub mod simd;
pub mod skipped;
pub mod tape;

/// Pages of the book are compiled and run like any other example.
#[cfg(doctest)]
mod book {
    #[doc = include_str!("../../docs/adding_an_op.md")]
    struct AddingAnOp;
    #[doc = include_str!("../../docs/engine.md")]
    struct Engine;
    #[doc = include_str!("../../docs/seesaw.md")]
    struct Seesaw;
}
