//! The tokens that nanoGPT prepares.

use super::*;

#[test]
fn nanogpts_files_are_read_as_the_tokens_they_are_with_their_own_split() {
    let dir = tokens(&ids(900, 65), &ids(100, 65), Some(65));
    let corpus = Corpus::open(Some(dir.path()), Builtin::default()).expect("tokens");
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
    let corpus = Corpus::open(Some(without.path()), Builtin::default()).expect("tokens");
    assert_eq!(corpus.vocabulary, 50_257);
}

#[test]
fn tokens_that_cannot_be_right_are_errors_that_name_the_file() {
    let open = |dir: &TempDir| match Corpus::open(Some(dir.path()), Builtin::default()) {
        Err(error) => error,
        other => panic!("{other:?}"),
    };
    let dir = tokens(&ids(900, 65), &[3, 64, 65], Some(65));
    assert!(matches!(
        open(&dir),
        DataError::OutOfRange {
            position: 2,
            id: 65,
            ..
        }
    ));
    write(dir.path(), "val.bin", [0; 11]);
    assert!(matches!(open(&dir), DataError::OddLength { bytes: 11, .. }));
    fs::remove_file(dir.path().join("val.bin")).expect("remove");
    let error = open(&dir);
    assert!(matches!(error, DataError::PartMissing { .. }));
    assert!(error.to_string().contains("val.bin"), "{error}");
    write(dir.path(), "meta.pkl", "cposix\nsystem\n(S'true'\ntR.");
    assert!(open(&dir).to_string().contains("nothing in it is executed"));
    write(dir.path(), "meta.pkl", b"\x80\x02}q\0.");
    assert!(matches!(open(&dir), DataError::Meta { .. }));
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
fn tokens_that_no_vocabulary_is_known_to_have_are_named_with_their_file() {
    let dir = tokens(&ids(9000, 65), &[50_300; 3000], None);
    let dry = |more: &[&str]| {
        let common = ["train", "--preset", "smoke", "--dry-run", "--data"];
        experiments(&[&common[..], &[path(dir.path())], more].concat())
    };
    let said = stderr(&dry(&[]));
    for words in [
        "val.bin has the token 50300",
        "GPT-2's vocabulary of 50257",
        "set model.vocab_size=50301",
    ] {
        assert!(said.contains(words), "{words} in {said}");
    }
    let set = dry(&["--set", "model.vocab_size=50301"]);
    assert!(set.status.success(), "{}", stderr(&set));
}

#[test]
fn an_empty_or_lost_train_bin_beside_tokens_is_an_error() {
    let dir = tokens(&[], &ids(100, 65), Some(65));
    let refused = |reason: &str| {
        let error =
            Corpus::open(Some(dir.path()), Builtin::default()).expect_err("no tokens to train on");
        let text = error.to_string();
        assert!(
            text.contains("train.bin") && text.contains(reason),
            "{text}"
        );
    };
    refused("is empty");
    #[cfg(unix)]
    {
        let training = dir.path().join("train.bin");
        fs::remove_file(&training).expect("remove");
        std::os::unix::fs::symlink("nowhere", &training).expect("a link");
        refused("does not exist");
    }
}

#[test]
fn tokens_are_shown_as_text_where_their_texts_are_known() {
    let dir = tokens(&ids(9000, 2), &ids(3000, 2), Some(2));
    // pickle.dumps({"vocab_size": 2, "itos": {0: "a", 1: "b"}}, 2)
    let meta = b"\x80\x02}q\0(X\x0a\0\0\0vocab_sizeq\x01K\x02X\x04\0\0\0itosq\x02}q\x03(K\0X\x01\0\0\0aq\x04\
        K\x01X\x01\0\0\0bq\x05uu.";
    write(dir.path(), "meta.pkl", meta);
    let run = dir.path().join("run");
    let smoke = ["train", "--preset", "smoke", "--set", "train.steps=1"];
    let place = ["--data", path(dir.path()), "--out", path(&run)];
    let trained = experiments(&[&smoke[..], &place].concat());
    assert!(trained.status.success(), "{}", stderr(&trained));
    for (prompt, begins) in [("abba", "abba"), ("1 0", "ba")] {
        let sampled = experiments(&["sample", path(&run), "--tokens", "6", "--prompt", prompt]);
        let text = stdout(&sampled);
        assert!(text.starts_with(begins), "{text}");
        let text = text.trim_end();
        assert_eq!(text.len(), begins.len() + 6);
        assert!(text.bytes().all(|byte| b"ab".contains(&byte)), "{text}");
        assert!(stderr(&sampled).contains("decoded with meta.pkl"));
    }
    fs::remove_file(dir.path().join("meta.pkl")).expect("remove");
    let sampled = experiments(&["sample", path(&run), "--tokens", "1"]);
    assert_eq!(stdout(&sampled).split_whitespace().count(), 2);
    assert!(stderr(&sampled).contains("ids of tokens"));
}

#[test]
fn the_train_bin_of_cifar_100_is_of_images() {
    let dir = directory();
    write(dir.path(), "train.bin", [0; 3 * 3074]);
    write(dir.path(), "test.bin", [0; 3074]);
    let error = Corpus::open(Some(dir.path()), Builtin::default()).expect_err("images");
    assert!(matches!(error, DataError::FolderOfImages { .. }), "{error}");
}

#[test]
fn numbers_of_another_width_or_order_are_not_taken_for_tokens() {
    let numbers = |dir: &TempDir, bytes: Vec<u8>| {
        write(dir.path(), "train.bin", bytes);
        match Corpus::open(Some(dir.path()), Builtin::default()) {
            Err(error @ DataError::OtherNumbers { .. }) => error.to_string(),
            other => panic!("{other:?}"),
        }
    };
    let dir = tokens(&ids(900, 65), &ids(100, 65), None);
    let small = ids(900, 65);
    let error = numbers(
        &dir,
        small
            .iter()
            .flat_map(|&id| u32::from(id).to_le_bytes())
            .collect(),
    );
    assert!(
        error.contains("train.bin has numbers of 32 bits"),
        "{error}"
    );
    let large = (0..900_u32).map(|i| i * 7919 % 199_000);
    let error = numbers(&dir, large.flat_map(u32::to_le_bytes).collect());
    assert!(error.contains("uint16"), "{error}");
    let error = numbers(&dir, small.iter().flat_map(|id| id.to_be_bytes()).collect());
    assert!(error.contains("big-endian"), "{error}");
}
