//! What is taken as text, what is not, and what is said about it: the whole policy of
//! docs/data.md, from files and from the command line.

use experiments::{
    config::RunConfig,
    data::{Corpus, DataAccount, DataError, TokenKind, TokensError},
};
use flate2::{Compression, write::GzEncoder};
use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output},
};
use tempfile::TempDir;

fn directory() -> TempDir {
    tempfile::tempdir().expect("directory")
}

fn write(directory: &Path, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = directory.join(name);
    fs::create_dir_all(path.parent().expect("inside")).expect("create directory");
    fs::write(&path, content).expect("write");
    path
}

fn prose(name: &str, bytes: usize) -> String {
    let mut text: String = (0..bytes / 4).map(|i| format!("{name} {i}\n")).collect();
    text.truncate(bytes);
    text
}

fn gzip(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes.as_ref()).expect("memory");
    encoder.finish().expect("memory")
}

fn utf16(text: &str) -> Vec<u8> {
    let units = [0xfeff].into_iter().chain(text.encode_utf16());
    units.flat_map(u16::to_le_bytes).collect()
}

fn experiments(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_experiments"))
        .args(["--threads", "1"])
        .args(arguments)
        .output()
        .expect("the program starts")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn path(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn all(corpus: &Corpus) -> Vec<u8> {
    let parts = [&corpus.train, &corpus.validation];
    parts.map(|part| part.as_bytes().expect("text")).concat()
}

/// The reasons for which names were left out.
fn reasons(account: &DataAccount) -> Vec<(&str, &str)> {
    let left_out = account.left_out.iter();
    left_out.map(|one| (&*one.name, &*one.reason)).collect()
}

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
    let corpus = Corpus::builtin().expect("sources");
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

/// A folder as nanoGPT prepares it: `vocabulary` in `meta.pkl`, if given.
fn tokens(train: &[u16], validation: &[u16], vocabulary: Option<u8>) -> TempDir {
    let dir = directory();
    let bytes = |ids: &[u16]| -> Vec<u8> { ids.iter().flat_map(|id| id.to_le_bytes()).collect() };
    write(dir.path(), "input.txt", prose("raw", 500));
    write(dir.path(), "prepare.py", "import tiktoken\n");
    write(dir.path(), "train.bin", bytes(train));
    write(dir.path(), "val.bin", bytes(validation));
    if let Some(size) = vocabulary {
        // pickle.dumps({"vocab_size": size}, 2)
        let pickle = [
            b"\x80\x02}q\0X\x0a\0\0\0vocab_sizeq\x01K",
            &[size][..],
            b"s.",
        ]
        .concat();
        write(dir.path(), "meta.pkl", pickle);
    }
    dir
}

fn ids(count: u16, below: u16) -> Vec<u16> {
    (0..count).map(|i| (i * 7) % below).collect()
}

#[test]
fn nanogpts_files_are_read_as_the_tokens_they_are_with_their_own_split() {
    let dir = tokens(&ids(900, 65), &ids(100, 65), Some(65));
    let corpus = Corpus::open(Some(dir.path())).expect("tokens");
    assert_eq!(corpus.train.kind(), TokenKind::Ids);
    assert_eq!((corpus.train.len(), corpus.validation.len()), (900, 100));
    assert_eq!(corpus.vocabulary, 65);
    let mut first = Vec::new();
    corpus.train.append_to(&mut first, 0..4);
    assert_eq!(first, [0, 7, 14, 21]);
    let left_out: Vec<&str> = reasons(&corpus.account)
        .iter()
        .map(|(name, _)| *name)
        .collect();
    assert_eq!(left_out, ["input.txt", "prepare.py"]);
    let lines = corpus.account.lines(9).join("\n");
    assert!(
        lines.contains("vocabulary of 65") && lines.contains("nats per token"),
        "{lines}"
    );
    let without = tokens(&ids(900, 65), &ids(100, 65), None);
    let corpus = Corpus::open(Some(without.path())).expect("tokens");
    assert_eq!(corpus.vocabulary, 50_257);
}

#[test]
fn tokens_that_cannot_be_right_are_errors_that_name_the_file() {
    let open = |dir: &TempDir| match Corpus::open(Some(dir.path())) {
        Err(DataError::Tokens(error)) => error,
        other => panic!("{other:?}"),
    };
    let dir = tokens(&ids(900, 65), &[3, 64, 65], Some(65));
    assert!(matches!(
        open(&dir),
        TokensError::OutOfRange {
            position: 2,
            id: 65,
            ..
        }
    ));
    write(dir.path(), "val.bin", [0; 11]);
    assert!(matches!(
        open(&dir),
        TokensError::OddLength { bytes: 11, .. }
    ));
    fs::remove_file(dir.path().join("val.bin")).expect("remove");
    let error = open(&dir);
    assert!(matches!(error, TokensError::NoValidation { .. }));
    assert!(error.to_string().contains("val.bin"), "{error}");
    write(dir.path(), "meta.pkl", "cposix\nsystem\n(S'true'\ntR.");
    assert!(open(&dir).to_string().contains("nothing in it is executed"));
    write(dir.path(), "meta.pkl", b"\x80\x02}q\0.");
    assert!(matches!(open(&dir), TokensError::Meta { .. }));
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
        let error = Corpus::open(Some(path)).expect_err("no regular file");
        assert!(matches!(error, DataError::NotRegular { .. }), "{error}");
    }
    // Files without length that the kernel answers from; some of them never do.
    let error = Corpus::open(Some(Path::new("/proc/self/status"))).expect_err("no length");
    assert!(matches!(error, DataError::Empty { .. }), "{error}");
}

#[test]
fn a_run_says_what_it_read_on_the_terminal_and_in_its_files() {
    let dir = directory();
    let data = dir.path().join("data");
    write(&data, "a.txt", prose("play", 20_000));
    write(&data, "b.md", utf16(&prose("note", 4000)));
    write(&data, "logo.png", b"\x89PNG\r\n\x1a\n\0");
    let run = dir.path().join("run");
    let arguments = [
        "train",
        "--preset",
        "smoke",
        "--set",
        "train.steps=2",
        "--data",
        path(&data),
    ];
    let dry = experiments(&[&arguments[..], &["--dry-run"]].concat());
    let trained = experiments(&[&arguments[..], &["--out", path(&run)]].concat());
    assert!(
        dry.status.success() && trained.status.success(),
        "{}",
        stderr(&trained)
    );
    let joined = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
    for text in [joined(stdout(&dry)), joined(stderr(&trained))] {
        for words in [
            "left out: logo.png (a PNG image)",
            "read: b.md as UTF-16",
            "trained on: 2 files",
            "validating: a.txt from",
        ] {
            assert!(text.contains(words), "{words} in\n{text}");
        }
    }
    let json = |name: &str| -> serde_json::Value {
        let text = fs::read_to_string(run.join(name)).expect(name);
        serde_json::from_str(&text).expect("JSON")
    };
    let environment = json("env.json");
    assert_eq!(environment["data"]["left_out"][0]["name"], "logo.png");
    assert_eq!(environment["data"]["files"][1]["name"], "b.md");
    assert_eq!(json("summary.json")["data"]["reasons"]["a PNG image"], 1);
    let reported = experiments(&["report", path(&run)]);
    assert!(reported.status.success(), "{}", stderr(&reported));
    let page = fs::read_to_string(run.join("report/report.html")).expect("a page");
    assert!(page.contains("<h2>Data</h2>") && page.contains("logo.png (a PNG image)"));
}

#[test]
fn tokens_decide_the_vocabulary_unless_it_is_set_and_a_contradiction_says_what_to_set() {
    let dir = tokens(&ids(9000, 65), &ids(3000, 65), Some(65));
    let run = dir.path().join("run");
    let train = |more: &[&str]| {
        let common = ["train", "--preset", "smoke", "--set", "train.steps=2"];
        experiments(&[&common[..], &["--data", path(dir.path())], more].concat())
    };
    let trained = train(&["--out", path(&run)]);
    assert!(trained.status.success(), "{}", stderr(&trained));
    let said = stdout(&trained);
    assert!(
        said.contains("nats per token") && !said.contains("per byte"),
        "{said}"
    );
    let config = fs::read_to_string(run.join("config.toml")).expect("settings");
    assert!(
        config.contains("vocab_size = 65") && config.contains("tokens = \"ids\""),
        "{config}"
    );
    let reported = experiments(&["report", path(&run)]);
    assert!(
        !stdout(&reported).contains("bits per byte"),
        "{}",
        stdout(&reported)
    );
    // Room for more tokens is a choice, too little is a contradiction.
    let padded = train(&["--set", "model.vocab_size=128", "--dry-run"]);
    assert!(
        stdout(&padded).contains("vocab_size = 128"),
        "{}",
        stderr(&padded)
    );
    let small = train(&["--set", "model.vocab_size=64", "--dry-run"]);
    assert_eq!(small.status.code(), Some(2));
    assert!(
        stderr(&small).contains("set model.vocab_size=65"),
        "{}",
        stderr(&small)
    );
    // What assumes bytes: sampling, a text to look at.
    let sampled = experiments(&["sample", path(&run), "--tokens", "4", "--prompt", "3 64"]);
    let words = stdout(&sampled);
    let drawn: Vec<u32> = words
        .split_whitespace()
        .map(|id| id.parse().expect("an id"))
        .collect();
    assert_eq!((drawn.len(), &drawn[..2]), (6, &[3, 64][..]));
    assert!(drawn.iter().all(|&id| id < 65), "{drawn:?}");
    let refused = experiments(&["sample", path(&run), "--prompt", "hello"]);
    assert!(
        stderr(&refused).contains("numbers from 0 to 64"),
        "{}",
        stderr(&refused)
    );
    let text = write(dir.path(), "other.txt", prose("other", 3000));
    let looked = experiments(&["inspect", path(&run), "--text", path(&text)]);
    assert!(
        stderr(&looked).contains("ids of tokens"),
        "{}",
        stderr(&looked)
    );
    let looked = experiments(&["inspect", path(&run)]);
    assert!(looked.status.success(), "{}", stderr(&looked));
}

#[test]
fn a_text_to_look_at_is_read_by_the_same_rule() {
    let dir = directory();
    let text = write(dir.path(), "text.gz", gzip(prose("text", 20_000)));
    let run = dir.path().join("run");
    let smoke = ["train", "--preset", "smoke", "--set", "train.steps=1"];
    let trained =
        experiments(&[&smoke[..], &["--data", path(&text), "--out", path(&run)]].concat());
    assert!(trained.status.success(), "{}", stderr(&trained));
    let look = |text: &Path| experiments(&["inspect", path(&run), "--text", path(text)]);
    assert!(look(&text).status.success());
    let zeros = write(dir.path(), "zeros", [0; 900]);
    let refused = look(&zeros);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("0x00"), "{}", stderr(&refused));
}

