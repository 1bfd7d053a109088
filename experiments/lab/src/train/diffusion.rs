//! Seeing the noise in noisy images of known classes.

use super::{NoiseLevels, Score, Task, TrainError};
use crate::{
    data::{
        DataAccount,
        images::{ImageBatch, ImageBatches, ImageSet},
    },
    run_dir::NOISE_LEVELS,
};
use engine::{params::Params, rng::Key, tape::Tape};
use models::{
    dit::{Dit, DitConfig, Noisy},
    loss::Loss,
    network::Network,
};
use nn::{connection::Connection, diffusion::NoiseSchedule};
use rand::{Rng, RngExt, distr::Distribution, seq::SliceRandom};
use rand_distr::StandardNormal;
use std::{ops::Range, sync::Arc};

/// A diffusion transformer and labelled images, with pixels from -1 to 1.
///
/// Timestep, noise and whether the class is left out are functions of seed, step and row in
/// training. In validation, which is the whole test part, they are functions of the image
/// alone: every arm and every seed meets the same noise. Its timesteps cover all noise levels
/// alike, and no class is left out. Where the number of images is no multiple of that of the
/// levels, a few images are there twice, with other noise.
pub struct Diffusion {
    model: Dit,
    schedule: NoiseSchedule,
    set: Arc<ImageSet>,
    batches: ImageBatches,
    clean: ImageBatch,
    batch: NoisyBatch,
    test: NoisyBatch,
}

/// Noisy images and what was done to them.
#[derive(Debug, Default)]
struct NoisyBatch {
    images: Vec<f32>,
    noise: Vec<f32>,
    timesteps: Vec<u32>,
    classes: Vec<u32>,
}

impl Diffusion {
    /// The network and the images.
    ///
    /// # Errors
    /// [`TrainError::Config`], or [`TrainError::Data`] if the images have other sizes or
    /// another number of classes than the network.
    pub fn new(
        config: &DitConfig,
        set: &Arc<ImageSet>,
        key: Key,
    ) -> Result<(Self, Params), TrainError> {
        set.check(config.patches(), config.classes)?;
        let (model, params) = Dit::new(config, key)?;
        let batches = ImageBatches::centred(set.sizes.channels);
        let clean = batches.test(set);
        let schedule = NoiseSchedule::new(config.noise);
        let test = noisy_test(&clean, set.sizes.elements(), &schedule);
        let task = Self {
            model,
            schedule,
            set: Arc::clone(set),
            clean: ImageBatch::default(),
            batch: NoisyBatch::default(),
            test,
            batches,
        };
        Ok((task, params))
    }

    fn loss<'t>(&self, tape: &'t Tape, batch: &NoisyBatch, rows: Range<usize>) -> Loss<'t> {
        let size = self.set.sizes.elements();
        let pixels = rows.start * size..rows.end * size;
        let noisy = Noisy {
            images: &batch.images[pixels.clone()],
            timesteps: &batch.timesteps[rows.clone()],
            classes: &batch.classes[rows],
        };
        self.model.losses(tape, noisy, &batch.noise[pixels])
    }
}

/// The image and the noise level of every row of validation: each level as often as any other,
/// and not by the order of the images, which may be that of their classes. All images once, and
/// as many of them again, evenly spaced, as make the rows a multiple of the levels.
fn test_rows(images: usize) -> Vec<(usize, usize)> {
    let rows = images.next_multiple_of(NOISE_LEVELS);
    let again = rows - images;
    let image = (0..images).chain((0..again).map(|i| i * images / again));
    let mut levels: Vec<usize> = (0..rows).map(|i| i % NOISE_LEVELS).collect();
    levels.shuffle(&mut Key::new(0).named("test noise levels").rng());
    image.zip(levels).collect()
}

fn noisy_test(clean: &ImageBatch, size: usize, schedule: &NoiseSchedule) -> NoisyBatch {
    let mut test = NoisyBatch::default();
    let rows = test_rows(clean.labels.len());
    for (row, (image, level)) in rows.into_iter().enumerate() {
        let mut rng = Key::new(0).named("test noise").at(row as u64).rng();
        let timesteps = NoiseLevels::timesteps(level, schedule.timesteps());
        let timestep = rng.random_range(timesteps);
        let (pixels, class) = (&clean.images[image * size..][..size], clean.labels[image]);
        test.push(pixels, schedule, timestep, class, &mut rng);
    }
    test
}

