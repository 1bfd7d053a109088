//! The account of what was read: which files, what was left out and why, and what validates.
//!
//! Shown when a run starts and by `--dry-run`, kept in `env.json` (whole) and in `summary.json`
//! (without the lists), and drawn by the report page.

use figures::terminal::printable;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::Path};

/// Files, and things left out, that are kept by name; of more, only their number is known.
const LISTED: usize = 1000;
/// Names of each list that are shown when a run starts.
pub const LISTED_AT_START: usize = 3;
/// Names of each list that are shown where somebody asks: `--dry-run` and reports.
pub const LISTED_WHEN_ASKED: usize = 20;

/// Units of amounts of data.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Bytes of text.
    #[default]
    Bytes,
    /// Tokens of a text that somebody has encoded.
    Tokens,
    /// Labelled images.
    Images,
}

impl Unit {
    /// The word for many of them.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Tokens => "tokens",
            Self::Images => "images",
        }
    }
}

/// Amount of the data that is for one purpose.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Files that have a part in it.
    pub files: u64,
    /// Size in the account's unit.
    pub amount: u64,
    /// The size by kind of file.
    pub kinds: BTreeMap<String, u64>,
}

impl Share {
    fn add(&mut self, kind: &str, amount: u64) {
        if amount > 0 {
            self.files += 1;
            self.amount += amount;
            *self.kinds.entry(kind.to_owned()).or_default() += amount;
        }
    }

    /// The kinds of file in percent, most first, the rare ones together: `rs 93 %, md 7 %`.
    pub fn percentages(&self) -> String {
        const SHOWN: usize = 4;
        let mut kinds: Vec<(&String, u64)> = self.kinds.iter().map(|(k, &n)| (k, n)).collect();
        kinds.sort_by_key(|&(kind, amount)| (std::cmp::Reverse(amount), kind.clone()));
        let percent = |amount: u64| match 100.0 * amount as f64 / self.amount as f64 {
            few if few < 0.5 => "< 1 %".to_owned(),
            many => format!("{many:.0} %"),
        };
        let mut words: Vec<String> = kinds
            .iter()
            .take(SHOWN)
            .map(|(kind, amount)| format!("{kind} {}", percent(*amount)))
            .collect();
        if kinds.len() > SHOWN {
            let rest = kinds[SHOWN..].iter().map(|(_, amount)| amount).sum();
            words.push(format!("others {}", percent(rest)));
        }
        words.join(", ")
    }

    /// The share of a kind of file, 0 to 1.
    pub fn fraction(&self, kind: &str) -> f64 {
        let amount = self.kinds.get(kind).copied().unwrap_or(0);
        amount as f64 / self.amount.max(1) as f64
    }
}

/// A file, or a folder that is read as one thing, and its part in the data.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRead {
    /// Name below the path that was given.
    pub name: String,
    /// Kind, by which shares are counted; [`kind_of`] the name, where nothing else is known.
    pub kind: String,
    /// Amount that is trained on, in the account's unit.
    pub training: u64,
    /// Amount that validates.
    pub validation: u64,
    /// Where the validating parts begin and end, if only blocks of it validate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blocks: Vec<[u64; 2]>,
    /// Decoding that was needed, if any: `gzip`, `UTF-16 (little-endian), decoded`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_as: Option<String>,
}

/// Something that was found and is not part of the data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Name below the path that was given.
    pub name: String,
    /// Why.
    pub reason: String,
}

impl LeftOut {
    /// Something and why it is left out.
    pub fn new(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            reason: reason.into(),
        }
    }
}

/// Account of what was read, what was left out and why, and what validates.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataAccount {
    /// Name of the data.
    pub name: String,
    /// SHA-256 in hex of all of it.
    pub fingerprint: String,
    /// Unit of amounts.
    pub unit: Unit,
    /// Training part.
    pub training: Share,
    /// Validation part.
    pub validation: Share,
    /// Sentence on how the validation part was chosen.
    pub split: String,
    /// The files read, in their order; at most a thousand of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileRead>,
    /// Number of files read.
    pub files_read: u64,
    /// Things left out; at most a thousand of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
    /// The number of things left out for each reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub reasons: BTreeMap<String, u64>,
    /// Remarks that a reader has to know about the data.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
}

