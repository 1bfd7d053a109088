//! Folders of images, by layout.

use super::*;

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
fn a_directory_without_images_is_named() {
    let directory = directory();
    let message = open_error(&directory, GREY);
    for layout in [
        "holds no images",
        "CLASS/images/*",
        "train/CLASS/*",
        "CLASS_1.png",
    ] {
        assert!(message.contains(layout), "{message}");
    }
    let missing = ImageSet::open(&ImageSource::new(Some(Path::new("no/such/images")), GREY));
    assert!(
        missing
            .expect_err("missing")
            .to_string()
            .contains("does not exist")
    );
}

fn picture(value: u8) -> Vec<u8> {
    png(4, 4, png::ColorType::Grayscale, &[value; 16])
}

#[test]
fn tiny_imagenet_is_read_as_it_is_unpacked() {
    let directory = directory();
    let mut annotations = String::new();
    for (label, class) in ["n02", "n01"].iter().enumerate() {
        for i in 0..12 {
            let name = format!("train/{class}/images/{class}_{i}.JPEG");
            write(directory.path(), &name, &jpeg(70 + label as u8));
        }
        let boxes = format!("train/{class}/{class}_boxes.txt");
        write(directory.path(), &boxes, b"0 0 1 1");
    }
    for i in 0..6 {
        let class = ["n01", "n02"][i % 2];
        annotations += &format!("val_{i}.JPEG\t{class}\t0\t0\t62\t62\n");
        write(
            directory.path(),
            &format!("val/images/val_{i}.JPEG"),
            &picture(i as u8),
        );
        write(
            directory.path(),
            &format!("test/images/test_{i}.JPEG"),
            &picture(99),
        );
    }
    write(
        directory.path(),
        "val/val_annotations.txt",
        annotations.as_bytes(),
    );
    write(directory.path(), "wnids.txt", b"n01");
    let set = open(&directory, GREY).expect("images");
    assert_eq!(set.classes, ["n01", "n02"]);
    assert_eq!((set.train.len(), set.test.len()), (24, 6));
    assert_eq!(set.test.labels, [0, 0, 0, 1, 1, 1]);
    let values: Vec<u8> = (0..6).map(|i| set.test.image(i, GREY)[0]).collect();
    assert_eq!(values, [0, 2, 4, 1, 3, 5]);
    let lines = set.account.lines(9).join("\n");
    for part in [
        "the test part that comes with the images",
        "test (its images have no classes)",
        "train/n01/n01_boxes.txt (no image)",
        "wnids.txt",
    ] {
        assert!(lines.contains(part), "{part} in {lines}");
    }
    write(
        directory.path(),
        "val/val_annotations.txt",
        b"../../secret\tn01",
    );
    assert!(open_error(&directory, GREY).contains("line 1 names no file"));
    write(
        directory.path(),
        "val/val_annotations.txt",
        b"val_9.JPEG\tn01",
    );
    let message = open_error(&directory, GREY);
    assert!(
        message.contains("val_annotations.txt") && message.contains("line 1 names val_9.JPEG"),
        "{message}"
    );
}

#[test]
fn parts_are_known_by_their_names_in_capital_letters_too() {
    for (train, test) in [
        ("Train", "Test"),
        ("training", "testing"),
        ("Training_Set", "test_set"),
        ("TRAIN", "Validation"),
    ] {
        let directory = directory();
        for class in ["cat", "dog"] {
            for i in 0..20 {
                let part = if i < 15 { train } else { test };
                let name = format!("{part}/{class}/{i}.png");
                write(directory.path(), &name, &picture(i));
            }
        }
        let set = open(&directory, GREY).expect("images");
        assert_eq!((set.train.len(), set.test.len()), (30, 10), "{train}");
        assert_eq!(set.classes, ["cat", "dog"]);
    }
}

#[test]
fn images_that_are_trained_on_and_tested_on_are_said() {
    let directory = directory();
    for i in 0..20 {
        write(directory.path(), &format!("train/cat/{i}.png"), &picture(i));
        let class = ["cat", "dog"][usize::from(i > 16)];
        write(
            directory.path(),
            &format!("test/{class}/{i}.png"),
            &picture(i + 3),
        );
    }
    for i in 40..43 {
        write(
            directory.path(),
            &format!("train/dog/{i}.png"),
            &picture(40),
        );
    }
    let remarks = open(&directory, GREY).expect("images").account.remarks;
    let remarks = remarks.join("\n");
    for part in [
        "2 of the 23 images to train on are copies",
        "17 of the 20 images to test on are also trained on",
    ] {
        assert!(remarks.contains(part), "{part} in {remarks}");
    }
}

#[test]
fn a_test_part_has_the_classes_of_the_training_part() {
    let directory = directory();
    for i in 0..10 {
        for class in ["train/cat", "train/dog", "val/cat", "test/cat", "test/dog"] {
            write(directory.path(), &format!("{class}/{i}.png"), &picture(i));
        }
    }
    let set = open(&directory, GREY).expect("images");
    assert_eq!((set.train.len(), set.test.len()), (20, 20));
    let lines = set.account.lines(9).join("\n");
    assert!(lines.contains("val (another part validates)"), "{lines}");
    write(directory.path(), "test/emu/0.png", &picture(1));
    assert!(open_error(&directory, GREY).contains("no training images of its class emu"));
    fs::remove_dir_all(directory.path().join("test")).expect("removed");
    assert!(open_error(&directory, GREY).contains("no test images of its class dog"));
    fs::remove_dir_all(directory.path().join("val")).expect("removed");
    let remarks = open(&directory, GREY).expect("images").account.remarks;
    assert!(
        remarks.join(" ").contains("no test part with classes"),
        "{remarks:?}"
    );
    fs::rename(
        directory.path().join("train"),
        directory.path().join("test"),
    )
    .expect("renamed");
    let remarks = open(&directory, GREY).expect("images").account.remarks;
    assert!(
        remarks.join(" ").contains("no test accuracy of this set"),
        "{remarks:?}"
    );
}

