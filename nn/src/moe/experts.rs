//! The experts themselves.

use super::{
    kernels::{self, Plan},
    router::Choice,
};
use crate::shapes::expect;
use engine::{
    backend::{Job, Layout, Operand, Product},
    kernels::activation,
    op::{Backward, Forward, Grad, Op},
    shape::Shape,
    tape::Var,
};

/// The weights of all experts.
#[derive(Clone, Copy, Debug)]
pub struct ExpertWeights<'t> {
    /// `[experts, hidden, dim]`.
    pub gate: Var<'t>,
    /// `[experts, hidden, dim]`.
    pub up: Var<'t>,
    /// `[experts, dim, hidden]`.
    pub down: Var<'t>,
}

struct Experts {
    experts: usize,
    top_k: usize,
    dim: usize,
    hidden: usize,
}

impl Experts {
    /// The rows of one expert in a grouped buffer of rows of `width`.
    fn rows<'a>(
        &self,
        grouped: &'a [f32],
        plan: Plan<'_>,
        expert: usize,
        width: usize,
    ) -> Operand<'a> {
        let places = plan.places(expert);
        grouped[places.start * width..places.end * width].into()
    }

    /// The rows of every expert in turn.
    fn all_rows<'a>(
        &self,
        grouped: &'a mut [f32],
        plan: Plan<'a>,
        width: usize,
    ) -> impl Iterator<Item = (usize, &'a mut [f32])> {
        let mut rest = grouped;
        (0..self.experts).map(move |e| {
            let elements = plan.places(e).len() * width;
            let (rows, after) = std::mem::take(&mut rest).split_at_mut(elements);
            rest = after;
            (e, rows)
        })
    }

    /// The matrix of one expert.
    fn matrix<'a>(&self, weights: Operand<'a>, expert: usize) -> Operand<'a> {
        let size = self.dim * self.hidden;
        weights.part(expert * size..(expert + 1) * size)
    }

    /// The gradients of all matrices of a weight, `left_eᵀ right_e` over the rows of each
    /// expert.
    fn weight_gradients<'a>(
        &self,
        grad: Option<Grad<'a>>,
        plan: Plan<'a>,
        [left, right]: [(&'a [f32], usize); 2],
    ) -> impl Iterator<Item = Job<'a>> {
        let accumulate = grad.as_ref().is_some_and(|grad| grad.accumulate);
        let values = grad.map_or(&mut [][..], |grad| grad.values);
        let matrices = values.chunks_mut(self.dim * self.hidden).enumerate();
        matrices.map(move |(e, matrix)| {
            let product = Product {
                accumulate,
                ..Product::new(Layout::Tn, left.1, plan.places(e).len(), right.1)
            };
            let of = |(grouped, width)| self.rows(grouped, plan, e, width);
            Job::new(product, of(left), of(right), matrix)
        })
    }
}

