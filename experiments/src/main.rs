//! The command line of the workbench; see `experiments --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    experiments::main()
}
