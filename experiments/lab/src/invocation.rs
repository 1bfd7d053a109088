//! How this program was started, so that the commands it suggests can be pasted.

use crate::run_dir::shell_word;
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

/// A path as an argument that is not taken for an option.
pub fn path_argument(path: &Path) -> PathBuf {
    match path.as_os_str().as_encoded_bytes().starts_with(b"-") {
        true => Path::new(".").join(path),
        false => path.to_owned(),
    }
}

/// What starts this program again. Found once, early: a program that is built anew while it
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
}