impl DataAccount {
    /// An account of nothing yet.
    pub fn new(name: impl Into<String>, unit: Unit) -> Self {
        Self {
            name: name.into(),
            unit,
            ..Self::default()
        }
    }

    /// Enters a file that was read.
    pub fn read(&mut self, file: FileRead) {
        self.training.add(&file.kind, file.training);
        self.validation.add(&file.kind, file.validation);
        self.files_read += 1;
        if self.files.len() < LISTED {
            self.files.push(file);
        }
    }

    /// Enters something that was left out. Reasons are counted: the same one in the same words.
    pub fn leave_out(&mut self, name: impl Into<String>, reason: impl Into<String>) {
        let (name, reason) = (name.into(), reason.into());
        *self.reasons.entry(reason.clone()).or_default() += 1;
        if self.left_out.len() < LISTED {
            self.left_out.push(LeftOut { name, reason });
        }
    }

    /// Number of things that were left out.
    pub fn number_left_out(&self) -> u64 {
        self.reasons.values().sum()
    }

    /// The account without its lists: for a summary.
    pub fn without_lists(&self) -> Self {
        Self {
            files: Vec::new(),
            left_out: Vec::new(),
            ..self.clone()
        }
    }

    /// Amounts in a sentence: `7164198 bytes to train on, 795985 to validate`.
    pub fn sizes(&self) -> String {
        format!(
            "{} {} to train on, {} to validate",
            self.training.amount,
            self.unit.name(),
            self.validation.amount
        )
    }

    /// The account in a few lines; of each list at most `shown` names.
    pub fn lines(&self, shown: usize) -> Vec<String> {
        let share = |share: &Share| {
            let files = counted(share.files, "file");
            let sizes = format!("{files}, {} {}", share.amount, self.unit.name());
            match share.kinds.len() {
                0 => sizes,
                _ => format!("{sizes} ({})", share.percentages()),
            }
        };
        let mut lines = vec![
            format!("data {}, SHA-256 {}", self.name, self.fingerprint),
            format!("trained on: {}", share(&self.training)),
            format!("validates: {}: {}", share(&self.validation), self.split),
        ];
        let validating = self.files.iter().filter(|file| file.validation > 0);
        let names: Vec<String> = validating.map(validating_part).collect();
        let rest = self.validation.files.saturating_sub(names.len() as u64);
        lines.extend(folded("validating", &names, rest, shown));
        let decoded = self.files.iter().filter_map(|file| {
            let read_as = file.read_as.as_ref()?;
            Some(format!("{} as {read_as}", file.name))
        });
        lines.extend(folded("read", &decoded.collect::<Vec<_>>(), 0, shown));
        let left_out: Vec<String> = self
            .left_out
            .iter()
            .map(|left| format!("{} ({})", left.name, left.reason))
            .collect();
        let rest = self.number_left_out().saturating_sub(left_out.len() as u64);
        lines.extend(folded("left out", &left_out, rest, shown));
        lines.extend(self.remarks.iter().map(|remark| format!("note: {remark}")));
        lines.iter().map(|line| printable(line)).collect()
    }
}

/// `a.txt`, or `a.txt from 900 to 1000` where only blocks validate.
fn validating_part(file: &FileRead) -> String {
    let blocks: Vec<String> = file
        .blocks
        .iter()
        .map(|[start, end]| format!("{start} to {end}"))
        .collect();
    match blocks.is_empty() {
        true => file.name.clone(),
        false => format!("{} from {}", file.name, blocks.join(" and ")),
    }
}

