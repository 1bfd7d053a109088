//! The projection of a flattened and normalised state.

use super::{ops::Slots, predictor::PredictorNorm, put, summed};
use crate::shapes::expect;
use engine::{
    backend::{Layout, Product},
    buffer::{Buffer, Pool},
    op::{Backward, Forward, Op},
    shape::Shape,
    simd::{F32, LANES, dot, load_partial, store_partial},
    tape::Var,
};

/// The most matrices that [`flat_projection`] takes.
const MOST_PROJECTIONS: usize = 3;

impl PredictorNorm {
    /// The number that is subtracted from a row.
    fn centre(self, x: &[f32]) -> f32 {
        match self {
            Self::RmsNorm | Self::None => 0.0,
            Self::LayerNorm => {
                (x.iter().map(|&x| f64::from(x)).sum::<f64>() / x.len() as f64) as f32
            }
        }
    }

    /// The number that a row less its centre is multiplied with.
    fn reciprocal_root(self, x: &[f32], eps: f32) -> f32 {
        let square = match self {
            Self::None => return 1.0,
            Self::RmsNorm => dot(x, x),
            Self::LayerNorm => {
                let centre = self.centre(x);
                let squares = x.iter().map(|&x| f64::from(x - centre).powi(2));
                squares.sum::<f64>() as f32
            }
        };
        1.0 / (square / x.len() as f32 + eps).sqrt()
    }

    /// Takes from each of these columns its mean: what subtracting the mean of a row does to the
    /// matrix behind it, and to the gradient of that matrix.
    fn centre_columns(self, matrix: &mut [f32], columns: usize) {
        if self != Self::LayerNorm {
            return;
        }
        let rows = (matrix.len() / columns) as f64;
        for c in 0..columns {
            let column = matrix[c..].iter().step_by(columns);
            let mean = (column.map(|&x| f64::from(x)).sum::<f64>() / rows) as f32;
            for x in matrix[c..].iter_mut().step_by(columns) {
                *x -= mean;
            }
        }
    }
}

struct FlatProjection {
    norm: PredictorNorm,
    rows: usize,
    /// Elements of the flattened state.
    inputs: usize,
    /// Columns of each matrix; 0 where there is none.
    columns: [usize; MOST_PROJECTIONS],
    weight: bool,
    /// True of one matrix that is stored `[columns, inputs]`.
    transposed: bool,
    eps: f32,
}

impl FlatProjection {
    fn all_columns(&self) -> usize {
        self.columns.iter().sum()
    }

    /// Number of matrices; they are inputs `1..=count`, the weight the next.
    fn count(&self) -> usize {
        self.columns.iter().filter(|&&columns| columns > 0).count()
    }

    fn weight<'a>(&self, inputs: &[&'a [f32]; MOST_PROJECTIONS + 2]) -> Option<&'a [f32]> {
        self.weight.then(|| inputs[1 + self.count()])
    }

    /// `weight_i phi[i, c]`, all matrices side by side, centred as the norm asks.
    fn packed(&self, pool: &mut Pool, inputs: &[&[f32]; MOST_PROJECTIONS + 2]) -> Buffer {
        let all = self.all_columns();
        let mut packed = pool.take(self.inputs * all);
        let weight = self.weight(inputs);
        let mut first = 0;
        for (k, &columns) in self.columns[..self.count()].iter().enumerate() {
            let phi = inputs[1 + k].chunks_exact(columns);
            for (i, (row, phi)) in packed.chunks_exact_mut(all).zip(phi).enumerate() {
                let weight = weight.map_or(1.0, |weight| weight[i]);
                for (slot, phi) in row[first..].iter_mut().zip(phi) {
                    *slot = weight * phi;
                }
            }
            first += columns;
        }
        self.norm.centre_columns(&mut packed, all);
        packed
    }
}

