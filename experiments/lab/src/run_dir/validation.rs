//! Losses of the single validation units after the last step: `validation.csv`.

use super::{RunError, VALIDATION_FILE};
use crate::files::{open, read_bytes};
use figures::table::{Align, Cell, Table};
use models::weights::hex;
use sha2::{Digest, Sha256};
use std::{collections::HashMap, io, path::Path};

/// With fewer files, blocks of their windows stand for them.
const FEW_FILES: usize = 10;
/// Most windows in a block.
const BLOCK: usize = 32;

/// Results on one validation unit, a window of a text or an image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UnitScore {
    /// Loss.
    pub loss: f64,
    /// Of a classifier, whether it got the image right.
    pub correct: Option<bool>,
}

/// Results of a run on every validation unit after its last step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ValidationUnits {
    /// Cluster of each unit: the file that a window begins in, or the image. Of fewer than 10 files,
    /// blocks of consecutive windows of one file: a tenth of all windows, at most 32.
    pub clusters: Vec<u32>,
    /// Results.
    pub scores: Vec<UnitScore>,
}

/// The file: one row for each unit, in order.
pub(super) fn to_csv(sources: &[String], scores: &[UnitScore]) -> String {
    let classifies = scores.iter().any(|score| score.correct.is_some());
    let names = ["unit", "file", "loss", "correct"];
    let names = &names[..3 + usize::from(classifies)];
    let mut table = Table::new(names.iter().map(|&name| (name, Align::Right)));
    for (unit, (source, score)) in sources.iter().zip(scores).enumerate() {
        let correct = score.correct.map(|correct| u8::from(correct).to_string());
        let cells = [unit.to_string(), source.clone(), score.loss.to_string()];
        let cells = cells
            .into_iter()
            .chain(classifies.then(|| correct.unwrap_or_default()));
        table.push(cells.map(Cell::from));
    }
    table.to_csv()
}

/// The units of a run, with the SHA-256 of their file; `None` of runs without the file, those of
/// earlier versions among them.
///
/// # Errors
/// [`RunError::Unreadable`], [`RunError::Damaged`].
pub(super) fn read(directory: &Path) -> Result<Option<(ValidationUnits, String)>, RunError> {
    let path = directory.join(VALIDATION_FILE);
    let bytes = match open(&path).and_then(|mut file| read_bytes(&mut file)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(RunError::reading(&path, error)),
    };
    let units = ValidationUnits::parse(&String::from_utf8_lossy(&bytes));
    let units = units.map_err(|line| RunError::Damaged {
        path,
        line,
        reason: "it is not what this program writes there".to_owned(),
    })?;
    Ok(Some((units, hex(&Sha256::digest(&bytes)))))
}

impl ValidationUnits {
    /// The content of the file; the line that is none as the error.
    fn parse(text: &str) -> Result<Self, usize> {
        let mut lines = text.lines();
        let classifies = match lines.next() {
            Some("unit,file,loss") => false,
            Some("unit,file,loss,correct") => true,
            _ => return Err(1),
        };
        let (mut files, mut scores) = (Vec::new(), Vec::new());
        for (index, line) in lines.enumerate() {
            let row = row(line, classifies).filter(|(unit, ..)| *unit == index);
            let (_, file, score) = row.ok_or(index + 2)?;
            files.push(file);
            scores.push(score);
        }
        Ok(Self {
            clusters: clusters_of(files),
            scores,
        })
    }
}

/// Clusters of units in the order of the text from their files.
pub(super) fn clusters_of<'f>(files: impl IntoIterator<Item = &'f str>) -> Vec<u32> {
    let mut ids: HashMap<&str, u32> = HashMap::new();
    let number = |file| {
        let next = ids.len() as u32;
        *ids.entry(file).or_insert(next)
    };
    let files: Vec<u32> = files.into_iter().map(number).collect();
    match ids.len() {
        FEW_FILES.. => files,
        _ => blocks(&files),
    }
}

