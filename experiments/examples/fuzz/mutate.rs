//! Damage to the bytes of a file.

use rand::{Rng, RngExt, seq::IndexedRandom};

/// Numbers at the ends of what their types hold, and what are none.
const NUMBERS: [&str; 20] = [
    "0",
    "-1",
    "-0.0",
    "1",
    "255",
    "65536",
    "4294967296",
    "2147483648",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "1e300",
    "-1e308",
    "1e999",
    "5e-324",
    "nan",
    "null",
    "\"a\"",
    "[]",
];
/// Ends of integers, as the bytes of the machine have them.
const WORDS: [u64; 8] = [
    0,
    1,
    u64::MAX,
    i64::MAX as u64,
    u32::MAX as u64,
    i32::MAX as u64,
    1 << 32,
    1 << 48,
];

/// One to four kinds of damage, one after the other. `other` is what is spliced in.
pub fn mutate(bytes: &mut Vec<u8>, other: &[u8], rng: &mut impl Rng) {
    for _ in 0..rng.random_range(1..=4) {
        once(bytes, other, rng);
    }
}

fn once(bytes: &mut Vec<u8>, other: &[u8], rng: &mut impl Rng) {
    if bytes.is_empty() {
        bytes.extend(other.iter().take(rng.random_range(0..100)));
        return;
    }
    let length = bytes.len();
    let at = rng.random_range(0..length);
    let end = (at + rng.random_range(1..=64_usize.max(length / 8))).min(length);
    match rng.random_range(0..13) {
        0..=2 => (0..rng.random_range(1..=8)).for_each(|_| {
            let at = rng.random_range(0..length);
            bytes[at] ^= 1 << rng.random_range(0..8);
        }),
        3 => bytes[at..end].fill([0, 0xff, 0x7f, 0x80, b'\n', b'9'][rng.random_range(0..6)]),
        4 => bytes.truncate(at),
        5 => drop(bytes.drain(at..end)),
        6 => {
            let part = bytes[at..end].to_vec();
            (0..rng.random_range(1..=8)).for_each(|_| drop(bytes.splice(at..at, part.clone())));
        }
        7 if !other.is_empty() => {
            let from = rng.random_range(0..other.len());
            let to = (from + rng.random_range(1..=256)).min(other.len());
            bytes.splice(at..end, other[from..to].iter().copied());
        }
        8 => {
            let word = WORDS.choose(rng).expect("there are some").to_le_bytes();
            let big: Vec<u8> = word.iter().rev().copied().collect();
            let word = if rng.random() { &word[..] } else { &big };
            let word = if rng.random() { &word[..4] } else { word };
            let end = (at + word.len()).min(length);
            bytes.splice(at..end, word.iter().copied());
        }
        9..=11 => number(bytes, at, rng),
        _ => (at..end).for_each(|at| bytes[at] = rng.random()),
    }
}

/// Replaces the number in digits that follows `at` by another one.
fn number(bytes: &mut Vec<u8>, at: usize, rng: &mut impl Rng) {
    let part = |byte: &u8| byte.is_ascii_digit() || b".-+eE".contains(byte);
    let Some(start) = bytes[at..].iter().position(u8::is_ascii_digit) else {
        return;
    };
    let start = at + start;
    let length = bytes[start..].iter().take_while(|byte| part(byte)).count();
    let number = NUMBERS.choose(rng).expect("there are some");
    bytes.splice(start..start + length, number.bytes());
}