impl Op for FlatProjection {
    fn name(&self) -> &'static str {
        "flat_projection"
    }

    /// The norm is one number per token and commutes with the product: the normalised
    /// state is never stored.
    fn forward(&self, cx: &mut Forward<'_>) {
        let inputs = cx.inputs();
        let [projected, rstd] = cx.outputs();
        let state = inputs[0];
        let all = self.all_columns();
        let packed = (!self.transposed).then(|| self.packed(cx.pool, &inputs));
        let (layout, matrix) = match &packed {
            Some(packed) => (Layout::Nn, &packed[..]),
            None => (Layout::Nt, inputs[1]),
        };
        let product = Product::new(layout, self.rows, self.inputs, all);
        cx.backend
            .matmul(product, state, matrix, projected, cx.parallel);
        let rows = state.chunks_exact(self.inputs);
        for ((x, u), rstd) in rows.zip(projected.chunks_exact_mut(all)).zip(rstd) {
            *rstd = self.norm.reciprocal_root(x, self.eps);
            for u in u {
                *u *= *rstd;
            }
        }
        if let Some(packed) = packed {
            cx.pool.give(packed);
        }
    }

    /// With `u = r x P`, `P = diag(weight) phi`, r the reciprocal root of N numbers: `dP =
    /// xᵀ (r du)`, `dx = (r du) Pᵀ - x (r² / N) sum_c du_c u_c`; `dphi = weight dP`,
    /// `dweight_i = sum_c dP_ic phi_ic`. Of a layer norm, P and dP have columns of mean zero, and
    /// the second x in `dx` is less its mean.
    fn backward(&self, cx: &mut Backward<'_>) {
        let inputs = cx.inputs();
        let [projected, rstd] = cx.outputs();
        let (state, all) = (inputs[0], self.all_columns());
        let du = cx.grad();
        let mut scaled = cx.pool.take(du.len());
        let rows = scaled.chunks_exact_mut(all).zip(du.chunks_exact(all));
        for ((scaled, du), &r) in rows.zip(rstd) {
            for (scaled, du) in scaled.iter_mut().zip(du) {
                *scaled = r * du;
            }
        }
        if let Some(dx) = cx.input_grad(0) {
            let packed = (!self.transposed).then(|| self.packed(cx.pool, &inputs));
            let (layout, matrix) = match &packed {
                Some(packed) => (Layout::Nt, &packed[..]),
                None => (Layout::Nn, inputs[1]),
            };
            let product = Product {
                accumulate: dx.accumulate,
                ..Product::new(layout, self.rows, all, self.inputs)
            };
            cx.backend
                .matmul(product, &scaled, matrix, dx.values, cx.parallel);
            let rows = dx.values.chunks_exact_mut(self.inputs);
            let normalised = self.norm != PredictorNorm::None;
            for (row, dx) in rows.enumerate().filter(|_| normalised) {
                let of_row = row * all..(row + 1) * all;
                let along: f32 = du[of_row.clone()]
                    .iter()
                    .zip(&projected[of_row])
                    .map(|(du, u)| du * u)
                    .sum();
                let slope = F32::splat(rstd[row] * rstd[row] * along / self.inputs as f32);
                let x = &state[row * self.inputs..][..self.inputs];
                let centre = F32::splat(self.norm.centre(x));
                for (dx, x) in dx.chunks_mut(LANES).zip(x.chunks(LANES)) {
                    let x = load_partial(x) - centre;
                    let value = slope.mul_neg_add(x, load_partial(dx));
                    store_partial(dx, value);
                }
            }
            if let Some(packed) = packed {
                cx.pool.give(packed);
            }
        }
        self.backward_to_parameters(cx, &inputs, &scaled);
        cx.pool.give(scaled);
    }
}

impl FlatProjection {
    fn backward_to_parameters(
        &self,
        cx: &mut Backward<'_>,
        inputs: &[&[f32]; MOST_PROJECTIONS + 2],
        scaled: &[f32],
    ) {
        let count = self.count();
        if !(1..=count + 1).any(|i| cx.needs(i)) {
            return;
        }
        let (all, weight) = (self.all_columns(), self.weight(inputs));
        if self.transposed {
            let Some(grad) = cx.input_grad(1) else { return };
            let product = Product {
                accumulate: grad.accumulate,
                ..Product::new(Layout::Tn, all, self.rows, self.inputs)
            };
            let x = inputs[0];
            return cx
                .backend
                .matmul(product, scaled, x, grad.values, cx.parallel);
        }
        let mut packed_grad = cx.pool.take(self.inputs * all);
        let product = Product::new(Layout::Tn, self.inputs, self.rows, all);
        cx.backend
            .matmul(product, inputs[0], scaled, &mut packed_grad, cx.parallel);
        self.norm.centre_columns(&mut packed_grad, all);
        let mut weight_grad = summed(cx.input_grad(1 + count));
        let mut first = 0;
        for (k, &columns) in self.columns[..count].iter().enumerate() {
            let of_matrix = packed_grad
                .chunks_exact(all)
                .map(|row| &row[first..][..columns]);
            if let Some(grad) = &mut weight_grad {
                let rows = of_matrix.clone().zip(inputs[1 + k].chunks_exact(columns));
                for (grad, (from, phi)) in grad.iter_mut().zip(rows) {
                    *grad += from.iter().zip(phi).map(|(d, phi)| d * phi).sum::<f32>();
                }
            }
            if let Some(mut grad) = cx.input_grad(1 + k) {
                let rows = of_matrix.enumerate().flat_map(|(i, row)| {
                    let weight = weight.map_or(1.0, |weight| weight[i]);
                    row.iter().map(move |from| weight * from)
                });
                put(&mut grad, rows);
            }
            first += columns;
        }
        cx.pool.give(packed_grad);
    }
}

