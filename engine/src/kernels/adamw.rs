//! AdamW (Loshchilov and Hutter, 2019), one pass over a range of parameters.

use super::expect_len;
use crate::simd::{F32, LANES, load, load_partial, store, store_partial};

/// The numbers of one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWStep {
    /// The learning rate of this step.
    pub learning_rate: f32,
    /// The decay of the first moment.
    pub beta1: f32,
    /// The decay of the second moment.
    pub beta2: f32,
    /// Added to the root of the second moment.
    pub eps: f32,
    /// The decoupled weight decay.
    pub weight_decay: f32,
    /// The number of the step; the first is 1.
    pub step: u64,
    /// Factor of the gradients before all else, as clipping their norm needs.
    pub gradient_scale: f32,
}

/// Updates parameters and moments in place:
/// ```text
/// g = gradient_scale gradient          p = p (1 - learning_rate weight_decay)
/// m = beta1 m + (1 - beta1) g          v = beta2 v + (1 - beta2) g^2
/// p = p - learning_rate / (1 - beta1^step) m / (sqrt(v) / sqrt(1 - beta2^step) + eps)
/// ```
/// The bias corrections are computed in f64.
///
/// # Panics
/// If the lengths differ or the step is 0.
#[track_caller]
pub fn adamw(
    parameter: &mut [f32],
    first_moment: &mut [f32],
    second_moment: &mut [f32],
    gradient: &[f32],
    step: &AdamWStep,
) {
    let count = parameter.len();
    expect_len("adamw", "first_moment", first_moment.len(), count);
    expect_len("adamw", "second_moment", second_moment.len(), count);
    expect_len("adamw", "gradient", gradient.len(), count);
    assert!(
        step.step > 0,
        "adamw: step is 0, expected the first step to be 1"
    );

    let (beta1, beta2) = (f64::from(step.beta1), f64::from(step.beta2));
    let learning_rate = f64::from(step.learning_rate);
    let time = step.step as f64;
    let splat = |x: f64| F32::splat(x as f32);
    let keep = splat(1.0 - learning_rate * f64::from(step.weight_decay));
    let rate = splat(learning_rate / (1.0 - beta1.powf(time)));
    let root_correction = splat(1.0 / (1.0 - beta2.powf(time)).sqrt());
    let (b1, c1) = (F32::splat(step.beta1), splat(1.0 - beta1));
    let (b2, c2) = (F32::splat(step.beta2), splat(1.0 - beta2));
    let (eps, scale) = (F32::splat(step.eps), F32::splat(step.gradient_scale));

    let update = |p: F32, m: F32, v: F32, g: F32| {
        let g = g * scale;
        let m = m.mul_add(b1, c1 * g);
        let v = v.mul_add(b2, c2 * (g * g));
        let denominator = v.sqrt().mul_add(root_correction, eps);
        let p = (m / denominator).mul_neg_add(rate, p * keep);
        (p, m, v)
    };
    let whole = count / LANES * LANES;
    for at in (0..whole).step_by(LANES) {
        let (p, m, v) = update(
            load(&parameter[at..]),
            load(&first_moment[at..]),
            load(&second_moment[at..]),
            load(&gradient[at..]),
        );
        store(&mut parameter[at..], p);
        store(&mut first_moment[at..], m);
        store(&mut second_moment[at..], v);
    }
    if whole < count {
        let (p, m, v) = update(
            load_partial(&parameter[whole..]),
            load_partial(&first_moment[whole..]),
            load_partial(&second_moment[whole..]),
            load_partial(&gradient[whole..]),
        );
        store_partial(&mut parameter[whole..], p);
        store_partial(&mut first_moment[whole..], m);
        store_partial(&mut second_moment[whole..], v);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    fn step(step: u64) -> AdamWStep {
        AdamWStep {
            learning_rate: 3e-3,
            beta1: 0.9,
            beta2: 0.95,
            eps: 1e-8,
            weight_decay: 0.1,
            step,
            gradient_scale: 0.5,
        }
    }

    #[test]
    fn many_steps_follow_the_formula_in_f64() {
        // An eps that counts for nothing, and one as large as the moments.
        for (len, eps) in SIZES.iter().flat_map(|&len| [(len, 1e-8), (len, 0.3)]) {
            let mut p = normals(len, 1);
            let (mut m, mut v) = (vec![0.0; len], vec![0.0; len]);
            let (mut p64, mut m64, mut v64) = (wide(&p), wide(&m), wide(&v));
            for t in 1..=30 {
                let g: Vec<f32> = normals(len, 100 + t).iter().map(|g| g + 0.3).collect();
                let s = AdamWStep { eps, ..step(t) };
                adamw(&mut p, &mut m, &mut v, &g, &s);
                let (b1, b2) = (f64::from(s.beta1), f64::from(s.beta2));
                let lr = f64::from(s.learning_rate);
                for i in 0..len {
                    let g = f64::from(g[i]) * f64::from(s.gradient_scale);
                    p64[i] *= 1.0 - lr * f64::from(s.weight_decay);
                    m64[i] = b1 * m64[i] + (1.0 - b1) * g;
                    v64[i] = b2 * v64[i] + (1.0 - b2) * g * g;
                    let m_hat = m64[i] / (1.0 - b1.powi(t as i32));
                    let v_hat = v64[i] / (1.0 - b2.powi(t as i32));
                    p64[i] -= lr * m_hat / (v_hat.sqrt() + f64::from(s.eps));
                }
            }
            assert_close(&p, &p64, 2e-6);
            assert_close(&m, &m64, 1e-6);
            assert_close(&v, &v64, 1e-6);
        }
    }

    #[test]
    fn a_parameter_without_gradient_only_decays() {
        let (mut p, mut m, mut v) = ([2.0; 3], [0.0; 3], [0.0; 3]);
        adamw(&mut p, &mut m, &mut v, &[0.0; 3], &step(1));
        assert_close(&p, &[2.0 * (1.0 - 3e-4); 3], 1e-7);
        assert_eq!((m, v), ([0.0; 3], [0.0; 3]));
    }

    #[test]
    #[should_panic(expected = "adamw: gradient has 2 elements, expected 3")]
    fn a_gradient_of_another_length_panics() {
        adamw(
            &mut [0.0; 3],
            &mut [0.0; 3],
            &mut [0.0; 3],
            &[0.0; 2],
            &step(1),
        );
    }
}
