//! PNG and JPEG files, whole and broken.

use super::*;

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

/// The error of a set with this one file in it.
fn error_of(name: &str, bytes: &[u8]) -> String {
    let directory = directory();
    write(directory.path(), &format!("a/{name}"), bytes);
    open_error(&directory, GREY)
}

#[test]
fn every_cut_of_a_picture_is_refused_by_name() {
    for (name, whole) in [
        ("0.png", png(4, 4, png::ColorType::Rgb, &[77; 48])),
        ("0.png", png(64, 64, png::ColorType::Grayscale, &[77; 4096])),
        ("0.jpg", jpeg(70)),
        ("0.jpg", jpeg_of(70, 40, 1)),
        ("0.jpg", jpeg_of(70, 40, 3)),
    ] {
        assert!(error_of(name, &whole).contains("holds 1 images"));
        for length in 0..whole.len() {
            let message = error_of(name, &whole[..length]);
            assert!(
                message.contains("is malformed") && message.contains(name),
                "{length}: {message}"
            );
        }
    }
}

#[test]
fn a_changed_byte_is_an_error_or_another_picture_and_never_more() {
    for (name, whole) in [
        ("0.png", png(4, 4, png::ColorType::Rgb, &[77; 48])),
        ("0.jpg", jpeg_of(70, 3, 3)),
    ] {
        for at in 0..whole.len() {
            for change in [0x55, 0xff, 1] {
                let mut bytes = whole.clone();
                bytes[at] ^= change;
                error_of(name, &bytes);
            }
        }
    }
}

/// A PNG file of chunks, with their checksums.
fn chunks(chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, data) in chunks {
        let mut crc = flate2::Crc::new();
        crc.update(*kind);
        crc.update(data);
        bytes.extend((data.len() as u32).to_be_bytes());
        bytes.extend([&kind[..], data, &crc.sum().to_be_bytes()].concat());
    }
    bytes
}

#[test]
fn a_panic_inside_a_decoder_is_an_error_that_names_the_file() {
    let header = |side: u32, depth: u8, color: u8| {
        let side = side.to_be_bytes();
        [&side[..], &side, &[depth, color, 0, 0, 0]].concat()
    };
    let mut rows = flate2::write::ZlibEncoder::new(Vec::new(), Compression::default());
    rows.write_all(&[0, 1, 1, 0, 1, 1]).expect("rows");
    let rows = rows.finish().expect("rows");
    for palette in [&[9; 5][..], &[9; 4], &[9; 1], &[]] {
        let bytes = chunks(&[
            (b"IHDR", &header(2, 8, 3)),
            (b"PLTE", palette),
            (b"IDAT", &rows),
            (b"IEND", &[]),
        ]);
        let message = error_of("0.png", &bytes);
        assert!(
            message.contains("0.png is malformed"),
            "{palette:?}: {message}"
        );
    }
}

#[test]
fn sizes_that_a_file_cannot_hold_are_not_believed() {
    let huge = png(16_000, 16_000, png::ColorType::Rgb, &[]);
    let message = error_of("0.png", &huge);
    assert!(message.contains("16000 x 16000 in a file of"), "{message}");
    let mut padded = png(16_000, 16_000, png::ColorType::Rgb, &[]);
    padded.extend(vec![0; 2_000_000]);
    let message = error_of("0.png", &padded);
    assert!(message.contains("more than 67108864 pixels"), "{message}");
    let mut jpeg = jpeg(70);
    let frame = jpeg
        .windows(2)
        .position(|pair| pair == [0xff, 0xc0])
        .expect("a frame");
    jpeg[frame + 5..frame + 9].fill(0x3f);
    let message = error_of("0.jpg", &jpeg);
    assert!(message.contains("16191 x 16191 in a file of"), "{message}");
}

/// Twenty images of one picture: the first of them as it is read.
fn seen(bytes: &[u8], sizes: ImageSizes) -> Vec<u8> {
    let directory = directory();
    for i in 0..20 {
        write(directory.path(), &format!("a/{i}"), bytes);
    }
    let set = open(&directory, sizes).expect("images");
    set.test.image(0, sizes).to_vec()
}

const COLOURED: ImageSizes = ImageSizes {
    side: 4,
    channels: 3,
};

