//! Image files of every kind, whole and broken, and the batches made of them.

mod batches;
mod cifar;
mod folders;
mod idx;
mod pictures;

use flate2::{Compression, write::GzEncoder};
use lab::data::{
    DataError,
    images::{ImageSet, ImageSizes, ImageSource},
};
use std::{fs, io::Write, path::Path};
use tempfile::TempDir;

const GREY: ImageSizes = ImageSizes {
    side: 4,
    channels: 1,
};

fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

fn write(directory: &Path, name: &str, bytes: &[u8]) {
    let path = directory.join(name);
    fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
    fs::write(path, bytes).expect("a file");
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("compressed");
    encoder.finish().expect("compressed")
}

fn idx(dimensions: &[u32], data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, dimensions.len() as u8];
    for dimension in dimensions {
        bytes.extend(dimension.to_be_bytes());
    }
    bytes.extend(data);
    bytes
}

/// `count` images of 4 x 4, image `i` filled with `i`, its class `i mod 3`.
fn digits(count: u8) -> [Vec<u8>; 2] {
    let pixels: Vec<u8> = (0..count).flat_map(|i| [i; 16]).collect();
    let labels: Vec<u8> = (0..count).map(|i| i % 3).collect();
    [
        idx(&[count.into(), 4, 4], &pixels),
        idx(&[count.into()], &labels),
    ]
}

fn open(directory: &TempDir, sizes: ImageSizes) -> Result<ImageSet, DataError> {
    ImageSet::open(&ImageSource::new(Some(directory.path()), sizes))
}

fn open_error(directory: &TempDir, sizes: ImageSizes) -> String {
    open(directory, sizes)
        .expect_err("broken images")
        .to_string()
}

fn png(width: u32, height: u32, color: png::ColorType, pixels: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(color);
    let mut writer = encoder.write_header().expect("a header");
    match pixels {
        [] => writer.write_chunk(png::chunk::IDAT, &[0; 9]),
        _ => writer.write_image_data(pixels),
    }
    .expect("pixels");
    drop(writer);
    bytes
}

/// A grey JPEG of 8 x 8 pixels, all `128 + level` (64 to 127).
fn jpeg(level: u8) -> Vec<u8> {
    jpeg_of(level, 1, 1)
}

/// A JPEG of `blocks` blocks of 8 x 8 pixels below each other, of 1 (grey), 3 or 4 components
/// that are all `128 + level` (64 to 127): DC coefficients alone, their Huffman codes `10` for
/// the seven bits of the level, `0` for the same level again and `0` for the end of a block.
fn jpeg_of(level: u8, blocks: u16, components: u8) -> Vec<u8> {
    assert!((64..128).contains(&level));
    let segment = |marker: u8, body: &[u8]| {
        let length = (body.len() as u16 + 2).to_be_bytes();
        [&[0xff, marker], &length[..], body].concat()
    };
    let codes = |table: u8, counts: [u8; 2], symbols: &[u8]| {
        [&[table], &counts[..], &[0; 14], symbols].concat()
    };
    let height = (8 * blocks).to_be_bytes();
    let frame = (1..=components).flat_map(|component| [component, 0x11, 0]);
    let scan = (1..=components).flat_map(|component| [component, 0]);
    let first = format!("10{level:07b}0");
    let again = "00".repeat(usize::from(components) * (usize::from(blocks) - 1));
    let mut bits = first.repeat(components.into()) + &again;
    while !bits.len().is_multiple_of(8) {
        bits.push('1');
    }
    let byte = |at: usize| u8::from_str_radix(&bits[at..at + 8], 2).expect("a byte");
    let frame = [
        vec![8, height[0], height[1], 0, 8, components],
        frame.collect(),
    ]
    .concat();
    let scan = [vec![components], scan.collect(), vec![0, 63, 0]].concat();
    [
        vec![0xff, 0xd8],
        segment(0xdb, &[&[0][..], &[8; 64]].concat()),
        segment(0xc0, &frame),
        segment(0xc4, &codes(0x00, [1, 1], &[0, 7])),
        segment(0xc4, &codes(0x10, [1, 0], &[0])),
        segment(0xda, &scan),
        (0..bits.len()).step_by(8).map(byte).collect(),
        vec![0xff, 0xd9],
    ]
    .concat()
}
