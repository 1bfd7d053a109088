//! Corpora and windows as a user of the crate sees them.

use lab::data::{Builtin, Corpus, DataError, Tokens, Windows, bits_per_byte};
use std::{collections::BTreeSet, fs, path::Path};

fn write(directory: &Path, name: &str, content: impl AsRef<[u8]>) {
    let path = directory.join(name);
    fs::create_dir_all(path.parent().expect("inside")).expect("create directory");
    fs::write(path, content).expect("write");
}

/// Amount of the validation text that stands in the training text: the share of its windows of `length`
/// bytes, and of its bytes that lie in one.
fn overlap(train: &[u8], validation: &[u8], length: usize) -> [f64; 2] {
    use std::hash::{BuildHasher, RandomState};
    let hasher = RandomState::new();
    let mut known: Vec<u64> = train
        .windows(length)
        .map(|window| hasher.hash_one(window))
        .collect();
    known.sort_unstable();
    let shared: Vec<bool> = validation
        .windows(length)
        .map(|window| known.binary_search(&hasher.hash_one(window)).is_ok())
        .collect();
    let mut covered = vec![false; validation.len()];
    for (start, _) in shared.iter().enumerate().filter(|(_, shared)| **shared) {
        covered[start..start + length].fill(true);
    }
    [shared, covered].map(|all| all.iter().filter(|one| **one).count() as f64 / all.len() as f64)
}

#[test]
fn the_built_in_corpora_share_what_the_docs_say() {
    for (builtin, page) in [
        (Builtin::Files, "results/README.md"),
        (Builtin::Crates, "data.md"),
    ] {
        let corpus = Corpus::builtin(builtin).expect("the sources are there");
        let shares = overlap(bytes(&corpus.train), bytes(&corpus.validation), 64);
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../docs")
            .join(page);
        let text = fs::read_to_string(path).expect("a page");
        for share in shares.map(|share| format!("{:.1} %", 100.0 * share)) {
            assert!(text.contains(&share), "{page} does not say {share}");
        }
    }
}

#[test]
fn the_default_corpus_validates_on_whole_crates_of_its_own() {
    let corpus = Corpus::builtin(Builtin::default()).expect("the sources are there");
    let account = &corpus.account;
    let held_out: BTreeSet<&str> = Builtin::Crates.held_out().collect();
    for file in &account.files {
        let (name, _) = file.name.split_once('/').expect("crate/file");
        let validates = held_out.contains(name);
        assert_eq!(
            (file.validation > 0, file.training > 0),
            (validates, !validates)
        );
    }
    assert!(held_out.len() >= 10 && account.validation.files >= 100);
    let (training, crates) = (account.training.files, Builtin::Crates.training().count());
    let page = include_str!("../../docs/data.md");
    for said in [
        format!("{training} files of {crates} crates"),
        format!(
            "all {} files of {}",
            account.validation.files,
            held_out.len()
        ),
    ] {
        assert!(page.contains(&said), "docs/data.md does not say {said}");
    }
    assert!(corpus.validation.len() >= 1_000_000);
    assert_ne!(
        account.fingerprint,
        Corpus::builtin(Builtin::Files)
            .expect("sources")
            .account
            .fingerprint
    );
}

fn bytes(tokens: &Tokens) -> &[u8] {
    tokens.as_bytes().expect("a text")
}

fn all(corpus: &Corpus) -> Vec<u8> {
    [bytes(&corpus.train), bytes(&corpus.validation)].concat()
}

fn prose(lines: usize) -> String {
    (0..lines)
        .map(|i| format!("line {i} of the text\n"))
        .collect()
}

#[test]
fn a_file_gives_its_last_tenth_to_validation() {
    let dir = tempfile::tempdir().expect("directory");
    write(dir.path(), "book.txt", prose(1000));
    let corpus = Corpus::from_file(&dir.path().join("book.txt")).expect("corpus");
    assert_eq!(corpus.account.name, "book.txt");
    assert_eq!(corpus.account.files_read, 1);
    assert_eq!(all(&corpus), prose(1000).into_bytes());
    assert_eq!(
        corpus.validation.len(),
        (corpus.train.len() + corpus.validation.len()) / 10
    );
}

#[test]
fn the_fingerprint_of_a_file_is_its_sha256() {
    let dir = tempfile::tempdir().expect("directory");
    // The longer of the two test messages of FIPS 180-2 for SHA-256.
    let message = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    write(dir.path(), "message", message);
    let corpus = Corpus::from_file(&dir.path().join("message")).expect("corpus");
    assert_eq!(
        corpus.account.fingerprint,
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
    );
}

