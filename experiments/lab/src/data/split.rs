//! Cutting a text into a training and a validation part. No window crosses from one to the other,
//! and where whole files validate, no passage of two kilobytes is in both; shorter ones may be.

use super::{FileRead, kind_of, shared_passages::groups, text_files::TextFile};
use std::ops::Range;

/// One part in this many is for validation.
pub(super) const PARTS: usize = 10;
/// Groups of files that are many: whole ones validate. Of fewer, one or two would stand for all.
const MANY: usize = 20;
/// Blocks of a file that validate where there are few files, and the shortest of them.
const BLOCKS: usize = 4;
const SHORTEST_BLOCK: usize = 4096;

/// A text in two parts, and where they are from.
#[derive(Debug, Default)]
pub(super) struct Split {
    pub train: Vec<u8>,
    pub validation: Vec<u8>,
    pub files: Vec<FileRead>,
    /// Sentence on how the validation part was chosen.
    pub how: String,
    pub remarks: Vec<String>,
}

/// One text: its last tenth validates.
pub(super) fn of_one(file: TextFile) -> Split {
    let mut read = entry(&file);
    let (train, validation) = at_tail(file.bytes);
    read.training = train.len() as u64;
    read.validation = validation.len() as u64;
    read.blocks = vec![[read.training, read.training + read.validation]];
    Split {
        train,
        validation,
        files: vec![read],
        how: "the last tenth of the text".to_owned(),
        remarks: Vec::new(),
    }
}

/// The first nine tenths, and the last tenth. The cut falls between two characters.
fn at_tail(mut text: Vec<u8>) -> (Vec<u8>, Vec<u8>) {
    let cut = between_characters(&text, text.len() - text.len() / PARTS);
    let validation = text.split_off(cut);
    (text, validation)
}

/// Whole files where there are many, none of them more than a tenth: in the order of their
/// digests, which has nothing to do with their content or name, groups of files that share long
/// passages go to validation while they fit into a tenth of all bytes. Both parts keep the given
/// order. Where there are few, or one stands out, blocks of [each](by_block) validate.
pub(super) fn by_file(mut files: Vec<TextFile>) -> Split {
    if files.len() == 1 {
        let mut file = files.remove(0);
        end_line(&mut file.bytes);
        return of_one(file);
    }
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
    let are_many = order.len() >= MANY && group_bytes.iter().all(|&bytes| bytes <= share);
    order.sort_by_key(|&group| files[group].digest);
    let mut taken = 0;
    let mut for_validation = vec![false; files.len()];
    for group in order {
        if taken + group_bytes[group] <= share {
            for_validation[group] = true;
            taken += group_bytes[group];
        }
    }
    if !are_many || taken < share / 2 {
        return by_block(&files, &group_of);
    }
    let how = "a tenth in whole files, those that share passages of 2 kB on one side";
    whole_files(&files, how.to_owned(), |index| {
        for_validation[group_of[index]]
    })
}

/// Files that validate as a whole, chosen by their index, and the others. Both parts keep the given
/// order.
pub(super) fn whole_files(
    files: &[TextFile],
    how: String,
    for_validation: impl Fn(usize) -> bool,
) -> Split {
    let mut split = Split {
        how,
        ..Split::default()
    };
    for (index, file) in files.iter().enumerate() {
        let mut read = entry(file);
        if for_validation(index) {
            read.validation = append(&mut split.validation, &file.bytes);
        } else {
            read.training = append(&mut split.train, &file.bytes);
        }
        split.files.push(read);
    }
    split
}

/// Of each file the last tenth of one to four equal stretches validates. Files that share long
/// passages with others are trained on as a whole, unless more than half of all is of that kind.
fn by_block(files: &[TextFile], group_of: &[usize]) -> Split {
    let shares = |index: usize| {
        let members = group_of.iter().filter(|&&group| group == group_of[index]);
        members.count() > 1
    };
    let total: usize = files.iter().map(|file| file.bytes.len()).sum();
    let sharing: Vec<usize> = (0..files.len()).filter(|&index| shares(index)).collect();
    let shared: usize = sharing.iter().map(|&index| files[index].bytes.len()).sum();
    let mut split = Split {
        how: "a tenth of each file in up to four blocks far apart, since the files are few or \
              unequal"
            .to_owned(),
        ..Split::default()
    };
    let all_are_cut = 2 * shared > total;
    if let Some(&first) = sharing.first() {
        let (count, name) = (sharing.len(), &files[first].name);
        let so = match all_are_cut {
            true => "which may be on both sides: validation is easier than it looks",
            false => "and do not validate",
        };
        split.remarks.push(format!(
            "{count} files, such as {name}, share passages of 2 kB or more, {so}"
        ));
    }
    for (index, file) in files.iter().enumerate() {
        let mut read = entry(file);
        let blocks = match all_are_cut || !sharing.contains(&index) {
            true => blocks(&file.bytes),
            false => Vec::new(),
        };
        let mut done = 0;
        for block in blocks {
            read.training += append(&mut split.train, &file.bytes[done..block.start]);
            read.validation += append(&mut split.validation, &file.bytes[block.clone()]);
            read.blocks.push([block.start as u64, block.end as u64]);
            done = block.end;
        }
        read.training += append(&mut split.train, &file.bytes[done..]);
        split.files.push(read);
    }
    split
}

