//! Kernels of a mixture of experts: the choice of experts, the order in which they work
//! through the tokens, and the exchange of rows between the two orders.
//!
//! An *assignment* is one token for one of its experts; assignment `row * top_k + rank`
//! is the `rank`-th choice of `row`. Experts work through the assignments *grouped*:
//! all of expert 0 in the order of tokens, then all of expert 1, and so on.

use engine::simd::{self, F32};

/// Where every assignment of a batch goes, as bits in a buffer of `f32`
/// ([`f32::from_bits`]), which is what a tape holds: for each expert its first place in
/// the grouped order, their number, then the place of each assignment, then the
/// assignment at each place.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    bits: &'a [f32],
    experts: usize,
}

impl<'a> Plan<'a> {
    /// Elements of a plan.
    pub fn elements(experts: usize, assignments: usize) -> usize {
        experts + 1 + 2 * assignments
    }

    /// Reads a plan.
    pub fn new(bits: &'a [f32], experts: usize) -> Self {
        Self { bits, experts }
    }

    /// The grouped places of one expert.
    pub fn places(&self, expert: usize) -> std::ops::Range<usize> {
        self.at(expert)..self.at(expert + 1)
    }

    /// Number of assignments.
    pub fn assignments(&self) -> usize {
        (self.bits.len() - self.experts - 1) / 2
    }

    /// The grouped place of an assignment.
    pub fn place(&self, assignment: usize) -> usize {
        self.at(self.experts + 1 + assignment)
    }

    /// The assignment at a grouped place.
    pub fn assignment(&self, place: usize) -> usize {
        self.at(self.experts + 1 + self.assignments() + place)
    }

    fn at(&self, i: usize) -> usize {
        self.bits[i].to_bits() as usize
    }
}

/// The experts with the `top_k` largest `logits` of each row, largest first, the lower index
/// where two are equal: their `probabilities` go to `gates` `[rows, top_k]`, the grouping to
/// `plan` and each expert's share of all assignments to `load` `[experts]`.
///
/// By logits, since probabilities of f32 are all zero beyond 103 below the largest logit.
///
/// # Panics
/// If a slice has the wrong length or `top_k` is more than the number of experts.
#[track_caller]
pub fn choose(
    gates: &mut [f32],
    plan: &mut [f32],
    load: &mut [f32],
    [probabilities, logits]: [&[f32]; 2],
    top_k: usize,
) {
    let experts = load.len();
    let rows = probabilities.len() / experts;
    assert_eq!(logits.len(), probabilities.len(), "choose: logits");
    let assignments = rows * top_k;
    assert!(top_k <= experts, "choose: top_k {top_k} of {experts}");
    assert_eq!(gates.len(), assignments, "choose: gates");
    assert_eq!(
        plan.len(),
        Plan::elements(experts, assignments),
        "choose: plan"
    );
    let (starts, plan) = plan.split_at_mut(experts + 1);
    let (places, order) = plan.split_at_mut(assignments);

    // The chosen experts wait in `order`, their number in the start of the next one.
    starts.fill(f32::from_bits(0));
    let rows = probabilities
        .chunks_exact(experts)
        .zip(logits.chunks_exact(experts));
    let chosen = gates
        .chunks_exact_mut(top_k)
        .zip(order.chunks_exact_mut(top_k));
    for ((probabilities, logits), (gates, chosen)) in rows.zip(chosen) {
        for (rank, gate) in gates.iter_mut().enumerate() {
            let (earlier, rest) = chosen.split_at_mut(rank);
            let mut best: Option<(usize, f32)> = None;
            for (expert, &logit) in logits.iter().enumerate() {
                let taken = earlier.iter().any(|e| e.to_bits() as usize == expert);
                if !taken && best.is_none_or(|(_, largest)| logit > largest) {
                    best = Some((expert, logit));
                }
            }
            let (expert, _) = best.expect("top_k is at most the number of experts");
            rest[0] = f32::from_bits(expert as u32);
            *gate = probabilities[expert];
            increment(&mut starts[expert + 1], 1);
        }
    }
    for (load, count) in load.iter_mut().zip(&starts[1..]) {
        *load = count.to_bits() as f32 / assignments as f32;
    }
    for expert in 0..experts {
        let before = starts[expert].to_bits();
        increment(&mut starts[expert + 1], before);
    }
    // A counting sort; the starts move to the ends and are moved back.
    for (place, chosen) in places.iter_mut().zip(&*order) {
        let next = &mut starts[chosen.to_bits() as usize];
        *place = *next;
        increment(next, 1);
    }
    starts.copy_within(0..experts, 1);
    starts[0] = f32::from_bits(0);
    for (assignment, place) in places.iter().enumerate() {
        order[place.to_bits() as usize] = f32::from_bits(assignment as u32);
    }
}

fn increment(counter: &mut f32, by: u32) {
    *counter = f32::from_bits(counter.to_bits() + by);
}

/// The gradient of the gates, `dprobabilities[row][expert] = dgates[row][rank]` for the
/// chosen experts, zero for the others.
pub fn choose_backward(
    dprobabilities: &mut [f32],
    accumulate: bool,
    dgates: &[f32],
    plan: Plan<'_>,
    top_k: usize,
) {
    if !accumulate {
        dprobabilities.fill(0.0);
    }
    for expert in 0..plan.experts {
        for place in plan.places(expert) {
            let assignment = plan.assignment(place);
            dprobabilities[assignment / top_k * plan.experts + expert] += dgates[assignment];
        }
    }
}

