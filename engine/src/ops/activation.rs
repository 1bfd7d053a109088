//! Element-wise non-linearities.

use crate::{
    backend::{Function, Job},
    kernels::activation::silu_slope,
    op::{Backward, Forward, Op},
    simd::{self, F32},
    tape::Var,
};

/// Defines an element-wise operation `y_i = f(x_i)` of [`Var`]s, with everything that
/// belongs to it: the function on vectors of [`F32`](crate::simd::F32), its derivative, and
/// the formula in f64 that both are checked against.
///
/// The derivative is a function of the input or of the output: `derivative of inputs(x)` or
/// `derivative of outputs(y)`. Beside the function there is a module of the same name with
/// `check`, which `cargo test` runs.
///
/// ```
/// use engine::{element_wise, simd::F32};
///
/// element_wise! {
///     /// `y = x³`.
///     pub fn cube(x) = x * x * x;
///     derivative of inputs(x) = x * x * F32::splat(3.0);
///     formula(x) = x.powi(3);
/// }
///
/// fn main() {
///     cube::check();
/// }
/// ```
#[macro_export]
macro_rules! element_wise {
    (
        $(#[$doc:meta])*
        pub fn $name:ident($x:ident) = $value:expr;
        derivative of $of:ident($known:ident) = $derivative:expr;
        formula($wide:ident) = $formula:expr;
    ) => {
        $(#[$doc])*
        pub fn $name(x: $crate::tape::Var<'_>) -> $crate::tape::Var<'_> {
            struct ElementWise;

            impl $crate::op::Op for ElementWise {
                fn name(&self) -> &'static str {
                    stringify!($name)
                }

                fn forward(&self, cx: &mut $crate::op::Forward<'_>) {
                    let [x] = cx.inputs();
                    let [y] = cx.outputs();
                    $crate::simd::map(y, false, [x], |[$x]| $value);
                }

                fn backward(&self, cx: &mut $crate::op::Backward<'_>) {
                    let [known] = cx.$of();
                    let dy = cx.grad();
                    if let Some(dx) = cx.input_grad(0) {
                        $crate::simd::map(dx.values, dx.accumulate, [dy, known], |[dy, $known]| {
                            dy * ($derivative)
                        });
                    }
                }
            }

            let [y] = x.tape().apply(ElementWise, &[x], [x.shape()]);
            y
        }

        #[doc(hidden)]
        pub mod $name {
            #[allow(unused_imports)]
            use super::*;

            /// Compares values and gradients with the formula.
            pub fn check() {
                $crate::check::element_wise(stringify!($name), |x| $name(x), |$wide: f64| $formula);
            }

            #[cfg(test)]
            #[test]
            fn has_the_values_and_gradients_of_its_formula() {
                check();
            }
        }
    };
}

element_wise! {
    /// `y = x sigmoid(x)`; `dx = dy s (1 + x (1 - s))`, `s = sigmoid(x)`.
    pub fn silu(x) = x * simd::sigmoid(x);
    derivative of inputs(x) = silu_slope(x, simd::sigmoid(x));
    formula(x) = x / (1.0 + (-x).exp());
}

element_wise! {
    /// `y = tanh(x)`; `dx = dy (1 - y²)`.
    pub fn tanh(x) = simd::tanh(x);
    derivative of outputs(y) = y.mul_neg_add(y, F32::ONE);
    formula(x) = x.tanh();
}

element_wise! {
    /// `y = 1 / (1 + exp(-x))`; `dx = dy y (1 - y)`.
    pub fn sigmoid(x) = simd::sigmoid(x);
    derivative of outputs(y) = y.mul_neg_add(y, y);
    formula(x) = 1.0 / (1.0 + (-x).exp());
}

impl Op for Function {
    fn name(&self) -> &'static str {
        Function::name(self)
    }

    fn forward(&self, cx: &mut Forward<'_>) {
        let job = Job::forward(*self, cx.operand(0), cx.target(0));
        cx.backend.compute(&mut [Some(job)], cx.parallel);
    }

    fn backward(&self, cx: &mut Backward<'_>) {
        if let Some(dx) = cx.grad_target(0) {
            let job = Job::backward(*self, cx.grad_operand(), cx.operand(0), dx);
            cx.backend.compute(&mut [Some(job)], cx.parallel);
        }
    }
}

/// `y = x Phi(x)` with the exact normal distribution function, `Phi(x) = (1 + erf(x / sqrt
/// 2)) / 2`; `dx = dy (Phi(x) + x phi(x))`.
pub fn gelu(x: Var<'_>) -> Var<'_> {
    let [y] = x.tape().apply(Function::Gelu, &[x], [x.shape()]);
    y
}

/// `y = silu(gate) up` for rows `gate | up`: `[.., 2 hidden]` to `[.., hidden]`
/// (Shazeer, GLU Variants Improve Transformer, 2020).
///
/// # Panics
/// If the width is odd.
#[track_caller]
pub fn swiglu(gate_up: Var<'_>) -> Var<'_> {
    let shape = gate_up.shape();
    if !shape.width().is_multiple_of(2) {
        gate_up.tape().fail(
            "swiglu",
            format_args!("gate_up is {shape}, expected an even width"),
        );
    }
    let hidden = shape.width() / 2;
    let op = Function::SwiGlu { hidden };
    let [y] = gate_up
        .tape()
        .apply(op, &[gate_up], [shape.with_width(hidden)]);
    y
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        check::{Check, CheckInput, element_wise},
        params::Gradients,
        tape::Tape,
    };

    /// The normal distribution function by its everywhere convergent series.
    fn phi(x: f64) -> f64 {
        let (mut term, mut sum, mut k) = (x, x, 1.0);
        while term.abs() > 1e-17 {
            term *= x * x / (2.0 * k + 1.0);
            sum += term;
            k += 1.0;
        }
        0.5 + sum * (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt()
    }

    #[test]
    fn gelu_has_the_values_and_gradients_of_its_formula() {
        element_wise("gelu", gelu, |x| x * phi(x));
    }

    #[test]
    fn far_from_zero_activations_saturate_without_nan() {
        type Function = for<'t> fn(Var<'t>) -> Var<'t>;
        for function in [gelu as Function, silu] {
            let tape = Tape::new();
            let x = tape.input([6], &[-1e4, -100.0, -0.0, 0.0, 100.0, 1e4]);
            let y = function(x);
            assert_eq!(y.value(), [0.0, 0.0, 0.0, 0.0, 100.0, 1e4]);
            let mut none = Gradients::new(&Default::default());
            tape.backward_from(&[(y, &[1.0; 6])], &mut none);
            assert_eq!(tape.grad(x), [0.0, 0.0, 0.5, 0.5, 1.0, 1.0]);
        }
    }

    #[test]
    fn swiglu_has_the_gradients_of_its_formula() {
        for hidden in [1, 5, 16, 33] {
            Check::new(
                "swiglu",
                vec![CheckInput::normal([3, 2 * hidden], 1.5, 6)],
                |_, v| vec![swiglu(v[0])],
                |x| {
                    let rows = x[0].chunks(2 * hidden).flat_map(|row| {
                        (0..hidden).map(|i| row[i] / (1.0 + (-row[i]).exp()) * row[hidden + i])
                    });
                    vec![rows.collect()]
                },
            )
            .run();
        }
    }
}
