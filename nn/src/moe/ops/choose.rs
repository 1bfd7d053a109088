//! Which experts a row goes to.

use crate::moe::kernels::{self, Plan};
use engine::{
    op::{Backward, Forward, Op},
    tape::Var,
};

/// What [`choose`] decided.
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
