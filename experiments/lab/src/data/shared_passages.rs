//! Which files of a collection copy long passages from one another.
//!
//! Source trees hold near copies (one file per processor, per type, per module) as well as exact
//! ones. Were they split between training and validation, a network could recite instead of
//! predict.

use super::text_files::TextFile;

/// Every shared passage of at least `2 * BLOCK - 1` bytes is found: it covers a whole block of
/// either file, blocks being cut at multiples of this length.
const BLOCK: usize = 1024;

/// For each file, the index of the first file of its group. Files are in one group if they share
/// a passage of `2 * BLOCK - 1` bytes or more, directly or through others.
pub(super) fn groups(files: &[TextFile]) -> Vec<usize> {
    let blocks = BlockTable::new(files);
    let mut parent: Vec<usize> = (0..files.len()).collect();
    for (index, file) in files.iter().enumerate() {
        for hash in rolling_hashes(&file.bytes) {
            if let Some(owner) = blocks.owner(hash) {
                let (a, b) = (root(&parent, owner), root(&parent, index));
                // The smaller index stays root, so the result does not depend on the order.
                parent[a.max(b)] = a.min(b);
            }
        }
    }
    (0..files.len()).map(|index| root(&parent, index)).collect()
}

fn root(parent: &[usize], mut index: usize) -> usize {
    while parent[index] != index {
        index = parent[index];
    }
    index
}

/// The hashes of all blocks, each with the first file that has it.
struct BlockTable {
    /// Sorted by hash.
    blocks: Vec<(u64, usize)>,
    /// One bit per possible value of a hash's low bits: most look-ups end here.
    present: Vec<u64>,
}

impl BlockTable {
    fn new(files: &[TextFile]) -> Self {
        let mut blocks: Vec<(u64, usize)> = files
            .iter()
            .enumerate()
            .flat_map(|(index, file)| {
                file.bytes
                    .chunks_exact(BLOCK)
                    .map(move |block| (hash_of(block), index))
            })
            .collect();
        blocks.sort_unstable();
        blocks.dedup_by_key(|(hash, _)| *hash);
        let mut present = vec![0; blocks.len().next_power_of_two()];
        let mask = present.len() as u64 * 64 - 1;
        for (hash, _) in &blocks {
            let bit = spread(*hash) & mask;
            present[(bit / 64) as usize] |= 1 << (bit % 64);
        }
        Self { blocks, present }
    }

    fn owner(&self, hash: u64) -> Option<usize> {
        let bit = spread(hash) & (self.present.len() as u64 * 64 - 1);
        if self.present[(bit / 64) as usize] >> (bit % 64) & 1 == 0 {
            return None;
        }
        self.blocks
            .binary_search_by_key(&hash, |(hash, _)| *hash)
            .ok()
            .map(|found| self.blocks[found].1)
    }
}

/// Base of the polynomial hash `sum_i byte_i * BASE^(BLOCK - 1 - i)` modulo 2^64.
const BASE: u64 = 0x9e37_79b9_7f4a_7c15;

fn hash_of(block: &[u8]) -> u64 {
    block.iter().fold(0_u64, |hash, &byte| {
        hash.wrapping_mul(BASE).wrapping_add(u64::from(byte))
    })
}

/// The hash of every passage of `BLOCK` bytes, each from the one before.
fn rolling_hashes(bytes: &[u8]) -> impl Iterator<Item = u64> {
    let leaving = (0..BLOCK).fold(1_u64, |power, _| power.wrapping_mul(BASE));
    let first = bytes.get(..BLOCK).map(hash_of);
    let rest = bytes.windows(BLOCK + 1).scan(first, move |hash, window| {
        let next = (*hash)?
            .wrapping_mul(BASE)
            .wrapping_add(u64::from(window[BLOCK]))
            .wrapping_sub(u64::from(window[0]).wrapping_mul(leaving));
        *hash = Some(next);
        *hash
    });
    first.into_iter().chain(rest)
}

/// The low bits of a polynomial hash depend on few bytes; its high bits on all.
fn spread(hash: u64) -> u64 {
    hash ^ (hash >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Text that repeats itself nowhere.
    fn text(seed: usize, bytes: usize) -> String {
        let mut text: String = (0..bytes / 4).map(|i| format!("{seed}:{i};")).collect();
        text.truncate(bytes);
        text
    }

    fn files(contents: &[String]) -> Vec<TextFile> {
        contents
            .iter()
            .map(|content| TextFile::new(String::new(), content.clone().into_bytes()))
            .collect()
    }

    #[test]
    fn a_rolled_hash_equals_the_hash_of_its_passage() {
        let text = text(1, 3 * BLOCK);
        let direct: Vec<u64> = text.as_bytes().windows(BLOCK).map(hash_of).collect();
        assert_eq!(rolling_hashes(text.as_bytes()).collect::<Vec<_>>(), direct);
        assert_eq!(rolling_hashes(&text.as_bytes()[..BLOCK - 1]).count(), 0);
    }

    #[test]
    fn files_without_a_common_passage_stay_apart() {
        let contents: Vec<String> = (0..5).map(|seed| text(seed, 5000)).collect();
        assert_eq!(groups(&files(&contents)), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_common_passage_is_found_at_any_offset_in_either_file() {
        let passage = text(9, 2 * BLOCK - 1);
        for offset in [0, 1, 17, BLOCK - 1, BLOCK, BLOCK + 1, 3000] {
            let contents = [
                text(1, 4000),
                format!("{}{passage}{}", text(2, offset), text(3, 100)),
                format!("{}{passage}", text(4, 333)),
            ];
            assert_eq!(groups(&files(&contents)), [0, 1, 1], "offset {offset}");
        }
    }

    #[test]
    fn groups_join_through_a_file_in_between() {
        let (a, b) = (text(1, 3000), text(2, 3000));
        let contents = [a.clone(), text(3, 3000), b.clone(), format!("{a}{b}")];
        assert_eq!(groups(&files(&contents)), [0, 1, 0, 0]);
    }

    #[test]
    fn a_short_common_header_does_not_join() {
        let header = text(9, BLOCK - 1);
        let contents = [header.clone() + &text(1, 3000), header + &text(2, 3000)];
        assert_eq!(groups(&files(&contents)), [0, 1]);
    }
}
