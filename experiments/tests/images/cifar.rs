//! CIFAR-10 and CIFAR-100.

use super::*;

/// Records of an image filled with ten times its label, behind `coarse` labels.
fn records(coarse: usize, labels: &[u8]) -> Vec<u8> {
    let record = |&label: &u8| {
        [
            vec![7; coarse],
            vec![label],
            vec![label.wrapping_mul(10); 3072],
        ]
    };
    labels.iter().flat_map(record).flatten().collect()
}

#[test]
fn cifar_batches_are_read_and_checked() {
    let sizes = ImageSizes {
        side: 32,
        channels: 3,
    };
    let directory = directory();
    let labels: Vec<u8> = (0..30).map(|i| i % 10).collect();
    write(
        directory.path(),
        "data_batch_1.bin",
        &records(0, &labels[..15]),
    );
    write(
        directory.path(),
        "data_batch_2.bin",
        &records(0, &labels[15..]),
    );
    write(directory.path(), "test_batch.bin", &records(0, &[3, 9]));
    for batch in 3..=5 {
        write(
            directory.path(),
            &format!("data_batch_{batch}.bin"),
            &records(0, &[4]),
        );
    }
    let set = open(&directory, sizes).expect("images");
    assert_eq!((set.train.len(), set.test.len()), (33, 2));
    assert_eq!(set.train.labels[..30], labels);
    assert_eq!(set.test.image(1, sizes), [90; 3072]);
    assert_eq!(set.classes[9], "truck");

    write(
        directory.path(),
        "test_batch.bin",
        &records(0, &[3, 9])[..3100],
    );
    let message = open_error(&directory, sizes);
    assert!(
        message.contains("3100 bytes, expected records of 3073"),
        "{message}"
    );
    let mut bad = records(0, &[3]);
    bad[0] = 10;
    write(directory.path(), "test_batch.bin", &bad);
    let message = open_error(&directory, sizes);
    assert!(message.contains("a label is 10"), "{message}");
}

#[test]
fn missing_batches_are_named_and_taken_as_missing_only_on_demand() {
    let directory = directory();
    for batch in [1, 2, 4] {
        write(
            directory.path(),
            &format!("data_batch_{batch}.bin"),
            &records(0, &[3; 10]),
        );
    }
    write(directory.path(), "test_batch.bin", &records(0, &[3, 9]));
    write(directory.path(), "batches.meta.txt", b"airplane");
    let message = open_error(&directory, GREY);
    for part in [
        "data_batch_3.bin, data_batch_5.bin missing",
        "data.partial=true",
    ] {
        assert!(message.contains(part), "{message}");
    }
    let partial = ImageSource {
        partial: true,
        ..ImageSource::new(Some(directory.path()), GREY)
    };
    let set = ImageSet::open(&partial).expect("a part");
    assert_eq!((set.train.len(), set.test.len()), (30, 2));
    let lines = set.account.lines(9).join("\n");
    for part in [
        "missing: data_batch_3.bin, data_batch_5.bin",
        "data_batch_4.bin has 10 images, the original 10000",
        "batches.meta.txt",
    ] {
        assert!(lines.contains(part), "{lines}");
    }
    fs::remove_file(directory.path().join("test_batch.bin")).expect("removed");
    let set = ImageSet::open(&partial).expect("a part");
    assert_eq!((set.train.len(), set.test.len()), (27, 3));
    let remarks = set.account.remarks.join("\n");
    assert!(remarks.contains("no test_batch.bin"), "{remarks}");
}

#[test]
fn a_test_batch_alone_gives_no_test_accuracy() {
    let directory = directory();
    write(directory.path(), "test_batch.bin", &records(0, &[3; 40]));
    let set = open(&directory, GREY).expect("images");
    assert_eq!((set.train.len(), set.test.len()), (36, 4));
    let remarks = set.account.remarks.join("\n");
    assert!(
        remarks.contains("no test accuracy of this set"),
        "{remarks}"
    );
}

#[test]
fn cifar_100_has_two_labels_of_which_the_fine_one_counts() {
    let directory = directory();
    write(directory.path(), "train.bin", &records(1, &[99; 30]));
    write(directory.path(), "test.bin.gz", &gzip(&records(1, &[0, 5])));
    let names: String = (0..100).map(|i| format!("name {i}\n")).collect();
    write(directory.path(), "fine_label_names.txt", names.as_bytes());
    let set = open(&directory, GREY).expect("images");
    assert_eq!(
        (set.train.labels[0], &set.test.labels[..]),
        (99, &[0, 5][..])
    );
    assert_eq!((set.classes.len(), &*set.classes[99]), (100, "name 99"));
    assert_eq!(set.test.image(1, set.sizes), [50; 3072]);
    // Bytes of tokens are no images.
    let tokens = super::directory();
    write(tokens.path(), "train.bin", &[1; 5000]);
    write(tokens.path(), "val.bin", &[1; 500]);
    let message = open_error(&tokens, GREY);
    assert!(message.contains("holds no images"), "{message}");
}

#[test]
fn what_may_have_been_meant_is_named() {
    let directory = directory();
    write(directory.path(), "data_batch_1", &[0x80, 2, b'}']);
    let message = open_error(&directory, GREY);
    assert!(message.contains("batches for Python"), "{message}");
    let [images, labels] = digits(30);
    let above = super::directory();
    write(above.path(), "MNIST/raw/train-images-idx3-ubyte", &images);
    write(above.path(), "MNIST/raw/train-labels-idx1-ubyte", &labels);
    let message = open_error(&above, GREY);
    assert!(
        message.contains("there are images in") && message.contains("MNIST/raw"),
        "{message}"
    );
}
