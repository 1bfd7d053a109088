//! PNG and JPEG images, told apart by their first bytes.
//!
//! Images are cropped to their central square and resized to the side of the network by
//! averaging areas; of several orientations that a camera notes (EXIF) none is applied.
//! Transparent parts are shown on white. Samples of 16 bits are rounded to 8. A file that
//! ends before its image does is refused.

use super::{
    ImageError, ImageSizes, LONGEST,
    bytes::{DEFLATE_RATIO, malformed, unreadable},
};
use crate::data::guard::guarded;
use std::{
    fs::{self, File, Metadata},
    io::{Cursor, Read},
    path::Path,
};
use zune_jpeg::{
    JpegDecoder,
    zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions},
};

/// What an image may decode to beside its file's size times [`DEFLATE_RATIO`].
const SLACK: u64 = 1 << 16;
/// The most pixels that are decoded: with what decoders keep beside them, 600 MB.
const MOST_PIXELS: u64 = 1 << 26;
/// The largest file of one image that is read.
const LARGEST_FILE: u64 = 1 << 28;

/// What a file is, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Png,
    Jpeg,
    /// An image that cannot be read, by the name of its format.
    Other(&'static str),
}

impl Format {
    fn of(start: &[u8]) -> Option<Self> {
        match start {
            [0x89, b'P', b'N', b'G', ..] => Some(Self::Png),
            [0xff, 0xd8, 0xff, ..] => Some(Self::Jpeg),
            [b'G', b'I', b'F', b'8', ..] => Some(Self::Other("GIF")),
            [
                b'R',
                b'I',
                b'F',
                b'F',
                _,
                _,
                _,
                _,
                b'W',
                b'E',
                b'B',
                b'P',
                ..,
            ] => Some(Self::Other("WebP")),
            [b'I', b'I', 42, 0, ..] | [b'M', b'M', 0, 42, ..] => Some(Self::Other("TIFF")),
            [_, _, _, _, b'f', b't', b'y', b'p', b'a' | b'h' | b'm', ..] => {
                Some(Self::Other("AVIF or HEIC"))
            }
            [b'B', b'M', _, _, _, _, 0, 0, 0, 0, ..] => Some(Self::Other("BMP")),
            [b'P', b'1'..=b'6', b' ' | b'\n' | b'\t' | b'\r', ..] => Some(Self::Other("PNM")),
            _ => None,
        }
    }

    /// The format of a file; `None` if it is none of these, or not even a file.
    pub(super) fn of_file(path: &Path) -> Option<Self> {
        // Files of the kernel have no size and may never end.
        let is_file = |meta: Metadata| meta.is_file() && meta.len() > 0;
        if !path.metadata().is_ok_and(is_file) {
            return None;
        }
        let mut start = Vec::new();
        let file = File::open(path).ok()?;
        file.take(12).read_to_end(&mut start).ok()?;
        Self::of(&start)
    }
}

/// Whether a file's name promises an image that can be read.
pub(super) fn is_named(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    let ending = ending.unwrap_or_default().to_lowercase();
    ["png", "jpg", "jpeg", "jpe", "jfif"].contains(&&*ending)
}

/// What an image's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) height: usize,
    pub(super) width: usize,
    /// Without colours.
    pub(super) grey: bool,
}

/// The header of an image.
pub(super) fn header(path: &Path) -> Result<Header, ImageError> {
    with_decoder(path, |decoder, _| match decoder {
        Decoder::Png(decoder) => Ok(png_reader(*decoder)?.1),
        Decoder::Jpeg(mut decoder) => jpeg_header(&mut decoder),
    })
}

/// An image.
pub(super) fn decode(path: &Path) -> Result<Picture, ImageError> {
    with_decoder(path, |decoder, bytes| match decoder {
        Decoder::Png(decoder) => decode_png(*decoder, bytes.len()),
        Decoder::Jpeg(decoder) => decode_jpeg(*decoder, bytes),
    })
}

