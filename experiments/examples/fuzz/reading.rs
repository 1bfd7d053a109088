//! The program at a damaged file.

use super::{
    kinds::{KINDS, Kind},
    mutate::mutate,
    originals,
};
use rand::{Rng, RngExt, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Longer is a hang.
pub const LONGEST: Duration = Duration::from_secs(10);
/// A process that takes more memory is refused it, and aborts.
#[cfg(unix)]
const MOST_MEMORY: u64 = 1 << 30;

/// Consequence of a damaged file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The damage is not seen, or does no harm.
    Taken,
    /// An error.
    Refused,
    /// A panic.
    Panic,
    /// An end by a signal; that of a process that wants more memory than it may have, too.
    Abort,
    /// More than [`LONGEST`].
    Hang,
}

impl Outcome {
    /// Returns whether no file may lead to it.
    pub fn is_failure(self) -> bool {
        !matches!(self, Self::Taken | Self::Refused)
    }
}

/// Sound files, and the program that reads them.
pub struct Place {
    originals: TempDir,
    program: PathBuf,
    reader: &'static str,
    keep: PathBuf,
}

impl Place {
    /// `reader` is a variable that makes the program one that reads.
    pub fn new(program: &Path, reader: &'static str, keep: PathBuf) -> Self {
        let place = Self {
            originals: tempfile::tempdir().expect("a directory"),
            program: program.to_owned(),
            reader,
            keep,
        };
        originals::write(place.originals.path(), || place.command());
        place
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env(self.reader, "1").env("RAYON_NUM_THREADS", "1");
        command.env("RUST_BACKTRACE", "0");
        limit_memory(&mut command);
        command
    }

    /// Damages file number `number` and reads it.
    pub fn read_one(&self, seed: u64, number: u64) -> Outcome {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(number);
        let Kind { file, read_by } = &KINDS[number as usize % KINDS.len()];
        let (directory, name) = file.split_once('/').expect("a directory and a file");
        let here = tempfile::tempdir().expect("a directory");
        copy(&self.originals.path().join(directory), here.path());
        let path = here.path().join(name);
        let mut bytes = fs::read(&path).expect("an original");
        let header = safetensors_header(&bytes).filter(|_| rng.random());
        let other = self.another(&mut rng);
        match header {
            // Within the header, whose length is then right: else most would be refused for that.
            Some(end) => {
                let mut header = bytes[8..end].to_vec();
                mutate(&mut header, &other, &mut rng);
                let length = (header.len() as u64).to_le_bytes();
                bytes.splice(..end, length.into_iter().chain(header));
            }
            None => mutate(&mut bytes, &other, &mut rng),
        }
        fs::write(&path, &bytes).expect("space");
        let arguments = read_by.choose(&mut rng).expect("somebody reads it");
        let mut command = self.command();
        command.current_dir(here.path()).args(*arguments);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let (status, said) = run(command.spawn().expect("the program starts"));
        let outcome = match status {
            None => Outcome::Hang,
            Some(status) if said.contains("panicked at") || status.code() == Some(101) => {
                Outcome::Panic
            }
            Some(status) if status.code().is_none() => Outcome::Abort,
            Some(status) if status.success() => return Outcome::Taken,
            Some(_) => return Outcome::Refused,
        };
        let kept = self.keep.join(format!("{seed}-{number}-{outcome:?}"));
        copy(here.path(), &kept);
        let account = format!("{file}\n{}\n\n{said}", arguments.join(" "));
        fs::write(kept.join("failure.txt"), account).expect("space");
        eprintln!(
            "{outcome:?}: {file} by {}, kept in {}",
            arguments.join(" "),
            kept.display()
        );
        outcome
    }

    /// The bytes of any original.
    fn another(&self, rng: &mut impl Rng) -> Vec<u8> {
        let kind = KINDS.choose(rng).expect("there are some");
        fs::read(self.originals.path().join(kind.file)).expect("an original")
    }
}

fn safetensors_header(bytes: &[u8]) -> Option<usize> {
    let length = u64::from_le_bytes(*bytes.first_chunk()?);
    let end = usize::try_from(length).ok()?.checked_add(8)?;
    (bytes.get(8) == Some(&b'{') && end <= bytes.len()).then_some(end)
}

#[cfg(unix)]
fn limit_memory(command: &mut Command) {
    use std::os::unix::process::CommandExt;
    let limit = libc::rlimit {
        rlim_cur: MOST_MEMORY,
        rlim_max: MOST_MEMORY,
    };
    // SAFETY: `setrlimit` is a system call, allowed between fork and exec.
    unsafe {
        command.pre_exec(move || match libc::setrlimit(libc::RLIMIT_AS, &limit) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
}

#[cfg(not(unix))]
fn limit_memory(_: &mut Command) {}

/// End of a process, `None` if it had to be ended, and its output.
fn run(mut child: Child) -> (Option<ExitStatus>, String) {
    let mut stderr = child.stderr.take().expect("it is piped");
    let said = thread::spawn(move || {
        let mut said = Vec::new();
        // What was said until the end is enough.
        let _ = stderr.read_to_end(&mut said);
        String::from_utf8_lossy(&said).into_owned()
    });
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child") {
            break Some(status);
        }
        if begun.elapsed() > LONGEST {
            child.kill().expect("a child");
            child.wait().expect("a child");
            break None;
        }
        thread::sleep(Duration::from_millis(1));
    };
    (status, said.join().expect("it only reads"))
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("space");
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        match entry.file_type().expect("an entry").is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).expect("space")),
        }
    }
}
