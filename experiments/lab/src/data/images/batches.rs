//! Batches of images: what a network sees, as a function of seed and step alone.

use super::{ImageSet, Part};
use engine::rng::Key;
use rand::{distr::Distribution, seq::SliceRandom};
use rand_distr::Beta;

/// Images ready for a network.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImageBatch {
    /// `[rows, channels, side, side]`, normalised.
    pub images: Vec<f32>,
    /// The class of each image (before it was mixed with another).
    pub labels: Vec<u32>,
    /// A distribution over the classes for each image, `[rows, classes]`.
    pub targets: Vec<f32>,
}

/// Deals out the training images of a set.
///
/// Every epoch passes over all images once, in an order of its own. Pixels are
/// normalised by the mean and the standard deviation of the training part, channel by
/// channel, or brought between -1 and 1.
#[derive(Clone, Debug, Default)]
pub struct ImageBatches {
    mean: Vec<f32>,
    deviation: Vec<f32>,
    /// Seed and number of the epoch whose order is kept.
    epoch: Option<(u64, u64)>,
    order: Vec<u32>,
    original: Vec<f32>,
    partners: Vec<u32>,
}

/// The smallest standard deviation that pixels are divided by.
const LEAST_DEVIATION: f64 = 1e-3;

impl ImageBatches {
    /// Measures the training images.
    pub fn new(set: &ImageSet) -> Self {
        let plane = set.sizes.side * set.sizes.side;
        let mut sums = vec![[0_u64; 2]; set.sizes.channels];
        for (i, channel) in set.train.pixels.chunks_exact(plane).enumerate() {
            let [sum, squares] = &mut sums[i % set.sizes.channels];
            for &pixel in channel {
                *sum += u64::from(pixel);
                *squares += u64::from(pixel).pow(2);
            }
        }
        let count = (set.train.len() * plane) as f64;
        let moments = sums.iter().map(|&[sum, squares]| {
            let mean = sum as f64 / count / 255.0;
            let variance = squares as f64 / count / 255.0_f64.powi(2) - mean * mean;
            (
                mean as f32,
                variance.max(0.0).sqrt().max(LEAST_DEVIATION) as f32,
            )
        });
        let (mean, deviation) = moments.unzip();
        Self {
            mean,
            deviation,
            ..Self::default()
        }
    }

    /// Brings pixels between -1 and 1, whatever the images: as diffusion takes them.
    pub fn centred(channels: usize) -> Self {
        Self {
            mean: vec![0.5; channels],
            deviation: vec![0.5; channels],
            ..Self::default()
        }
    }

    /// The training batch of one step, into memory that is used again.
    ///
    /// With a positive `mixup` it is mixed with itself (Zhang et al., mixup, ICLR 2018):
    /// `l x_i + (1 - l) x_j`, images and targets alike, with a permutation `j` of the
    /// rows and one `l` from Beta(mixup, mixup).
    pub fn train_into(
        &mut self,
        batch: &mut ImageBatch,
        set: &ImageSet,
        seed: u64,
        step: u64,
        rows: usize,
        mixup: f32,
    ) {
        batch.clear();
        for row in 0..rows as u64 {
            let position = step * rows as u64 + row;
            let index = self.index(set.train.len(), seed, position);
            self.push(batch, set, &set.train, index);
        }
        if mixup > 0.0 && rows > 1 {
            let key = Key::new(seed).named("mixup").at(step);
            self.mix(batch, key, rows, mixup);
        }
    }

    /// All images of the test part.
    pub fn test(&self, set: &ImageSet) -> ImageBatch {
        let mut batch = ImageBatch::default();
        for index in 0..set.test.len() {
            self.push(&mut batch, set, &set.test, index);
        }
        batch
    }

    /// Pixels between 0 and 255 of values that were normalised, for showing them.
    pub fn to_bytes(&self, image: &[f32]) -> Vec<u8> {
        let plane = image.len() / self.mean.len();
        let channels = image.chunks_exact(plane).enumerate();
        channels
            .flat_map(|(c, values)| {
                values.iter().map(move |x| {
                    let value = x * self.deviation[c] + self.mean[c];
                    (255.0 * value).round().clamp(0.0, 255.0) as u8
                })
            })
            .collect()
    }

    /// The image at a position in the sequence of all epochs.
    fn index(&mut self, images: usize, seed: u64, position: u64) -> usize {
        let (epoch, place) = (position / images as u64, position % images as u64);
        if self.epoch != Some((seed, epoch)) {
            self.order.clear();
            self.order.extend(0..images as u32);
            let key = Key::new(seed).named("training images").at(epoch);
            self.order.shuffle(&mut key.rng());
            self.epoch = Some((seed, epoch));
        }
        self.order[place as usize] as usize
    }

