//! Images of shapes that are hard to name: low contrast, turned, partly hidden, among pieces of other
//! shapes, under noise (after the cluttered digits of Mnih et al., "Recurrent Models of Visual
//! Attention", NeurIPS 2014).
//!
//! The arithmetic is of integers alone, so every machine draws the same bytes.

use super::ImageSizes;
use rand::Rng;

/// Images to train on, and to test on.
pub(super) const COUNTS: [usize; 2] = [8000, 8000];

/// Unit of the coordinates in a shape, which fills the square from -1 to 1 of it.
const ONE: i64 = 1024;
/// A class: its name, and whether a point is in the shape.
type Shape = (&'static str, fn(i64, i64) -> bool);

/// The classes in the order of their labels.
pub(super) const CLASSES: [Shape; 20] = [
    ("disc", |x, y| round(x, y) <= ONE * ONE),
    ("ring", |x, y| {
        (per_cent(36) * ONE..=ONE * ONE).contains(&round(x, y))
    }),
    ("square", |x, y| far(x, y) <= per_cent(85)),
    ("frame", |x, y| {
        (per_cent(50)..=per_cent(85)).contains(&far(x, y))
    }),
    ("triangle", |x, y| {
        y <= per_cent(80) && 100 * x.abs() <= 55 * (y + ONE)
    }),
    ("diamond", |x, y| x.abs() + y.abs() <= ONE),
    ("plus", |x, y| {
        far(x, y) <= ONE && x.abs().min(y.abs()) <= per_cent(28)
    }),
    ("cross", |x, y| {
        far(x, y) <= per_cent(90) && (x.abs() - y.abs()).abs() <= per_cent(35)
    }),
    ("bars", |x, y| far(x, y) <= per_cent(90) && is_bar(y)),
    ("columns", |x, y| far(x, y) <= per_cent(90) && is_bar(x)),
    ("dome", |x, y| round(x, y) <= ONE * ONE && y <= per_cent(25)),
    ("crescent", |x, y| {
        round(x, y) <= ONE * ONE && round(x - per_cent(45), y) >= per_cent(64) * ONE
    }),
    ("corner", |x, y| {
        far(x, y) <= per_cent(90) && (x <= -per_cent(35) || y >= per_cent(35))
    }),
    ("tee", |x, y| {
        far(x, y) <= per_cent(90) && (y <= -per_cent(35) || x.abs() <= per_cent(28))
    }),
    ("cup", |x, y| {
        far(x, y) <= per_cent(90) && (x.abs() >= per_cent(40) || y >= per_cent(40))
    }),
    ("ladder", |x, y| {
        far(x, y) <= per_cent(90) && (x.abs() >= per_cent(40) || y.abs() <= per_cent(25))
    }),
    ("chevron", |x, y| {
        x.abs() <= per_cent(90) && (y - x.abs() + per_cent(45)).abs() <= per_cent(35)
    }),
    ("hourglass", |x, y| {
        far(x, y) <= per_cent(90) && x.abs() <= y.abs() + per_cent(12)
    }),
    ("bow tie", |x, y| {
        far(x, y) <= per_cent(90) && y.abs() <= x.abs() + per_cent(12)
    }),
    ("four dots", |x, y| {
        round(x.abs() - per_cent(52), y.abs() - per_cent(52)) <= per_cent(16) * ONE
    }),
];

const fn per_cent(of_one: i64) -> i64 {
    of_one * ONE / 100
}

/// Square of the distance from the centre.
fn round(x: i64, y: i64) -> i64 {
    x * x + y * y
}

/// Distance from the centre in the maximum norm.
fn far(x: i64, y: i64) -> i64 {
    x.abs().max(y.abs())
}

fn is_bar(x: i64) -> bool {
    (x + per_cent(90)).rem_euclid(per_cent(72)) <= per_cent(36)
}

/// Side of an image in the units of places and radii.
const SIDE: i64 = 1 << 12;
/// Points in a pixel, along each side, at which it is looked whether there is ink.
const SAMPLES: i64 = 2;
/// The seed of all images.
pub(super) const SEED: u64 = 0xc1077e2;

/// Half the side of the square that a shape fills.
const RADIUS: [i64; 2] = [SIDE * 26 / 100, SIDE * 40 / 100];
/// Half the side of a square that hides a part of the shape.
const HIDDEN_HALF: [i64; 2] = [SIDE * 7 / 100, SIDE * 11 / 100];
/// Pieces of other shapes, and half the side of the square that each is cut with.
const PIECES: usize = 2;
const PIECE_HALF: [i64; 2] = [SIDE * 6 / 100, SIDE * 10 / 100];
/// Difference of ink and background, of 255.
const CONTRAST: [i64; 2] = [90, 170];
/// The noise of a pixel is a sum of four numbers from minus this to it.
const NOISE: i64 = 6;
/// Change of the background from one side to the other, at most.
const SLOPE: i64 = 40;

/// Whole numbers from a generator.
struct Uniform<R>(R);

impl<R: Rng> Uniform<R> {
    /// A number from `low` to `high`, both included.
    fn between(&mut self, [low, high]: [i64; 2]) -> i64 {
        let span = (high - low + 1) as u64;
        low + ((u64::from(self.0.next_u32()) * span) >> 32) as i64
    }

    /// A number from `-most` to `most`.
    fn around(&mut self, most: i64) -> i64 {
        self.between([-most, most])
    }
}

/// A shape with its place, turn and size.
struct Placed {
    covers: fn(i64, i64) -> bool,
    centre: [i64; 2],
    /// Cosine and sine in units of [`ONE`].
    turn: [i64; 2],
    radius: i64,
}

impl Placed {
    fn new(class: usize, centre: [i64; 2], radius: i64, rng: &mut Uniform<impl Rng>) -> Self {
        // With t the tangent of half the angle, the cosine is (1 - t^2) / (1 + t^2).
        let tangent = rng.around(per_cent(16));
        let squares = ONE * ONE + tangent * tangent;
        Self {
            covers: CLASSES[class].1,
            centre,
            turn: [
                (ONE * ONE - tangent * tangent) * ONE / squares,
                2 * ONE * tangent * ONE / squares,
            ],
            radius,
        }
    }

    fn is_at(&self, [x, y]: [i64; 2]) -> bool {
        let (x, y) = (x - self.centre[0], y - self.centre[1]);
        let [cos, sin] = self.turn;
        let (u, v) = (cos * x + sin * y, cos * y - sin * x);
        (self.covers)(u / self.radius, v / self.radius)
    }
}

/// Ink on a square grid of points.
struct Sheet {
    points: i64,
    ink: Vec<bool>,
}

impl Sheet {
    /// Sets every point of the square around `centre` to what `ink` says, where it says something.
    fn set(&mut self, centre: [i64; 2], half: i64, ink: impl Fn([i64; 2]) -> Option<bool>) {
        let place = |point: i64| (2 * point + 1) * SIDE / (2 * self.points);
        let range = |centre: i64| {
            let first = |from: i64| (from * self.points / SIDE).clamp(0, self.points);
            first(centre - half)..first(centre + half)
        };
        for row in range(centre[1]) {
            for column in range(centre[0]) {
                if let Some(ink) = ink([place(column), place(row)]) {
                    self.ink[(row * self.points + column) as usize] = ink;
                }
            }
        }
    }

    /// Number of points with ink in a pixel.
    fn coverage(&self, row: i64, column: i64) -> i64 {
        let samples = (0..SAMPLES * SAMPLES).filter(|sample| {
            let row = row * SAMPLES + sample / SAMPLES;
            let column = column * SAMPLES + sample % SAMPLES;
            self.ink[(row * self.points + column) as usize]
        });
        samples.count() as i64
    }
}

/// Draws an image of a class.
pub(super) fn append(pixels: &mut Vec<u8>, class: usize, sizes: ImageSizes, rng: &mut impl Rng) {
    let rng = &mut Uniform(rng);
    let side = sizes.side as i64;
    let points = side * SAMPLES;
    let mut sheet = Sheet {
        points,
        ink: vec![false; (points * points) as usize],
    };
    let radius = rng.between(RADIUS);
    let reach = SIDE / 2 - radius;
    let centre = [SIDE / 2 + rng.around(reach), SIDE / 2 + rng.around(reach)];
    let shape = Placed::new(class, centre, radius, rng);
    sheet.set(centre, 2 * radius, |at| shape.is_at(at).then_some(true));
    let near = centre.map(|centre| centre + rng.around(radius));
    sheet.set(near, rng.between(HIDDEN_HALF), |_| Some(false));
    for _ in 0..PIECES {
        let at = [rng.between([0, SIDE]), rng.between([0, SIDE])];
        let other = rng.between([0, CLASSES.len() as i64 - 1]) as usize;
        let radius = rng.between(RADIUS);
        let centre = at.map(|at| at + rng.around(radius * 8 / 10));
        let piece = Placed::new(other, centre, radius, rng);
        sheet.set(at, rng.between(PIECE_HALF), |at| {
            piece.is_at(at).then_some(true)
        });
    }
    let sign = 2 * rng.between([0, 1]) - 1;
    for _ in 0..sizes.channels {
        let contrast = sign * rng.between(CONTRAST);
        let background = 128 - contrast / 2 + rng.around(30);
        let slope = [rng.around(SLOPE), rng.around(SLOPE)];
        for row in 0..side {
            for column in 0..side {
                let ink = contrast * sheet.coverage(row, column) / (SAMPLES * SAMPLES);
                let shade =
                    (slope[0] * (2 * column - side) + slope[1] * (2 * row - side)) / (2 * side);
                let noise: i64 = (0..4).map(|_| rng.around(NOISE)).sum();
                pixels.push((background + shade + ink + noise).clamp(0, 255) as u8);
            }
        }
    }
}
