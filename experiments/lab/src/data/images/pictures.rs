//! PNG and JPEG images, told apart by their first bytes.
//!
//! Images are cropped to their central square and resized to the side of the network by
//! averaging areas; of several orientations that a camera notes (EXIF) none is applied.
//! Transparent parts are shown on white. Samples of 16 bits are rounded to 8. A file that
//! ends before its image does is refused.

use super::{ImageSizes, layout::LONGEST};
use crate::data::{
    DataError,
    bytes::{DEFLATE_RATIO, Unpacked, guarded},
    kind::{FileKind, by_content},
};
use std::{io::Cursor, path::Path};
use zune_jpeg::{
    JpegDecoder,
    zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions},
};

/// Bytes that an image may decode to beside its file's size times [`DEFLATE_RATIO`].
const SLACK: u64 = 1 << 16;
/// The most pixels that are decoded: with what decoders keep beside them, 600 MB.
const MOST_PIXELS: u64 = 1 << 26;
/// The largest file of one image that is read.
const LARGEST_FILE: u64 = 1 << 28;

/// The format of the image in a file, by its first bytes; `None` if there is none, or not even a
/// file.
pub(super) fn format_of(path: &Path) -> Option<&'static str> {
    let source = path.is_file().then(|| Unpacked::open(path).ok());
    by_content(&source.flatten()?.head)?.image()
}

/// Returns whether a file's name promises an image that can be read.
pub(super) fn is_named(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    let ending = ending.unwrap_or_default().to_lowercase();
    ["png", "jpg", "jpeg", "jpe", "jfif"].contains(&&*ending)
}

/// Content of an image's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) height: usize,
    pub(super) width: usize,
    /// Without colours.
    pub(super) grey: bool,
}

/// The header of an image.
pub(super) fn header(path: &Path) -> Result<Header, DataError> {
    read(path, |bytes| match is_png(bytes)? {
        true => Ok(png_reader(bytes)?.1),
        false => jpeg_header(&mut jpeg_decoder(bytes)),
    })
}

/// An image.
pub(super) fn decode(path: &Path) -> Result<Picture, DataError> {
    read(path, |bytes| match is_png(bytes)? {
        true => decode_png(bytes),
        false => decode_jpeg(bytes),
    })
}

/// Returns what `work` makes of the file's bytes. Its complaints, and a decoder's panics, name the
/// file.
fn read<T>(path: &Path, work: impl FnOnce(&[u8]) -> Result<T, String>) -> Result<T, DataError> {
    let bytes = Unpacked::open(path)?.take(u64::MAX, LARGEST_FILE)?;
    let result = guarded(|| work(&bytes)).and_then(|result| result);
    result.map_err(|reason| DataError::malformed(path, reason))
}

/// `true` of PNG, `false` of JPEG.
fn is_png(bytes: &[u8]) -> Result<bool, String> {
    match by_content(bytes).as_ref().and_then(FileKind::image) {
        Some("PNG") => Ok(true),
        Some("JPEG") => Ok(false),
        Some(name) => Err(format!("it is a {name} image, not PNG or JPEG")),
        None => Err("it begins neither as PNG nor as JPEG".to_owned()),
    }
}

/// Refuses an image that would be larger than any file of this size can describe.
fn check_sizes(header: Header, file: usize) -> Result<(), String> {
    let Header { height, width, .. } = header;
    let pixels = height as u64 * width as u64;
    let allowed = file as u64 * DEFLATE_RATIO + SLACK;
    if pixels == 0 || height.max(width) > LONGEST || 4 * pixels > allowed {
        return Err(format!(
            "it claims to be {height} x {width} in a file of {file} bytes"
        ));
    }
    if pixels > MOST_PIXELS {
        return Err(format!(
            "it is {height} x {width}, more than {MOST_PIXELS} pixels: make it smaller"
        ));
    }
    Ok(())
}

type PngReader<'b> = png::Reader<Cursor<&'b [u8]>>;

fn png_reader(bytes: &[u8]) -> Result<(PngReader<'_>, Header), String> {
    let limits = png::Limits {
        bytes: (bytes.len() as u64 * DEFLATE_RATIO + SLACK) as usize,
    };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), limits);
    decoder.set_transformations(png::Transformations::EXPAND | png::Transformations::ALPHA);
    let reader = decoder.read_info().map_err(|error| error.to_string())?;
    let info = reader.info();
    let grey = match info.color_type {
        png::ColorType::Grayscale | png::ColorType::GrayscaleAlpha => true,
        png::ColorType::Rgb | png::ColorType::Rgba => false,
        png::ColorType::Indexed => {
            let palette = info.palette.as_deref().ok_or("its palette is missing")?;
            let (colours, rest) = palette.as_chunks();
            if !rest.is_empty() {
                let bytes = palette.len();
                return Err(format!("its palette has {bytes} bytes, no multiple of 3"));
            }
            colours.iter().all(|&[r, g, b]| r == g && g == b)
        }
    };
    let header = Header {
        height: info.height as usize,
        width: info.width as usize,
        grey,
    };
    Ok((reader, header))
}