/// `W vec(H) / rms(vec(H))`: the state `[.., n, d]`, flattened and divided by its root mean square
/// (with eps under the root), W `[columns, n d]`; the result is `[.., columns]`.
///
/// # Panics
/// If the shapes do not fit.
#[track_caller]
pub fn flat_linear<'t>(state: Var<'t>, weight: Var<'t>, eps: f32) -> Var<'t> {
    const OP: &str = "flat_linear";
    let slots = Slots::of_streams(OP, state, 1);
    let (rows, inputs) = (slots.dims().rows, slots.dims().slots * slots.dims().width);
    let columns = weight.shape().len() / inputs.max(1);
    expect(OP, [("weight", weight, [columns, inputs].into())]);
    let op = FlatProjection {
        norm: PredictorNorm::RmsNorm,
        rows,
        inputs,
        columns: [columns, 0, 0],
        weight: false,
        transposed: true,
        eps,
    };
    let shapes = [slots.per_token([columns]), Shape::from([rows])];
    let [projected, _] = state.tape().apply(op, &[state, weight], shapes);
    projected
}

/// `[phi_1 | phi_2 | ..]ᵀ norm(vec(H))`: the state `[.., n, d]`, flattened and
/// normalised over all n d numbers (mHC, Eq. 7, by RMS norm), times up to three matrices `[n d,
/// columns]`; the result is `[.., all columns]`.
///
/// # Panics
/// If the shapes do not fit.
#[track_caller]
pub fn flat_projection<'t>(
    norm: PredictorNorm,
    state: Var<'t>,
    phis: &[Var<'t>],
    weight: Option<Var<'t>>,
    eps: f32,
) -> Var<'t> {
    const OP: &str = "flat_projection";
    let slots = Slots::of_streams(OP, state, 1);
    let dims = slots.dims();
    let inputs = dims.slots * dims.width;
    assert!(
        !phis.is_empty() && phis.len() <= MOST_PROJECTIONS,
        "{OP}: {} matrices, expected 1 to {MOST_PROJECTIONS}",
        phis.len()
    );
    let mut columns = [0; MOST_PROJECTIONS];
    let mut all_inputs = [state; MOST_PROJECTIONS + 2];
    for (k, &phi) in phis.iter().enumerate() {
        let shape = phi.shape();
        if shape.dims() != [inputs, shape.width()] || shape.width() == 0 {
            phi.tape().fail(
                OP,
                format_args!("phi is {shape}, expected [rate * d = {inputs}, columns]"),
            );
        }
        (columns[k], all_inputs[1 + k]) = (shape.width(), phi);
    }
    let mut count = 1 + phis.len();
    if let Some(weight) = weight {
        let shape = weight.shape();
        if shape.len() != inputs {
            let message = format_args!("weight is {shape}, expected [rate * d = {inputs}]");
            weight.tape().fail(OP, message);
        }
        all_inputs[count] = weight;
        count += 1;
    }
    let op = FlatProjection {
        norm,
        rows: dims.rows,
        inputs,
        columns,
        weight: weight.is_some(),
        transposed: false,
        eps,
    };
    let shapes = [
        slots.per_token([columns.iter().sum()]),
        Shape::from([dims.rows]),
    ];
    let [projected, _] = state.tape().apply(op, &all_inputs[..count], shapes);
    projected
}
