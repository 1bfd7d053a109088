//! Cutting a text into a training and a validation part. No window crosses from one to the other, and
//! no passage of two kilobytes is in both; shorter ones may be.

use super::{shared_passages::groups, text_files::TextFile};

/// One part in this many is for validation.
pub(super) const PARTS: usize = 10;

/// The first nine tenths, and the last tenth. The cut falls between two characters.
pub(super) fn at_tail(mut text: Vec<u8>) -> (Vec<u8>, Vec<u8>) {
    let mut cut = text.len() - text.len() / PARTS;
    while cut < text.len() && is_continuation(text[cut]) {
        cut += 1;
    }
    let validation = text.split_off(cut);
    (text, validation)
}

/// Whole files: in the order of their digests, which has nothing to do with their content or
/// name, groups of files that share long passages go to validation while they fit into a tenth
/// of all bytes. Both parts keep the given order. Should that leave validation with less than
/// half its share, because the groups are few, the concatenation is cut [`at_tail`].
pub(super) fn by_file(files: Vec<TextFile>) -> (Vec<u8>, Vec<u8>) {
    let total: usize = files.iter().map(|file| file.bytes.len()).sum();
    let share = total / PARTS;
    let group_of = groups(&files);
    let mut group_bytes = vec![0; files.len()];
    for (file, &group) in files.iter().zip(&group_of) {
        group_bytes[group] += file.bytes.len();
    }
    let mut order: Vec<usize> = (0..files.len())
        .filter(|&index| group_of[index] == index)
        .collect();
    order.sort_by_key(|&group| files[group].digest);
    let mut taken = 0;
    let mut for_validation = vec![false; files.len()];
    for group in order {
        if taken + group_bytes[group] <= share {
            for_validation[group] = true;
            taken += group_bytes[group];
        }
    }
    if taken < share / 2 {
        let mut text = Vec::with_capacity(total);
        files.iter().for_each(|file| append(&mut text, file));
        return at_tail(text);
    }
    let (mut train, mut validation) = (Vec::with_capacity(total), Vec::with_capacity(share));
    for (file, group) in files.iter().zip(group_of) {
        let part = if for_validation[group] {
            &mut validation
        } else {
            &mut train
        };
        append(part, file);
    }
    (train, validation)
}

/// Appends a file, with a line break between it and the next if it ends without one.
fn append(text: &mut Vec<u8>, file: &TextFile) {
    text.extend_from_slice(&file.bytes);
    if file.bytes.last() != Some(&b'\n') {
        text.push(b'\n');
    }
}

fn is_continuation(byte: u8) -> bool {
    byte & 0b1100_0000 == 0b1000_0000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(contents: &[&str]) -> Vec<TextFile> {
        contents
            .iter()
            .map(|content| TextFile::new(content.as_bytes().to_vec()))
            .collect()
    }

    #[test]
    fn the_last_tenth_is_for_validation() {
        let (train, validation) = at_tail((0..100).collect());
        assert_eq!((train.len(), validation.len()), (90, 10));
        assert_eq!([train, validation].concat(), (0..100).collect::<Vec<u8>>());
    }

    #[test]
    fn the_cut_never_halves_a_character() {
        for length in 1..200 {
            let text: String = "aé€😀".chars().cycle().take(length).collect();
            let (train, validation) = at_tail(text.clone().into_bytes());
            let train = String::from_utf8(train).expect("whole characters");
            let validation = String::from_utf8(validation).expect("whole characters");
            assert_eq!(train + &validation, text);
        }
    }

    #[test]
    fn many_files_are_split_whole_and_nearly_at_a_tenth() {
        let contents: Vec<String> = (0..200).map(|i| format!("file number {i:03}\n")).collect();
        let contents: Vec<&str> = contents.iter().map(String::as_str).collect();
        let (train, validation) = by_file(files(&contents));
        assert_eq!(validation.len(), 20 * contents[0].len());
        let train = String::from_utf8(train).expect("text");
        let validation = String::from_utf8(validation).expect("text");
        for content in contents {
            assert!(train.contains(content) != validation.contains(content));
        }
    }

    #[test]
    fn near_copies_stay_on_one_side() {
        let body =
            |name: usize| -> String { (0..300).map(|i| format!("{name} says {i}\n")).collect() };
        // Pairs that differ only in their last line.
        let contents: Vec<String> = (0..80)
            .map(|i| format!("{}variant {}\n", body(i / 2), i % 2))
            .collect();
        let contents: Vec<&str> = contents.iter().map(String::as_str).collect();
        let (train, validation) = by_file(files(&contents));
        let train = String::from_utf8(train).expect("text");
        let validation = String::from_utf8(validation).expect("text");
        assert!(!validation.is_empty());
        for name in 0..40 {
            assert!(train.contains(&body(name)) != validation.contains(&body(name)));
        }
    }

    #[test]
    fn a_few_large_files_are_cut_at_the_tail() {
        let (a, b) = ("a".repeat(500), "b".repeat(499));
        let (train, validation) = by_file(files(&[&a, &b]));
        assert_eq!(
            [train, validation.clone()].concat(),
            format!("{a}\n{b}\n").into_bytes()
        );
        assert_eq!(validation.len(), 100);
    }
}
