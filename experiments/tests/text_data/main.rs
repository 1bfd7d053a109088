//! What is taken as text, what is not, and what is said about it: the whole policy of
//! docs/data.md, from files and from the command line.

mod reading;
mod said;
mod tokens;

use flate2::{Compression, write::GzEncoder};
use lab::{
    config::RunConfig,
    data::{Builtin, Corpus, DataAccount, DataError, TokenKind},
};
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
