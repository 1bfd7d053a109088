//! Images of labelled shapes, drawn instead of downloaded: of each the position, size, turn, the two
//! colours and the noise are random.

use super::ImageSizes;
use rand::{Rng, RngExt};

/// Generated images to train on, and to test on.
pub(super) const COUNTS: [usize; 2] = [9000, 1000];
/// A class: its name, and whether a point is in the shape, which fills the square from
/// -1 to 1.
type Shape = (&'static str, fn(f64, f64) -> bool);

/// The classes in the order of their labels.
pub(super) const CLASSES: [Shape; 10] = [
    ("disc", |x, y| x * x + y * y <= 1.0),
    ("ring", |x, y| (0.36..=1.0).contains(&(x * x + y * y))),
    ("square", |x, y| box_norm(x, y) <= 0.85),
    ("frame", |x, y| (0.5..=0.85).contains(&box_norm(x, y))),
    ("triangle", |x, y| y <= 0.8 && x.abs() <= 0.55 * (y + 1.0)),
    ("diamond", |x, y| x.abs() + y.abs() <= 1.0),
    ("plus", |x, y| {
        box_norm(x, y) <= 1.0 && x.abs().min(y.abs()) <= 0.28
    }),
    ("cross", |x, y| {
        box_norm(x, y) <= 0.9 && (x.abs() - y.abs()).abs() <= 0.35
    }),
    ("bars", |x, y| box_norm(x, y) <= 0.9 && is_bar(y)),
    ("columns", |x, y| box_norm(x, y) <= 0.9 && is_bar(x)),
];

fn box_norm(x: f64, y: f64) -> f64 {
    x.abs().max(y.abs())
}

fn is_bar(x: f64) -> bool {
    (x + 0.9).rem_euclid(0.72) <= 0.36
}

/// Points in a pixel, along each side, at which it is looked whether the shape is there.
const SAMPLES: usize = 3;
/// The seed of all images.
pub(super) const SEED: u64 = 0x5ba9e5;

/// Draws an image of a class.
pub(super) fn append(pixels: &mut Vec<u8>, class: usize, sizes: ImageSizes, rng: &mut impl Rng) {
    let (_, covers) = CLASSES[class];
    let side = sizes.side as f64;
    let mut between = |low: f64, high: f64| low + (high - low) * rng.random::<f64>();
    let radius = between(0.22, 0.4);
    let reach = 0.5 - radius;
    let (x0, y0) = (0.5 + between(-reach, reach), 0.5 + between(-reach, reach));
    let (sin, cos) = between(-0.2, 0.2).sin_cos();
    // Two colours that differ in every channel, either of them the darker one.
    let bright_shape = between(0.0, 1.0) < 0.5;
    let colours: Vec<[f64; 2]> = (0..sizes.channels)
        .map(|_| {
            let (dark, bright) = (between(0.0, 0.35), between(0.65, 1.0));
            match bright_shape {
                true => [dark, bright],
                false => [bright, dark],
            }
        })
        .collect();
    let coverage: Vec<f64> = (0..sizes.side * sizes.side)
        .map(|pixel| {
            let (row, column) = (pixel / sizes.side, pixel % sizes.side);
            let inside = (0..SAMPLES * SAMPLES).filter(|sample| {
                let offset = |i: usize| (i as f64 + 0.5) / SAMPLES as f64;
                let x = (column as f64 + offset(sample % SAMPLES)) / side - x0;
                let y = (row as f64 + offset(sample / SAMPLES)) / side - y0;
                let (u, v) = (cos * x + sin * y, cos * y - sin * x);
                covers(u / radius, v / radius)
            });
            inside.count() as f64 / (SAMPLES * SAMPLES) as f64
        })
        .collect();
    for [background, foreground] in colours {
        for &share in &coverage {
            let value = background + share * (foreground - background) + between(-0.08, 0.08);
            pixels.push((255.0 * value).round().clamp(0.0, 255.0) as u8);
        }
    }
}
