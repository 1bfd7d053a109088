//! Results of the probes after the last step: `probes.json`.

use super::{
    METRICS_FILE, MetricsRecord, PROBES_FILE, RunError,
    contents::read_if_there,
    log::read_log,
    seal::{sealed, unsealed},
    validation::clusters_of,
};
use models::weights::hex;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Results of a run on the items of one probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeScores {
    /// Name.
    pub name: String,
    /// Share of the items that whoever does not look at their context gets right at best.
    pub chance: f64,
    /// SHA-256 of contexts and answers: runs compare where theirs are the same.
    pub items_sha256: String,
    /// The sources of the items in their order, files or random sequences, with a digit for each
    /// item: 1 where it is right, else 0. Empty where the text has no positions for the probe.
    pub right: Vec<(String, String)>,
}

impl ProbeScores {
    /// Results of the items in their order.
    pub fn items(&self) -> impl Iterator<Item = bool> {
        let digits = self.right.iter().flat_map(|(_, digits)| digits.bytes());
        digits.map(|digit| digit == b'1')
    }

    /// Share of the items that are right; `None` without items.
    pub fn share(&self) -> Option<f64> {
        let (right, all) = self.items().fold((0, 0), |(right, all), item| {
            (right + usize::from(item), all + 1)
        });
        (all > 0).then(|| right as f64 / all as f64)
    }

    /// Cluster of each item, as those of the validation units.
    pub fn clusters(&self) -> Vec<u32> {
        let sources = self.right.iter();
        clusters_of(sources.flat_map(|(source, digits)| digits.bytes().map(|_| &**source)))
    }

    fn is_sound(&self) -> bool {
        let digits = |digits: &str| digits.bytes().all(|digit| matches!(digit, b'0' | b'1'));
        (0.0..=1.0).contains(&self.chance) && self.right.iter().all(|(_, one)| digits(one))
    }
}

/// The file. The metrics tell the run: a stopwatch does not repeat itself.
#[derive(Serialize, Deserialize)]
struct ProbesFile {
    metrics_sha256: String,
    probes: Vec<ProbeScores>,
}

/// The file as text, with its checksum.
pub(super) fn to_json(directory: &Path, probes: &[ProbeScores]) -> Result<String, RunError> {
    let (_, metrics) = read_log::<MetricsRecord>(&directory.join(METRICS_FILE))?;
    let file = ProbesFile {
        metrics_sha256: hex(&metrics),
        probes: probes.to_vec(),
    };
    let text = serde_json::to_string_pretty(&file).expect("plain data becomes JSON");
    Ok(sealed(text))
}

/// What to do about a file that is not of this run.
const ADVICE: &str = "remove it; the command probe makes it anew";

/// The results of the probes of the run with these metrics; `None` if they were not computed.
///
/// # Errors
/// [`RunError::Unreadable`], [`RunError::Damaged`], and [`RunError::Disagree`] if it was changed, or
/// is of another run.
pub(super) fn read(
    directory: &Path,
    metrics: &[u8; 32],
) -> Result<Option<Vec<ProbeScores>>, RunError> {
    let path = directory.join(PROBES_FILE);
    let Some(text) = read_if_there(&path)? else {
        return Ok(None);
    };
    let (file, _) = unsealed::<ProbesFile>(&path, &text, ADVICE)?;
    if !file.probes.iter().all(ProbeScores::is_sound) {
        return Err(RunError::Damaged {
            path,
            line: 1,
            reason: "it is not what this program writes there".to_owned(),
        });
    }
    if file.metrics_sha256 != hex(metrics) {
        return Err(RunError::Disagree {
            path,
            other: METRICS_FILE,
            reason: "these are the probes of another run".to_owned(),
            advice: ADVICE,
        });
    }
    Ok(Some(file.probes))
}

/// The results of the probes of the run in `directory`, if they were computed.
///
/// # Errors
/// Files that cannot be read, are damaged or disagree.
pub fn read_probes(directory: &Path) -> Result<Option<Vec<ProbeScores>>, RunError> {
    let (_, metrics) = read_log::<MetricsRecord>(&directory.join(METRICS_FILE))?;
    read(directory, &metrics)
}
