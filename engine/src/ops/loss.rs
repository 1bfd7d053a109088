//! Softmax over the last dimension, and the losses made of it.

use crate::{
    kernels::{loss as kernels, softmax as rows},
    op::{Backward, Forward, Ints, Op},
    shape::Shape,
    tape::Var,
};

struct Softmax {
    width: usize,
}

impl Op for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn forward(&self, cx: &mut Forward<'_>) {
        let [x] = cx.inputs();
        let [y] = cx.outputs();
        rows::softmax(y, x, self.width);
    }

    /// `dx = y (dy - <dy, y>)`.
    fn backward(&self, cx: &mut Backward<'_>) {
        let [y] = cx.outputs();
        if let Some(dx) = cx.input_grad(0) {
            rows::softmax_backward(dx.values, dx.accumulate, cx.grad(), y, self.width);
        }
    }
}

/// `y_i = exp(x_i) / sum_j exp(x_j)` over the last dimension.
#[track_caller]
pub fn softmax(x: Var<'_>) -> Var<'_> {
    let shape = x.shape();
    let op = Softmax {
        width: shape.width(),
    };
    let [y] = x.tape().apply(op, &[x], [shape]);
    y
}

struct CrossEntropy {
    targets: Ints,
    classes: usize,
}

impl Op for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross_entropy"
    }

    fn forward(&self, cx: &mut Forward<'_>) {
        let [logits] = cx.inputs();
        let [mean, losses, stats] = cx.outputs();
        let targets = cx.ints(self.targets);
        let sum = kernels::cross_entropy(losses, stats, logits, targets, self.classes);
        mean[0] = (sum / targets.len() as f64) as f32;
    }

    /// `dlogits = (softmax(logits) - onehot(target)) / rows`.
    fn backward(&self, cx: &mut Backward<'_>) {
        let [logits] = cx.inputs();
        let [_, _, stats] = cx.outputs();
        let targets = cx.ints(self.targets);
        let scale = cx.grad()[0] / targets.len() as f32;
        if let Some(d) = cx.input_grad(0) {
            kernels::cross_entropy_backward(
                d.values,
                d.accumulate,
                logits,
                stats,
                targets,
                self.classes,
                scale,
            );
        }
    }
}

/// `-mean over rows of log softmax(logits)[target]`, in nats: logits `[.., classes]`,
/// one target per row.
///
/// # Panics
/// If the number of targets is not that of the rows or a target is no class.
#[track_caller]
pub fn cross_entropy<'t>(logits: Var<'t>, targets: &[u32]) -> Var<'t> {
    let shape = logits.shape();
    if shape.rows() != targets.len() {
        logits.tape().fail(
            "cross_entropy",
            format_args!(
                "logits are {shape}, expected one target for each of {} rows, got {}",
                shape.rows(),
                targets.len()
            ),
        );
    }
    let op = CrossEntropy {
        targets: logits.tape().ints(targets),
        classes: shape.width(),
    };
    let stats = Shape::from([shape.rows(), 2]);
    let shapes = [Shape::from([]), Shape::from([shape.rows()]), stats];
    let [mean, _, _] = logits.tape().apply(op, &[logits], shapes);
    mean
}

struct SoftCrossEntropy {
    classes: usize,
}

impl Op for SoftCrossEntropy {
    fn name(&self) -> &'static str {
        "soft_cross_entropy"
    }

    fn forward(&self, cx: &mut Forward<'_>) {
        let [logits, targets] = cx.inputs();
        let [mean, losses, stats] = cx.outputs();
        let sum = kernels::soft_cross_entropy(losses, stats, logits, targets, self.classes);
        mean[0] = (sum / losses.len() as f64) as f32;
    }

    /// `dlogits = (softmax(logits) sum(target) - target) / rows`.
    fn backward(&self, cx: &mut Backward<'_>) {
        let [logits, targets] = cx.inputs();
        let [_, losses, stats] = cx.outputs();
        let scale = cx.grad()[0] / losses.len() as f32;
        if let Some(d) = cx.input_grad(0) {
            kernels::soft_cross_entropy_backward(
                d.values,
                d.accumulate,
                logits,
                stats,
                targets,
                self.classes,
                scale,
            );
        }
    }
}