impl Op for Experts {
    fn name(&self) -> &'static str {
        "experts"
    }

    fn forward(&self, cx: &mut Forward<'_>) {
        let [x, gates, plan] = cx.inputs();
        let [y, gate_up, activated] = cx.outputs();
        let (dim, hidden) = (self.dim, self.hidden);
        let plan = Plan::new(plan, self.experts);
        let (backend, parallel) = (cx.backend, cx.parallel);
        let mut grouped = cx.pool.take(plan.assignments() * dim);
        kernels::gather(&mut grouped, x, plan, self.top_k, dim);
        let (gate, up) = gate_up.split_at_mut(activated.len());
        let (w_gate, w_up) = (cx.operand(3), cx.operand(4));
        let gates_of = self.all_rows(gate, plan, hidden);
        let ups_of = self.all_rows(up, plan, hidden);
        let jobs = gates_of.zip(ups_of).flat_map(|((e, gate), (_, up))| {
            let product = Product::new(Layout::Nt, plan.places(e).len(), dim, hidden);
            let x = self.rows(&grouped, plan, e, dim);
            [(w_gate, gate), (w_up, up)]
                .map(|(weights, out)| Job::new(product, x, self.matrix(weights, e), out))
        });
        backend.batched(jobs, parallel);
        // Gates and ups of all experts as one long row of each.
        activation::swiglu(activated, gate_up, activated.len());
        let (activated, w_down) = (&*activated, cx.operand(5));
        let jobs = self.all_rows(&mut grouped, plan, dim).map(|(e, out)| {
            let product = Product::new(Layout::Nt, plan.places(e).len(), hidden, dim);
            let activated = self.rows(activated, plan, e, hidden);
            Job::new(product, activated, self.matrix(w_down, e), out)
        });
        backend.batched(jobs, parallel);
        kernels::combine(y, &grouped, gates, plan, dim);
        cx.pool.give(grouped);
    }

    /// With a = swiglu(gate x, up x) of an assignment and p its gate: `u = W_downᵀ dy`,
    /// `dp = <u, a>`, `da = p u`, `dW_down = (p dy) aᵀ`, the rest as for a dense layer.
    fn backward(&self, cx: &mut Backward<'_>) {
        let [x, gates, plan] = cx.inputs();
        let [_, gate_up, activated] = cx.outputs();
        let (dim, hidden) = (self.dim, self.hidden);
        let plan = Plan::new(plan, self.experts);
        let (backend, parallel) = (cx.backend, cx.parallel);
        let assignments = plan.assignments();
        let needs_inner = [0, 3, 4].iter().any(|&i| cx.needs(i));

        let mut grouped = cx.pool.take(assignments * dim);
        kernels::gather(&mut grouped, cx.grad(), plan, self.top_k, dim);
        let mut dactivated = cx.pool.take(assignments * hidden);
        if needs_inner || cx.needs(1) {
            let w_down = cx.operand(5);
            let jobs = self
                .all_rows(&mut dactivated, plan, hidden)
                .map(|(e, out)| {
                    let product = Product::new(Layout::Nn, plan.places(e).len(), dim, hidden);
                    let dy = self.rows(&grouped, plan, e, dim);
                    Job::new(product, dy, self.matrix(w_down, e), out)
                });
            backend.batched(jobs, parallel);
        }
        if let Some(d) = cx.input_grad(1) {
            kernels::gate_gradients(d.values, d.accumulate, &dactivated, activated, plan, hidden);
        }
        if cx.needs(5) {
            kernels::scale_by_gates(&mut grouped, gates, plan, dim);
            let factors = [(&grouped[..], dim), (activated, hidden)];
            let jobs = self.weight_gradients(cx.input_grad(5), plan, factors);
            backend.batched(jobs, parallel);
        }
        if needs_inner {
            kernels::scale_by_gates(&mut dactivated, gates, plan, hidden);
            let mut dgate_up = cx.pool.take(2 * assignments * hidden);
            activation::swiglu_backward(
                &mut dgate_up,
                false,
                &dactivated,
                gate_up,
                activated.len(),
            );
            let (dgate, dup) = dgate_up.split_at(activated.len());
            let (d_gate_weight, d_up_weight) = (cx.input_grad(3), cx.input_grad(4));
            if d_gate_weight.is_some() || d_up_weight.is_some() {
                kernels::gather(&mut grouped, x, plan, self.top_k, dim);
            }
            let factors = |dh| [(dh, hidden), (&grouped[..], dim)];
            let jobs = self.weight_gradients(d_gate_weight, plan, factors(dgate));
            let others = self.weight_gradients(d_up_weight, plan, factors(dup));
            backend.batched(jobs.chain(others), parallel);
            if let Some(d) = cx.input_grad(0) {
                let weights = [(dgate, cx.operand(3), false), (dup, cx.operand(4), true)];
                for (dh, weights, accumulate) in weights {
                    let jobs = self.all_rows(&mut grouped, plan, dim).map(|(e, out)| {
                        let product = Product {
                            accumulate,
                            ..Product::new(Layout::Nn, plan.places(e).len(), hidden, dim)
                        };
                        let dh = self.rows(dh, plan, e, hidden);
                        Job::new(product, dh, self.matrix(weights, e), out)
                    });
                    backend.batched(jobs, parallel);
                }
                kernels::scatter(d.values, d.accumulate, &grouped, plan, self.top_k, dim);
            }
            cx.pool.give(dgate_up);
        }
        cx.pool.give(dactivated);
        cx.pool.give(grouped);
    }

    fn carries_gradient(&self, i: usize) -> bool {
        i == 0
    }
}

/// `y = sum over the chosen experts e of gate_e W_down,e (silu(W_gate,e x) * W_up,e x)`,
/// x `[.., dim]`. Every assignment is carried out, and the cost is that of `top_k`
/// experts for each row, however many there are.
///
/// # Panics
/// If the shapes do not fit.
#[track_caller]
pub fn experts<'t>(x: Var<'t>, choice: &Choice<'t>, weights: &ExpertWeights<'t>) -> Var<'t> {
    let (shape, gates, down) = (x.shape(), choice.gates.shape(), weights.down.shape());
    let experts = choice.load.shape().width();
    let (dim, hidden, top_k) = (shape.width(), down.width(), gates.width());
    let inner = Shape::from([experts, hidden, dim]);
    let expected = [
        ("the gates", choice.gates, [shape.rows(), top_k].into()),
        ("weights.gate", weights.gate, inner),
        ("weights.up", weights.up, inner),
        ("weights.down", weights.down, [experts, dim, hidden].into()),
    ];
    expect("experts", expected);
    let op = Experts {
        experts,
        top_k,
        dim,
        hidden,
    };
    let assignments = gates.len();
    let [y, _, _] = x.tape().apply(
        op,
        &[
            x,
            choice.gates,
            choice.plan,
            weights.gate,
            weights.up,
            weights.down,
        ],
        [
            shape,
            [2, assignments, hidden].into(),
            [assignments, hidden].into(),
        ],
    );
    y
}
