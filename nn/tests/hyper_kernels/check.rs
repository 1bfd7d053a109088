//! Holds a kernel and its backward to a naive forward in f64.

use crate::naive::Tensor;

/// Numbers that look random and are always the same, in -1 .. 1.
pub fn numbers(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03;
    (0..len)
        .map(|_| {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            ((z ^ (z >> 31)) >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

pub fn poisoned(len: usize) -> Vec<f32> {
    vec![f32::NAN; len]
}

/// A destination for the gradient of one input.
pub struct Target {
    pub wanted: bool,
    pub data: Vec<f32>,
    pub accumulate: bool,
}

impl Target {
    pub fn grad(&mut self) -> Option<engine::op::Grad<'_>> {
        self.wanted.then_some(engine::op::Grad {
            values: &mut self.data,
            accumulate: self.accumulate,
        })
    }
}

pub trait Subject {
    /// For messages.
    fn name(&self) -> String;
    /// The inputs of the forward, parameters included.
    fn inputs(&self) -> Vec<(&'static str, Vec<f32>)>;
    /// The outputs, from the equations.
    fn naive(&self, inputs: &[Tensor]) -> Vec<Tensor>;
    /// Runs the kernels: the outputs, and the gradients into `targets`, given those of
    /// the outputs.
    fn run(
        &self,
        inputs: &[Vec<f32>],
        upstream: &[Option<Vec<f32>>],
        targets: &mut [Target],
    ) -> Vec<Vec<f32>>;
    /// Returns whether the kernel takes `None` for the gradient of an output.
    fn optional_upstream(&self) -> bool {
        true
    }
}

fn wide(x: &[f32]) -> Tensor {
    x.iter().map(|&x| f64::from(x)).collect()
}

#[track_caller]
pub fn assert_close(what: &str, actual: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(actual.len(), expected.len(), "{what}: length");
    let largest = expected.iter().fold(0.0f64, |max, x| max.max(x.abs()));
    for (at, (&actual, &expected)) in actual.iter().zip(expected).enumerate() {
        let error = (f64::from(actual) - expected).abs();
        assert!(
            error <= tolerance * (largest + 0.1),
            "{what}[{at}] is {actual}, expected {expected} (largest {largest})"
        );
    }
}

fn loss(subject: &impl Subject, inputs: &[Tensor], upstream: &[Option<Vec<f32>>]) -> f64 {
    let outputs = subject.naive(inputs);
    let pairs = outputs.iter().zip(upstream);
    pairs
        .filter_map(|(output, upstream)| Some((output, upstream.as_ref()?)))
        .flat_map(|(output, upstream)| output.iter().zip(upstream))
        .map(|(output, upstream)| output * f64::from(*upstream))
        .sum()
}

fn targets(
    inputs: &[Vec<f32>],
    wanted: impl Fn(usize) -> bool,
    before: Option<&[Vec<f32>]>,
) -> Vec<Target> {
    let targets = inputs.iter().enumerate().map(|(index, input)| Target {
        wanted: wanted(index),
        data: before.map_or_else(|| poisoned(input.len()), |before| before[index].clone()),
        accumulate: before.is_some(),
    });
    targets.collect()
}

/// The forward against the naive one, the gradients against its central differences,
/// then: accumulation, every gradient alone, every gradient left out, and outputs
/// without gradient.
pub fn check(subject: &impl Subject) {
    let name = subject.name();
    let (labels, inputs): (Vec<_>, Vec<_>) = subject.inputs().into_iter().unzip();
    let exact: Vec<Tensor> = inputs.iter().map(|x| wide(x)).collect();
    let expected = subject.naive(&exact);
    let upstream: Vec<Option<Vec<f32>>> = (0..expected.len())
        .map(|index| Some(numbers(900 + index as u64, expected[index].len())))
        .collect();

    let mut full = targets(&inputs, |_| true, None);
    let outputs = subject.run(&inputs, &upstream, &mut full);
    for (index, (output, expected)) in outputs.iter().zip(&expected).enumerate() {
        assert_close(&format!("{name}: output {index}"), output, expected, 5e-6);
    }

    let differences = differences(subject, &exact, &upstream);
    for ((label, target), expected) in labels.iter().zip(&full).zip(&differences) {
        let what = format!("{name}: the gradient of {label}");
        assert_close(&what, &target.data, expected, 3e-5);
    }

    let before: Vec<Vec<f32>> = (0..inputs.len())
        .map(|index| numbers(500 + index as u64, inputs[index].len()))
        .collect();
    let mut added = targets(&inputs, |_| true, Some(&before));
    subject.run(&inputs, &upstream, &mut added);
    for (index, (added, alone)) in added.iter().zip(&full).enumerate() {
        let sums = before[index].iter().zip(&alone.data);
        let expected: Tensor = sums.map(|(a, b)| f64::from(*a) + f64::from(*b)).collect();
        let what = format!("{name}: the gradient of {}, added", labels[index]);
        assert_close(&what, &added.data, &expected, 1e-6);
    }

    for chosen in 0..inputs.len() {
        for alone in [true, false] {
            let mut some = targets(&inputs, |index| (index == chosen) == alone, None);
            subject.run(&inputs, &upstream, &mut some);
            for (index, (some, full)) in some.iter().zip(&full).enumerate() {
                let same = some.data.iter().zip(&full.data).all(|(a, b)| {
                    if some.wanted {
                        a.to_bits() == b.to_bits()
                    } else {
                        a.is_nan()
                    }
                });
                assert!(
                    same,
                    "{name}: the gradient of {} changes with the others wanted",
                    labels[index]
                );
            }
        }
    }

    if subject.optional_upstream() {
        for missing in 0..upstream.len() {
            let mut less = upstream.clone();
            less[missing] = None;
            let mut zeroed = upstream.clone();
            zeroed[missing] = Some(vec![0.0; expected[missing].len()]);
            let mut without = targets(&inputs, |_| true, None);
            subject.run(&inputs, &less, &mut without);
            let mut with_zeros = targets(&inputs, |_| true, None);
            subject.run(&inputs, &zeroed, &mut with_zeros);
            for (index, (a, b)) in without.iter().zip(&with_zeros).enumerate() {
                let what = format!("{name}: {} without output {missing}", labels[index]);
                assert_close(&what, &a.data, &wide(&b.data), 1e-6);
            }
        }
    }
}

/// Central differences of the loss with respect to every input.
fn differences(
    subject: &impl Subject,
    inputs: &[Tensor],
    upstream: &[Option<Vec<f32>>],
) -> Vec<Tensor> {
    const STEP: f64 = 1e-5;
    let mut moved = inputs.to_vec();
    let mut all = vec![];
    for index in 0..inputs.len() {
        let mut of_input = vec![];
        for at in 0..inputs[index].len() {
            let value = inputs[index][at];
            moved[index][at] = value + STEP;
            let above = loss(subject, &moved, upstream);
            moved[index][at] = value - STEP;
            let below = loss(subject, &moved, upstream);
            moved[index][at] = value;
            of_input.push((above - below) / (2.0 * STEP));
        }
        all.push(of_input);
    }
    all
}
