//! A race in one sitting: this engine and a peer in turn, and the ratio of their steps.

use figures::stats::median;
use serde::{Deserialize, Serialize};
use std::{io, process::Command};
use thiserror::Error;

/// The last line of the output of a peer, JSON.
#[derive(Clone, Debug, Deserialize)]
pub struct PeerReport {
    /// Name of the engine.
    pub engine: String,
    /// The median step in milliseconds.
    pub median_ms: f64,
    /// The losses of the first steps.
    pub losses: Vec<f64>,
    /// The largest resident memory.
    pub peak_rss_mb: Option<u64>,
    /// Counted operations of a step, in units of 10⁹: said by this engine.
    pub gflop: Option<f64>,
    /// Rate of the multiply-adds of this machine in GFLOP/s: said by this engine.
    pub peak_gflops: Option<f64>,
}

/// The result of a race.
#[derive(Clone, Debug, Serialize)]
pub struct Race {
    /// The two engines, this one first.
    pub engines: [String; 2],
    /// The median step of every round, in milliseconds.
    pub rounds: Vec<[f64; 2]>,
    /// The medians over the rounds.
    pub median_ms: [f64; 2],
    /// The median over the rounds of the peer's step over ours.
    pub times_faster: f64,
    /// Rate of both engines over that of this machine's multiply-adds, medians over rounds: the
    /// counted operations of both are the same.
    pub fraction_of_peak: Option<[f64; 2]>,
    /// Peak memory in MiB.
    pub peak_rss_mb: [Option<u64>; 2],
    /// The largest difference between losses of the same step.
    pub largest_loss_difference: f64,
}

/// Why a race could not be run.
#[derive(Debug, Error)]
pub enum RaceError {
    /// The command could not be started.
    #[error("cannot start `{0}`: {1}")]
    Start(String, io::Error),
    /// The command failed.
    #[error("`{0}` failed: {1}")]
    Exit(String, String),
    /// The last line of the output is not what it should be.
    #[error("the last line of `{0}` is not JSON with engine, median_ms and losses: {1}")]
    Output(String, serde_json::Error),
}

/// Runs our command and the peer's (split at white space) in turn, `rounds` times each.
///
/// # Errors
/// If a command cannot be run, fails, or does not end with a line of its measurements.
pub fn race(ours: &[String], peer: &str, rounds: usize) -> Result<Race, RaceError> {
    let peer: Vec<String> = peer.split_whitespace().map(str::to_owned).collect();
    let mut reports = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        reports.push([run(ours)?, run(&peer)?]);
    }
    let peak_ms = reports
        .iter()
        .map(|[ours, _]| Some(1e3 * ours.gflop? / ours.peak_gflops?))
        .collect::<Option<Vec<f64>>>()
        .and_then(median);
    let [first_ours, first_peer] = &reports[0];
    let rounds: Vec<[f64; 2]> = reports
        .iter()
        .map(|pair| pair.each_ref().map(|report| report.median_ms))
        .collect();
    let over_rounds = |of: fn(&[f64; 2]) -> f64| {
        let sample = rounds.iter().map(of).collect();
        median(sample).expect("a round")
    };
    let differences = first_ours.losses.iter().zip(&first_peer.losses);
    let median_ms = [over_rounds(|round| round[0]), over_rounds(|round| round[1])];
    Ok(Race {
        engines: [first_ours.engine.clone(), first_peer.engine.clone()],
        fraction_of_peak: peak_ms.map(|peak| median_ms.map(|ms| peak / ms)),
        median_ms,
        times_faster: over_rounds(|[ours, peer]| peer / ours),
        peak_rss_mb: [first_ours.peak_rss_mb, first_peer.peak_rss_mb],
        largest_loss_difference: differences.fold(0.0, |worst, (a, b)| worst.max((a - b).abs())),
        rounds,
    })
}

fn run(command: &[String]) -> Result<PeerReport, RaceError> {
    let shown = command.join(" ");
    let Some((program, arguments)) = command.split_first() else {
        let nothing = io::Error::new(io::ErrorKind::InvalidInput, "the command is empty");
        return Err(RaceError::Start(shown, nothing));
    };
    let output = Command::new(program)
        .args(arguments)
        .output()
        .map_err(|error| RaceError::Start(shown.clone(), error))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().unwrap_or_default();
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        let reason = errors.lines().last().unwrap_or("no message").to_owned();
        return Err(RaceError::Exit(shown, reason));
    }
    serde_json::from_str(last).map_err(|error| RaceError::Output(shown, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(median: f64, loss: f64) -> Vec<String> {
        let line = format!(
            r#"{{"engine":"e","median_ms":{median},"losses":[1.0,{loss}],"peak_rss_mb":7,"gflop":0.5,"peak_gflops":100}}"#
        );
        vec!["echo".into(), line]
    }

    #[test]
    fn a_race_reports_the_ratio_and_the_difference_of_losses() {
        let peer = r#"echo {"engine":"p","median_ms":30,"losses":[1.0,2.5]}"#;
        let race = race(&says(10.0, 2.0), peer, 3).unwrap();
        assert_eq!(
            (race.times_faster, race.largest_loss_difference),
            (3.0, 0.5)
        );
        // At the peak the step would take 5 ms.
        assert_eq!(race.fraction_of_peak, Some([0.5, 5.0 / 30.0]));
        assert_eq!(race.peak_rss_mb, [Some(7), None]);
        assert_eq!(race.rounds.len(), 3);
    }

    #[test]
    fn a_peer_that_cannot_run_is_named() {
        let message = |peer| race(&says(1.0, 1.0), peer, 1).unwrap_err().to_string();
        assert!(message("no-such-program x").contains("cannot start `no-such-program x`"));
        assert!(message("false").contains("`false` failed"));
        assert!(message("echo hello").contains("is not JSON"));
    }
}
