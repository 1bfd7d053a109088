//! Checks of differentiable operations against a naive forward in f64.
//!
//! Public, because whoever adds an operation needs it too: describe the inputs,
//! build the operation on a tape, write its formula down once more in plain f64, and
//! [`Check::run`] compares
//! - the forward with the formula,
//! - the gradient of every input with central finite differences of the formula, for
//!   every subset of inputs that need one,
//! - the gradients of inputs that are used twice, to which a backward has to add,
//! - everything once more with outputs and scratch poisoned by NaN,
//! - the bits of all of it for one and for several threads.

use crate::{
    buffer::Pool,
    params::{Builder, Gradients},
    rng::Key,
    shape::Shape,
    tape::{Tape, Var},
};
use rand::distr::Distribution;
use rand_distr::Normal;

/// The largest number of inputs for which every subset of gradients is tried; above
/// it, all of them, each alone, and all but each.
const EVERY_SUBSET: usize = 5;

/// A check to be run.
pub struct Check<'a, B, N> {
    /// Names the operation in messages.
    pub name: &'a str,
    /// The inputs.
    pub inputs: Vec<CheckInput>,
    /// Records the operation.
    pub build: B,
    /// The same formula in f64: inputs in, all differentiable outputs out.
    pub naive: N,
    /// The largest error of the forward, relative to the largest magnitude.
    pub forward_tolerance: f64,
    /// The largest error of a gradient, relative to its largest magnitude.
    pub gradient_tolerance: f64,
}

/// One input of a check.
#[derive(Clone, Debug)]
pub struct CheckInput {
    /// Shape.
    pub shape: Shape,
    /// Elements.
    pub data: Vec<f32>,
}

impl CheckInput {
    /// Normal elements with this standard deviation, drawn from the shape and
    /// `seed`.
    pub fn normal(shape: impl Into<Shape>, std: f32, seed: u64) -> Self {
        let shape = shape.into();
        let mut rng = Key::new(seed).at(shape.len() as u64).rng();
        let normal = Normal::new(0.0, std).expect("a finite standard deviation");
        let data = (0..shape.len()).map(|_| normal.sample(&mut rng)).collect();
        Self { shape, data }
    }
}

/// Results of one execution.
#[derive(PartialEq)]
struct Outcome {
    outputs: Vec<Vec<f32>>,
    gradients: Vec<Vec<f32>>,
}

impl<B, N> Check<'_, B, N>
where
    B: for<'t> Fn(&'t Tape, &[Var<'t>]) -> Vec<Var<'t>> + Sync,
    N: Fn(&[Vec<f64>]) -> Vec<Vec<f64>> + Sync,
{
    /// A check with the tolerances that suit f32: 1e-5 forward, 1e-4 backward.
    pub fn new(name: &str, inputs: Vec<CheckInput>, build: B, naive: N) -> Check<'_, B, N> {
        Check {
            name,
            inputs,
            build,
            naive,
            forward_tolerance: 1e-5,
            gradient_tolerance: 1e-4,
        }
    }

    /// Runs the check.
    ///
    /// # Panics
    /// If anything differs, saying what and by how much.
    #[track_caller]
    pub fn run(&self) {
        // One copy of the work for all operations.
        let check: Check<'_, &Build<'_>, &Naive<'_>> = Check {
            name: self.name,
            inputs: self.inputs.clone(),
            build: &|tape, inputs| (self.build)(tape, inputs),
            naive: &|inputs| (self.naive)(inputs),
            forward_tolerance: self.forward_tolerance,
            gradient_tolerance: self.gradient_tolerance,
        };
        check.run_all();
    }
}

type Build<'b> = dyn for<'t> Fn(&'t Tape, &[Var<'t>]) -> Vec<Var<'t>> + Sync + 'b;
type Naive<'n> = dyn Fn(&[Vec<f64>]) -> Vec<Vec<f64>> + Sync + 'n;

