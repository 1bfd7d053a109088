//! States of several streams: how a sublayer reads them, how they are carried past it and how
//! its output is written to them, whatever makes the coefficients.
//!
//! | module | contents |
//! |---|---|
//! | [`ops`] | reads, mixes and writes on the tape |
//! | [`pending`] | writes that are not carried out yet |
//! | [`slots`] | the kernels behind them |
//! | [`predictor`] | the parameters of coefficients that are predicted from the state |
//! | [`slot_predictor`] | coefficients of which each slot predicts its own row |
//! | [`expansion`] | the first streams |
//! | [`delayed_read`] | coefficients whose read is that of the site before |
//! | [`freeze`] | parameters of which some columns are not trained |
//! | [`flat_projection`] | projections of the whole state of a token |
//! | `rows` | the inner loops |

pub mod delayed_read;
pub mod expansion;
pub mod flat_projection;
pub mod freeze;
pub mod ops;
pub mod pending;
pub mod predictor;
pub(super) mod rows;
pub(super) mod slot_coefficients;
pub mod slot_predictor;
pub mod slots;

use engine::op::Grad;
use std::fmt;

/// Adds or writes `values`.
pub(super) fn put(grad: &mut Grad<'_>, values: impl IntoIterator<Item = f32>) {
    for (slot, value) in grad.values.iter_mut().zip(values) {
        *slot = if grad.accumulate {
            *slot + value
        } else {
            value
        };
    }
}

/// The values of a gradient that is a sum, ready to be added to.
pub(super) fn summed<'a>(grad: Option<Grad<'a>>) -> Option<&'a mut [f32]> {
    grad.map(|grad| {
        if !grad.accumulate {
            grad.values.fill(0.0);
        }
        grad.values
    })
}

/// A named axis and its size, for messages.
pub(super) type Axis = (&'static str, usize);

/// Coefficients per row or shared by all rows, `len` for one row.
#[derive(Clone, Copy)]
pub(super) struct PerRow<'a> {
    data: &'a [f32],
    len: usize,
    stride: usize,
}

impl<'a> PerRow<'a> {
    #[track_caller]
    pub fn new(op: &str, name: &str, data: &'a [f32], rows: usize, shape: &[Axis]) -> Self {
        let stride = row_stride(op, name, data.len(), rows, shape);
        let len = elements(shape);
        Self { data, len, stride }
    }

    #[inline(always)]
    pub fn row(self, row: usize) -> &'a [f32] {
        &self.data[row * self.stride..][..self.len]
    }
}

/// The gradient of [`PerRow`]: written row by row, or summed over them.
pub(super) struct PerRowGrad<'a> {
    data: &'a mut [f32],
    len: usize,
    stride: usize,
    add: bool,
}

impl<'a> PerRowGrad<'a> {
    #[track_caller]
    pub fn new(
        op: &str,
        name: &str,
        grad: Option<Grad<'a>>,
        value: &[f32],
        rows: usize,
        shape: &[Axis],
    ) -> Option<Self> {
        let grad = grad?;
        assert_eq!(
            grad.values.len(),
            value.len(),
            "{op}: the gradient of {name} and {name} differ in length"
        );
        let stride = row_stride(op, name, value.len(), rows, shape);
        if stride == 0 && !grad.accumulate {
            grad.values.fill(0.0);
        }
        Some(Self {
            data: grad.values,
            len: elements(shape),
            stride,
            add: grad.accumulate || stride == 0,
        })
    }

    /// The slot of a row, ready to be added to.
    #[inline(always)]
    pub fn row(&mut self, row: usize) -> &mut [f32] {
        let slot = &mut self.data[row * self.stride..][..self.len];
        if !self.add {
            slot.fill(0.0);
        }
        slot
    }
}

/// The distance between the coefficients of two rows; 0 if they are shared.
#[track_caller]
fn row_stride(op: &str, name: &str, len: usize, rows: usize, shape: &[Axis]) -> usize {
    let one = elements(shape);
    if len == one {
        0
    } else if len == rows * one {
        one
    } else {
        let shape = describe(shape);
        panic!("{op}: {name} has {len} elements, expected [rows {rows}, {shape}] or [{shape}]");
    }
}

/// Panics unless `len`, where there is one, is the product of `shape`.
#[track_caller]
pub(super) fn expect_len(
    op: &str,
    name: impl fmt::Display,
    len: impl Into<Option<usize>>,
    shape: &[Axis],
) {
    if let Some(len) = len.into() {
        assert!(
            len == elements(shape),
            "{op}: {name} has {len} elements, expected [{}]",
            describe(shape)
        );
    }
}

/// Elements of a gradient that is wanted.
pub(super) fn grad_len(grad: &Option<Grad<'_>>) -> Option<usize> {
    grad.as_ref().map(|grad| grad.values.len())
}

fn elements(shape: &[Axis]) -> usize {
    shape.iter().map(|(_, size)| size).product()
}

fn describe(shape: &[Axis]) -> String {
    let axes: Vec<String> = shape
        .iter()
        .map(|(name, size)| format!("{name} {size}"))
        .collect();
    axes.join(", ")
}
