//! MNIST and its relatives.

use super::*;
use nn::patch_embed::Patches;

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
}

/// Ten thousand digits of which two thousand are trained on: the others validate, and more seeds of
/// the same run see the same two thousand.
#[test]
fn a_number_of_images_to_train_on_can_be_chosen() {
    let directory = directory();
    let open = |wanted: usize| {
        ImageSet::open(&ImageSource {
            train: Some(wanted),
            ..ImageSource::new(Some(directory.path()), GREY)
        })
    };
    write_pair(&directory, "images-idx3-ubyte", "labels-idx1-ubyte", 50);
    let set = open(10).expect("images");
    assert_eq!((set.train.len(), set.test.len()), (10, 40));
    let mut all: Vec<u8> = [&set.train, &set.test]
        .iter()
        .flat_map(|part| part.pixels.iter().step_by(16).copied())
        .collect();
    all.sort_unstable();
    assert_eq!(all, (0..50).collect::<Vec<u8>>());
    let account = set.account.lines(9).join("\n");
    assert!(
        account.contains("40 of the images, drawn once and for all"),
        "{account}"
    );
    let again = open(10).expect("images").account.fingerprint;
    assert_eq!(again, set.account.fingerprint);
    let error = open(50).expect_err("none is left").to_string();
    assert!(error.contains("at most 49 images to train on"), "{error}");
    let remarks = open(2).expect("images").account.remarks.join("\n");
    assert!(
        remarks.contains("no image is trained on of 1 classes"),
        "{remarks}"
    );
}

#[test]
fn the_test_part_stays_whole_where_few_images_are_trained_on() {
    let directory = directory();
    write_pair(
        &directory,
        "train-images-idx3-ubyte",
        "train-labels-idx1-ubyte",
        50,
    );
    write_pair(
        &directory,
        "t10k-images-idx3-ubyte",
        "t10k-labels-idx1-ubyte",
        25,
    );
    let mut source = ImageSource::new(Some(directory.path()), GREY);
    let whole = ImageSet::open(&source).expect("images");
    source.train = Some(20);
    let set = ImageSet::open(&source).expect("images");
    assert_eq!((set.train.len(), &set.test), (20, &whole.test));
    let account = set.account.lines(9).join("\n");
    for part in [
        "20 of its 50 training images",
        "trained on: 1 file, 20 images",
    ] {
        assert!(account.contains(part), "{part}: {account}");
    }
    source.train = Some(51);
    let error = ImageSet::open(&source).expect_err("fewer").to_string();
    assert!(error.contains("data.train_images is 51"), "{error}");
}

/// Writes `count` digits under two names.
fn write_pair(directory: &TempDir, images: &str, labels: &str, count: u8) {
    let [pixels, classes] = digits(count);
    let packed = |name: &str, bytes: &[u8]| match name.ends_with(".gz") {
        true => gzip(bytes),
        false => bytes.to_vec(),
    };
    write(directory.path(), images, &packed(images, &pixels));
    write(directory.path(), labels, &packed(labels, &classes));
}

#[test]
fn every_spelling_in_use_is_read_and_spellings_may_differ_between_parts() {
    let spelled = |before: &str, part: &str, sign: &str, end: &str| {
        ["images", "labels"].map(|what| {
            let dimensions = if what == "images" { 3 } else { 1 };
            format!("{before}{part}-{what}{sign}idx{dimensions}-ubyte{end}")
        })
    };
    let mut fingerprints = Vec::new();
    for (train, test) in [
        (spelled("", "train", "-", ""), spelled("", "t10k", "-", "")),
        (spelled("", "train", ".", ""), spelled("", "t10k", ".", "")),
        (
            spelled("", "train", ".", ""),
            spelled("", "t10k", "-", ".gz"),
        ),
        (
            spelled("emnist-balanced-", "train", "-", ".gz"),
            spelled("emnist-balanced-", "test", "-", ".gz"),
        ),
        (
            ["train_images", "train_labels"].map(str::to_owned),
            ["Test_Images.bin", "Test_Labels.bin"].map(str::to_owned),
        ),
    ] {
        let directory = directory();
        write_pair(&directory, &train[0], &train[1], 40);
        write_pair(&directory, &test[0], &test[1], 7);
        let set = open(&directory, GREY).unwrap_or_else(|error| panic!("{train:?}: {error}"));
        assert_eq!((set.train.len(), set.test.len()), (40, 7), "{train:?}");
        // The sizes, and that all of the test images are trained on.
        assert_eq!(set.account.remarks.len(), 2, "{:?}", set.account.remarks);
        fingerprints.push(set.account.fingerprint);
    }
    fingerprints.dedup();
    assert_eq!(fingerprints.len(), 1);
}

