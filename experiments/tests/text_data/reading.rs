//! What is read from files and folders, and what validates.

use super::*;

#[test]
fn a_folder_of_texts_in_five_encodings_loses_none_of_them() {
    let dir = directory();
    let texts = ["one", "two", "three", "four", "five"].map(|name| prose(name, 3000));
    write(dir.path(), "1.txt", &texts[0]);
    write(
        dir.path(),
        "2.txt",
        [texts[1].as_bytes(), b"caf\xe9 \x93\x94\n"].concat(),
    );
    write(dir.path(), "3.txt", utf16(&texts[2]));
    write(
        dir.path(),
        "4.txt",
        [texts[3].as_bytes(), b"\xe2\x82"].concat(),
    );
    write(dir.path(), "5.txt.gz", gzip(&texts[4]));
    let corpus = Corpus::from_directory(dir.path()).expect("text");
    assert_eq!(corpus.account.files_read, 5);
    assert_eq!(corpus.account.left_out, []);
    let text = String::from_utf8_lossy(&all(&corpus)).into_owned();
    for name in ["one 9\n", "two 9\n", "three 9\n", "four 9\n", "five 9\n"] {
        assert!(text.contains(name), "{name}");
    }
    let read_as: Vec<_> = corpus
        .account
        .files
        .iter()
        .map(|file| file.read_as.as_deref())
        .collect();
    assert_eq!(
        read_as,
        [
            None,
            None,
            Some("UTF-16 (little-endian), decoded to UTF-8"),
            None,
            Some("gzip")
        ]
    );
}

#[test]
fn a_file_is_taken_singly_as_it_is_in_a_folder() {
    for (name, content) in [
        ("latin", b"caf\xe9\n".repeat(50)),
        ("cut", [&b"a line\n".repeat(50)[..], b"\xe2\x82"].concat()),
        ("utf16", utf16(&prose("wide", 500))),
        ("packed", gzip(gzip(prose("packed", 500)))),
    ] {
        let dir = directory();
        let single = write(dir.path(), name, content);
        let single = Corpus::from_file(&single).expect(name);
        let folder = Corpus::from_directory(dir.path()).expect(name);
        let without_break = |corpus: &Corpus| {
            let mut text = all(corpus);
            text.truncate(text.trim_ascii_end().len());
            text
        };
        assert_eq!(without_break(&single), without_break(&folder), "{name}");
        assert_eq!(
            single.account.files[0].read_as,
            folder.account.files[0].read_as
        );
    }
}

#[test]
fn what_is_no_text_is_refused_singly_with_what_it_seems_to_be() {
    let dir = directory();
    let mut tar = vec![0; 1024];
    tar[257..262].copy_from_slice(b"ustar");
    for (name, content, words) in [
        ("nulls", vec![0; 5000], ["0x00", "offset 0"]),
        (
            "almost.txt",
            [prose("a", 900).as_bytes(), b"\x01"].concat(),
            ["0x01", "offset 900"],
        ),
        (
            "a.zip",
            b"PK\x03\x04\x14\0\0\0".to_vec(),
            ["zip archive", "unpack"],
        ),
        ("a.tar", tar.clone(), ["tar archive", "unpack"]),
        ("a.tar.gz", gzip(&tar), ["tar archive", "unpack"]),
        (
            "model.pt",
            b"PK\x03\x04\0\0archive/data.pkl\0".to_vec(),
            ["PyTorch", "weights"],
        ),
        (
            "m.safetensors",
            b"\x10\0\0\0\0\0\0\0{\"a\":1}".to_vec(),
            ["safetensors", "weights"],
        ),
        (
            "a.png",
            b"\x89PNG\r\n\x1a\n\0\0".to_vec(),
            ["PNG image", "--preset vit-small"],
        ),
        (
            "wide",
            b"w\0i\0d\0e\0".repeat(9),
            ["UTF-16 text without", "iconv -f UTF-16LE"],
        ),
        ("train.bin", b"\x01\0\x02\0".to_vec(), ["nanoGPT", "folder"]),
        (
            "labels",
            b"\0\0\x08\x01\0\0\0\x02\x01\x02".to_vec(),
            ["IDX", "--preset vit"],
        ),
    ] {
        let path = write(dir.path(), name, content);
        let text = Corpus::from_file(&path).expect_err(name).to_string();
        assert!(
            words.iter().all(|word| text.contains(word)),
            "{name}: {text}"
        );
        assert!(text.contains(&path.display().to_string()), "{text}");
    }
}

#[test]
fn a_folder_of_code_with_binaries_trains_on_the_code_and_names_the_binaries() {
    let dir = directory();
    for i in 0..3 {
        write(
            dir.path(),
            &format!("src/{i}.rs"),
            prose(&format!("fn f{i}"), 2000),
        );
    }
    write(dir.path(), "a.out", b"\x7fELF\x02\x01\x01\0");
    write(dir.path(), "logo.png", b"\x89PNG\r\n\x1a\n\0");
    write(dir.path(), "data.bin", [0; 50]);
    write(dir.path(), "none.txt", "");
    write(dir.path(), "src/copy.rs", prose("fn f1", 2000));
    write(dir.path(), ".git/HEAD", "ref");
    write(dir.path(), "broken.gz", &gzip(prose("x", 900))[..50]);
    let account = Corpus::from_directory(dir.path()).expect("code").account;
    assert_eq!(account.files_read, 3);
    assert_eq!(
        reasons(&account),
        [
            (".git", "hidden"),
            ("a.out", "an ELF program"),
            ("broken.gz", "damaged gzip"),
            ("data.bin", "bytes that no text has"),
            ("logo.png", "a PNG image"),
            ("none.txt", "empty"),
            ("src/copy.rs", "a copy of src/1.rs"),
        ]
    );
}

