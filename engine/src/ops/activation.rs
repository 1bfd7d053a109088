//! Element-wise non-linearities.

use crate::{
    backend::{Function, Job},
    kernels::activation as kernels,
    op::{Backward, Forward, Op},
    tape::Var,
};

/// An operation `y_i = f(x_i)` whose derivative is a function of what `$of` gives, `inputs`
/// or `outputs`.
macro_rules! element_wise {
    ($(#[$doc:meta])* $function:ident, $op:ident, $backward:ident($of:ident)) => {
        struct $op;

        impl Op for $op {
            fn name(&self) -> &'static str {
                stringify!($function)
            }

            fn forward(&self, cx: &mut Forward<'_>) {
                let [x] = cx.inputs();
                let [y] = cx.outputs();
                kernels::$function(y, x);
            }

            fn backward(&self, cx: &mut Backward<'_>) {
                let [value] = cx.$of();
                if let Some(dx) = cx.input_grad(0) {
                    kernels::$backward(dx.values, dx.accumulate, cx.grad(), value);
                }
            }
        }

        $(#[$doc])*
        pub fn $function(x: Var<'_>) -> Var<'_> {
            let [y] = x.tape().apply($op, &[x], [x.shape()]);
            y
        }
    };
}

element_wise! {
    /// `y = x sigmoid(x)`; `dx = dy s (1 + x (1 - s))`, `s = sigmoid(x)`.
    silu, Silu, silu_backward(inputs)
}
element_wise! {
    /// `y = tanh(x)`; `dx = dy (1 - y²)`.
    tanh, Tanh, tanh_backward(outputs)
}
element_wise! {
    /// `y = 1 / (1 + exp(-x))`; `dx = dy y (1 - y)`.
    sigmoid, Sigmoid, sigmoid_backward(outputs)
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
    use crate::check::{Check, CheckInput};

    fn logistic(x: f64) -> f64 {
        1.0 / (1.0 + (-x).exp())
    }

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
    fn non_linearities_have_the_gradients_of_their_formula() {
        type Function = for<'t> fn(Var<'t>) -> Var<'t>;
        type Naive = fn(f64) -> f64;
        let cases: [(&str, Function, Naive); 4] = [
            ("gelu", gelu, |x| x * phi(x)),
            ("silu", silu, |x| x * logistic(x)),
            ("tanh", tanh, f64::tanh),
            ("sigmoid", sigmoid, logistic),
        ];
        for (name, function, naive) in cases {
            for n in [1, 16, 37] {
                Check::new(
                    name,
                    vec![CheckInput::normal([n], 2.0, 5)],
                    |_, v| vec![function(v[0])],
                    |x| vec![x[0].iter().map(|&x| naive(x)).collect()],
                )
                .run();
            }
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
                        (0..hidden).map(|i| row[i] * logistic(row[i]) * row[hidden + i])
                    });
                    vec![rows.collect()]
                },
            )
            .run();
        }
    }
}
