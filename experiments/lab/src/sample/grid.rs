//! Images in rows and columns, as a PNG.

use std::{error::Error, fmt};

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
#[derive(Debug)]
pub enum GridError {
    /// Neither grey nor red, green and blue.
    Channels(usize),
    /// It cannot be encoded.
    Encoding(png::EncodingError),
}

impl fmt::Display for GridError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Channels(channels) => write!(
                f,
                "images of {channels} channels cannot be shown: 1 is grey, 3 is colour"
            ),
            Self::Encoding(error) => write!(f, "the picture cannot be encoded: {error}"),
        }
    }
}

impl Error for GridError {}

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
        let mut writer = encoder.write_header().map_err(GridError::Encoding)?;
        writer
            .write_image_data(&self.pixels())
            .map_err(GridError::Encoding)?;
        writer.finish().map_err(GridError::Encoding)?;
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
