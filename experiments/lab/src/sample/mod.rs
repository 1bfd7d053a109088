//! What trained networks make: text token by token, and images step by step.

mod images;

pub use images::{Drawing, Grid, GridError, draw_images};

use engine::{params::Params, rng::Key, tape::Tape};
use models::transformer::Transformer;
use rand::RngExt;

/// Rule by which tokens are chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// Number that logits are divided by; 0 takes the most probable token.
    pub temperature: f64,
    /// Number of the most probable tokens that are considered; 0 considers all.
    pub top_k: usize,
    /// The seed.
    pub seed: u64,
}

/// `count` of the first `alphabet` tokens that continue `prompt`: each is drawn from what the
/// network predicts after the last tokens that fit its longest sequence. A function of its
/// arguments alone.
///
/// # Panics
/// If the prompt is empty or the vocabulary has no room for the alphabet.
#[track_caller]
pub fn continue_text(
    model: &Transformer,
    params: &Params,
    prompt: &[u32],
    alphabet: usize,
    count: usize,
    choice: Choice,
) -> Vec<u32> {
    assert!(!prompt.is_empty(), "sample: the prompt is empty");
    let (window, classes) = (model.config().seq, model.config().vocab_size);
    assert!(
        (1..=classes).contains(&alphabet),
        "sample: an alphabet of {alphabet} in a vocabulary of {classes}"
    );
    let key = Key::new(choice.seed).named("sample");
    let mut text = prompt.to_vec();
    let mut tape = Tape::new().parallel(true);
    tape.set_recording(false);
    for position in 0..count {
        let context = &text[text.len().saturating_sub(window)..];
        tape.bind(params);
        let logits = model.logits(&tape, context, context.len());
        let uniform: f64 = key.at(position as u64).rng().random();
        let token = logits.with_value(|logits| {
            let last = &logits[logits.len() - classes..];
            choose(&last[..alphabet], choice, uniform)
        });
        text.push(token as u32);
        tape.reset();
    }
    text.split_off(prompt.len())
}

/// The index drawn with a uniform number in `[0, 1)`. Equal logits go by index.
fn choose(logits: &[f32], choice: Choice, uniform: f64) -> usize {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
    if choice.temperature == 0.0 {
        return order[0];
    }
    if choice.top_k > 0 {
        order.truncate(choice.top_k);
    }
    let top = f64::from(logits[order[0]]);
    let weight = |&i: &usize| ((f64::from(logits[i]) - top) / choice.temperature).exp();
    let mut left = uniform * order.iter().map(weight).sum::<f64>();
    let drawn = order.iter().find(|i| {
        left -= weight(i);
        left < 0.0
    });
    // Rounding may leave a rest behind the last one.
    *drawn.unwrap_or(&order[order.len() - 1])
}

#[cfg(test)]
mod tests {
    use super::*;
    use models::transformer::TransformerConfig;

    const LOGITS: [f32; 4] = [0.0, 2.0, 1.0, -1.0];

    fn drawn(temperature: f64, top_k: usize) -> Vec<usize> {
        let choice = Choice {
            temperature,
            top_k,
            seed: 0,
        };
        let uniforms = (0..1000).map(|i| f64::from(i) / 1000.0);
        uniforms.map(|u| choose(&LOGITS, choice, u)).collect()
    }

    #[test]
    fn bytes_are_drawn_with_their_probabilities_at_any_temperature() {
        for temperature in [0.25, 0.8, 1.0, 3.0] {
            let drawn = drawn(temperature, 0);
            let weight = |x: f32| (f64::from(x) / temperature).exp();
            let sum: f64 = LOGITS.iter().map(|&x| weight(x)).sum();
            for (i, &logit) in LOGITS.iter().enumerate() {
                let share = drawn.iter().filter(|&&x| x == i).count() as f64 / 1000.0;
                let expected = weight(logit) / sum;
                assert!(
                    (share - expected).abs() < 2e-3,
                    "{i} at {temperature}: {share}, not {expected}"
                );
            }
        }
    }

    #[test]
    fn temperature_zero_and_top_1_take_the_most_probable() {
        assert!(drawn(0.0, 0).iter().all(|&x| x == 1));
        assert!(drawn(1.0, 1).iter().all(|&x| x == 1));
        assert!(drawn(1.0, 2).iter().all(|&x| x == 1 || x == 2));
    }

    #[test]
    fn a_text_longer_than_the_window_goes_on_and_is_the_same_every_time() {
        let config = TransformerConfig {
            dim: 8,
            layers: 1,
            heads: 2,
            seq: 8,
            ..TransformerConfig::default()
        };
        let (model, params) = Transformer::new(&config, Key::new(0)).unwrap();
        let choice = |seed| Choice {
            temperature: 1.0,
            top_k: 0,
            seed,
        };
        let text = |seed| continue_text(&model, &params, &[97, 98], 256, 30, choice(seed));
        assert_eq!(text(1).len(), 30);
        assert_eq!(text(1), text(1));
        assert_ne!(text(1), text(2));
    }
}
