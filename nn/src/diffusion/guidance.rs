//! Classifier-free guidance (Ho and Salimans, 2022, arXiv 2207.12598).

/// `eps = eps(no class) + w (eps(c) - eps(no class))`, written over `with_class`.
///
/// The weight is counted as in DiT, whose `cfg = 1.5` is `w = 1.5`; in the paper's own
/// notation it is `1 + w`. 1 is the conditional prediction, 0 the unconditional one, more
/// than 1 exaggerates what the class changes.
///
/// # Panics
/// If the predictions have different lengths.
#[track_caller]
pub fn guide(with_class: &mut [f32], without: &[f32], weight: f32) {
    assert_eq!(with_class.len(), without.len(), "guide: the predictions");
    // A weight of 1 is the conditional prediction to the last bit.
    for (y, x) in with_class.iter_mut().zip(without) {
        *y += (weight - 1.0) * (*y - x);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weight_1_is_conditional_0_unconditional_and_2_goes_as_far_again() {
        let guided = |weight| {
            let mut eps = [0.3, -1.5];
            guide(&mut eps, &[0.1, 0.5], weight);
            eps
        };
        assert_eq!(guided(1.0), [0.3, -1.5]);
        let near = |a: [f32; 2], b: [f32; 2]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(near(guided(0.0), [0.1, 0.5]));
        assert!(near(guided(2.0), [0.5, -3.5]));
    }
}