#[test]
fn what_a_file_is_is_told_by_its_first_bytes() {
    let directory = directory();
    for i in 0..10 {
        let picture = png(4, 4, png::ColorType::Grayscale, &[i; 16]);
        write(directory.path(), &format!("a/{i}.jpg"), &picture);
        write(directory.path(), &format!("b/{i}.PNG"), &jpeg(70 + i));
        write(directory.path(), &format!("b/{i}"), &jpeg(70));
    }
    for (name, bytes) in [
        ("a/x.gif", &b"GIF89a..............."[..]),
        ("a/x.webp", b"RIFF\0\0\0\0WEBPVP8 "),
        ("a/x.txt", b"a label"),
    ] {
        write(directory.path(), name, bytes);
    }
    let set = open(&directory, GREY).expect("images");
    assert_eq!(set.train.len() + set.test.len(), 30);
    let lines = set.account.lines(9).join("\n");
    for part in [
        "a/x.gif (GIF image)",
        "a/x.webp (WebP image)",
        "a/x.txt (no image)",
    ] {
        assert!(lines.contains(part), "{part} in {lines}");
    }
    // A picture by its name that is none is damaged, not another file.
    write(directory.path(), "a/page.jpg", b"<html>");
    let message = open_error(&directory, GREY);
    assert!(message.contains("page.jpg is malformed"), "{message}");
    fs::write(directory.path().join("a/page.jpg"), b"").expect("emptied");
    assert!(open_error(&directory, GREY).contains("page.jpg is malformed"));
}

#[test]
fn samples_of_16_bits_are_rounded() {
    let sample = |value: u16| value.to_be_bytes();
    let values = [0, 128, 129, 255, 256, 257, 385, 386, 65_407, 65_535];
    let mut pixels: Vec<u8> = values.iter().flat_map(|&value| sample(value)).collect();
    pixels.resize(32, 0);
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 4, 4);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Sixteen);
    let mut writer = encoder.write_header().expect("a header");
    writer.write_image_data(&pixels).expect("pixels");
    drop(writer);
    let rounded: Vec<u8> = values
        .iter()
        .map(|&v| (f64::from(v) / 257.0).round() as u8)
        .collect();
    assert_eq!(seen(&bytes, GREY)[..10], rounded);
}

#[test]
fn palettes_bits_and_colour_spaces_become_red_green_and_blue() {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 4, 4);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Two);
    encoder.set_palette(&[10, 20, 30, 40, 50, 60][..]);
    let mut writer = encoder.write_header().expect("a header");
    writer
        .write_image_data(&[0b01_00_00_01; 4])
        .expect("pixels");
    drop(writer);
    let image = seen(&bytes, COLOURED);
    assert_eq!(image[..4], [40, 10, 10, 40]);
    assert_eq!(image[32..36], [60, 30, 30, 60]);
    let one_bit = {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 4, 4);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_depth(png::BitDepth::One);
        let mut writer = encoder.write_header().expect("a header");
        writer.write_image_data(&[0b0110_0000; 4]).expect("pixels");
        drop(writer);
        bytes
    };
    assert_eq!(seen(&one_bit, GREY)[..4], [0, 255, 255, 0]);
    // Four inks of a JPEG: the lighter, the lighter.
    let [dark, light] = [70, 120].map(|level| seen(&jpeg_of(level, 1, 4), COLOURED));
    assert!(
        dark.iter().zip(&light).all(|(dark, light)| dark != light),
        "{dark:?} {light:?}"
    );
    let grey = seen(&jpeg(70), COLOURED);
    assert_eq!(grey, [grey[0]; 48]);
}

/// Files of the kernel are regular, have no size, and may be waited for without end.
#[cfg(target_os = "linux")]
#[test]
fn files_of_the_kernel_are_not_waited_for() {
    let directory = directory();
    for (i, class) in ["cat", "dog"].iter().cycle().take(30).enumerate() {
        write(
            directory.path(),
            &format!("{class}/{i}.png"),
            &jpeg(64 + i as u8),
        );
    }
    for name in ["kmsg", "cat/kmsg"] {
        std::os::unix::fs::symlink("/proc/kmsg", directory.path().join(name)).expect("a link");
    }
    let account = open(&directory, GREY).expect("images").account;
    assert_eq!(account.number_left_out(), 2);
}
