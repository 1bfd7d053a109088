//! Runs of another length.

use crate::config::TrainConfig;

/// Gives a run another number of steps. Warm-up and steps between validations are scaled alike, so
/// that the learning rate and the validations are what they were as functions of the part of the run
/// that is done; of the validations there are never more.
pub(super) fn set_steps(train: &mut TrainConfig, steps: usize) {
    let scaled = |n: usize| n as f64 * steps as f64 / train.steps as f64;
    let at_least_one = |n: f64, before: usize| (n as usize).max(usize::from(before > 0));
    let warmup = at_least_one(scaled(train.warmup).round(), train.warmup);
    // A hair less: 0.1 * 3 / 0.1 is above 3.
    let eval_every = (scaled(train.eval_every) * (1.0 - 1e-12)).ceil();
    train.eval_every = at_least_one(eval_every, train.eval_every);
    train.warmup = warmup;
    train.steps = steps;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_of_other_length_has_its_schedule_and_validations_at_the_same_parts() {
        let train = |steps, warmup, eval_every| TrainConfig {
            steps,
            warmup,
            eval_every,
            ..TrainConfig::default()
        };
        let of_length = |before: &TrainConfig, steps| {
            let mut train = before.clone();
            set_steps(&mut train, steps);
            train
        };
        let before = train(1000, 100, 250);
        assert_eq!(of_length(&before, 800), train(800, 80, 200));
        assert_eq!(of_length(&before, 2000), train(2000, 200, 500));
        assert_eq!(of_length(&before, 1000), before);
        assert_eq!(of_length(&train(1000, 0, 0), 1), train(1, 0, 0));
        assert_eq!(of_length(&train(1000, 10, 10), 1), train(1, 1, 1));
        for steps in 1..1200 {
            for eval_every in [7, 100, 400] {
                let before = train(1000, 100, eval_every);
                let after = of_length(&before, steps);
                let validations = |one: &TrainConfig| one.steps.div_ceil(one.eval_every);
                assert!(validations(&after) <= validations(&before), "{after:?}");
                for part in [0.05, 0.3, 0.7] {
                    let rate = |one: &TrainConfig| {
                        let step = (part * one.steps as f64) as usize;
                        one.learning_rates().rate(step)
                    };
                    let near = (rate(&after) / rate(&before) - 1.0).abs();
                    assert!(near < 0.02 || steps < 500, "{steps} {part}: {near}");
                }
            }
        }
    }
}