impl NoisyBatch {
    fn clear(&mut self) {
        self.images.clear();
        self.noise.clear();
        self.timesteps.clear();
        self.classes.clear();
    }

    /// Appends an image with noise from `rng`.
    fn push(
        &mut self,
        image: &[f32],
        schedule: &NoiseSchedule,
        timestep: u32,
        class: u32,
        rng: &mut impl Rng,
    ) {
        let start = self.images.len();
        let noise = (0..image.len()).map(|_| -> f32 { StandardNormal.sample(rng) });
        self.noise.extend(noise);
        self.images.resize(start + image.len(), 0.0);
        let (noisy, noise) = (&mut self.images[start..], &self.noise[start..]);
        schedule.diffuse(noisy, image, noise, timestep as usize);
        self.timesteps.push(timestep);
        self.classes.push(class);
    }
}

impl Task for Diffusion {
    fn load_batch(&mut self, seed: u64, step: u64, rows: usize) {
        self.batches
            .train_into(&mut self.clean, &self.set, seed, step, rows, 0.0);
        self.batch.clear();
        let key = Key::new(seed).named("diffusion").at(step);
        let size = self.set.sizes.elements();
        let images = self.clean.images.chunks_exact(size);
        let config = self.model.config();
        for (row, (image, &class)) in images.zip(&self.clean.labels).enumerate() {
            let mut rng = key.at(row as u64).rng();
            let timestep = rng.random_range(1..=self.schedule.timesteps() as u32);
            let class = match rng.random::<f64>() < config.label_dropout {
                true => config.no_class(),
                false => class,
            };
            self.batch
                .push(image, &self.schedule, timestep, class, &mut rng);
        }
    }