#[test]
fn a_directory_is_read_recursively_in_sorted_order_without_hidden_files() {
    let contents = |names: &[&str]| {
        let dir = tempfile::tempdir().expect("directory");
        for name in names {
            write(dir.path(), name, format!("{name} {}\n", prose(50)));
        }
        write(dir.path(), ".hidden/secret.txt", "secret");
        write(dir.path(), "sub/.secret", "secret");
        Corpus::from_directory(dir.path()).expect("corpus")
    };
    let names = ["b.txt", "sub/c.txt", "a.txt", "sub/deep/d.txt"];
    let mut reversed = names;
    reversed.reverse();
    let (one, other) = (contents(&names), contents(&reversed));
    assert_eq!(one.account.fingerprint, other.account.fingerprint);
    assert_eq!(one.account.files_read, 4);
    let text = String::from_utf8(all(&one)).expect("text");
    assert!(!text.contains("secret"));
    let at = |name: &str| text.find(name).expect(name);
    assert!(at("a.txt") < at("b.txt") && at("b.txt") < at("sub/c.txt"));
}

#[test]
fn copies_empty_and_binary_files_of_a_directory_are_counted_not_used() {
    let dir = tempfile::tempdir().expect("directory");
    write(dir.path(), "a.txt", prose(100));
    write(dir.path(), "copy of a.txt", prose(100));
    write(dir.path(), "empty.txt", "");
    write(
        dir.path(),
        "image.png",
        [0x89, b'P', b'N', b'G', 0xff, 0xfe],
    );
    let corpus = Corpus::from_directory(dir.path()).expect("corpus");
    assert_eq!(
        (corpus.account.files_read, corpus.account.number_left_out()),
        (1, 3)
    );
    assert_eq!(
        corpus.train.len() + corpus.validation.len(),
        prose(100).len()
    );
}

#[test]
fn every_bad_source_is_named_with_a_way_out() {
    let dir = tempfile::tempdir().expect("directory");
    write(dir.path(), "empty.txt", "");
    write(dir.path(), "zeros", [0; 9]);
    fs::create_dir(dir.path().join("folder")).expect("create directory");
    let complaint = |name: &str| {
        let path = dir.path().join(name);
        let error = Corpus::open(Some(&path), Builtin::default()).expect_err(name);
        let text = error.to_string();
        assert!(text.contains(&path.display().to_string()), "{text}");
        (error, text)
    };
    let (error, text) = complaint("nowhere.txt");
    assert!(matches!(error, DataError::Missing { .. }) && text.contains("does not exist"));
    let (error, _) = complaint("empty.txt");
    assert!(matches!(error, DataError::Empty { .. }));
    let (error, text) = complaint("zeros");
    assert!(matches!(error, DataError::Binary { offset: 0, .. }) && text.contains("0x00"));
    let (error, _) = complaint("folder");
    assert!(matches!(error, DataError::NoText { left_out, .. } if left_out.is_empty()));
}

#[cfg(unix)]
#[test]
fn an_endless_device_is_refused_before_it_is_read() {
    let error =
        Corpus::open(Some(Path::new("/dev/zero")), Builtin::default()).expect_err("a device");
    assert!(matches!(error, DataError::NotRegular { .. }));
}

#[cfg(unix)]
#[test]
fn a_circle_of_links_does_not_trap_the_reader() {
    let dir = tempfile::tempdir().expect("directory");
    write(dir.path(), "sub/a.txt", prose(100));
    std::os::unix::fs::symlink(dir.path(), dir.path().join("sub/up")).expect("link");
    assert_eq!(
        Corpus::from_directory(dir.path())
            .expect("corpus")
            .account
            .files_read,
        1
    );
}

#[test]
fn the_builtin_corpus_is_large_plain_source_and_the_same_every_time() {
    let corpus = Corpus::builtin(Builtin::Files).expect("the sources this test was built from");
    let total = corpus.train.len() + corpus.validation.len();
    println!(
        "{total} bytes, {} for validation, {} files, {} skipped, {}",
        corpus.validation.len(),
        corpus.account.files_read,
        corpus.account.number_left_out(),
        corpus.account.fingerprint
    );
    assert!(total >= 2_000_000, "{total}");
    assert!((total / 12..total / 9).contains(&corpus.validation.len()));
    assert!(corpus.account.files_read as usize > 10 * Builtin::Files.crates().len());
    assert_eq!(corpus.account.training.amount as usize, corpus.train.len());
    assert_eq!(Corpus::builtin(Builtin::Files).expect("again"), corpus);
    assert!(
        std::str::from_utf8(bytes(&corpus.train))
            .expect("text")
            .contains("fn ")
    );
}

#[test]
fn training_and_validation_of_the_builtin_corpus_share_no_long_passage() {
    let corpus = Corpus::builtin(Builtin::Files).expect("corpus");
    let window = 2047;
    let blocks: BTreeSet<&[u8]> = bytes(&corpus.validation)
        .windows(window)
        .step_by(window / 4)
        .collect();
    let leaked = bytes(&corpus.train)
        .windows(window)
        .filter(|passage| blocks.contains(passage))
        .count();
    assert_eq!(leaked, 0);
}