/// Unit, file as it is written, and results.
fn row(line: &str, classifies: bool) -> Option<(usize, &str, UnitScore)> {
    let (unit, rest) = line.split_once(',')?;
    let (rest, correct) = match classifies {
        true => {
            let (rest, correct) = rest.rsplit_once(',')?;
            (rest, Some(correct.parse::<u8>().ok()? == 1))
        }
        false => (rest, None),
    };
    let (file, loss) = rest.rsplit_once(',')?;
    let loss = loss.parse().ok()?;
    Some((unit.parse().ok()?, file, UnitScore { loss, correct }))
}

/// Blocks of consecutive units of the same file.
fn blocks(files: &[u32]) -> Vec<u32> {
    let size = (files.len() / FEW_FILES).clamp(1, BLOCK);
    let (mut block, mut filled) = (0, 0);
    let mut last = None;
    let of_unit = |&file: &u32| {
        if last.is_some_and(|last| last != file) || filled == size {
            block += 1;
            filled = 0;
        }
        last = Some(file);
        filled += 1;
        block
    };
    files.iter().map(of_unit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(loss: f64, correct: Option<bool>) -> UnitScore {
        UnitScore { loss, correct }
    }

    #[test]
    fn what_is_written_is_read_again_whatever_the_name_of_a_file() {
        let sources = ["a,b.rs", "say \"x\"", "a,b.rs"].map(str::to_owned);
        for correct in [None, Some(true)] {
            let scores = [0.1, 1.0 / 3.0, f64::NAN].map(|loss| score(loss, correct));
            let text = to_csv(&sources, &scores);
            let units = ValidationUnits::parse(&text).expect("whole");
            // Fewer than ten files: blocks of one window.
            assert_eq!(units.clusters, [0, 1, 2]);
            assert_eq!(units.scores[..2], scores[..2]);
            assert!(units.scores[2].loss.is_nan());
        }
    }

    #[test]
    fn windows_of_many_files_are_clustered_by_file() {
        let sources: Vec<String> = (0..30).map(|unit| format!("{}.rs", unit / 3)).collect();
        let scores: Vec<UnitScore> = (0..30).map(|_| score(1.0, None)).collect();
        let units = ValidationUnits::parse(&to_csv(&sources, &scores)).expect("whole");
        assert_eq!(units.clusters, (0..30).map(|u| u / 3).collect::<Vec<u32>>());
    }

    #[test]
    fn windows_of_few_files_are_clustered_by_blocks_that_no_file_shares() {
        let of = |files: &[(u32, usize)]| -> Vec<u32> {
            let files = files.iter().flat_map(|&(file, n)| vec![file; n]);
            blocks(&files.collect::<Vec<_>>())
        };
        let count = |clusters: &[u32]| 1 + *clusters.last().expect("units");
        assert_eq!(of(&[(0, 20)])[..5], [0, 0, 1, 1, 2]);
        assert_eq!(of(&[(0, 3), (1, 17)])[..5], [0, 0, 1, 2, 2]);
        assert_eq!((count(&of(&[(0, 384)])), count(&of(&[(0, 5)]))), (12, 5));
        assert!(of(&[]).is_empty());
    }

    #[test]
    fn a_damaged_file_is_told_by_its_line() {
        let whole = "unit,file,loss\n0,a,1.5\n1,a,2\n";
        assert!(ValidationUnits::parse(whole).is_ok());
        for (text, line) in [
            ("", 1),
            ("unit,loss\n", 1),
            ("unit,file,loss\n0,a,x\n", 2),
            ("unit,file,loss\n0,a,1\n2,a,1\n", 3),
            ("unit,file,loss,correct\n0,a,1,2.5\n", 2),
            ("unit,file,loss\n0\n", 2),
        ] {
            assert_eq!(ValidationUnits::parse(text), Err(line), "{text}");
        }
    }
}
