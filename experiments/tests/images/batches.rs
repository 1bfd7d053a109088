//! Batches of generated images.

use super::*;
use lab::data::images::{ImageBatch, ImageBatches};

fn shapes() -> ImageSet {
    ImageSet::shapes(ImageSizes {
        side: 12,
        channels: 1,
    })
}

#[test]
fn generated_shapes_never_change() {
    let set = shapes();
    assert_eq!((set.train.len(), set.test.len()), (9000, 1000));
    assert_eq!(set.classes.len(), 10);
    // A change here would silently change every published number.
    assert!(
        set.account.fingerprint.starts_with("da1a3e1cc1eef542"),
        "{}",
        set.account.fingerprint
    );
    let same = (0..1000).filter(|&i| set.test.image(i, set.sizes) == set.train.image(i, set.sizes));
    assert_eq!(same.count(), 0, "no test image is a training image");
}

#[test]
fn an_epoch_passes_over_every_image_once() {
    let set = shapes();
    let mut batches = ImageBatches::new(&set);
    let mut batch = ImageBatch::default();
    let mut sums = Vec::new();
    for step in 0..18 {
        batches.train_into(&mut batch, &set, 3, step, 500, 0.0);
        sums.push(batch.images.iter().map(|&x| f64::from(x)).sum::<f64>());
    }
    // Normalised by the training part, the whole of it has mean 0; a repeated image
    // would show.
    assert!(sums.iter().sum::<f64>().abs() < 1.0, "{sums:?}");
    let mut counts = [0; 10];
    for step in 0..18 {
        batches.train_into(&mut batch, &set, 3, step, 500, 0.0);
        for &label in &batch.labels {
            counts[label as usize] += 1;
        }
    }
    assert_eq!(counts, [900; 10]);
}

#[test]
fn a_batch_is_a_function_of_seed_and_step_alone() {
    let set = shapes();
    let batch = |seed, steps: &[u64]| {
        let mut batches = ImageBatches::new(&set);
        let mut batch = ImageBatch::default();
        for &step in steps {
            batches.train_into(&mut batch, &set, seed, step, 64, 0.2);
        }
        batch
    };
    assert_eq!(batch(1, &[0, 1, 200]), batch(1, &[200]));
    assert_ne!(batch(1, &[200]), batch(2, &[200]));
    assert_ne!(batch(1, &[200]), batch(1, &[201]));
}

#[test]
fn mixup_mixes_images_and_targets_with_the_same_share() {
    let set = shapes();
    let mut batches = ImageBatches::new(&set);
    let (mut plain, mut mixed) = (ImageBatch::default(), ImageBatch::default());
    let mut shares = Vec::new();
    for step in 0..40 {
        batches.train_into(&mut plain, &set, 0, step, 8, 0.0);
        batches.train_into(&mut mixed, &set, 0, step, 8, 1.0);
        for row in 0..8 {
            let (target, label) = (&mixed.targets[row * 10..][..10], mixed.labels[row]);
            assert!((target.iter().sum::<f32>() - 1.0).abs() < 1e-6);
            let share = target[label as usize];
            let image = |batch: &ImageBatch, row: usize| batch.images[row * 144..][..144].to_vec();
            let other = (0..8).find(|&other| {
                let expected = (0..144).map(|i| {
                    share * image(&plain, row)[i] + (1.0 - share) * image(&plain, other)[i]
                });
                let got = image(&mixed, row);
                got.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-4)
            });
            if share < 1.0 {
                shares.push(share);
                let other = other.expect("a row it was mixed with");
                assert_eq!(target[plain.labels[other] as usize], 1.0 - share);
            }
        }
    }
    assert!(shares.iter().any(|&s| s < 0.3) && shares.iter().any(|&s| s > 0.7));
}

#[test]
fn normalised_pixels_can_be_shown_again() {
    let set = shapes();
    let batches = ImageBatches::new(&set);
    let test = batches.test(&set);
    assert_eq!(test.labels.len(), 1000);
    assert_eq!(
        batches.to_bytes(&test.images[..144]),
        set.test.image(0, set.sizes)
    );
}