/// `-mean over rows of sum_c target_c log softmax(logits)_c`, in nats: `logits` and
/// `targets` `[.., classes]`, as Mixup and label smoothing make them.
///
/// # Panics
/// If the number of targets is not that of the logits.
#[track_caller]
pub fn soft_cross_entropy<'t>(logits: Var<'t>, targets: &[f32]) -> Var<'t> {
    let shape = logits.shape();
    if shape.len() != targets.len() {
        logits.tape().fail(
            "soft_cross_entropy",
            format_args!(
                "logits are {shape}, targets have {} elements",
                targets.len()
            ),
        );
    }
    let op = SoftCrossEntropy {
        classes: shape.width(),
    };
    let stats = Shape::from([shape.rows(), 2]);
    let shapes = [Shape::from([]), Shape::from([shape.rows()]), stats];
    let targets = logits.tape().constant(shape, targets);
    let [mean, _, _] = logits.tape().apply(op, &[logits, targets], shapes);
    mean
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Check, CheckInput};

    #[test]
    fn cross_entropy_has_the_gradients_of_its_formula() {
        for classes in [1, 2, 5, 16, 33] {
            let targets: Vec<u32> = (0..6).map(|r| (r * 7 % classes) as u32).collect();
            Check::new(
                "cross_entropy",
                vec![CheckInput::normal([2, 3, classes], 2.0, 1)],
                |_, v| vec![cross_entropy(v[0], &targets)],
                |x| {
                    let losses = x[0].chunks(classes).zip(&targets).map(|(row, &target)| {
                        row.iter().map(|x| x.exp()).sum::<f64>().ln() - row[target as usize]
                    });
                    vec![vec![losses.sum::<f64>() / 6.0]]
                },
            )
            .run();
        }
    }

    #[test]
    fn soft_cross_entropy_has_the_gradients_of_its_formula() {
        for classes in [1, 2, 5, 16, 33] {
            let targets: Vec<f32> = (0..6 * classes).map(|i| (i % 4) as f32 / 3.0).collect();
            Check::new(
                "soft_cross_entropy",
                vec![CheckInput::normal([2, 3, classes], 2.0, 1)],
                |_, v| vec![soft_cross_entropy(v[0], &targets)],
                |x| {
                    let rows = x[0].chunks(classes).zip(targets.chunks(classes));
                    let losses = rows.map(|(row, targets)| {
                        let lse = row.iter().map(|x| x.exp()).sum::<f64>().ln();
                        let terms = row.iter().zip(targets);
                        terms.map(|(x, &t)| f64::from(t) * (lse - x)).sum::<f64>()
                    });
                    vec![vec![losses.sum::<f64>() / 6.0]]
                },
            )
            .run();
        }
    }

    #[test]
    fn a_certain_soft_target_is_a_hard_one() {
        let tape = crate::tape::Tape::new();
        let logits = tape.constant([2, 3], &[0.3, -1.0, 2.0, 0.5, 0.1, -0.2]);
        let soft = soft_cross_entropy(logits, &[0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
        let hard = cross_entropy(logits, &[2, 0]);
        assert!((soft.item() - hard.item()).abs() < 1e-6);
    }

    #[test]
    fn softmax_has_the_gradients_of_its_formula() {
        for width in [1, 3, 16, 35] {
            Check::new(
                "softmax",
                vec![CheckInput::normal([4, width], 2.0, 1)],
                |_, v| vec![softmax(v[0])],
                |x| {
                    let rows = x[0].chunks(width).flat_map(|row| {
                        let sum: f64 = row.iter().map(|x| x.exp()).sum();
                        row.iter().map(move |x| x.exp() / sum)
                    });
                    vec![rows.collect()]
                },
            )
            .run();
        }
    }
}
