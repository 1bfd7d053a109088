//! Differentiable operations of a mixture of experts.

use super::kernels::{self, Plan};
use engine::{
    backend::{Job, Layout, Operand, Product},
    kernels::{activation, softmax::log_sum_exp, softmax::log_sum_exp_backward},
    op::{Backward, Forward, Grad, Op},
    shape::Shape,
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
        let [probabilities] = cx.inputs();
        let [gates, plan, load] = cx.outputs();
        kernels::choose(gates, plan, load, probabilities, self.top_k);
    }

    /// `dprobabilities[row][e] = dgates[row][rank]` where e is the choice `rank` of
    /// `row`.
    fn backward(&self, cx: &mut Backward<'_>) {
        let [_, plan] = cx.outputs();
        let plan = Plan::new(plan, self.experts);
        if let Some(d) = cx.input_grad(0) {
            kernels::choose_backward(d.values, d.accumulate, cx.grad(), plan, self.top_k);
        }
    }

    fn carries_gradient(&self, i: usize) -> bool {
        i == 0
    }
}

/// The `top_k` most probable experts of each row of `probabilities` `[.., experts]`.
///
/// # Panics
/// If `top_k` is 0 or more than the number of experts.
#[track_caller]
pub fn choose(probabilities: Var<'_>, top_k: usize) -> Choice<'_> {
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
        &[probabilities],
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
            sum += f64::from(engine::simd::dot(row, load));
        }
        y[0] = (sum * f64::from(self.factor())) as f32;
    }

    /// `dP[row][e] = dy experts f_e / rows`.
    fn backward(&self, cx: &mut Backward<'_>) {
        let [_, load] = cx.inputs();
        let factor = engine::simd::F32::splat(cx.grad()[0] * self.factor());
        if let Some(d) = cx.input_grad(0) {
            for row in d.values.chunks_exact_mut(self.experts) {
                engine::simd::map(row, d.accumulate, [load], |[f]| f * factor);
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
    let (shape, gates, up) = (x.shape(), choice.gates.shape(), weights.up.shape());
    let experts = choice.load.shape().width();
    let (dim, hidden, top_k) = (shape.width(), up.dims()[up.rank() - 2], gates.width());
    let (gate, down) = (weights.gate.shape(), weights.down.shape());
    if [gate, up] != [Shape::from([experts, hidden, dim]); 2]
        || down != Shape::from([experts, dim, hidden])
        || gates.rows() != shape.rows()
    {
        x.tape().fail(
            "experts",
            format_args!(
                "x is {shape}, gates are {gates}, weights gate {gate}, up {up}, down {down}; expected \
                 [experts {experts}, hidden {hidden}, dim {dim}], twice, and [experts, dim, hidden]"
            ),
        );
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use engine::{
        check::{Check, CheckInput},
        ops::softmax,
        tape::Tape,
    };

    fn softmax64(logits: &[f64]) -> Vec<f64> {
        let sum: f64 = logits.iter().map(|x| x.exp()).sum();
        logits.iter().map(|x| x.exp() / sum).collect()
    }

    /// The `top_k` largest, by sorting.
    fn chosen64(p: &[f64], top_k: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..p.len()).collect();
        order.sort_by(|&a, &b| p[b].total_cmp(&p[a]));
        order.truncate(top_k);
        order
    }

    /// Logits no two of which are close in a row, so that no finite difference changes
    /// the choice.
    fn distinct_logits(rows: usize, experts: usize) -> CheckInput {
        let mut input = CheckInput::normal([rows, experts], 0.3, 1);
        for (r, row) in input.data.chunks_exact_mut(experts).enumerate() {
            for (e, x) in row.iter_mut().enumerate() {
                *x = 0.05 * *x + 0.3 * ((e * 5 + r * 3) % experts) as f32;
            }
        }
        input
    }

    #[test]
    fn gates_have_the_gradients_of_the_chosen_probabilities() {
        for (rows, experts, top_k) in [(1, 1, 1), (5, 6, 2), (7, 17, 4), (3, 4, 4)] {
            Check::new(
                "choose",
                vec![distinct_logits(rows, experts)],
                |_, v| vec![choose(softmax(v[0]), top_k).gates],
                |x| {
                    let rows = x[0].chunks(experts).flat_map(|logits| {
                        let p = softmax64(logits);
                        chosen64(&p, top_k).into_iter().map(move |e| p[e])
                    });
                    vec![rows.collect()]
                },
            )
            .run();
        }
    }

    #[test]
    fn auxiliary_losses_have_the_gradients_of_their_formulas() {
        for (rows, experts, top_k) in [(1, 1, 1), (6, 5, 2), (9, 19, 3)] {
            Check::new(
                "auxiliary losses",
                vec![distinct_logits(rows, experts)],
                |_, v| {
                    let p = softmax(v[0]);
                    let load = choose(p, top_k).load;
                    vec![load_balance(p, load), router_z(v[0])]
                },
                |x| {
                    let rows: Vec<&[f64]> = x[0].chunks(experts).collect();
                    let mut counts = vec![0.0; experts];
                    let mut mean = vec![0.0; experts];
                    let mut z = 0.0;
                    for logits in &rows {
                        let p = softmax64(logits);
                        for e in chosen64(&p, top_k) {
                            counts[e] += 1.0 / (rows.len() * top_k) as f64;
                        }
                        for (mean, p) in mean.iter_mut().zip(&p) {
                            *mean += p / rows.len() as f64;
                        }
                        let lse = logits.iter().map(|x| x.exp()).sum::<f64>().ln();
                        z += lse * lse / rows.len() as f64;
                    }
                    let products = counts.iter().zip(&mean).map(|(f, p)| f * p);
                    vec![vec![experts as f64 * products.sum::<f64>()], vec![z]]
                },
            )
            .run();
        }
    }

    fn experts64(
        x: &[Vec<f64>],
        probabilities: &[f32],
        (dim, hidden, experts, top_k): (usize, usize, usize, usize),
    ) -> Vec<f64> {
        let matrix = |w: &[f64], e: usize, x: &[f64], rows: usize| -> Vec<f64> {
            let w = &w[e * dim * hidden..][..dim * hidden];
            let row = |r: usize| w[r * x.len()..][..x.len()].iter().zip(x);
            (0..rows)
                .map(|r| row(r).map(|(w, x)| w * x).sum())
                .collect()
        };
        let mut y = vec![0.0; x[0].len()];
        let rows = x[0].chunks(dim).zip(x[1].chunks(top_k));
        for (r, (token, gates)) in rows.enumerate() {
            let p: Vec<f64> = probabilities[r * experts..][..experts]
                .iter()
                .map(|&p| p.into())
                .collect();
            for (e, p) in chosen64(&p, top_k).into_iter().zip(gates) {
                let (gate, up) = (
                    matrix(&x[2], e, token, hidden),
                    matrix(&x[3], e, token, hidden),
                );
                let activated: Vec<f64> = gate
                    .iter()
                    .zip(&up)
                    .map(|(g, u)| g / (1.0 + (-g).exp()) * u)
                    .collect();
                for (y, out) in y[r * dim..]
                    .iter_mut()
                    .zip(matrix(&x[4], e, &activated, dim))
                {
                    *y += p * out;
                }
            }
        }
        y
    }

    #[test]
    fn experts_have_the_gradients_of_their_formula() {
        for (rows, dim, hidden, experts_, top_k) in
            [(1, 1, 1, 1, 1), (5, 3, 4, 3, 2), (9, 17, 5, 4, 2)]
        {
            let probabilities = distinct_logits(rows, experts_);
            Check::new(
                "experts",
                vec![
                    CheckInput::normal([rows, dim], 1.0, 1),
                    CheckInput::normal([rows, top_k], 1.0, 2),
                    CheckInput::normal([experts_, hidden, dim], 0.7, 3),
                    CheckInput::normal([experts_, hidden, dim], 0.7, 4),
                    CheckInput::normal([experts_, dim, hidden], 0.7, 5),
                ],
                |tape: &Tape, v| {
                    let p = tape.constant(probabilities.shape, &probabilities.data);
                    let choice = Choice {
                        gates: v[1],
                        ..choose(p, top_k)
                    };
                    let weights = ExpertWeights {
                        gate: v[2],
                        up: v[3],
                        down: v[4],
                    };
                    vec![experts(v[0], &choice, &weights)]
                },
                |x| {
                    let sizes = (dim, hidden, experts_, top_k);
                    vec![experts64(x, &probabilities.data, sizes)]
                },
            )
            .run();
        }
    }

    #[test]
    #[should_panic(expected = "choose_experts: top_k is 3, probabilities are [1, 2]")]
    fn more_choices_than_experts_are_refused() {
        let tape = Tape::new();
        choose(tape.constant([1, 2], &[0.5, 0.5]), 3);
    }
}