/// `grouped[place] = rows[token of place]`.
pub fn gather(grouped: &mut [f32], rows: &[f32], plan: Plan<'_>, top_k: usize, width: usize) {
    for (place, out) in grouped.chunks_exact_mut(width).enumerate() {
        let row = plan.assignment(place) / top_k;
        out.copy_from_slice(&rows[row * width..][..width]);
    }
}

/// `y[row] = sum over rank of gates[row][rank] grouped[its place]`, in the order of the
/// ranks.
pub fn combine(y: &mut [f32], grouped: &[f32], gates: &[f32], plan: Plan<'_>, width: usize) {
    let top_k = gates.len() * width / y.len();
    for (row, y) in y.chunks_exact_mut(width).enumerate() {
        for rank in 0..top_k {
            let assignment = row * top_k + rank;
            let gate = F32::splat(gates[assignment]);
            let part = &grouped[plan.place(assignment) * width..][..width];
            simd::map(y, rank > 0, [part], |[part]| gate * part);
        }
    }
}

/// `rows[row] = sum over rank of grouped[its place]`, or `+=`: the gradient of
/// [`gather`].
pub fn scatter(
    rows: &mut [f32],
    accumulate: bool,
    grouped: &[f32],
    plan: Plan<'_>,
    top_k: usize,
    width: usize,
) {
    for (row, out) in rows.chunks_exact_mut(width).enumerate() {
        for rank in 0..top_k {
            let part = &grouped[plan.place(row * top_k + rank) * width..][..width];
            simd::map(out, accumulate || rank > 0, [part], |[part]| part);
        }
    }
}

/// `rows[place] *= gates[assignment at place]`.
pub fn scale_by_gates(rows: &mut [f32], gates: &[f32], plan: Plan<'_>, width: usize) {
    for (place, row) in rows.chunks_exact_mut(width).enumerate() {
        let gate = gates[plan.assignment(place)];
        for x in row {
            *x *= gate;
        }
    }
}

/// `dgates[assignment at place] = <a[place], b[place]>`, or `+=`.
pub fn gate_gradients(
    dgates: &mut [f32],
    accumulate: bool,
    a: &[f32],
    b: &[f32],
    plan: Plan<'_>,
    width: usize,
) {
    let rows = a.chunks_exact(width).zip(b.chunks_exact(width));
    for (place, (a, b)) in rows.enumerate() {
        let gradient = simd::dot(a, b);
        let target = &mut dgates[plan.assignment(place)];
        *target = match accumulate {
            true => *target + gradient,
            false => gradient,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Choice {
        gates: Vec<f32>,
        plan: Vec<f32>,
        load: Vec<f32>,
    }

    /// By the probabilities themselves, whose order is that of their logits.
    fn choice(probabilities: &[f32], experts: usize, top_k: usize) -> Choice {
        choice_by(probabilities, probabilities, experts, top_k)
    }

    fn choice_by(probabilities: &[f32], logits: &[f32], experts: usize, top_k: usize) -> Choice {
        let assignments = probabilities.len() / experts * top_k;
        let mut choice = Choice {
            gates: vec![f32::NAN; assignments],
            plan: vec![f32::NAN; Plan::elements(experts, assignments)],
            load: vec![f32::NAN; experts],
        };
        choose(
            &mut choice.gates,
            &mut choice.plan,
            &mut choice.load,
            [probabilities, logits],
            top_k,
        );
        choice
    }

    #[test]
    fn the_largest_probabilities_are_chosen_and_grouped_by_expert() {
        let rows = [[0.1, 0.6, 0.3], [0.5, 0.1, 0.4], [0.2, 0.5, 0.3]];
        let Choice { gates, plan, load } = choice(rows.as_flattened(), 3, 2);
        assert_eq!(gates, [0.6, 0.3, 0.5, 0.4, 0.5, 0.3]);
        assert_eq!(load, [1.0 / 6.0, 2.0 / 6.0, 3.0 / 6.0]);
        let plan = Plan::new(&plan, 3);
        let grouped: Vec<usize> = (0..6).map(|place| plan.assignment(place)).collect();
        // Expert 0: token 1; expert 1: tokens 0 and 2; expert 2: all tokens, in order.
        assert_eq!(grouped, [2, 0, 4, 1, 3, 5]);
        assert_eq!([0, 1, 2].map(|e| plan.places(e)), [0..1, 1..3, 3..6]);
        for (place, &assignment) in grouped.iter().enumerate() {
            assert_eq!(plan.place(assignment), place);
        }
    }

    #[test]
    fn equal_probabilities_go_to_the_lower_index() {
        let Choice { plan, load, .. } = choice(&[0.25; 8], 4, 2);
        assert_eq!(load, [0.5, 0.5, 0.0, 0.0]);
        let plan = Plan::new(&plan, 4);
        assert_eq!([2, 3].map(|e| plan.places(e)), [4..4, 4..4]);
    }

    #[test]
    fn experts_whose_probability_is_no_f32_are_still_told_apart() {
        let (probabilities, logits) = ([0.0, 1.0, 0.0, 0.0], [-300.0, 0.0, -150.0, -200.0]);
        let Choice { gates, load, .. } = choice_by(&probabilities, &logits, 4, 3);
        assert_eq!(gates, [1.0, 0.0, 0.0]);
        assert_eq!(load, [0.0, 1.0, 1.0, 1.0].map(|n| n / 3.0));
    }

    #[test]
    fn no_assignment_is_dropped_however_crowded_an_expert_is() {
        let rows = [[0.9, 0.05, 0.05]; 50];
        let Choice { plan, load, .. } = choice(rows.as_flattened(), 3, 1);
        assert_eq!(load, [1.0, 0.0, 0.0]);
        assert_eq!(Plan::new(&plan, 3).places(0), 0..50);
    }
}
