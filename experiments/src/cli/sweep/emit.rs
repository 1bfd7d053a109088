//! `--emit`: scripts for batch systems.

use crate::{ablation::Sweep, cli::Failure, run_dir::shell_word};
use std::{
    env,
    io::{Write, stdout},
};

/// Prints a job array of Slurm with one task for each run.
pub(super) fn slurm(sweep: &Sweep, runs: usize, command: &[String]) -> Result<(), Failure> {
    let program = env::current_exe()?;
    let directory = env::current_dir()?;
    let word = |path: &std::path::Path| shell_word(&path.display().to_string());
    let script = SLURM
        .replace("NAME", &sweep.name)
        .replace("LAST", &(runs - 1).to_string())
        .replace("DIRECTORY", &word(&directory))
        .replace("PROGRAM", &word(&program))
        .replace("ARGUMENTS", &arguments(command));
    stdout().write_all(script.as_bytes())?;
    Ok(())
}

/// Every task is one run, on the cores it is given. Two minutes before its time is over it is
/// told to save its state, and queues itself again; a task that is cancelled saves its state and
/// ends; one whose machine dies is queued again by Slurm and goes on from its last state.
const SLURM: &str = r#"#!/bin/bash
# Submit with: sbatch [--time=... --partition=...] THIS_FILE
# When all tasks are done, the table: PROGRAM ARGUMENTS
#SBATCH --job-name=NAME
#SBATCH --array=0-LAST
#SBATCH --ntasks=1
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%a.log
#SBATCH --signal=B:USR1@120
cd DIRECTORY || exit 1
out_of_time=
trap 'out_of_time=yes; kill -TERM "$run"' USR1
trap 'kill -TERM "$run"' TERM
PROGRAM --threads "${SLURM_CPUS_PER_TASK:-1}" ARGUMENTS --task "$SLURM_ARRAY_TASK_ID" &
run=$!
wait "$run"
status=$?
# A signal ends the first wait, not the run.
while kill -0 "$run" 2>/dev/null; do
    wait "$run"
    status=$?
done
if [ -n "$out_of_time" ] && [ "$status" -eq 130 ]; then
    scontrol requeue "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"
fi
exit "$status"
"#;

/// The arguments of the command without those that ask for a script and for threads.
fn arguments(command: &[String]) -> String {
    let mut words = Vec::new();
    let mut rest = command.iter().skip(1);
    while let Some(word) = rest.next() {
        match word.as_str() {
            "--emit" | "--threads" => drop(rest.next()),
            word if word.starts_with("--emit=") || word.starts_with("--threads=") => {}
            word => words.push(shell_word(word)),
        }
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_given_the_command_without_what_asked_for_the_script() {
        let command = "x --threads 4 ablation-rate --emit slurm --set a=b --emit=slurm --name n";
        let mut command: Vec<String> = command.split(' ').map(str::to_owned).collect();
        command.push("it's".to_owned());
        assert_eq!(
            arguments(&command),
            r"ablation-rate --set a=b --name n 'it'\''s'"
        );
    }
}
