//! Replication of a vector into streams, and their sum.

use crate::{
    kernels::broadcast as kernels,
    op::{Backward, Forward, Op},
    shape::Shape,
    tape::Var,
};

struct Replicate {
    rate: usize,
    width: usize,
}

impl Op for Replicate {
    fn name(&self) -> &'static str {
        "replicate"
    }

    fn forward(&self, cx: &mut Forward<'_>) {
        let [x] = cx.inputs();
        let [y] = cx.outputs();
        kernels::replicate(y, false, x, self.rate, self.width);
    }

    /// `dx = sum over streams of dy`.
    fn backward(&self, cx: &mut Backward<'_>) {
        if let Some(dx) = cx.input_grad(0) {
            kernels::sum_streams(dx.values, dx.accumulate, cx.grad(), self.rate, self.width);
        }
    }
}

/// `H_j = x` for every stream j: `[.., d]` to `[.., rate, d]` (Zhu et al. 2025,
/// section 2.1).
///
/// # Panics
/// If the rate is 0.
#[track_caller]
pub fn replicate(x: Var<'_>, rate: usize) -> Var<'_> {
    let shape = x.shape();
    if rate == 0 {
        x.tape().fail("replicate", "rate is 0, expected at least 1");
    }
    let (rank, width) = (shape.rank(), shape.width());
    let mut dims = [width; crate::shape::MAX_RANK];
    dims[..rank].copy_from_slice(shape.dims());
    dims[rank - 1] = rate;
    dims[rank] = width;
    let op = Replicate { rate, width };
    let [y] = x.tape().apply(op, &[x], [Shape::new(&dims[..=rank])]);
    y
}

struct SumStreams {
    rate: usize,
    width: usize,
}

impl Op for SumStreams {
    fn name(&self) -> &'static str {
        "sum_streams"
    }

    fn forward(&self, cx: &mut Forward<'_>) {
        let [x] = cx.inputs();
        let [y] = cx.outputs();
        kernels::sum_streams(y, false, x, self.rate, self.width);
    }

    /// `dx_j = dy` for every stream j.
    fn backward(&self, cx: &mut Backward<'_>) {
        if let Some(dx) = cx.input_grad(0) {
            kernels::replicate(dx.values, dx.accumulate, cx.grad(), self.rate, self.width);
        }
    }
}

/// `y = sum over streams j of H_j`: `[.., rate, d]` to `[.., d]`.
///
/// # Panics
/// If the rank is less than 2.
#[track_caller]
pub fn sum_streams(x: Var<'_>) -> Var<'_> {
    let shape = x.shape();
    let dims = shape.dims();
    let &[ref outer @ .., rate, width] = dims else {
        x.tape().fail(
            "sum_streams",
            format_args!("x is {shape}, expected [.., rate, d]"),
        );
    };
    let mut summed = [width; crate::shape::MAX_RANK];
    summed[..outer.len()].copy_from_slice(outer);
    let op = SumStreams { rate, width };
    let [y] = x
        .tape()
        .apply(op, &[x], [Shape::new(&summed[..=outer.len()])]);
    y
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Check, CheckInput};

    #[test]
    fn streams_have_the_gradients_of_their_formula() {
        for (rate, width) in [(1, 1), (2, 5), (4, 16), (3, 33)] {
            Check::new(
                "replicate",
                vec![CheckInput::normal([3, width], 1.0, 1)],
                |_, v| vec![replicate(v[0], rate)],
                |x| {
                    let rows = x[0].chunks(width);
                    vec![rows.flat_map(|row| row.repeat(rate)).collect()]
                },
            )
            .run();
            Check::new(
                "sum_streams",
                vec![CheckInput::normal([3, rate, width], 1.0, 2)],
                |_, v| vec![sum_streams(v[0])],
                |x| {
                    let rows = x[0].chunks(rate * width).flat_map(|row| {
                        (0..width).map(move |i| (0..rate).map(|j| row[j * width + i]).sum())
                    });
                    vec![rows.collect()]
                },
            )
            .run();
        }
    }
}
