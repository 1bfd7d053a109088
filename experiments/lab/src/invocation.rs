//! How this program was started, so that the commands it suggests can be pasted.

use std::{
    env,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    sync::OnceLock,
};

/// The arguments of this process, the program first. What is not UTF-8 is replaced.
pub fn arguments() -> Vec<String> {
    let lossy = |arg: OsString| arg.to_string_lossy().into_owned();
    env::args_os().map(lossy).collect()
}

/// A command of this program with these arguments, as one line for a POSIX shell.
pub fn command_line<S: AsRef<OsStr>>(arguments: &[S]) -> String {
    let words = arguments.iter().map(shell_word);
    let words = std::iter::once(program().to_owned()).chain(words);
    words.collect::<Vec<_>>().join(" ")
}

/// The arguments as one line for a POSIX shell, the first without its directory.
pub fn shell_line(args: &[String]) -> String {
    let mut words: Vec<String> = args.iter().map(shell_word).collect();
    if let (Some(word), Some(program)) = (words.first_mut(), args.first()) {
        let name = Path::new(program)
            .file_name()
            .and_then(|name| name.to_str());
        *word = shell_word(name.unwrap_or(program));
    }
    words.join(" ")
}

/// A word as a shell reads it back, in one line: bytes that are no text, line breaks and other
/// control characters as `$'\\n'` (POSIX 2024; bash, zsh and ksh before).
pub fn shell_word(word: impl AsRef<OsStr>) -> String {
    let bytes = word.as_ref().as_encoded_bytes();
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_./=+:,@%".contains(byte);
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.is_empty() && bytes.iter().all(plain) => text.to_owned(),
        Ok(text) if !text.contains(char::is_control) => {
            format!("'{}'", text.replace('\'', r"'\''"))
        }
        _ => format!("$'{}'", bytes.escape_ascii()),
    }
}

/// A path as an argument that is not taken for an option.
pub fn path_argument(path: &Path) -> PathBuf {
    match path.as_os_str().as_encoded_bytes().starts_with(b"-") {
        true => Path::new(".").join(path),
        false => path.to_owned(),
    }
}

/// Words that start this program again. Found once, early: a program that is built anew while it
/// runs has lost its path.
pub fn program() -> &'static str {
    static PROGRAM: OnceLock<String> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let directory = env::current_dir().unwrap_or_default();
        let cargo = env::var_os("CARGO").map(|_| {
            let package = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
            package.and_then(|package| package.parent().map(Path::to_owned))
        });
        match cargo {
            Some(workspace) => cargo_run(workspace.as_deref(), &directory),
            None => {
                let typed = env::args_os()
                    .next()
                    .unwrap_or_else(|| "experiments".into());
                let path = env::current_exe().unwrap_or_else(|_| typed.into());
                shell_word(path)
            }
        }
    })
}

/// `cargo run` for this program, from a directory in the workspace or outside of it.
fn cargo_run(workspace: Option<&Path>, directory: &Path) -> String {
    let mut line = "cargo run --release".to_owned();
    if let Some(workspace) = workspace.filter(|workspace| !directory.starts_with(workspace)) {
        let manifest = workspace.join("Cargo.toml");
        line += " --manifest-path ";
        line += &shell_word(manifest);
    }
    line += " -p experiments";
    for (feature, built) in [
        ("wgpu", cfg!(feature = "wgpu")),
        ("png-plots", cfg!(feature = "png-plots")),
    ] {
        if built {
            line += " --features ";
            line += feature;
        }
    }
    line + " --"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_is_told_where_the_workspace_is_unless_it_is_started_there() {
        let workspace = Some(Path::new("/home/me/hyper connections"));
        let inside = cargo_run(workspace, Path::new("/home/me/hyper connections/docs"));
        assert!(
            inside.starts_with("cargo run --release -p experiments "),
            "{inside}"
        );
        assert!(inside.ends_with(" --"), "{inside}");
        let outside = cargo_run(workspace, Path::new("/tmp"));
        let manifest = " --manifest-path '/home/me/hyper connections/Cargo.toml' ";
        assert!(outside.contains(manifest), "{outside}");
        assert!(cargo_run(None, Path::new("/tmp")).starts_with("cargo run --release -p"));
    }

    #[test]
    fn a_path_is_no_option() {
        assert_eq!(path_argument(Path::new("--force")), Path::new("./--force"));
        assert_eq!(path_argument(Path::new("runs/-1")), Path::new("runs/-1"));
    }

    #[test]
    fn words_with_spaces_and_quotes_are_quoted() {
        let args = ["/usr/bin/experiments", "--corpus", "my text's.txt", ""].map(str::to_owned);
        assert_eq!(
            shell_line(&args),
            r"experiments --corpus 'my text'\''s.txt' ''"
        );
    }

    #[test]
    fn a_word_with_line_breaks_stays_in_one_line() {
        assert_eq!(shell_word("a\n'b'"), r"$'a\n\'b\''");
    }
}
