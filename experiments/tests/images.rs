//! Image files of every kind, whole and broken, and the batches made of them.

use experiments::data::images::{ImageBatch, ImageBatches, ImageError, ImageSet, ImageSizes};
use flate2::{Compression, write::GzEncoder};
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

fn open(directory: &TempDir, sizes: ImageSizes) -> Result<ImageSet, ImageError> {
    ImageSet::open(Some(directory.path()), sizes)
}

fn open_error(directory: &TempDir, sizes: ImageSizes) -> String {
    open(directory, sizes)
        .expect_err("broken images")
        .to_string()
}

#[test]
fn idx_files_are_read_plain_and_compressed() {
    let [images, labels] = digits(50);
    let plain = directory();
    write(plain.path(), "t10k-images-idx3-ubyte", &images);
    write(plain.path(), "t10k-labels-idx1-ubyte", &labels);
    let plain = open(&plain, GREY).expect("plain images");
    let packed = directory();
    write(packed.path(), "t10k-images-idx3-ubyte.gz", &gzip(&images));
    write(packed.path(), "t10k-labels-idx1-ubyte.gz", &gzip(&labels));
    let packed = open(&packed, GREY).expect("compressed images");
    assert_eq!(plain.account.fingerprint, packed.account.fingerprint);
    assert_eq!((plain.train.len(), plain.test.len()), (45, 5));
    assert_eq!(plain.classes, ["0", "1", "2"]);
    for part in [&plain.train, &plain.test] {
        for i in 0..part.len() {
            let image = part.image(i, GREY);
            assert_eq!(image, [image[0]; 16]);
            assert_eq!(part.labels[i], image[0] % 3);
        }
    }
    let mut all: Vec<u8> = [&plain.train, &plain.test]
        .iter()
        .flat_map(|part| part.pixels.iter().step_by(16).copied())
        .collect();
    all.sort_unstable();
    assert_eq!(all, (0..50).collect::<Vec<u8>>(), "every image in one part");
}

#[test]
fn a_test_part_that_comes_with_the_data_is_kept() {
    let directory = directory();
    for (part, count) in [("train", 40), ("t10k", 7)] {
        let [images, labels] = digits(count);
        write(
            directory.path(),
            &format!("{part}-images-idx3-ubyte"),
            &images,
        );
        write(
            directory.path(),
            &format!("{part}-labels-idx1-ubyte"),
            &labels,
        );
    }
    let set = open(&directory, GREY).expect("images");
    assert_eq!((set.train.len(), set.test.len()), (40, 7));
}

#[test]
fn every_truncation_of_an_idx_file_is_an_error() {
    let [images, labels] = digits(25);
    for (stem, whole) in [("images-idx3", &images), ("labels-idx1", &labels)] {
        for compressed in [false, true] {
            let bytes = if compressed {
                gzip(whole)
            } else {
                whole.clone()
            };
            for length in (0..bytes.len()).step_by(3) {
                let directory = directory();
                write(directory.path(), "train-images-idx3-ubyte", &images);
                write(directory.path(), "train-labels-idx1-ubyte", &labels);
                let name = format!("train-{stem}-ubyte");
                fs::remove_file(directory.path().join(&name)).expect("removed");
                let name = if compressed { name + ".gz" } else { name };
                write(directory.path(), &name, &bytes[..length]);
                let message = open_error(&directory, GREY);
                assert!(message.contains(&name), "{message}");
                assert!(message.contains("is malformed"), "{message}");
            }
        }
    }
}

#[test]
fn a_header_that_promises_too_much_is_not_believed() {
    let directory = directory();
    let images = idx(&[u32::MAX, 4, 4], &[0; 100]);
    write(directory.path(), "train-images-idx3-ubyte", &images);
    write(directory.path(), "train-labels-idx1-ubyte", &digits(25)[1]);
    let message = open_error(&directory, GREY);
    assert!(message.contains("ends after 100"), "{message}");
    let images = idx(&[25, 65_535, 65_535], &[0; 100]);
    write(directory.path(), "train-images-idx3-ubyte", &images);
    let message = open_error(&directory, GREY);
    assert!(message.contains("65535 x 65535"), "{message}");
}

#[test]
fn files_that_contradict_each_other_are_refused() {
    let directory = directory();
    write(directory.path(), "train-images-idx3-ubyte", &digits(25)[0]);
    write(directory.path(), "train-labels-idx1-ubyte", &digits(24)[1]);
    let message = open_error(&directory, GREY);
    assert!(message.contains("24 labels for 25 images"), "{message}");
    let mut longer = digits(25)[1].clone();
    longer.push(0);
    write(directory.path(), "train-labels-idx1-ubyte", &longer);
    let message = open_error(&directory, GREY);
    assert!(
        message.contains("more data than its header says"),
        "{message}"
    );
    let sizes = ImageSizes {
        side: 28,
        channels: 1,
    };
    let message = open_error(&directory, sizes);
    assert!(message.contains("set model.image"), "{message}");
}