#[test]
fn compression_is_seen_in_the_first_bytes_whatever_the_name_and_however_often() {
    let [images, labels] = digits(25);
    let plain = directory();
    write(plain.path(), "train-images-idx3-ubyte", &images);
    write(plain.path(), "train-labels-idx1-ubyte", &labels);
    let packed = directory();
    write(
        packed.path(),
        "train-images-idx3-ubyte",
        &gzip(&gzip(&images)),
    );
    let members = [gzip(&labels[..5]), gzip(&labels[5..])].concat();
    write(packed.path(), "train-labels-idx1-ubyte.gz", &members);
    let [plain, packed] = [plain, packed].map(|directory| open(&directory, GREY).expect("images"));
    assert_eq!(plain.account.fingerprint, packed.account.fingerprint);
    // Not compressed in spite of the name.
    let named = directory();
    write(named.path(), "train-images-idx3-ubyte.gz", &images);
    write(named.path(), "train-labels-idx1-ubyte.gz", &labels);
    let named = open(&named, GREY).expect("images");
    assert_eq!(plain.account.fingerprint, named.account.fingerprint);
}

#[test]
fn images_without_labels_are_named_and_nothing_else_is_taken() {
    let directory = directory();
    write_pair(
        &directory,
        "t10k-images-idx3-ubyte",
        "t10k-labels-idx1-ubyte",
        30,
    );
    write(directory.path(), "train-images.idx3-ubyte", &digits(40)[0]);
    let message = open_error(&directory, GREY);
    assert!(
        message.contains("the labels to") && message.contains("train-images.idx3-ubyte"),
        "{message}"
    );
    fs::remove_file(directory.path().join("train-images.idx3-ubyte")).expect("removed");
    write(directory.path(), "train-labels-idx1-ubyte", &digits(40)[1]);
    let message = open_error(&directory, GREY);
    assert!(
        message.contains("the images to") && message.contains("train-labels"),
        "{message}"
    );
}

#[test]
fn one_part_alone_is_cut_and_said() {
    for (part, remark) in [
        ("train", "only the training part is here"),
        ("t10k", "no test accuracy of this set"),
    ] {
        let directory = directory();
        let names = [
            format!("{part}-images-idx3-ubyte"),
            format!("{part}-labels-idx1-ubyte"),
        ];
        write_pair(&directory, &names[0], &names[1], 30);
        write(directory.path(), "README", b"about");
        let account = open(&directory, GREY).expect("images").account;
        let lines = account.lines(9).join("\n");
        for part in [
            remark,
            "images of 4 x 4 with 1 channel in 3 classes",
            "27 images",
            "3 images",
            "a tenth of the images",
            "README (no IDX file)",
        ] {
            assert!(lines.contains(part), "{part} in {lines}");
        }
    }
}

#[test]
fn labels_that_do_not_count_from_0_are_numbered_and_said() {
    let directory = directory();
    let labels: Vec<u8> = (0..40).map(|i| [1, 2, 26][i % 3]).collect();
    write(directory.path(), "train-images-idx3-ubyte", &digits(40)[0]);
    write(
        directory.path(),
        "train-labels-idx1-ubyte",
        &idx(&[40], &labels),
    );
    write(directory.path(), "t10k-images-idx3-ubyte", &digits(4)[0]);
    write(
        directory.path(),
        "t10k-labels-idx1-ubyte",
        &idx(&[4], &[2, 26, 2, 2]),
    );
    let set = open(&directory, GREY).expect("images");
    assert_eq!(set.classes, ["1", "2", "26"]);
    assert_eq!(
        (&set.train.labels[..3], &set.test.labels[..]),
        (&[0, 1, 2][..], &[1, 2, 1, 1][..])
    );
    let remarks = set.account.remarks.join("\n");
    assert!(
        remarks.contains("labels go from 1 to 26, and 3 of them occur"),
        "{remarks}"
    );
    assert!(remarks.contains("no test image has label 1"), "{remarks}");
}

