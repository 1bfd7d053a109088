//! Plots as PNG: a second way to write them, behind the cargo feature `png-plots`, since what it
//! needs takes longer to compile than the rest of the program.

use super::Picture;

/// The reason why there is no PNG.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PngError {
    /// The program was built without the feature.
    #[error(
        "this program was built without PNG: build it with --features png-plots (cargo run --release -p experiments --features png-plots -- ...), or use the SVG files"
    )]
    FeatureOff,
    /// The picture cannot be drawn.
    #[error("the plot cannot be drawn as PNG: {reason}")]
    Drawing {
        /// Obstacle.
        reason: String,
    },
}

impl Picture {
    /// The picture on white as a PNG file, `scale` pixels for each of its own. The letters are
    /// those of DejaVu Sans, which is part of the program: it needs no fonts of the machine.
    ///
    /// # Errors
    /// [`PngError::FeatureOff`] without the cargo feature `png-plots`; [`PngError::Drawing`] if
    /// the picture is too large.
    pub fn to_png(&self, scale: f32) -> Result<Vec<u8>, PngError> {
        drawn(self, scale)
    }
}

#[cfg(not(feature = "png-plots"))]
fn drawn(_: &Picture, _: f32) -> Result<Vec<u8>, PngError> {
    Err(PngError::FeatureOff)
}

#[cfg(feature = "png-plots")]
fn drawn(picture: &Picture, scale: f32) -> Result<Vec<u8>, PngError> {
    use resvg::{tiny_skia, usvg};

    let drawing = |reason: String| PngError::Drawing { reason };
    let mut options = usvg::Options {
        font_family: "DejaVu Sans".to_owned(),
        ..usvg::Options::default()
    };
    let fonts = options.fontdb_mut();
    for font in [dejavu::sans::regular(), dejavu::sans::bold()] {
        fonts.load_font_data(font.to_vec());
    }
    fonts.set_sans_serif_family("DejaVu Sans");
    let tree = usvg::Tree::from_str(&picture.to_svg(), &options)
        .map_err(|error| drawing(error.to_string()))?;
    let [width, height] = picture
        .size()
        .map(|side| (side as f32 * scale).round() as u32);
    let mut pixels = tiny_skia::Pixmap::new(width, height)
        .ok_or_else(|| drawing(format!("{width} x {height} pixels are too many or none")))?;
    pixels.fill(tiny_skia::Color::WHITE);
    let transform = tiny_skia::Transform::from_scale(scale, scale);
    resvg::render(&tree, transform, &mut pixels.as_mut());
    // On an opaque ground, colours premultiplied by opacity are the colours.
    let mut file = Vec::new();
    let mut encoder = ::png::Encoder::new(&mut file, width, height);
    encoder.set_color(::png::ColorType::Rgba);
    encoder
        .write_header()
        .and_then(|mut writer| writer.write_image_data(pixels.data()))
        .map_err(|error| drawing(error.to_string()))?;
    Ok(file)
}