    fn push(&self, batch: &mut ImageBatch, set: &ImageSet, part: &Part, index: usize) {
        let pixels = part.image(index, set.sizes);
        let channels = pixels.chunks_exact(set.sizes.side * set.sizes.side);
        for (pixels, (mean, deviation)) in channels.zip(self.mean.iter().zip(&self.deviation)) {
            let normalised = |&pixel: &u8| (f32::from(pixel) / 255.0 - mean) / deviation;
            batch.images.extend(pixels.iter().map(normalised));
        }
        let label = part.labels[index];
        batch.labels.push(label.into());
        let one_hot = (0..set.classes.len()).map(|class| f32::from(class == usize::from(label)));
        batch.targets.extend(one_hot);
    }

    fn mix(&mut self, batch: &mut ImageBatch, key: Key, rows: usize, alpha: f32) {
        let mut rng = key.rng();
        let beta = Beta::new(alpha, alpha).expect("a positive alpha");
        let share: f32 = beta.sample(&mut rng);
        self.partners.clear();
        self.partners.extend(0..rows as u32);
        self.partners.shuffle(&mut rng);
        for values in [&mut batch.images, &mut batch.targets] {
            self.original.clear();
            self.original.extend_from_slice(values);
            let width = values.len() / rows;
            for (row, &partner) in values.chunks_exact_mut(width).zip(&self.partners) {
                let other = &self.original[partner as usize * width..][..width];
                for (x, y) in row.iter_mut().zip(other) {
                    *x = share * *x + (1.0 - share) * y;
                }
            }
        }
    }
}

impl ImageBatch {
    fn clear(&mut self) {
        self.images.clear();
        self.labels.clear();
        self.targets.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{ImageSizes, ImageSource},
        *,
    };

    /// Shapes whose second channel is darker and flatter than the first.
    fn set() -> ImageSet {
        let sizes = ImageSizes {
            side: 8,
            channels: 2,
        };
        let grey = ImageSizes {
            channels: 1,
            ..sizes
        };
        let mut set = ImageSet::open(&ImageSource::new(None, grey)).expect("shapes");
        for part in [&mut set.train, &mut set.test] {
            let both = part.pixels.chunks_exact(64).flat_map(|first| {
                let second = first.iter().map(|&pixel| pixel / 4 + 20);
                first.iter().copied().chain(second).collect::<Vec<u8>>()
            });
            part.pixels = both.collect();
        }
        set.sizes = sizes;
        set
    }

    fn of_step(batches: &mut ImageBatches, set: &ImageSet, step: u64, rows: usize) -> ImageBatch {
        let mut batch = ImageBatch::default();
        batches.train_into(&mut batch, set, 3, step, rows, 0.0);
        batch
    }

    #[test]
    fn every_channel_of_the_training_part_has_mean_0_and_deviation_1() {
        let set = set();
        let all = of_step(&mut ImageBatches::new(&set), &set, 0, set.train.len());
        for channel in 0..2 {
            let planes = all.images.chunks_exact(64).skip(channel).step_by(2);
            let values: Vec<f64> = planes.flatten().map(|&x| f64::from(x)).collect();
            let count = values.len() as f64;
            let mean = values.iter().sum::<f64>() / count;
            let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
            assert!(mean.abs() < 1e-3, "channel {channel}: {mean}");
            assert!(
                (variance - 1.0).abs() < 1e-3,
                "channel {channel}: {variance}"
            );
        }
    }

    #[test]
    fn centred_pixels_are_between_minus_1_and_1_whatever_the_images() {
        let mut set = set();
        set.test.pixels[..3].copy_from_slice(&[0, 51, 255]);
        let test = ImageBatches::centred(2).test(&set);
        for (found, expected) in test.images.iter().zip([-1.0, -0.6, 1.0]) {
            assert!((found - expected).abs() < 1e-6, "{found}, not {expected}");
        }
    }

    #[test]
    fn every_epoch_has_an_order_of_its_own() {
        let set = set();
        let mut batches = ImageBatches::new(&set);
        let epochs = [0, 1, 2].map(|step| of_step(&mut batches, &set, step, set.train.len()));
        for [a, b] in [[0, 1], [1, 2], [0, 2]] {
            assert_ne!(epochs[a].labels, epochs[b].labels);
        }
    }
}
