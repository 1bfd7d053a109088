//! Images from a trained denoiser, by DDIM with guidance, and a picture of them.

use engine::{params::Params, rng::Key, tape::Tape};
use models::dit::{Dit, Noisy};
use nn::diffusion::{Ddim, NoiseSchedule, guide, timesteps};
use rand::distr::Distribution;
use rand_distr::StandardNormal;

/// Settings of DDIM.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drawing {
    /// Steps from noise to image, at most the timesteps of the network's schedule.
    pub steps: usize,
    /// The weight of the class, see [`guide`]: 1 guides nothing.
    pub guidance: f32,
    /// The noise added on the way, see [`Ddim`]: 0 adds none.
    pub eta: f64,
    /// The seed.
    pub seed: u64,
}

/// Pixels of the images that networks see.
const RANGE: [f32; 2] = [-1.0, 1.0];

/// `count` images of a class, `[count, channels, side, side]` with pixels from -1 to 1: a
/// function of its arguments alone. The class may be
/// [`no_class`](models::dit::DitConfig::no_class). Image `i` starts from the same noise whatever
/// `count` is.
///
/// # Panics
/// If there are no steps or too many, or the class does not exist.
#[track_caller]
pub fn draw_images(
    model: &Dit,
    params: &Params,
    class: u32,
    count: usize,
    drawing: Drawing,
) -> Vec<f32> {
    let config = model.config();
    assert!(
        class <= config.no_class(),
        "draw: there is no class {class}"
    );
    let schedule = NoiseSchedule::new(config.noise);
    let size = config.patches().elements();
    let key = Key::new(drawing.seed).named("drawing").at(class.into());
    let noise = |t: usize, out: &mut [f32]| {
        for (i, image) in out.chunks_exact_mut(size).enumerate() {
            let mut rng = key.at(i as u64).at(t as u64).rng();
            image.fill_with(|| StandardNormal.sample(&mut rng));
        }
    };
    let ddim = Ddim {
        eta: drawing.eta,
        range: Some(RANGE),
    };
    let path = timesteps(schedule.timesteps(), drawing.steps);
    let mut denoiser = Denoiser::new(model, params, class, drawing.guidance);
    let mut images = vec![0.0; count * size];
    noise(schedule.timesteps(), &mut images);
    let mut fresh = vec![0.0; images.len()];
    for (i, &t) in path.iter().enumerate() {
        let next = path.get(i + 1).copied().unwrap_or(0);
        if drawing.eta > 0.0 {
            noise(next, &mut fresh);
        }
        let predicted = denoiser.noise(&images, t);
        ddim.step(&schedule, &mut images, &predicted, (t, next), &fresh);
    }
    images
}

/// The guided prediction of noise.
struct Denoiser<'a> {
    model: &'a Dit,
    params: &'a Params,
    class: u32,
    guidance: f32,
    tape: Tape,
}

impl<'a> Denoiser<'a> {
    fn new(model: &'a Dit, params: &'a Params, class: u32, guidance: f32) -> Self {
        let mut tape = Tape::new();
        tape.set_recording(false);
        Self {
            model,
            params,
            class,
            guidance,
            tape,
        }
    }

    /// The noise in images which all are at timestep `t`.
    fn noise(&mut self, images: &[f32], t: usize) -> Vec<f32> {
        let mut predicted = self.predict(images, t, self.class);
        if self.guidance != 1.0 {
            let without = self.predict(images, t, self.model.config().no_class());
            guide(&mut predicted, &without, self.guidance);
        }
        predicted
    }

    fn predict(&mut self, images: &[f32], t: usize, class: u32) -> Vec<f32> {
        let patches = self.model.config().patches();
        let size = patches.elements();
        let count = images.len() / size;
        let mut predicted = vec![0.0; images.len()];
        self.tape.bind(self.params);
        let noisy = Noisy {
            images,
            timesteps: &vec![t as u32; count],
            classes: &vec![class; count],
        };
        self.model.noise(&self.tape, noisy).with_value(|all| {
            let rows = predicted.chunks_exact_mut(size);
            for (image, cut) in rows.zip(all.chunks_exact(size)) {
                patches.join(image, false, cut);
            }
        });
        self.tape.reset();
        predicted
    }
}

/// Images of one size with gaps between them.
#[derive(Clone, Debug)]
pub struct Grid {
    /// The side of an image.
    pub side: usize,
    /// 1 for grey, 3 for red, green and blue.
    pub channels: usize,
    /// Rows of images `[channels, side, side]`, all rows equally long.
    pub rows: Vec<Vec<Vec<u8>>>,
}

/// Pixels between two images.
const GAP: usize = 2;
/// The gaps: light grey, neither of the usual backgrounds.
const GAP_VALUE: u8 = 160;

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
pub enum GridError {
    /// Neither grey nor red, green and blue.
    #[error("images of {0} channels cannot be shown: 1 is grey, 3 is colour")]
    Channels(usize),
    /// Images that cannot be encoded.
    #[error("the picture cannot be encoded: {0}")]
    Encoding(#[from] png::EncodingError),
}

impl Grid {
    /// Width and height in pixels.
    pub fn sizes(&self) -> [usize; 2] {
        let columns = self.rows.first().map_or(0, Vec::len);
        [columns, self.rows.len()].map(|count| (count * (self.side + GAP)).saturating_sub(GAP))
    }