/// `left out: a (empty), b (empty) and 7 more`; no line for an empty list.
fn folded(what: &str, names: &[String], rest: u64, shown: usize) -> Option<String> {
    if names.is_empty() {
        return None;
    }
    let more = names.len().saturating_sub(shown) as u64 + rest;
    let names = names[..shown.min(names.len())].join(", ");
    Some(match more {
        0 => format!("{what}: {names}"),
        more => format!("{what}: {names} and {more} more"),
    })
}

/// `1 file`, `2 files`.
fn counted(count: u64, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}

/// The kind of a file by its name: the ending in small letters, that before `.gz`.
pub fn kind_of(name: &str) -> String {
    let ending = |name: &str| {
        let ending = Path::new(name).extension()?;
        Some(ending.to_string_lossy().to_lowercase())
    };
    let kind = match ending(name) {
        Some(gz) if gz == "gz" => ending(&name[..name.len() - 3]).or(Some(gz)),
        other => other,
    };
    kind.unwrap_or_else(|| "no ending".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, training: u64, validation: u64) -> FileRead {
        FileRead {
            name: name.to_owned(),
            kind: kind_of(name),
            training,
            validation,
            ..FileRead::default()
        }
    }

    fn account() -> DataAccount {
        let mut account = DataAccount::new("notes", Unit::Bytes);
        account.fingerprint = "00ff".to_owned();
        account.split = "whole files".to_owned();
        account.read(file("a.txt", 900, 0));
        account.read(FileRead {
            blocks: vec![[50, 60], [90, 100]],
            read_as: Some("gzip".to_owned()),
            ..file("b.MD.gz", 80, 20)
        });
        account.leave_out("logo.png", "PNG image");
        account.leave_out("no.txt", "empty");
        account
    }

    #[test]
    fn shares_are_counted_by_part_and_kind_of_file() {
        let account = account();
        assert_eq!((account.training.files, account.training.amount), (2, 980));
        assert_eq!(
            (account.validation.files, account.validation.amount),
            (1, 20)
        );
        assert_eq!(account.training.percentages(), "txt 92 %, md 8 %");
        assert_eq!(account.validation.fraction("md"), 1.0);
        assert_eq!(account.sizes(), "980 bytes to train on, 20 to validate");
    }

    #[test]
    fn the_lines_say_what_was_read_left_out_and_what_validates() {
        let text = account().lines(9).join("\n");
        for part in [
            "data notes, SHA-256 00ff",
            "trained on: 2 files, 980 bytes (txt 92 %, md 8 %)",
            "validates: 1 file, 20 bytes (md 100 %): whole files",
            "validating: b.MD.gz from 50 to 60 and 90 to 100",
            "read: b.MD.gz as gzip",
            "left out: logo.png (PNG image), no.txt (empty)",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
    }

    #[test]
    fn long_lists_are_folded_and_nothing_is_lost_from_the_counts() {
        let mut account = account();
        for i in 0..3000 {
            account.read(file(&format!("{i}.rs"), 0, 1));
            account.leave_out(format!("{i}.o"), "ELF program");
        }
        assert_eq!(account.files.len(), LISTED);
        assert_eq!(
            (account.files_read, account.number_left_out()),
            (3002, 3002)
        );
        assert_eq!(account.reasons["ELF program"], 3000);
        let lines = account.lines(1);
        assert!(lines.iter().all(|line| line.len() < 120), "{lines:?}");
        let text = lines.join("\n");
        assert!(
            text.contains("left out: logo.png (PNG image) and 3001 more"),
            "{text}"
        );
        assert!(text.contains("and 3000 more"), "{text}");
        assert_eq!(account.without_lists().reasons, account.reasons);
        assert!(account.without_lists().files.is_empty());
    }

    #[test]
    fn the_kind_of_a_file_is_its_ending_below_compression() {
        let kinds = ["a.TXT", "sub/b.rs.gz", "c.gz", "Makefile", "x.tar.gz"].map(kind_of);
        assert_eq!(kinds, ["txt", "rs", "gz", "no ending", "tar"]);
    }
}