#[test]
fn folders_that_are_something_else_say_what_to_do_with_them() {
    let mnist = directory();
    write(
        mnist.path(),
        "train-images-idx3-ubyte",
        b"\0\0\x08\x03\0\0\0\x01",
    );
    write(
        mnist.path(),
        "train-labels-idx1-ubyte.gz",
        gzip(b"\0\0\x08\x01\0\0\0\x01\x05"),
    );
    write(mnist.path(), "README.md", "handwritten digits\n");
    let cifar = directory();
    write(cifar.path(), "data_batch_1.bin", [0; 3073]);
    write(cifar.path(), "test_batch.bin", [0; 3073]);
    write(cifar.path(), "batches.meta.txt", "airplane\n");
    write(cifar.path(), "readme.html", "<html>\n");
    let classes = directory();
    for i in 0..12 {
        write(
            classes.path(),
            &format!("train/cat/{i}.jpg"),
            b"\xff\xd8\xff\xe0\0",
        );
    }
    write(classes.path(), "words.txt", "cat\n");
    for folder in [&mnist, &cifar, &classes] {
        let error = Corpus::from_directory(folder.path()).expect_err("images");
        assert!(matches!(error, DataError::FolderOfImages { .. }), "{error}");
        assert!(error.to_string().contains("--preset vit-small"), "{error}");
    }
    let run = directory();
    let settings = RunConfig::default().to_table().to_string();
    write(run.path(), "config.toml", settings);
    write(run.path(), "metrics.jsonl", "{}\n");
    let error = Corpus::from_directory(run.path())
        .expect_err("a run")
        .to_string();
    assert!(
        error.contains("train --resume") && error.contains("inspect"),
        "{error}"
    );
    // Files of these names alone make no run.
    write(run.path(), "config.toml", "colour = true\n");
    let account = Corpus::from_directory(run.path()).expect("text").account;
    assert_eq!(account.files_read, 2);
}

#[cfg(unix)]
#[test]
fn special_files_circles_and_broken_links_are_named_and_never_hang() {
    use std::os::unix::{fs::symlink, net::UnixListener};
    let dir = directory();
    write(dir.path(), "a.txt", prose("a", 3000));
    let fifo = dir.path().join("fifo");
    let made = Command::new("mkfifo").arg(&fifo).status();
    assert!(made.expect("mkfifo").success());
    let _socket = UnixListener::bind(dir.path().join("socket")).expect("socket");
    symlink("nowhere", dir.path().join("broken")).expect("link");
    symlink("loop", dir.path().join("loop")).expect("link");
    symlink(dir.path(), dir.path().join("up")).expect("link");
    symlink("/dev/zero", dir.path().join("zero")).expect("link");
    let account = Corpus::from_directory(dir.path()).expect("text").account;
    assert_eq!(
        reasons(&account),
        [
            ("broken", "a link that leads nowhere"),
            ("fifo", "a device, pipe or socket"),
            ("loop", "a link that leads nowhere"),
            ("socket", "a device, pipe or socket"),
            ("up", "a link to a folder, not followed"),
            ("zero", "a device, pipe or socket"),
        ]
    );
    for path in [&fifo, Path::new("/dev/zero")] {
        let error = Corpus::open(Some(path), Builtin::default()).expect_err("no regular file");
        assert!(matches!(error, DataError::NotRegular { .. }), "{error}");
    }
    // Files without length that the kernel answers from; some of them never do.
    let error = Corpus::open(Some(Path::new("/proc/self/status")), Builtin::default())
        .expect_err("no length");
    assert!(matches!(error, DataError::Empty { .. }), "{error}");
}

#[test]
fn few_files_validate_in_blocks_so_that_no_kind_validates_alone() {
    let dir = directory();
    write(dir.path(), "shakespeare.txt", prose("play", 300_000));
    write(dir.path(), "notes.md", prose("note", 22_000));
    let account = Corpus::from_directory(dir.path()).expect("text").account;
    let play = account.validation.fraction("txt");
    assert!((play - 300.0 / 322.0).abs() < 0.01, "{play}");
    assert_eq!(account.validation.files, 2);
    assert!(account.lines(9).join("\n").contains("txt 93 %, md 7 %"));
}

#[test]
fn the_split_of_many_files_and_of_the_builtin_corpus_is_that_of_earlier_versions() {
    let corpus = Corpus::builtin(Builtin::Files).expect("sources");
    assert!(corpus.account.fingerprint.starts_with("f6965be5c683476c"));
    let dir = directory();
    for i in 0..30 {
        write(
            dir.path(),
            &format!("{i:02}.txt"),
            prose(&format!("text {i}"), 1000),
        );
    }
    let account = Corpus::from_directory(dir.path()).expect("text").account;
    assert_eq!((account.training.files, account.validation.files), (27, 3));
    assert!(account.files.iter().all(|file| file.blocks.is_empty()));
}
