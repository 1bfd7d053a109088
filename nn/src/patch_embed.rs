//! Images as sequences of patches (Dosovitskiy et al., An Image is Worth 16x16 Words,
//! ICLR 2021).

use crate::linear::Linear;
use engine::{
    kernels::elementwise,
    op::{Backward, Forward, Op},
    params::{Builder, Init},
    shape::Shape,
    tape::Var,
};

/// The sizes of an image and of its patches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patches {
    /// Channels of an image.
    pub channels: usize,
    /// The side of a square image.
    pub image: usize,
    /// The side of a square patch.
    pub patch: usize,
}

impl Patches {
    /// Patches of an image.
    pub fn count(&self) -> usize {
        (self.image / self.patch).pow(2)
    }

    /// Elements of a patch.
    pub fn width(&self) -> usize {
        self.channels * self.patch * self.patch
    }

    /// Elements of an image.
    pub fn elements(&self) -> usize {
        self.channels * self.image * self.image
    }

    /// The shape `[batch, channels, image, image]` of images with so many elements in all.
    pub fn batch(&self, elements: usize) -> [usize; 4] {
        let batch = elements / self.elements();
        [batch, self.channels, self.image, self.image]
    }

    /// Calls `f` with the offset in an image and the offset in its patches of every run
    /// of `patch` elements.
    fn for_each_run(&self, mut f: impl FnMut(usize, usize)) {
        let Self {
            channels,
            image,
            patch,
        } = *self;
        let side = image / patch;
        let mut to = 0;
        for row in 0..side {
            for column in 0..side {
                for channel in 0..channels {
                    for y in 0..patch {
                        let line = channel * image + row * patch + y;
                        f(line * image + column * patch, to);
                        to += patch;
                    }
                }
            }
        }
    }

    /// Cuts one image `[channels, image, image]` into `[count, width]`: patches row by
    /// row, the elements of each by channel, row and column.
    ///
    /// # Panics
    /// If a slice has the wrong length.
    #[track_caller]
    pub fn cut(&self, patches: &mut [f32], accumulate: bool, image: &[f32]) {
        assert_eq!(image.len(), self.elements(), "patches: the image");
        assert_eq!(patches.len(), image.len(), "patches: the patches");
        self.for_each_run(|from, to| {
            let run = &mut patches[to..to + self.patch];
            elementwise::copy(run, accumulate, &image[from..from + self.patch]);
        });
    }

    /// The inverse of [`Patches::cut`], which is also its gradient.
    ///
    /// # Panics
    /// If a slice has the wrong length.
    #[track_caller]
    pub fn join(&self, image: &mut [f32], accumulate: bool, patches: &[f32]) {
        assert_eq!(image.len(), self.elements(), "patches: the image");
        assert_eq!(patches.len(), image.len(), "patches: the patches");
        self.for_each_run(|from, to| {
            let run = &mut image[from..from + self.patch];
            elementwise::copy(run, accumulate, &patches[to..to + self.patch]);
        });
    }
}

struct Cut(Patches);

impl Op for Cut {
    fn name(&self) -> &'static str {
        "patches"
    }

    fn forward(&self, cx: &mut Forward<'_>) {
        let [images] = cx.inputs();
        let [y] = cx.outputs();
        let size = self.0.elements();
        for (y, image) in y.chunks_exact_mut(size).zip(images.chunks_exact(size)) {
            self.0.cut(y, false, image);
        }
    }

    /// Each gradient goes where its element came from.
    fn backward(&self, cx: &mut Backward<'_>) {
        let size = self.0.elements();
        if let Some(d) = cx.input_grad(0) {
            let images = d.values.chunks_exact_mut(size);
            for (image, dy) in images.zip(cx.grad().chunks_exact(size)) {
                self.0.join(image, d.accumulate, dy);
            }
        }
    }
}

/// Images `[batch, channels, side, side]` cut into `[batch, count, width]`, see
/// [`Patches::cut`].
///
/// # Panics
/// If the images are not of these sizes or the patches do not tile them.
#[track_caller]
pub fn patches(images: Var<'_>, sizes: Patches) -> Var<'_> {
    let shape = images.shape();
    let Patches {
        channels,
        image,
        patch,
    } = sizes;
    let fits = patch > 0 && image.is_multiple_of(patch);
    if shape.rank() != 4 || shape.dims()[1..] != [channels, image, image] || !fits {
        images.tape().fail(
            "patches",
            format_args!(
                "images are {shape}, expected [batch, channels {channels}, side {image}, side \
                 {image}] and a side divisible by patch {patch}"
            ),
        );
    }
    let [y] = images.tape().apply(
        Cut(sizes),
        &[images],
        [Shape::from([shape.dims()[0], sizes.count(), sizes.width()])],
    );
    y
}

/// A linear layer of every patch, with a bias.
#[derive(Debug)]
pub struct PatchEmbed {
    sizes: Patches,
    projection: Linear,
}

impl PatchEmbed {
    /// Registers `NAME.{weight,bias}`.
    pub fn new(b: &mut Builder, name: &str, sizes: Patches, dim: usize, init: Init) -> Self {
        Self {
            sizes,
            projection: Linear::with_bias(b, name, sizes.width(), dim, init),
        }
    }

    /// Images `[batch, channels, side, side]` to `[batch, count, dim]`.
    #[track_caller]
    pub fn forward<'t>(&self, images: Var<'t>) -> Var<'t> {
        self.projection.forward(patches(images, self.sizes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::{
        check::{Check, CheckInput},
        tape::Tape,
    };

    #[test]
    fn a_patch_runs_channel_row_column() {
        let sizes = Patches {
            channels: 2,
            image: 4,
            patch: 2,
        };
        let image: Vec<f32> = (0..32).map(|i| i as f32).collect();
        let mut cut = vec![f32::NAN; 32];
        sizes.cut(&mut cut, false, &image);
        // The second patch: the right half of the upper two rows.
        assert_eq!(cut[8..16], [2.0, 3.0, 6.0, 7.0, 18.0, 19.0, 22.0, 23.0]);
        let mut joined = vec![f32::NAN; 32];
        sizes.join(&mut joined, false, &cut);
        assert_eq!(joined, image);
    }

    #[test]
    fn patches_have_the_gradients_of_their_permutation() {
        for (channels, image, patch) in [(1, 1, 1), (3, 6, 2), (2, 34, 17)] {
            let sizes = Patches {
                channels,
                image,
                patch,
            };
            let side = image / patch;
            Check::new(
                "patches",
                vec![CheckInput::normal([2, channels, image, image], 1.0, 1)],
                |_, v| vec![patches(v[0], sizes)],
                |x| {
                    let mut y = Vec::new();
                    for b in 0..2 {
                        for p in 0..side * side {
                            for i in 0..channels * patch * patch {
                                let (c, rest) = (i / (patch * patch), i % (patch * patch));
                                let row = p / side * patch + rest / patch;
                                let column = p % side * patch + rest % patch;
                                y.push(x[0][((b * channels + c) * image + row) * image + column]);
                            }
                        }
                    }
                    vec![y]
                },
            )
            .run();
        }
    }

    #[test]
    #[should_panic(expected = "a side divisible by patch 3")]
    fn patches_that_do_not_tile_the_image_are_refused() {
        let tape = Tape::new();
        let sizes = Patches {
            channels: 1,
            image: 4,
            patch: 3,
        };
        patches(tape.constant([1, 1, 4, 4], &[0.0; 16]), sizes);
    }
}
