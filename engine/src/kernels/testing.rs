//! Shared by the tests of the kernels: inputs, poisoned outputs, and gradients of a
//! naive f64 forward by finite differences.

/// Row widths on and off the width of a vector.
pub const SIZES: [usize; 9] = [1, 3, 5, 7, 15, 16, 17, 33, 100];

/// `count` standard normal numbers, the same for the same `seed`.
pub fn normals(count: usize, seed: u64) -> Vec<f32> {
    use rand::SeedableRng;
    use rand_distr::Distribution;
    let generator = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    rand_distr::StandardNormal
        .sample_iter(generator)
        .take(count)
        .collect()
}

/// `x` in f64.
pub fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| f64::from(x)).collect()
}

/// `f` of each element in f64.
pub fn each(x: &[f32], f: impl Fn(f64) -> f64) -> Vec<f64> {
    x.iter().map(|&x| f(f64::from(x))).collect()
}

/// `f` of each pair of elements in f64.
pub fn each2(a: &[f32], b: &[f32], f: impl Fn(f64, f64) -> f64) -> Vec<f64> {
    a.iter()
        .zip(b)
        .map(|(&a, &b)| f(f64::from(a), f64::from(b)))
        .collect()
}

/// Asserts `|actual - expected| <= tolerance * max(1, |expected|)` for each element.
#[track_caller]
pub fn assert_close(actual: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(actual.len(), expected.len());
    let count = actual.len();
    for (i, (&actual, &expected)) in actual.iter().zip(expected).enumerate() {
        let error = (f64::from(actual) - expected).abs();
        assert!(
            error <= tolerance * expected.abs().max(1.0),
            "element {i} of {count}: {actual}, expected {expected}",
        );
    }
}

/// Asserts that `write(y, accumulate)` overwrites a poisoned `y` with `expected`, and
/// that it adds `expected` to what `y` holds when told so.
#[track_caller]
pub fn assert_written(expected: &[f64], tolerance: f64, mut write: impl FnMut(&mut [f32], bool)) {
    let mut y = vec![f32::NAN; expected.len()];
    write(&mut y, false);
    assert_close(&y, expected, tolerance);

    let before = normals(expected.len(), 99);
    let mut y = before.clone();
    write(&mut y, true);
    let sum: Vec<f64> = expected
        .iter()
        .zip(&before)
        .map(|(e, &b)| e + f64::from(b))
        .collect();
    assert_close(&y, &sum, tolerance + 1e-6);
}

/// The gradient at `x` of `sum_i weight[i] forward(x)[i]`, by central differences of the
/// f64 `forward` with two step sizes and Richardson's extrapolation.
pub fn gradient(x: &[f64], weight: &[f64], forward: impl Fn(&[f64]) -> Vec<f64>) -> Vec<f64> {
    let at = |x: &[f64]| -> f64 { forward(x).iter().zip(weight).map(|(y, w)| y * w).sum() };
    let mut x = x.to_vec();
    (0..x.len())
        .map(|i| {
            let center = x[i];
            let mut slope = |step: f64| {
                x[i] = center + step;
                let above = at(&x);
                x[i] = center - step;
                let below = at(&x);
                x[i] = center;
                (above - below) / (2.0 * step)
            };
            let step = 1e-3;
            (4.0 * slope(step / 2.0) - slope(step)) / 3.0
        })
        .collect()
}