    fn train_loss<'t>(&self, tape: &'t Tape, rows: Range<usize>) -> Loss<'t> {
        self.loss(tape, &self.batch, rows)
    }

    fn validation_rows(&self) -> usize {
        self.test.classes.len()
    }

    fn validate<'t>(&self, tape: &'t Tape, rows: Range<usize>) -> Score<'t> {
        let loss = self.loss(tape, &self.test, rows.clone());
        let size = self.set.sizes.elements();
        let mut predicted = vec![0.0; size];
        let mut levels = NoiseLevels::default();
        loss.output.with_value(|all| {
            for (row, patches) in rows.zip(all.chunks_exact(size)) {
                self.model
                    .config()
                    .patches()
                    .join(&mut predicted, false, patches);
                let noise = &self.test.noise[row * size..][..size];
                let error = predicted.iter().zip(noise).map(|(x, e)| f64::from(x - e));
                let square = error.map(|error| error * error).sum::<f64>() / size as f64;
                let timestep = self.test.timesteps[row];
                levels.add(NoiseLevels::of(timestep, self.schedule.timesteps()), square);
            }
        });
        Score {
            loss: loss.task,
            correct: None,
            noise_levels: Some(levels),
        }
    }

    fn validation_sources(&self) -> Vec<String> {
        let rows = test_rows(self.set.test.len()).into_iter();
        rows.map(|(image, _)| format!("image {image}")).collect()
    }

    fn network(&self) -> &dyn Network {
        self.model.config()
    }

    fn connections(&self) -> Vec<&dyn Connection> {
        self.model.connections().collect()
    }

    fn guessing_loss(&self) -> f64 {
        // Noise has the variance 1.
        1.0
    }

    fn data(&self) -> &DataAccount {
        &self.set.account
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::images::{ImageSizes, ImageSource};

    fn task() -> Diffusion {
        let config = DitConfig {
            image: 8,
            dim: 8,
            layers: 1,
            heads: 1,
            ..DitConfig::default()
        };
        let sizes = ImageSizes {
            side: 8,
            channels: 1,
        };
        let set = ImageSet::open(&ImageSource::new(None, sizes)).expect("shapes");
        let task = Diffusion::new(&config, &Arc::new(set), Key::new(0));
        task.expect("a task").0
    }

    #[test]
    fn a_class_is_left_out_as_often_as_the_setting_says() {
        let mut task = task();
        let mut left_out = 0;
        for step in 0..40 {
            task.load_batch(1, step, 100);
            let classes = task.batch.classes.iter().zip(&task.clean.labels);
            left_out += classes.clone().filter(|(class, _)| **class == 10).count();
            assert!(
                classes
                    .filter(|(c, _)| **c != 10)
                    .all(|(c, label)| c == label)
            );
        }
        // 4000 at 0.1: a standard deviation of 19.
        assert!((320..480).contains(&left_out), "{left_out} of 4000");
    }

    #[test]
    fn timesteps_of_training_cover_all_and_their_noise_is_normal() {
        let mut task = task();
        task.load_batch(1, 0, 2000);
        let of_level = |level| {
            let level_of = |&&t: &&u32| NoiseLevels::of(t, 1000) == level;
            task.batch.timesteps.iter().filter(level_of).count()
        };
        assert!((0..NOISE_LEVELS).all(|level| (140..260).contains(&of_level(level))));
        let count = task.batch.noise.len() as f64;
        let sums = task
            .batch
            .noise
            .iter()
            .fold([0.0; 2], |[sum, squares], &x| {
                [sum + f64::from(x), squares + f64::from(x).powi(2)]
            });
        assert!((sums[0] / count).abs() < 0.01 && (sums[1] / count - 1.0).abs() < 0.02);
    }

    #[test]
    fn every_noise_level_is_tested_as_often_and_apart_from_classes() {
        let task = task();
        for level in 0..NOISE_LEVELS {
            let here = task.test.timesteps.iter().zip(&task.test.classes);
            let classes: Vec<u32> = here
                .filter(|(t, _)| NoiseLevels::of(**t, 1000) == level)
                .map(|(_, &class)| class)
                .collect();
            assert_eq!(classes.len(), 100);
            for class in 0..10 {
                assert!(classes.contains(&class), "no {class} at level {level}");
            }
        }
    }

    /// Every image, in training and in validation, is its clean one and its noise in the
    /// shares of the very timestep that the network is told.
    #[test]
    fn an_image_is_as_noisy_as_its_timestep_says() {
        let mut task = task();
        task.load_batch(1, 0, 200);
        let tested = task.batches.test(&task.set);
        let size = task.set.sizes.elements();
        for (batch, clean) in [(&task.batch, &task.clean), (&task.test, &tested)] {
            assert_eq!(batch.images.len(), clean.images.len());
            for (row, &t) in batch.timesteps.iter().enumerate() {
                let share = task.schedule.alpha_bar(t as usize);
                let [signal, spread] = [share.sqrt(), (1.0 - share).sqrt()];
                for i in row * size..(row + 1) * size {
                    let [x, eps] = [clean.images[i], batch.noise[i]].map(f64::from);
                    let error = f64::from(batch.images[i]) - (signal * x + spread * eps);
                    assert!(error.abs() < 1e-5, "row {row} at {t}: {error}");
                }
            }
        }
    }

    #[test]
    fn noise_levels_are_even_whatever_the_number_of_test_images() {
        for images in [1, 2, 7, 20, 25, 99] {
            let rows = test_rows(images);
            let level = |wanted: usize| rows.iter().filter(|row| row.1 == wanted).count();
            let all: Vec<usize> = (0..NOISE_LEVELS).map(level).collect();
            assert_eq!(
                all,
                [images.div_ceil(NOISE_LEVELS); NOISE_LEVELS],
                "{images}"
            );
            let image = |wanted: usize| rows.iter().filter(|row| row.0 == wanted).count();
            let all: Vec<usize> = (0..images).map(image).collect();
            let (least, most) = (all.iter().min(), all.iter().max());
            assert!(most.unwrap() - least.unwrap() <= 1, "{images}: {all:?}");
        }
    }

    #[test]
    fn a_batch_is_a_function_of_seed_and_step() {
        let (mut a, mut b) = (task(), task());
        a.load_batch(1, 0, 10);
        let first = a.batch.noise.clone();
        a.load_batch(1, 1, 10);
        assert_ne!(a.batch.noise, first);
        b.load_batch(1, 3, 10);
        a.load_batch(1, 4, 10);
        b.load_batch(1, 4, 10);
        assert_eq!(a.batch.images, b.batch.images);
        assert_eq!(a.batch.classes, b.batch.classes);
        a.load_batch(2, 4, 10);
        assert_ne!(a.batch.noise, b.batch.noise);
    }
}