fn decode_png(bytes: &[u8]) -> Result<Picture, String> {
    let (mut reader, header) = png_reader(bytes)?;
    check_sizes(header, bytes.len())?;
    let size = reader.output_buffer_size().ok_or("it is too large")?;
    let mut samples = vec![0; size];
    let info = reader
        .next_frame(&mut samples)
        .map_err(|error| error.to_string())?;
    // Up to the end, so that a file without one is noticed.
    reader.finish().map_err(|error| error.to_string())?;
    samples.truncate(info.buffer_size());
    if info.bit_depth == png::BitDepth::Sixteen {
        let (wide, _) = samples.as_chunks();
        let wide = wide
            .iter()
            .map(|&sample| u32::from(u16::from_be_bytes(sample)));
        // 65535 = 255 * 257.
        samples = wide.map(|sample| ((sample + 128) / 257) as u8).collect();
    }
    let on_white = |value: u8, alpha: u8| {
        let (value, alpha) = (u16::from(value), u16::from(alpha));
        ((value * alpha + 255 * (255 - alpha) + 127) / 255) as u8
    };
    let rgb = match info.color_type {
        png::ColorType::GrayscaleAlpha => {
            let (pixels, _) = samples.as_chunks();
            let on_white = |&[v, a]: &[u8; 2]| [on_white(v, a); 3];
            pixels.iter().flat_map(on_white).collect()
        }
        png::ColorType::Rgba => {
            let (pixels, _) = samples.as_chunks();
            let on_white = |&[r, g, b, a]: &[u8; 4]| [r, g, b].map(|v| on_white(v, a));
            pixels.iter().flat_map(on_white).collect()
        }
        _ => return Err("its palette is missing".to_owned()),
    };
    Picture::new(header, rgb)
}

fn jpeg_decoder(bytes: &[u8]) -> JpegDecoder<ZCursor<&[u8]>> {
    let options = DecoderOptions::default()
        .set_max_width(LONGEST)
        .set_max_height(LONGEST)
        .set_strict_mode(true)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    JpegDecoder::new_with_options(ZCursor::new(bytes), options)
}

fn jpeg_header(decoder: &mut JpegDecoder<ZCursor<&[u8]>>) -> Result<Header, String> {
    decoder
        .decode_headers()
        .map_err(|error| format!("{error:?}"))?;
    let (width, height) = decoder.dimensions().ok_or("it has no size")?;
    Ok(Header {
        height,
        width,
        grey: decoder.input_colorspace() == Some(ColorSpace::Luma),
    })
}

fn decode_jpeg(bytes: &[u8]) -> Result<Picture, String> {
    let mut decoder = jpeg_decoder(bytes);
    let header = jpeg_header(&mut decoder)?;
    check_sizes(header, bytes.len())?;
    if !jpeg_ends(bytes) {
        return Err("it ends before its image does".to_owned());
    }
    let rgb = decoder.decode().map_err(|error| format!("{error:?}"))?;
    Picture::new(header, rgb)
}

/// Returns whether the marker of the end follows the segments and scans of a JPEG file.
fn jpeg_ends(bytes: &[u8]) -> bool {
    const END_OF_IMAGE: u8 = 0xd9;
    let mut at = 2;
    while let Some(&[first, marker]) = bytes.get(at..at + 2).and_then(|b| b.first_chunk()) {
        match (first, marker) {
            (0xff, END_OF_IMAGE) => return true,
            // Within scans: fill bytes, 0xff as a value, restarts, and all else.
            (0xff, 0xff) => at += 1,
            (0xff, 0 | 1 | 0xd0..=0xd8) => at += 2,
            (0xff, _) => {
                let Some(length) = bytes.get(at + 2..at + 4) else {
                    return false;
                };
                at += 2 + usize::from(u16::from_be_bytes([length[0], length[1]])).max(2);
            }
            _ => at += 1,
        }
    }
    false
}

/// Red, green and blue bytes, row by row.
pub(super) struct Picture {
    height: usize,
    width: usize,
    rgb: Vec<u8>,
}

impl Picture {
    fn new(header: Header, rgb: Vec<u8>) -> Result<Self, String> {
        let Header { height, width, .. } = header;
        match rgb.len() == 3 * height * width {
            true => Ok(Self { height, width, rgb }),
            false => Err("its colours are not supported".to_owned()),
        }
    }

    /// The side of the central square.
    pub(super) fn square(&self) -> usize {
        self.height.min(self.width)
    }

    /// Appends the central square, resized, channel by channel.
    pub(super) fn append_square(&self, sizes: ImageSizes, out: &mut Vec<u8>) {
        let square = self.square();
        let top = (self.height - square) / 2;
        let left = (self.width - square) / 2;
        let spans = spans(square, sizes.side);
        for channel in 0..sizes.channels {
            for rows in &spans {
                for columns in &spans {
                    let mut sum = 0.0;
                    for &(y, weight_y) in rows {
                        for &(x, weight_x) in columns {
                            let at = (top + y) * self.width + left + x;
                            let value = self.value(at, channel, sizes.channels);
                            sum += weight_y * weight_x * value;
                        }
                    }
                    out.push(sum.round().clamp(0.0, 255.0) as u8);
                }
            }
        }
    }

    /// A channel of a pixel; the luma (ITU-R BT.601) where there is one channel only.
    fn value(&self, at: usize, channel: usize, channels: usize) -> f64 {
        let rgb = &self.rgb[3 * at..3 * at + 3];
        match channels {
            1 => 0.299 * f64::from(rgb[0]) + 0.587 * f64::from(rgb[1]) + 0.114 * f64::from(rgb[2]),
            _ => rgb[channel].into(),
        }
    }
}

/// For each of `to` cells of equal length on a line of `from` pixels, the pixels it
/// covers and their share of it.
fn spans(from: usize, to: usize) -> Vec<Vec<(usize, f64)>> {
    let length = from as f64 / to as f64;
    let cell = |i: usize| {
        let (start, end) = (i as f64 * length, (i + 1) as f64 * length);
        let last = (end.ceil() as usize).min(from);
        (start as usize..last)
            .map(|pixel| {
                let covered = end.min(pixel as f64 + 1.0) - start.max(pixel as f64);
                (pixel, covered.max(0.0) / length)
            })
            .collect()
    };
    (0..to).map(cell).collect()
}
