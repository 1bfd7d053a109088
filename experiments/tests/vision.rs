//! A vision transformer learns what is on images, by the same trainer as everything
//! else.

use lab::{
    config::{Layers, RunConfig},
    data::{
        Data,
        images::{ImageSet, ImageSizes, ImageSource},
    },
    train::Trainer,
};
use std::sync::Arc;

const SIZES: ImageSizes = ImageSizes {
    side: 12,
    channels: 1,
};

fn config(more: &[&str]) -> RunConfig {
    let tiny = [
        "model.type=vit",
        "model.image=12",
        "model.patch=3",
        "model.dim=24",
        "model.layers=2",
        "model.heads=2",
        "model.ffn.hidden=48",
        "model.connection.type=hyper",
        "model.connection.rate=2",
        "data.mixup=0.2",
        "train.steps=150",
        "train.batch=32",
        "train.micro_batch=8",
        "train.shards=2",
        "train.warmup=10",
        "train.learning_rate=5e-3",
        "optim.weight_decay=0.3",
    ];
    Layers::defaults()
        .set(&[&tiny[..], more].concat())
        .and_then(Layers::resolve)
        .expect("a valid configuration")
}

fn shapes() -> Data {
    let set = ImageSet::open(&ImageSource::new(None, SIZES));
    Data::Images(Arc::new(set.expect("shapes")))
}

#[test]
fn a_small_network_learns_to_tell_shapes_apart() {
    let mut trainer = Trainer::new(&config(&[]), shapes()).expect("a trainer");
    let before = trainer.validate();
    for _ in 0..300 {
        assert!(!trainer.step().diverged());
    }
    let after = trainer.validate();
    let accuracy = |validation: lab::train::Validation| validation.accuracy.expect("a classifier");
    assert!(accuracy(before) < 0.2, "{before:?}");
    assert!(accuracy(after) > 0.3, "{after:?}");
    assert!(after.loss < 0.9 * before.loss, "{before:?} {after:?}");
    assert!(trainer.findings().is_empty());
}

#[test]
fn dropout_and_mixup_do_not_depend_on_threads() {
    let losses = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .expect("a pool");
        pool.install(|| {
            let mut trainer = Trainer::new(&config(&[]), shapes()).expect("a trainer");
            let losses: Vec<f64> = (0..4).map(|_| trainer.step().loss).collect();
            (losses, trainer.validate())
        })
    };
    let one = losses(1);
    assert_eq!(one, losses(3));
}

#[test]
fn images_and_networks_that_do_not_fit_are_refused() {
    let error = |more: &[&str], data: &Data| {
        let trainer = Trainer::new(&config(more), data);
        trainer.err().expect("a mismatch").to_string()
    };
    let message = error(&["model.classes=7"], &shapes());
    assert!(
        message.contains("in 10 classes, which model.classes=7 contradicts"),
        "{message}"
    );
    let message = error(&["model.image=15"], &shapes());
    assert!(message.contains("12 x 12 with 1 channel in"), "{message}");
    let message = error(&["model.image=15", "model.channels=3"], &shapes());
    assert!(
        message.contains("model.image=15, model.channels=3"),
        "{message}"
    );
    let text = RunConfig::default();
    let message = Trainer::new(&text, shapes()).err().expect("a mismatch");
    assert!(
        message
            .to_string()
            .contains("learns from text, not from images")
    );
}