    /// The bytes of a PNG file.
    ///
    /// # Errors
    /// [`GridError::Channels`]; [`GridError::Encoding`] if there are no images.
    pub fn to_png(&self) -> Result<Vec<u8>, GridError> {
        let colour = match self.channels {
            1 => png::ColorType::Grayscale,
            3 => png::ColorType::Rgb,
            other => return Err(GridError::Channels(other)),
        };
        let [width, height] = self.sizes();
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, width as u32, height as u32);
        encoder.set_color(colour);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&self.pixels())?;
        writer.finish()?;
        Ok(bytes)
    }

    /// Line by line, the channels of a pixel beside each other.
    fn pixels(&self) -> Vec<u8> {
        let [width, height] = self.sizes();
        let (side, channels) = (self.side, self.channels);
        let mut pixels = vec![GAP_VALUE; width * height * channels];
        for (row, images) in self.rows.iter().enumerate() {
            for (column, image) in images.iter().enumerate() {
                let [top, left] = [row, column].map(|i| i * (side + GAP));
                for (i, &value) in image.iter().enumerate() {
                    let (channel, y, x) = (i / (side * side), i / side % side, i % side);
                    pixels[((top + y) * width + left + x) * channels + channel] = value;
                }
            }
        }
        pixels
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use models::dit::DitConfig;

    const DRAWING: Drawing = Drawing {
        steps: 4,
        guidance: 1.0,
        eta: 0.0,
        seed: 1,
    };

    /// A small network whose head sees something.
    fn network() -> (Dit, Params) {
        let config = DitConfig {
            image: 8,
            classes: 3,
            dim: 8,
            layers: 1,
            heads: 1,
            ..DitConfig::default()
        };
        let (model, mut params) = Dit::new(&config, Key::new(0)).expect("a network");
        let mut rng = Key::new(1).rng();
        for x in params.slab_mut() {
            let noise: f32 = StandardNormal.sample(&mut rng);
            *x += 0.2 * noise;
        }
        (model, params)
    }

    fn drawn(class: u32, count: usize, drawing: Drawing) -> Vec<f32> {
        let (model, params) = network();
        draw_images(&model, &params, class, count, drawing)
    }

    #[test]
    fn a_drawing_is_a_function_of_its_arguments() {
        let images = drawn(1, 2, DRAWING);
        assert_eq!(images, drawn(1, 2, DRAWING));
        assert!(images.iter().all(|x| (-1.0..=1.0).contains(x)));
        for other in [
            Drawing { seed: 2, ..DRAWING },
            Drawing {
                steps: 3,
                ..DRAWING
            },
            Drawing {
                eta: 1.0,
                ..DRAWING
            },
            Drawing {
                guidance: 3.0,
                ..DRAWING
            },
        ] {
            assert_ne!(images, drawn(1, 2, other), "{other:?}");
        }
        assert_ne!(images, drawn(0, 2, DRAWING));
    }

    #[test]
    fn an_image_does_not_depend_on_how_many_are_drawn() {
        for drawing in [
            DRAWING,
            Drawing {
                eta: 0.5,
                guidance: 2.0,
                ..DRAWING
            },
        ] {
            let (few, many) = (drawn(1, 1, drawing), drawn(1, 3, drawing));
            for (a, b) in few.iter().zip(&many) {
                assert!((a - b).abs() < 1e-4, "{a} and {b}");
            }
        }
    }

    #[test]
    fn no_class_guided_by_no_class_is_itself() {
        let guided = Drawing {
            guidance: 5.0,
            ..DRAWING
        };
        assert_eq!(drawn(3, 2, guided), drawn(3, 2, DRAWING));
    }

    #[test]
    fn images_stand_in_rows_with_gaps_between() {
        let image = |value: u8| (0..12).map(|i| value + i).collect::<Vec<u8>>();
        let grid = Grid {
            side: 2,
            channels: 3,
            rows: vec![vec![image(0), image(20)], vec![image(40), image(60)]],
        };
        let png = grid.to_png().expect("a picture");
        let mut reader = png::Decoder::new(std::io::Cursor::new(png))
            .read_info()
            .expect("a PNG");
        let mut pixels = vec![0; 6 * 6 * 3];
        reader.next_frame(&mut pixels).expect("an image");
        let at = |y: usize, x: usize| &pixels[(y * 6 + x) * 3..][..3];
        assert_eq!(at(0, 0), [0, 4, 8]);
        assert_eq!(at(1, 5), [23, 27, 31]);
        assert_eq!(at(4, 0), [40, 44, 48]);
        assert_eq!(at(2, 2), [GAP_VALUE; 3]);
    }

    #[test]
    fn what_is_neither_grey_nor_colour_is_refused() {
        let grid = Grid {
            side: 1,
            channels: 2,
            rows: vec![vec![vec![0, 0]]],
        };
        let error = grid.to_png().expect_err("two channels").to_string();
        assert!(error.contains("2 channels cannot be shown"), "{error}");
    }
}