impl Check<'_, &Build<'_>, &Naive<'_>> {
    #[track_caller]
    fn run_all(&self) {
        let wide: Vec<Vec<f64>> = self
            .inputs
            .iter()
            .map(|input| input.data.iter().map(|&x| f64::from(x)).collect())
            .collect();
        let expected = (self.naive)(&wide);
        let cotangents: Vec<Vec<f32>> = expected
            .iter()
            .enumerate()
            .map(|(i, output)| CheckInput::normal([output.len()], 1.0, 900 + i as u64).data)
            .collect();
        let all = vec![true; self.inputs.len()];
        let reference = self.execute(1, &all, &cotangents, Tape::new());

        for (i, (output, expected)) in reference.outputs.iter().zip(&expected).enumerate() {
            self.compare(
                &format!("output {i}"),
                output,
                expected,
                self.forward_tolerance,
            );
        }
        for (i, gradient) in reference.gradients.iter().enumerate() {
            let expected = self.finite_differences(&wide, i, &cotangents);
            self.compare(
                &format!("gradient {i}"),
                gradient,
                &expected,
                self.gradient_tolerance,
            );
        }
        let twice = self.execute(2, &all, &cotangents, Tape::new());
        for (i, (got, once)) in twice.gradients.iter().zip(&reference.gradients).enumerate() {
            let expected: Vec<f64> = once.iter().map(|&g| 2.0 * f64::from(g)).collect();
            let what = format!("gradient {i} of inputs used twice");
            self.compare(&what, got, &expected, self.gradient_tolerance);
        }
        for needed in self.subsets() {
            let outcome = self.execute(
                1,
                &needed,
                &cotangents,
                Tape::new().with_pool(Pool::poisoned()),
            );
            assert!(
                outcome.outputs == reference.outputs,
                "{}: outputs differ with poisoned memory, gradients needed: {needed:?}",
                self.name
            );
            for (i, &needed_here) in needed.iter().enumerate() {
                assert!(
                    !needed_here || outcome.gradients[i] == reference.gradients[i],
                    "{}: gradient {i} differs with poisoned memory, gradients needed: {needed:?}",
                    self.name
                );
            }
        }
        for threads in [1, 2, 5] {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .expect("a thread pool");
            let outcome =
                pool.install(|| self.execute(1, &all, &cotangents, Tape::new().parallel(true)));
            assert!(
                outcome == reference,
                "{}: {threads} threads change the bits",
                self.name
            );
        }
    }

    /// Records the operation `uses` times on the same inputs; the outputs are those of the
    /// first time, the gradients those of all.
    fn execute(
        &self,
        uses: usize,
        needed: &[bool],
        cotangents: &[Vec<f32>],
        mut tape: Tape,
    ) -> Outcome {
        let mut outcome = None;
        // Twice on one tape: the second time on used memory.
        for _ in 0..2 {
            tape.reset();
            let vars: Vec<Var<'_>> = self
                .inputs
                .iter()
                .zip(needed)
                .map(|(input, &needed)| match needed {
                    true => tape.input(input.shape, &input.data),
                    false => tape.constant(input.shape, &input.data),
                })
                .collect();
            let built: Vec<_> = (0..uses).map(|_| (self.build)(&tape, &vars)).collect();
            let values: Vec<Vec<f32>> = built[0].iter().map(|output| output.value()).collect();
            assert_eq!(
                values.len(),
                cotangents.len(),
                "{}: the formula gives another number of outputs",
                self.name
            );
            for (output, cotangent) in values.iter().zip(cotangents) {
                assert_eq!(
                    output.len(),
                    cotangent.len(),
                    "{}: the formula gives another length",
                    self.name
                );
            }
            let seeds: Vec<(Var<'_>, &[f32])> = built
                .iter()
                .flat_map(|outputs| outputs.iter().zip(cotangents))
                .filter(|(output, _)| output.needs_grad())
                .map(|(&output, cotangent)| (output, &cotangent[..]))
                .collect();
            let mut none = Gradients::new(&Builder::new(Key::new(0)).finish());
            tape.backward_from(&seeds, &mut none);
            outcome = Some(Outcome {
                outputs: values,
                gradients: vars.iter().map(|&var| tape.grad(var)).collect(),
            });
        }
        outcome.expect("an execution")
    }

    fn subsets(&self) -> Vec<Vec<bool>> {
        let n = self.inputs.len();
        if n <= EVERY_SUBSET {
            return (1..1_u32 << n)
                .map(|mask| (0..n).map(|i| mask >> i & 1 == 1).collect())
                .collect();
        }
        let alone = (0..n).map(|i| (0..n).map(|j| i == j).collect());
        let without = (0..n).map(|i| (0..n).map(|j| i != j).collect());
        std::iter::once(vec![true; n])
            .chain(alone)
            .chain(without)
            .collect()
    }

    /// Central differences of `sum_i <output_i, cotangent_i>` in input `which`.
    fn finite_differences(
        &self,
        inputs: &[Vec<f64>],
        which: usize,
        cotangents: &[Vec<f32>],
    ) -> Vec<f64> {
        let objective = |inputs: &[Vec<f64>]| -> f64 {
            let outputs = (self.naive)(inputs);
            let products = outputs.iter().zip(cotangents).map(|(output, cotangent)| {
                let terms = output.iter().zip(cotangent).map(|(o, &c)| o * f64::from(c));
                terms.sum::<f64>()
            });
            products.sum()
        };
        let mut inputs = inputs.to_vec();
        (0..inputs[which].len())
            .map(|j| {
                let x = inputs[which][j];
                let h = 1e-5 * x.abs().max(1.0);
                inputs[which][j] = x + h;
                let above = objective(&inputs);
                inputs[which][j] = x - h;
                let below = objective(&inputs);
                inputs[which][j] = x;
                (above - below) / (2.0 * h)
            })
            .collect()
    }

    #[track_caller]
    fn compare(&self, what: &str, got: &[f32], expected: &[f64], tolerance: f64) {
        let error = relative_error(got, expected);
        assert!(
            error <= tolerance,
            "{}: {what} is off by {error:.2e} of its largest magnitude, tolerated {tolerance:.0e}\n got      {:?}\n expected {:?}",
            self.name,
            &got[..got.len().min(8)],
            &expected[..expected.len().min(8)],
        );
    }
}