#[test]
fn of_several_sets_in_one_directory_a_file_chooses() {
    let directory = directory();
    for (set, count) in [("emnist-letters", 30), ("emnist-digits", 40)] {
        let name = |what: &str| format!("{set}-train-{what}-ubyte");
        write_pair(
            &directory,
            &name("images-idx3"),
            &name("labels-idx1"),
            count,
        );
    }
    let message = open_error(&directory, GREY);
    for part in [
        "emnist-digits, emnist-letters",
        "give a file",
        "emnist-digits-train-images",
    ] {
        assert!(message.contains(part), "{message}");
    }
    let file = directory
        .path()
        .join("emnist-letters-train-images-idx3-ubyte");
    let set = ImageSet::open(&ImageSource::new(Some(&file), GREY)).expect("images");
    assert_eq!(set.train.len() + set.test.len(), 30);
    let none = directory.path().join("notes.txt");
    fs::write(&none, "text").expect("a file");
    let error = ImageSet::open(&ImageSource::new(Some(&none), GREY)).expect_err("a text");
    assert!(matches!(error, DataError::NoImages { .. }), "{error}");
}

#[test]
fn a_copy_in_another_spelling_is_left_out_and_another_content_refused() {
    let directory = directory();
    write_pair(
        &directory,
        "train-images-idx3-ubyte",
        "train-labels-idx1-ubyte",
        30,
    );
    write(
        directory.path(),
        "train-images-idx3-ubyte.gz",
        &gzip(&digits(30)[0]),
    );
    let account = open(&directory, GREY).expect("images").account;
    assert_eq!(
        account.left_out[0].reason,
        "a copy of train-images-idx3-ubyte"
    );
    write(
        directory.path(),
        "train-images-idx3-ubyte.gz",
        &gzip(&digits(31)[0]),
    );
    let message = open_error(&directory, GREY);
    assert!(message.contains("contradict each other"), "{message}");
}

#[test]
fn parts_of_other_sizes_and_images_that_are_not_square_are_refused() {
    let directory = directory();
    write_pair(
        &directory,
        "train-images-idx3-ubyte",
        "train-labels-idx1-ubyte",
        30,
    );
    write(
        directory.path(),
        "t10k-images-idx3-ubyte",
        &idx(&[4, 2, 2], &[0; 16]),
    );
    write(
        directory.path(),
        "t10k-labels-idx1-ubyte",
        &idx(&[4], &[0; 4]),
    );
    let message = open_error(&directory, GREY);
    assert!(
        message.contains("of 4 x 4 with 1 channel") && message.contains("of 2 x 2"),
        "{message}"
    );
    write(
        directory.path(),
        "t10k-images-idx3-ubyte",
        &idx(&[4, 2, 8], &[0; 64]),
    );
    let message = open_error(&directory, GREY);
    assert!(message.contains("2 x 8, expected squares"), "{message}");
}

#[test]
fn a_network_for_other_images_is_told_everything_at_once() {
    let directory = directory();
    write_pair(
        &directory,
        "train-images-idx3-ubyte",
        "train-labels-idx1-ubyte",
        30,
    );
    let set = open(&directory, GREY).expect("images");
    let patches = |image, channels| Patches {
        image,
        channels,
        patch: 1,
    };
    assert!(set.check(patches(4, 1), 3).is_ok());
    let message = set
        .check(patches(28, 3), 10)
        .expect_err("another network")
        .to_string();
    for part in [
        "are 4 x 4 with 1 channel in 3 classes",
        "model.image=28, model.channels=3, model.classes=10",
        "set model.image=4, model.channels=1, model.classes=3",
    ] {
        assert!(message.contains(part), "{message}");
    }
    let message = set
        .check(patches(4, 1), 10)
        .expect_err("other classes")
        .to_string();
    assert!(
        message.contains("which model.classes=10 contradicts"),
        "{message}"
    );
    let measured = ImageSet::measure(directory.path(), false).expect("measured");
    assert_eq!(
        (measured.sizes, measured.classes, measured.exact),
        (GREY, 3, true)
    );
}