#[test]
fn a_run_whose_data_have_changed_does_not_go_on_in_silence() {
    let dir = directory();
    let data = write(dir.path(), "data.txt", prose("text", 20_000));
    let run = dir.path().join("run");
    let smoke = ["train", "--preset", "smoke", "--set", "train.steps=1"];
    let trained =
        experiments(&[&smoke[..], &["--data", path(&data), "--out", path(&run)]].concat());
    assert!(trained.status.success(), "{}", stderr(&trained));
    // As if it had been stopped before its end, by a version that cut the text in another way.
    fs::remove_file(run.join("summary.json")).expect("remove");
    write(dir.path(), "data.txt", prose("next", 20_000));
    let resumed = experiments(&["train", "--resume", path(&run)]);
    assert_eq!(resumed.status.code(), Some(1));
    assert!(
        stderr(&resumed).contains("other data"),
        "{}",
        stderr(&resumed)
    );
}

#[test]
fn mixup_is_for_images_and_refused_for_text() {
    let refused = experiments(&[
        "train",
        "--preset",
        "smoke",
        "--set",
        "data.mixup=0.2",
        "--dry-run",
    ]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        stderr(&refused).contains("text is not mixed"),
        "{}",
        stderr(&refused)
    );
}

#[test]
fn a_run_worse_than_guessing_says_so_with_the_likely_reason() {
    let dir = tokens(&[1; 9000], &[2; 3000], Some(65));
    let run = dir.path().join("run");
    let smoke = ["train", "--preset", "smoke", "--set", "train.steps=60"];
    let place = ["--data", path(dir.path()), "--out", path(&run)];
    let trained = experiments(&[&smoke[..], &place].concat());
    let joined = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let said = joined(stderr(&trained));
    let words = "is worse than guessing (4.174): the training loss is";
    assert!(said.contains(words), "{said}");
    let summary = fs::read_to_string(run.join("summary.json")).expect("a summary");
    assert!(summary.contains(words), "{summary}");
    let reported = joined(stdout(&experiments(&["report", path(&run)])));
    assert!(reported.contains(words), "{reported}");
}