enum Decoder<'b> {
    Png(Box<png::Decoder<Cursor<&'b [u8]>>>),
    Jpeg(Box<JpegDecoder<ZCursor<&'b [u8]>>>),
}

/// What `work` makes of the file's bytes. Its complaints, and a decoder's panics, name the file.
fn with_decoder<T>(
    path: &Path,
    work: impl FnOnce(Decoder<'_>, &[u8]) -> Result<T, String>,
) -> Result<T, ImageError> {
    let size = path
        .metadata()
        .map_err(|error| unreadable(path, error))?
        .len();
    if size > LARGEST_FILE {
        return Err(malformed(
            path,
            format!("{size} bytes are too many for one image"),
        ));
    }
    let bytes = fs::read(path).map_err(|error| unreadable(path, error))?;
    let result = guarded(|| {
        let decoder = match Format::of(&bytes) {
            Some(Format::Png) => Decoder::Png(Box::new(png_decoder(&bytes))),
            Some(Format::Jpeg) => Decoder::Jpeg(Box::new(jpeg_decoder(&bytes))),
            Some(Format::Other(name)) => {
                return Err(format!("it is a {name} image, not PNG or JPEG"));
            }
            None => return Err("it begins neither as PNG nor as JPEG".to_owned()),
        };
        work(decoder, &bytes)
    });
    result
        .and_then(|result| result)
        .map_err(|reason| malformed(path, reason))
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

fn png_decoder(bytes: &[u8]) -> png::Decoder<Cursor<&[u8]>> {
    let limits = png::Limits {
        bytes: (bytes.len() as u64 * DEFLATE_RATIO + SLACK) as usize,
    };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), limits);
    decoder.set_transformations(png::Transformations::EXPAND);
    decoder
}

type PngReader<'b> = png::Reader<Cursor<&'b [u8]>>;

fn png_reader(decoder: png::Decoder<Cursor<&[u8]>>) -> Result<(PngReader<'_>, Header), String> {
    let reader = decoder.read_info().map_err(|error| error.to_string())?;
    let info = reader.info();
    let grey = match info.color_type {
        png::ColorType::Grayscale | png::ColorType::GrayscaleAlpha => true,
        png::ColorType::Rgb | png::ColorType::Rgba => false,
        png::ColorType::Indexed => {
            let palette = info.palette.as_deref().ok_or("its palette is missing")?;
            if !palette.len().is_multiple_of(3) {
                return Err(format!(
                    "its palette has {} bytes, no multiple of 3",
                    palette.len()
                ));
            }
            palette
                .chunks_exact(3)
                .all(|c| c[0] == c[1] && c[1] == c[2])
        }
    };
    let header = Header {
        height: info.height as usize,
        width: info.width as usize,
        grey,
    };
    Ok((reader, header))
}

fn decode_png(decoder: png::Decoder<Cursor<&[u8]>>, file: usize) -> Result<Picture, String> {
    let (mut reader, header) = png_reader(decoder)?;
    check_sizes(header, file)?;
    let size = reader.output_buffer_size().ok_or("it is too large")?;
    let mut samples = vec![0; size];
    let info = reader
        .next_frame(&mut samples)
        .map_err(|error| error.to_string())?;
    // Up to the end, so that a file without one is noticed.
    reader.finish().map_err(|error| error.to_string())?;
    samples.truncate(info.buffer_size());
    if info.bit_depth == png::BitDepth::Sixteen {
        let wide = samples
            .chunks_exact(2)
            .map(|s| u32::from(u16::from_be_bytes([s[0], s[1]])));
        // 65535 = 255 * 257.
        samples = wide.map(|sample| ((sample + 128) / 257) as u8).collect();
    }
    let on_white = |value: u8, alpha: u8| {
        let (value, alpha) = (u16::from(value), u16::from(alpha));
        ((value * alpha + 255 * (255 - alpha) + 127) / 255) as u8
    };
    let rgb = match info.color_type {
        png::ColorType::Grayscale => samples.iter().flat_map(|&v| [v; 3]).collect(),
        png::ColorType::GrayscaleAlpha => samples
            .chunks_exact(2)
            .flat_map(|p| [on_white(p[0], p[1]); 3])
            .collect(),
        png::ColorType::Rgb => samples,
        png::ColorType::Rgba => samples
            .chunks_exact(4)
            .flat_map(|p| [p[0], p[1], p[2]].map(|v| on_white(v, p[3])))
            .collect(),
        png::ColorType::Indexed => return Err("its palette is missing".to_owned()),
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

fn decode_jpeg(mut decoder: JpegDecoder<ZCursor<&[u8]>>, bytes: &[u8]) -> Result<Picture, String> {
    let header = jpeg_header(&mut decoder)?;
    check_sizes(header, bytes.len())?;
    if !jpeg_ends(bytes) {
        return Err("it ends before its image does".to_owned());
    }
    let rgb = decoder.decode().map_err(|error| format!("{error:?}"))?;
    Picture::new(header, rgb)
}

/// Whether the marker of the end follows the segments and scans of a JPEG file.
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