#[test]
fn cifar_batches_are_read_and_checked() {
    let sizes = ImageSizes {
        side: 32,
        channels: 3,
    };
    let records = |labels: &[u8]| -> Vec<u8> {
        let record = |&label: &u8| [vec![label], vec![10 * label; 3072]].concat();
        labels.iter().flat_map(record).collect()
    };
    let directory = directory();
    let labels: Vec<u8> = (0..30).map(|i| i % 10).collect();
    write(
        directory.path(),
        "data_batch_1.bin",
        &records(&labels[..15]),
    );
    write(
        directory.path(),
        "data_batch_2.bin",
        &records(&labels[15..]),
    );
    write(directory.path(), "test_batch.bin", &records(&[3, 9]));
    let set = open(&directory, sizes).expect("images");
    assert_eq!((set.train.len(), set.test.len()), (30, 2));
    assert_eq!(set.train.labels, labels);
    assert_eq!(set.test.image(1, sizes), [90; 3072]);
    assert_eq!(set.classes[9], "truck");

    write(
        directory.path(),
        "test_batch.bin",
        &records(&[3, 9])[..3100],
    );
    let message = open_error(&directory, sizes);
    assert!(
        message.contains("3100 bytes, expected records of 3073"),
        "{message}"
    );
    let mut bad = records(&[3]);
    bad[0] = 10;
    write(directory.path(), "test_batch.bin", &bad);
    let message = open_error(&directory, sizes);
    assert!(message.contains("a label is 10"), "{message}");
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

/// A grey JPEG of 8 x 8 pixels, all `128 + level` (64 to 127): one block with a DC
/// coefficient alone, its Huffman codes `10` for the seven bits of the level and `0` for
/// the end of the block.
fn jpeg(level: u8) -> Vec<u8> {
    assert!((64..128).contains(&level));
    let segment = |marker: u8, body: &[u8]| {
        let length = (body.len() as u16 + 2).to_be_bytes();
        [&[0xff, marker], &length[..], body].concat()
    };
    let codes = |table: u8, counts: [u8; 2], symbols: &[u8]| {
        [&[table], &counts[..], &[0; 14], symbols].concat()
    };
    // 10, seven bits, 0, and ones to the end of the byte.
    let bits = 0b10 << 14 | u16::from(level) << 7 | 0b011_1111;
    [
        vec![0xff, 0xd8],
        segment(0xdb, &[&[0][..], &[8; 64]].concat()),
        segment(0xc0, &[8, 0, 8, 0, 8, 1, 1, 0x11, 0]),
        segment(0xc4, &codes(0x00, [1, 1], &[0, 7])),
        segment(0xc4, &codes(0x10, [1, 0], &[0])),
        segment(0xda, &[1, 1, 0, 0, 63, 0]),
        bits.to_be_bytes().to_vec(),
        vec![0xff, 0xd9],
    ]
    .concat()
}

#[test]
fn directories_of_classes_are_read_in_the_order_of_their_names() {
    let sizes = ImageSizes {
        side: 4,
        channels: 3,
    };
    let directory = directory();
    for i in 0..10_u8 {
        // 8 x 6: the outer columns fall away, the rest is made smaller.
        let wide: Vec<u8> = (0..48)
            .flat_map(|p| match p % 8 {
                0 | 7 => [255, 255, 255],
                _ => [10 * i, 0, 200],
            })
            .collect();
        let name = format!("blue/{i}.png");
        write(
            directory.path(),
            &name,
            &png(8, 6, png::ColorType::Rgb, &wide),
        );
        let name = format!("grey/{i}.JPG");
        write(directory.path(), &name, &jpeg(64 + i));
    }
    write(directory.path(), "blue/notes.txt", b"not an image");
    let set = open(&directory, sizes).expect("images");
    assert_eq!(set.classes, ["blue", "grey"]);
    assert_eq!((set.train.len(), set.test.len()), (18, 2));
    for part in [&set.train, &set.test] {
        for i in 0..part.len() {
            let image = part.image(i, sizes);
            match part.labels[i] {
                0 => {
                    assert!(image[..16].iter().all(|&red| red == image[0] && red < 100));
                    assert_eq!(image[16..], [[0; 16], [200; 16]].concat());
                }
                _ => {
                    assert!((192..=202).contains(&image[0]), "{image:?}");
                    assert_eq!(image, [image[0]; 48]);
                }
            }
        }
    }
}

#[test]
fn transparency_is_shown_on_white_and_one_channel_is_the_luma() {
    let directory = directory();
    for i in 0..20 {
        let pixels = [[255, 0, 0, 255], [9, 9, 9, 0]].concat().repeat(8);
        let name = format!("one/{i}.png");
        write(
            directory.path(),
            &name,
            &png(4, 4, png::ColorType::Rgba, &pixels),
        );
    }
    let set = open(&directory, GREY).expect("images");
    assert_eq!(set.test.image(0, GREY)[..4], [76, 255, 76, 255]);
}

#[test]
fn broken_pictures_are_errors_and_never_more() {
    let whole_png = png(4, 4, png::ColorType::Rgb, &[77; 48]);
    let whole_jpeg = jpeg(70);
    for (name, whole) in [("a/0.png", whole_png), ("a/0.jpg", whole_jpeg)] {
        for length in 0..whole.len() {
            let directory = directory();
            write(directory.path(), name, &whole[..length]);
            // A truncated file may still hold a whole image, but one is too few.
            let message = open_error(&directory, GREY);
            assert!(
                message.contains("is malformed") || message.contains("holds 1 images"),
                "{message}"
            );
        }
        for at in 0..whole.len() {
            let directory = directory();
            let mut bytes = whole.clone();
            bytes[at] ^= 0x55;
            write(directory.path(), name, &bytes);
            open_error(&directory, GREY);
        }
    }
    let directory = directory();
    let huge = png(16_000, 16_000, png::ColorType::Rgb, &[]);
    write(directory.path(), "a/0.png", &huge);
    let message = open_error(&directory, GREY);
    assert!(message.contains("16000 x 16000 in a file of"), "{message}");
}

#[test]
fn a_directory_without_images_is_named() {
    let directory = directory();
    assert!(open_error(&directory, GREY).contains("holds no images"));
    let missing = ImageSet::open(Some(Path::new("no/such/images")), GREY);
    assert!(
        missing
            .expect_err("missing")
            .to_string()
            .contains("do not exist")
    );
}

fn shapes() -> ImageSet {
    ImageSet::shapes(ImageSizes {
        side: 12,
        channels: 1,
    })
}

#[test]
fn generated_shapes_never_change() {
    let set = shapes();
    assert_eq!((set.train.len(), set.test.len()), (9000, 1000));
    assert_eq!(set.classes.len(), 10);
    // A change here would silently change every published number.
    assert!(
        set.account.fingerprint.starts_with("da1a3e1cc1eef542"),
        "{}",
        set.account.fingerprint
    );
    let same = (0..1000).filter(|&i| set.test.image(i, set.sizes) == set.train.image(i, set.sizes));
    assert_eq!(same.count(), 0, "no test image is a training image");
}

#[test]
fn an_epoch_passes_over_every_image_once() {
    let set = shapes();
    let mut batches = ImageBatches::new(&set);
    let mut batch = ImageBatch::default();
    let mut sums = Vec::new();
    for step in 0..18 {
        batches.train_into(&mut batch, &set, 3, step, 500, 0.0);
        sums.push(batch.images.iter().map(|&x| f64::from(x)).sum::<f64>());
    }
    // Normalised by the training part, the whole of it has mean 0; a repeated image
    // would show.
    assert!(sums.iter().sum::<f64>().abs() < 1.0, "{sums:?}");
    let mut counts = [0; 10];
    for step in 0..18 {
        batches.train_into(&mut batch, &set, 3, step, 500, 0.0);
        for &label in &batch.labels {
            counts[label as usize] += 1;
        }
    }
    assert_eq!(counts, [900; 10]);
}

#[test]
fn a_batch_is_a_function_of_seed_and_step_alone() {
    let set = shapes();
    let batch = |seed, steps: &[u64]| {
        let mut batches = ImageBatches::new(&set);
        let mut batch = ImageBatch::default();
        for &step in steps {
            batches.train_into(&mut batch, &set, seed, step, 64, 0.2);
        }
        batch
    };
    assert_eq!(batch(1, &[0, 1, 200]), batch(1, &[200]));
    assert_ne!(batch(1, &[200]), batch(2, &[200]));
    assert_ne!(batch(1, &[200]), batch(1, &[201]));
}

#[test]
fn mixup_mixes_images_and_targets_with_the_same_share() {
    let set = shapes();
    let mut batches = ImageBatches::new(&set);
    let (mut plain, mut mixed) = (ImageBatch::default(), ImageBatch::default());
    let mut shares = Vec::new();
    for step in 0..40 {
        batches.train_into(&mut plain, &set, 0, step, 8, 0.0);
        batches.train_into(&mut mixed, &set, 0, step, 8, 1.0);
        for row in 0..8 {
            let (target, label) = (&mixed.targets[row * 10..][..10], mixed.labels[row]);
            assert!((target.iter().sum::<f32>() - 1.0).abs() < 1e-6);
            let share = target[label as usize];
            let image = |batch: &ImageBatch, row: usize| batch.images[row * 144..][..144].to_vec();
            let other = (0..8).find(|&other| {
                let expected = (0..144).map(|i| {
                    share * image(&plain, row)[i] + (1.0 - share) * image(&plain, other)[i]
                });
                let got = image(&mixed, row);
                got.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-4)
            });
            if share < 1.0 {
                shares.push(share);
                let other = other.expect("a row it was mixed with");
                assert_eq!(target[plain.labels[other] as usize], 1.0 - share);
            }
        }
    }
    assert!(shares.iter().any(|&s| s < 0.3) && shares.iter().any(|&s| s > 0.7));
}

#[test]
fn normalised_pixels_can_be_shown_again() {
    let set = shapes();
    let batches = ImageBatches::new(&set);
    let test = batches.test(&set);
    assert_eq!(test.labels.len(), 1000);
    assert_eq!(
        batches.to_bytes(&test.images[..144]),
        set.test.image(0, set.sizes)
    );
}
