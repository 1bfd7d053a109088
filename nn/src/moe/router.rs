//! The router: the choice of experts, and its losses.

use super::kernels::{self, Plan};
use engine::{
    kernels::softmax::{log_sum_exp, log_sum_exp_backward},
    op::{Backward, Forward, Op},
    shape::Shape,
    simd,
    tape::Var,
};

/// The choice of experts that [`choose`] makes.
#[derive(Clone, Copy, Debug)]
pub struct Choice<'t> {
    /// The probabilities of the chosen experts, `[rows, top_k]`, not normalised again.
    pub gates: Var<'t>,
    /// The grouping of the assignments by expert; see [`Plan`]. No gradient.
    pub plan: Var<'t>,
    /// Each expert's share of the `rows * top_k` assignments, `[experts]`. No gradient.
    pub load: Var<'t>,
}

struct Choose {
    experts: usize,
    top_k: usize,
}

impl Op for Choose {
    fn name(&self) -> &'static str {
        "choose_experts"
    }

    fn forward(&self, cx: &mut Forward<'_>) {
        let inputs = cx.inputs();
        let [gates, plan, load] = cx.outputs();
        kernels::choose(gates, plan, load, inputs, self.top_k);
    }

    /// `dprobabilities[row][e] = dgates[row][rank]` where e is the choice `rank` of
    /// `row`; none for the logits, which only order the experts.
    fn backward(&self, cx: &mut Backward<'_>) {
        let [_, plan] = cx.outputs();
        let plan = Plan::new(plan, self.experts);
        if let Some(d) = cx.input_grad(0) {
            kernels::choose_backward(d.values, d.accumulate, cx.grad(), plan, self.top_k);
        }
        if let Some(d) = cx.input_grad(1)
            && !d.accumulate
        {
            d.values.fill(0.0);
        }
    }

    fn carries_gradient(&self, i: usize) -> bool {
        i == 0
    }
}

/// The `top_k` most probable experts of each row, those of the largest `logits` `[.., experts]`,
/// with their `probabilities`, which alone carry the gradient.
///
/// # Panics
/// If `top_k` is 0 or more than the number of experts, or the shapes differ.
#[track_caller]
pub fn choose<'t>(probabilities: Var<'t>, logits: Var<'t>, top_k: usize) -> Choice<'t> {
    let shape = probabilities.shape();
    let (rows, experts) = (shape.rows(), shape.width());
    if top_k == 0 || top_k > experts {
        probabilities.tape().fail(
            "choose_experts",
            format_args!("top_k is {top_k}, probabilities are {shape}, expected 1 to {experts}"),
        );
    }
    let plan = Plan::elements(experts, rows * top_k);
    let [gates, plan, load] = probabilities.tape().apply(
        Choose { experts, top_k },
        &[probabilities, logits],
        [[rows, top_k].into(), [plan].into(), [experts].into()],
    );
    Choice { gates, plan, load }
}

struct LoadBalance {
    rows: usize,
    experts: usize,
}

impl LoadBalance {
    /// `experts / rows`: what a probability counts, times its expert's load.
    fn factor(&self) -> f32 {
        self.experts as f32 / self.rows as f32
    }
}

impl Op for LoadBalance {
    fn name(&self) -> &'static str {
        "load_balance"
    }

    fn forward(&self, cx: &mut Forward<'_>) {
        let [probabilities, load] = cx.inputs();
        let [y] = cx.outputs();
        let mut sum = 0.0;
        for row in probabilities.chunks_exact(self.experts) {
            sum += f64::from(simd::dot(row, load));
        }
        y[0] = (sum * f64::from(self.factor())) as f32;
    }

    /// `dP[row][e] = dy experts f_e / rows`.
    fn backward(&self, cx: &mut Backward<'_>) {
        let [_, load] = cx.inputs();
        let factor = simd::F32::splat(cx.grad()[0] * self.factor());
        if let Some(d) = cx.input_grad(0) {
            for row in d.values.chunks_exact_mut(self.experts) {
                simd::map(row, d.accumulate, [load], |[f]| f * factor);
            }
        }
    }
}

/// `experts * sum_e f_e P_e` (Fedus et al., Switch Transformers, 2021, Eq. 4, with `f_e`
/// the share of all `top_k` choices): 1 if all experts work equally, up to `experts`
/// if one does everything. `P_e` is the mean of column e of `probabilities`
/// `[.., experts]`; `load` `[experts]` is taken as constant.
///
/// # Panics
/// If the shapes do not fit or `load` asks for a gradient.
#[track_caller]
pub fn load_balance<'t>(probabilities: Var<'t>, load: Var<'t>) -> Var<'t> {
    let shape = probabilities.shape();
    let experts = shape.width();
    if load.shape().dims() != [experts] || load.needs_grad() {
        probabilities.tape().fail(
            "load_balance",
            format_args!(
                "load is {}, expected constants [experts {experts}]",
                load.shape()
            ),
        );
    }
    let op = LoadBalance {
        rows: shape.rows(),
        experts,
    };
    let [y] = probabilities
        .tape()
        .apply(op, &[probabilities, load], [Shape::from([])]);
    y
}

struct RouterZ {
    experts: usize,
}

impl Op for RouterZ {
    fn name(&self) -> &'static str {
        "router_z"
    }

    fn forward(&self, cx: &mut Forward<'_>) {
        let [logits] = cx.inputs();
        let [y, lse] = cx.outputs();
        log_sum_exp(lse, logits, self.experts);
        let sum: f64 = lse.iter().map(|&z| f64::from(z) * f64::from(z)).sum();
        y[0] = (sum / lse.len() as f64) as f32;
    }

    /// `dlogits = dy 2 z softmax(logits) / rows`, z the log-sum-exp of the row.
    fn backward(&self, cx: &mut Backward<'_>) {
        let [logits] = cx.inputs();
        let [_, lse] = cx.outputs();
        let factor = 2.0 * cx.grad()[0] / lse.len() as f32;
        if let Some(d) = cx.input_grad(0) {
            let mut dlse = cx.pool.take(lse.len());
            for (d, z) in dlse.iter_mut().zip(lse) {
                *d = factor * z;
            }
            log_sum_exp_backward(d.values, d.accumulate, &dlse, logits, lse, self.experts);
            cx.pool.give(dlse);
        }
    }

    fn carries_gradient(&self, i: usize) -> bool {
        i == 0
    }
}

/// The router z-loss, the mean over rows of `logsumexp(logits)²` (Zoph et al., ST-MoE,
/// 2022, Eq. 5): logits `[.., experts]`.
#[track_caller]
pub fn router_z(logits: Var<'_>) -> Var<'_> {
    let shape = logits.shape();
    let op = RouterZ {
        experts: shape.width(),
    };
    let [y, _] = logits.tape().apply(
        op,
        &[logits],
        [Shape::from([]), Shape::from([shape.rows()])],
    );
    y
}
