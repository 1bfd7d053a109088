//! Coefficients whose read is that of the site before.

use super::{PerRow, PerRowGrad};
use engine::{
    op::{Backward, Forward, Op},
    tape::{Tape, Var},
};

struct DelayedRead {
    rows: usize,
    slots: usize,
    /// Columns of the coefficients before.
    columns: usize,
}

const OP: &str = "delayed_read";

impl Op for DelayedRead {
    fn name(&self) -> &'static str {
        OP
    }

    fn forward(&self, cx: &mut Forward<'_>) {
        let (n, columns) = (self.slots, self.columns);
        let [before, alpha] = cx.inputs();
        let [delayed] = cx.outputs();
        let of_before = [("slots", n), ("columns", columns)];
        let before = PerRow::new(OP, "before", before, self.rows, &of_before);
        let of_alpha = [("slots", n), ("slots + 1", n + 1)];
        let alpha = PerRow::new(OP, "alpha", alpha, self.rows, &of_alpha);
        for (row, delayed) in delayed.chunks_exact_mut(n * (n + 1)).enumerate() {
            delayed.copy_from_slice(alpha.row(row));
            let reads = before.row(row).iter().step_by(columns);
            for (to, read) in delayed.iter_mut().step_by(n + 1).zip(reads) {
                *to = *read;
            }
        }
    }

    /// The gradient of column 0 goes to column 0 of the coefficients before, that of the others to
    /// alpha.
    fn backward(&self, cx: &mut Backward<'_>) {
        let (n, columns) = (self.slots, self.columns);
        let [before, alpha] = cx.inputs();
        let [to_before, to_alpha] = [0, 1].map(|i| cx.input_grad(i));
        let shape = [("slots", n), ("columns", columns)];
        let mut to_before = PerRowGrad::new(OP, "before", to_before, before, self.rows, &shape);
        let shape = [("slots", n), ("slots + 1", n + 1)];
        let mut to_alpha = PerRowGrad::new(OP, "alpha", to_alpha, alpha, self.rows, &shape);
        for (row, grad) in cx.grad().chunks_exact(n * (n + 1)).enumerate() {
            if let Some(to) = &mut to_before {
                let reads = grad.iter().step_by(n + 1);
                for (to, grad) in to.row(row).iter_mut().step_by(columns).zip(reads) {
                    *to += grad;
                }
            }
            if let Some(to) = &mut to_alpha {
                for (at, (to, grad)) in to.row(row).iter_mut().zip(grad).enumerate() {
                    *to += if at % (n + 1) == 0 { 0.0 } else { *grad };
                }
            }
        }
    }
}

/// `[A_m | A_r]` with A_m the first column of the coefficients of the site before, `[.., n,
/// columns]`, and A_r of `alpha`, `[.., n, n + 1]`; each per token or for all.
///
/// # Panics
/// If the shapes do not fit.
#[track_caller]
pub fn delayed_read<'t>(before: Var<'t>, alpha: Var<'t>) -> Var<'t> {
    let (columns, width) = (before.shape().width(), alpha.shape().width());
    let slots = width.saturating_sub(1);
    let fits = |shape: engine::shape::Shape| shape.dims().iter().rev().nth(1) == Some(&slots);
    let rows = [before, alpha].map(|var| var.shape().len());
    let rows = [
        rows[0] / (slots * columns).max(1),
        rows[1] / (slots * width).max(1),
    ];
    let all = rows[0].max(rows[1]);
    let agree = rows.iter().all(|&rows| rows == 1 || rows == all);
    if !(slots > 0 && agree && fits(before.shape()) && fits(alpha.shape())) {
        before.tape().fail(
            OP,
            format_args!(
                "before is {}, alpha {}, expected [.., n, columns] and [.., n, n + 1]",
                before.shape(),
                alpha.shape()
            ),
        );
    }
    let shape = match rows[1] == all {
        true => alpha.shape(),
        false => before.shape().with_width(width),
    };
    let op = DelayedRead {
        rows: all,
        slots,
        columns,
    };
    let [delayed] = alpha.tape().apply(op, &[before, alpha], [shape]);
    delayed
}

/// What the first sublayer reads with: `e_0`, `[n, 1]`.
pub(in crate::connection) fn first_read(tape: &Tape, rate: usize) -> Var<'_> {
    let mut read = vec![0.0; rate];
    read[0] = 1.0;
    tape.constant([rate, 1], &read)
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::check::{Check, CheckInput};

    #[test]
    fn the_read_is_that_of_the_coefficients_before() {
        for (n, columns) in [(1, 1), (2, 3), (4, 1), (3, 4)] {
            for (of_before, of_alpha) in [(3, 3), (1, 3), (3, 1), (1, 1)] {
                Check::new(
                    OP,
                    vec![
                        CheckInput::normal([of_before, n, columns], 1.0, 1),
                        CheckInput::normal([of_alpha, n, n + 1], 1.0, 2),
                    ],
                    |_, v| vec![delayed_read(v[0], v[1])],
                    |x| {
                        let rows = of_before.max(of_alpha);
                        let element = |at: usize| {
                            let (row, i, j) = (at / (n * (n + 1)), at / (n + 1) % n, at % (n + 1));
                            match j {
                                0 => x[0][(row % of_before * n + i) * columns],
                                _ => x[1][(row % of_alpha * n + i) * (n + 1) + j],
                            }
                        };
                        vec![(0..rows * n * (n + 1)).map(element).collect()]
                    },
                )
                .run();
            }
        }
    }
}