fn small_corpus() -> Corpus {
    let dir = tempfile::tempdir().expect("directory");
    write(dir.path(), "book.txt", prose(500));
    Corpus::from_file(&dir.path().join("book.txt")).expect("corpus")
}

#[test]
fn targets_are_the_inputs_shifted_by_one() {
    let corpus = small_corpus();
    let windows = Windows::new(&corpus, 32).expect("long enough");
    let batch = windows.train_batch(1, 0, 4);
    assert_eq!((batch.rows, batch.seq_len, batch.tokens()), (4, 32, 128));
    for (inputs, targets) in batch.inputs.chunks(32).zip(batch.targets.chunks(32)) {
        assert_eq!(inputs[1..], targets[..31]);
        let passage: Vec<u8> = inputs
            .iter()
            .chain(targets.last())
            .map(|&token| u8::try_from(token).expect("a byte"))
            .collect();
        assert!(
            bytes(&corpus.train)
                .windows(33)
                .any(|window| window == passage)
        );
    }
}

#[test]
fn a_training_batch_depends_on_seed_and_step_only() {
    let corpus = small_corpus();
    let windows = Windows::new(&corpus, 16).expect("long enough");
    let batch = windows.train_batch(3, 100, 8);
    for step in 0..100 {
        assert_ne!(windows.train_batch(3, step, 8), batch);
    }
    assert_eq!(windows.train_batch(3, 100, 8), batch);
    assert_ne!(windows.train_batch(4, 100, 8), batch);
    assert!(
        windows
            .train_batch(3, 100, 20)
            .inputs
            .starts_with(&batch.inputs)
    );
}

#[test]
fn training_windows_reach_both_ends_of_the_text() {
    let mut corpus = small_corpus();
    corpus.validation = corpus.train.clone();
    let length = corpus.train.len();
    let windows = Windows::new(&corpus, length - 2).expect("long enough");
    let starts: BTreeSet<Vec<u32>> = (0..50)
        .map(|step| windows.train_batch(0, step, 1).inputs)
        .collect();
    assert_eq!(starts.len(), 2);
}

#[test]
fn validation_windows_cover_the_part_evenly_and_never_overlap() {
    let mut corpus = small_corpus();
    // Every position its own value, so that windows can be located.
    corpus.validation = Tokens::Bytes((0..=250).collect());
    let windows = Windows::new(&corpus, 25).expect("long enough");
    let starts = |batches, rows| -> Vec<u32> {
        windows
            .validation_batches(batches, rows)
            .expect("fits")
            .iter()
            .flat_map(|batch| batch.inputs.iter().step_by(25).copied())
            .collect()
    };
    assert_eq!(starts(2, 2), [0, 75, 150, 225]);
    assert_eq!(
        starts(100, 5),
        [0, 25, 50, 75, 100, 125, 150, 175, 200, 225]
    );
    assert_eq!(starts(1, 1), [0]);
    for batches in 1..5 {
        for rows in 1..5 {
            let starts = starts(batches, rows);
            assert!(starts.windows(2).all(|pair| pair[1] - pair[0] >= 25));
        }
    }
}

#[test]
fn a_text_too_short_for_its_windows_is_refused_with_the_length_it_needs() {
    let dir = tempfile::tempdir().expect("directory");
    let path = dir.path().join("note.txt");
    fs::write(&path, "x".repeat(400)).expect("write");
    let corpus = Corpus::from_file(&path).expect("corpus");
    let error = Windows::new(&corpus, 64).expect_err("40 bytes for validation");
    assert!(error.to_string().contains("at least 650 bytes"), "{error}");

    fs::write(&path, "x".repeat(650)).expect("write");
    let corpus = Corpus::from_file(&path).expect("corpus");
    let windows = Windows::new(&corpus, 64).expect("as promised");
    assert_eq!(windows.validation_batches(3, 1).expect("one").len(), 1);
    let error = windows.validation_batches(1, 8).expect_err("8 windows");
    assert!(matches!(error, DataError::TooShort { need: 513, .. }));
}

#[test]
fn one_nat_is_one_over_ln_two_bits() {
    assert!((bits_per_byte(std::f64::consts::LN_2 * 3.0) - 3.0).abs() < 1e-15);
}

#[test]
fn which_files_validate_has_nothing_to_do_with_their_names() {
    let held_out = |name: fn(usize) -> String| {
        let directory = tempfile::tempdir().expect("directory");
        for i in 0..60 {
            write(directory.path(), &name(i), format!("file number {i:02}\n"));
        }
        let corpus = Corpus::from_directory(directory.path()).expect("corpus");
        let text = std::str::from_utf8(bytes(&corpus.validation)).expect("text");
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let forwards = held_out(|i| format!("{i:02}.txt"));
    assert_eq!(forwards.len(), 6);
    assert_eq!(forwards, held_out(|i| format!("{:02}.txt", 99 - i)));
}