/// Checks an element-wise operation against its formula, at several lengths.
///
/// # Panics
/// As [`Check::run`].
#[track_caller]
pub fn element_wise(
    name: &str,
    function: impl for<'t> Fn(Var<'t>) -> Var<'t> + Sync,
    formula: impl Fn(f64) -> f64 + Sync,
) {
    for n in [1, 16, 37] {
        let check = Check::new(
            name,
            vec![CheckInput::normal([n], 2.0, 5)],
            |_, v| vec![function(v[0])],
            |x| vec![x[0].iter().map(|&x| formula(x)).collect()],
        );
        Check {
            forward_tolerance: 5e-7,
            // A single slope may be much smaller than the rounding of what it is made of.
            gradient_tolerance: if n == 1 { 1e-5 } else { 1e-6 },
            ..check
        }
        .run();
    }
}

/// The largest absolute difference, relative to the largest expected magnitude (at
/// least 1e-3, so that a tensor of zeros can be compared); infinite if anything is
/// not finite or the lengths differ.
pub fn relative_error(got: &[f32], expected: &[f64]) -> f64 {
    if got.len() != expected.len() {
        return f64::INFINITY;
    }
    let scale = expected
        .iter()
        .fold(1e-3_f64, |scale, x| scale.max(x.abs()));
    let worst = got.iter().zip(expected).fold(0.0_f64, |worst, (&g, e)| {
        let difference = (f64::from(g) - e).abs();
        if difference.is_finite() {
            worst.max(difference)
        } else {
            f64::INFINITY
        }
    });
    worst / scale
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{Backward, Forward, Op};

    /// `y = 3 x`, whose backward overwrites where it should add.
    struct Overwrites;

    impl Op for Overwrites {
        fn name(&self) -> &'static str {
            "overwrites"
        }

        fn forward(&self, cx: &mut Forward<'_>) {
            let [x] = cx.inputs();
            let [y] = cx.outputs();
            y.iter_mut().zip(x).for_each(|(y, x)| *y = 3.0 * x);
        }

        fn backward(&self, cx: &mut Backward<'_>) {
            let dy = cx.grad();
            if let Some(dx) = cx.input_grad(0) {
                dx.values
                    .iter_mut()
                    .zip(dy)
                    .for_each(|(dx, dy)| *dx = 3.0 * dy);
            }
        }
    }

    #[test]
    #[should_panic(expected = "the formula gives another number of outputs")]
    fn an_output_without_a_formula_is_noticed() {
        Check::new(
            "twice",
            vec![CheckInput::normal([5], 1.0, 0)],
            |_, v| vec![v[0] + v[0], v[0] + v[0]],
            |x| vec![x[0].iter().map(|x| 2.0 * x).collect()],
        )
        .run();
    }

    #[test]
    #[should_panic(expected = "gradient 0 of inputs used twice")]
    fn a_backward_that_never_adds_is_noticed() {
        Check::new(
            "overwrites",
            vec![CheckInput::normal([5], 1.0, 0)],
            |tape, v| tape.apply(Overwrites, &[v[0]], [v[0].shape()]).to_vec(),
            |x| vec![x[0].iter().map(|x| 3.0 * x).collect()],
        )
        .run();
    }
}