#[test]
fn classes_in_the_names_of_files_are_said() {
    for names in [
        ["cat.0", "dog.0"],
        ["cat_001", "dog-1"],
        ["1_cat", "1_dog"],
        ["cat (1)", "dog 1"],
    ] {
        let directory = directory();
        for (name, value) in names.iter().zip([10, 20]) {
            for i in 0..12 {
                let name = match name.strip_prefix('1') {
                    Some(rest) => format!("{}{rest}.png", 100 + i),
                    None => format!(
                        "{}.png",
                        name.replace('1', &i.to_string())
                            .replace('0', &i.to_string())
                    ),
                };
                write(directory.path(), &name, &picture(value));
            }
        }
        let set = open(&directory, GREY).unwrap_or_else(|error| panic!("{names:?}: {error}"));
        assert_eq!(set.classes, ["cat", "dog"]);
        assert_eq!(set.train.len() + set.test.len(), 24);
        assert_eq!(
            set.train.labels[0],
            u8::from(set.train.image(0, GREY)[0] == 20)
        );
        let remarks = set.account.remarks.join("\n");
        assert!(
            remarks.contains("from the names of its files: cat, dog"),
            "{remarks}"
        );
    }
    for names in ["{}.png", "image_{}.png", "a{}b.png"] {
        let directory = directory();
        for i in 0..30 {
            write(
                directory.path(),
                &names.replace("{}", &i.to_string()),
                &picture(i),
            );
        }
        let message = open_error(&directory, GREY);
        assert!(message.contains("holds no images of classes"), "{message}");
    }
}

#[test]
fn folders_without_images_and_files_beside_folders_are_named() {
    let directory = directory();
    for i in 0..20 {
        write(directory.path(), &format!("cat/{i}.png"), &picture(i));
    }
    write(directory.path(), "dog/0.webp", b"RIFF\0\0\0\0WEBPVP8 ");
    write(directory.path(), "stray.png", &picture(0));
    write(directory.path(), ".hidden/0.png", &picture(0));
    let account = open(&directory, GREY).expect("images").account;
    let lines = account.lines(9).join("\n");
    for part in [
        "dog/0.webp (WebP image)",
        "dog (no PNG or JPEG image in it)",
        "stray.png (no folder of a class)",
        "all of them of one class, cat",
        "18 images (cat 100 %)",
    ] {
        assert!(lines.contains(part), "{part} in {lines}");
    }
    assert!(!lines.contains("hidden"), "{lines}");
}

#[test]
fn sizes_and_colours_of_a_folder_are_those_of_most_of_its_images() {
    let directory = directory();
    for i in 0..11 {
        write(
            directory.path(),
            &format!("a/{i}.png"),
            &png(14, 10, png::ColorType::Grayscale, &[i; 140]),
        );
        write(directory.path(), &format!("b/{i}.jpg"), &jpeg(70));
    }
    write(
        directory.path(),
        "a/x.png",
        &png(200, 300, png::ColorType::GrayscaleAlpha, &[9; 120_000]),
    );
    let measured = || ImageSet::measure(directory.path(), false).expect("measured");
    assert_eq!((measured().sizes.side, measured().sizes.channels), (10, 1));
    assert_eq!((measured().classes, measured().exact), (2, false));
    assert_eq!(
        [4, 5, 16, 0].map(|patch| measured().side(patch)),
        [8, 10, 16, 10]
    );
    write(
        directory.path(),
        "b/y.png",
        &png(4, 4, png::ColorType::Rgb, &[9; 48]),
    );
    assert_eq!(measured().sizes.channels, 3);
    let sizes = ImageSizes {
        side: 10,
        channels: 2,
    };
    let message = open_error(&directory, sizes);
    assert!(message.contains("model.channels is 2"), "{message}");
    let account = open(&directory, GREY).expect("images").account;
    let remarks = account.remarks.join("\n");
    assert!(
        remarks.contains("central squares of 4 to 200 pixels a side were brought to 4"),
        "{remarks}"
    );
}

#[test]
fn what_does_not_fit_into_the_memory_is_refused_before_it_is_read() {
    let directory = directory();
    for i in 0..20 {
        write(directory.path(), &format!("a/{i}.png"), &picture(i));
    }
    for side in [1 << 24, usize::MAX] {
        let sizes = ImageSizes { side, channels: 1 };
        let message = open_error(&directory, sizes);
        assert!(message.contains("a smaller model.image"), "{message}");
        let drawn = ImageSource::new(None, sizes);
        let error = ImageSet::open(&drawn).expect_err("more than there is");
        assert!(matches!(error, DataError::TooLarge { .. }), "{error}");
    }
}
