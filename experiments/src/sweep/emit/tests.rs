use super::*;
use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, process::Command};

fn array(limit: usize, max_running: Option<usize>) -> ArrayArgs {
    let positive = |n| NonZeroUsize::new(n).expect("positive");
    ArrayArgs {
        array_limit: positive(limit),
        max_running: max_running.map(positive),
    }
}

fn words(text: &str) -> Vec<OsString> {
    text.split(' ').map(OsString::from).collect()
}

#[test]
fn a_task_is_given_the_command_without_what_asked_for_the_script() {
    let mut command = words(
        "--threads 4 sweep --emit slurm --set a=b --emit=slurm --array-limit 7 --max-running=2 --name n",
    );
    command.push("it's".into());
    command.extend(words("-- --emit"));
    let (options, files) = for_a_task(&command);
    assert_eq!(options, r" sweep --set a=b --name n 'it'\''s'");
    assert_eq!(files, " -- --emit");
}

/// A directory with a program that notes where it runs and what it is given.
fn place(name: &str) -> (tempfile::TempDir, PathBuf, PathBuf) {
    let root = tempfile::tempdir().expect("a directory");
    let directory = root.path().join(name);
    fs::create_dir(&directory).expect("a directory");
    let program = directory.join("DIRECTORY PROGRAM");
    let text = "#!/bin/bash\nprintf '%s\\0' \"$PWD\" \"$@\" >>log\nprintf '\\n' >>log\n";
    fs::write(&program, text).expect("space");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("its own file");
    (root, directory, program)
}

/// Runs the script as Slurm would: the lines of its log, each a list of words.
fn runs(script: &str, directory: &Path, task: usize) -> Vec<Vec<String>> {
    let file = directory.join("array.sh");
    fs::write(&file, script).expect("space");
    let ended = Command::new("bash")
        .arg(&file)
        .current_dir("/")
        .env("SLURM_ARRAY_TASK_ID", task.to_string())
        .env("SLURM_CPUS_PER_TASK", "3")
        .status();
    assert!(ended.expect("bash").success());
    let log = fs::read(directory.join("log")).expect("a log");
    fs::remove_file(directory.join("log")).expect("its own file");
    log.split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| {
            let words = line.split(|byte| *byte == 0);
            let mut words: Vec<_> = words
                .map(|word| String::from_utf8_lossy(word).into())
                .collect();
            words.pop();
            words
        })
        .collect()
}

/// No word of the template, no quote and no substitution in a path or an argument is anything but
/// itself.
#[test]
fn a_script_does_its_runs_in_directories_of_any_name() {
    for name in [
        "two words",
        "PROGRAM NAME LAST DIRECTORY ARGUMENTS",
        "it's \"quoted\" `x` $(x) $HOME \\",
        "LAST_try {runs} %a ;& #",
        "-dash",
        "größe",
    ] {
        let (_root, directory, program) = place(name);
        let given = [
            "sweep",
            "LAST ARGUMENTS.toml",
            "--set",
            "a=\"b c\"",
            "$HOME",
            "",
        ];
        let given = given.map(OsString::from);
        let script = array(1000, None).slurm("LAST_try", 8, &program, &directory, &given);
        assert!(script.contains("\n#SBATCH --job-name=LAST_try\n#SBATCH --array=0-7\n"));
        let mut expected = vec![
            directory.display().to_string(),
            "--threads".into(),
            "3".into(),
        ];
        expected.extend(
            given
                .iter()
                .map(|word| word.to_str().expect("text").to_owned()),
        );
        expected.extend(["--task".into(), "5".into()]);
        assert_eq!(runs(&script, &directory, 5), [expected], "{name}");
    }
}

/// The command stands in a comment too, which a line break must not end.
#[test]
fn line_breaks_in_paths_and_arguments_start_no_line_of_the_script() {
    let (_root, directory, program) = place("new\ntouch broken\n#SBATCH --array=0-9\nline");
    let given = [OsString::from("sweep"), OsString::from("a\nexit 1")];
    let script = array(1000, None).slurm("name", 2, &program, &directory, &given);
    assert_eq!(script.matches("\n#SBATCH --array").count(), 1);
    assert!(!script.contains("\ntouch") && !script.contains("\nexit 1"));
    let file = directory.join("array.sh");
    fs::write(&file, script).expect("space");
    let mut bash = Command::new("bash");
    let ended = bash.arg(&file).env("SLURM_ARRAY_TASK_ID", "1").status();
    assert!(ended.expect("bash").success());
    let log = fs::read_to_string(directory.join("log")).expect("it ran there");
    assert!(log.contains("\0a\nexit 1\0--task\x001\0"), "{log:?}");
}

/// The index of a task has to be below Slurm's MaxArraySize, 1001 unless set otherwise.
#[test]
fn more_runs_than_tasks_are_shared_out_and_each_is_done_once() {
    let (_root, directory, program) = place("here");
    let script = array(1000, Some(20)).slurm("n", 1152, &program, &directory, &words("sweep"));
    assert!(script.contains("\n#SBATCH --array=0-999%20\n"), "{script}");
    let script = array(3, None).slurm("n", 8, &program, &directory, &words("sweep"));
    assert!(script.contains("\n#SBATCH --array=0-2\n"), "{script}");
    let number = |words: Vec<String>| words.last().expect("a number").parse::<usize>();
    let done = (0..3).flat_map(|task| runs(&script, &directory, task));
    let mut done: Vec<usize> = done.map(|words| number(words).expect("a number")).collect();
    done.sort_unstable();
    assert_eq!(done, (0..8).collect::<Vec<_>>());
}

/// A run that saves its state when told to, and then fails to be done.
const SLOW: &str =
    "#!/bin/bash\ntrap 'exit 130' TERM\necho begun >>log\nfor i in {1..200}; do sleep 0.05; done\n";

#[test]
fn a_task_out_of_time_queues_itself_again_and_a_cancelled_one_does_not() {
    for (signal, queued) in [("USR1", true), ("TERM", false)] {
        let (_root, directory, program) = place("here");
        fs::write(&program, SLOW).expect("space");
        let scontrol = directory.join("scontrol");
        fs::write(&scontrol, "#!/bin/bash\necho \"$@\" >requeued\n").expect("space");
        fs::set_permissions(&scontrol, fs::Permissions::from_mode(0o755)).expect("its own file");
        let script = array(1, None).slurm("n", 4, &program, &directory, &words("sweep"));
        let file = directory.join("array.sh");
        fs::write(&file, script).expect("space");
        let path = format!(
            "{}:{}",
            directory.display(),
            env::var("PATH").expect("a path")
        );
        let mut task = Command::new("bash")
            .arg(&file)
            .env("PATH", path)
            .env("SLURM_ARRAY_JOB_ID", "77")
            .env("SLURM_ARRAY_TASK_ID", "0")
            .spawn()
            .expect("bash");
        while !directory.join("log").exists() {
            assert!(task.try_wait().expect("a child").is_none(), "it has ended");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let told = Command::new("kill")
            .args([&format!("-{signal}"), &task.id().to_string()])
            .status();
        assert!(told.expect("kill").success());
        let ended = task.wait().expect("a child");
        assert_eq!(ended.code(), Some(130));
        let log = fs::read_to_string(directory.join("log")).expect("a log");
        assert_eq!(log.lines().count(), 1, "no run is begun any more");
        let requeued = fs::read_to_string(directory.join("requeued")).unwrap_or_default();
        assert_eq!(requeued, if queued { "requeue 77_0\n" } else { "" });
    }
}