/// The blocks of a text that validate, a tenth of it.
fn blocks(text: &[u8]) -> Vec<Range<usize>> {
    let stretches = (text.len() / (PARTS * SHORTEST_BLOCK)).clamp(1, BLOCKS);
    let end_of = |stretch: usize| text.len() * stretch / stretches;
    let block = |stretch: usize| {
        let (begin, end) = (end_of(stretch), end_of(stretch + 1));
        let start = end - (end - begin) / PARTS;
        between_characters(text, start)..between_characters(text, end)
    };
    let blocks = (0..stretches).map(block);
    blocks.filter(|block| !block.is_empty()).collect()
}

fn entry(file: &TextFile) -> FileRead {
    FileRead {
        name: file.name.clone(),
        kind: kind_of(&file.name),
        read_as: file.read_as.clone(),
        ..FileRead::default()
    }
}

/// Appends a text, with a line break between it and the next if it ends without one, and says how
/// much that is.
fn append(to: &mut Vec<u8>, text: &[u8]) -> u64 {
    let before = to.len();
    if !text.is_empty() {
        to.extend_from_slice(text);
        end_line(to);
    }
    (to.len() - before) as u64
}

fn end_line(text: &mut Vec<u8>) {
    if text.last() != Some(&b'\n') {
        text.push(b'\n');
    }
}

/// The next place that halves no character of UTF-8; of other encodings, `cut` or a little after.
fn between_characters(text: &[u8], cut: usize) -> usize {
    let is_continuation = |&byte: &u8| byte & 0b1100_0000 == 0b1000_0000;
    let longest = &text[cut..text.len().min(cut + 3)];
    cut + longest
        .iter()
        .take_while(|byte| is_continuation(byte))
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(contents: &[&str]) -> Vec<TextFile> {
        contents
            .iter()
            .enumerate()
            .map(|(i, content)| TextFile::new(format!("{i}.txt"), content.as_bytes().to_vec()))
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
        let Split {
            train, validation, ..
        } = by_file(files(&contents));
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
        let Split {
            train, validation, ..
        } = by_file(files(&contents));
        let train = String::from_utf8(train).expect("text");
        let validation = String::from_utf8(validation).expect("text");
        assert!(!validation.is_empty());
        for name in 0..40 {
            assert!(train.contains(&body(name)) != validation.contains(&body(name)));
        }
    }

    #[test]
    fn the_cut_moves_three_bytes_at_most_where_the_text_is_no_utf_8() {
        assert_eq!(between_characters(&[0x80; 100], 90), 93);
        assert_eq!(between_characters(&[0x80; 92], 90), 92);
    }

    /// Text whose every line is its own.
    fn lines(name: &str, bytes: usize) -> String {
        let mut text: String = (0..bytes / 4).map(|i| format!("{name} {i}\n")).collect();
        text.truncate(bytes);
        text
    }

    #[test]
    fn of_few_files_each_validates_in_blocks_far_apart() {
        let contents = [lines("play", 300_000), lines("note", 22_000)];
        let split = by_file(files(&[&contents[0], &contents[1]]));
        let [play, note] = &split.files[..] else {
            panic!("two files")
        };
        assert_eq!((play.blocks.len(), note.blocks.len()), (4, 1));
        for (file, content) in split.files.iter().zip(&contents) {
            let tenth = content.len() as u64 / 10;
            assert!((tenth..tenth + 8).contains(&file.validation), "{file:?}");
            let mut train = content.clone();
            for [start, end] in file.blocks.iter().rev() {
                let block: String = train.drain(*start as usize..*end as usize).collect();
                let validation = String::from_utf8_lossy(&split.validation);
                assert!(validation.contains(&block));
                assert!(!String::from_utf8_lossy(&split.train).contains(&block));
            }
        }
        let far = play.blocks.windows(2).map(|pair| pair[1][0] - pair[0][1]);
        assert!(far.min() > Some(60_000));
        let bytes = |of: fn(&FileRead) -> u64| split.files.iter().map(of).sum::<u64>();
        assert_eq!(bytes(|file| file.training), split.train.len() as u64);
        assert_eq!(bytes(|file| file.validation), split.validation.len() as u64);
    }

    #[test]
    fn one_file_that_stands_out_among_many_is_cut_too() {
        let mut contents = vec![lines("play", 300_000)];
        contents.extend((0..40).map(|i| lines(&format!("note {i}"), 700)));
        let contents: Vec<&str> = contents.iter().map(String::as_str).collect();
        let split = by_file(files(&contents));
        assert_eq!(split.files[0].blocks.len(), 4);
        assert!(split.files.iter().all(|file| file.validation > 0));
    }

    #[test]
    fn copies_among_few_files_are_trained_on_and_named() {
        let contents = [
            lines("a", 50_000),
            lines("b", 5000),
            format!("{}end\n", lines("b", 5000)),
        ];
        let split = by_file(files(&[&contents[0], &contents[1], &contents[2]]));
        let validation: Vec<u64> = split.files.iter().map(|file| file.validation).collect();
        assert_eq!(validation[1..], [0, 0]);
        assert!(split.remarks[0].contains("2 files, such as 1.txt, share passages"));
        let split = by_file(files(&[&contents[1], &contents[2]]));
        assert!(split.validation.len() > 900);
        assert!(split.remarks[0].contains("easier than it looks"));
    }

    #[test]
    fn a_folder_of_one_file_is_cut_as_that_file() {
        // Without a line break at its end it gets one.
        let content = lines("a", 49_998) + "z";
        let split = by_file(files(&[&content]));
        assert_eq!(split.train, content.as_bytes()[..45_000]);
        assert_eq!(split.files[0].blocks, [[45_000, 50_000]]);
    }
}
