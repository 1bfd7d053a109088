//! The bytes of event files: records (`length`, its checksum, an `Event`, its checksum) as
//! TensorFlow's `record_writer.h` documents them, and the few fields of the protocol buffer
//! messages `Event` and `Summary` (`event.proto`, `summary.proto`) that scalars need.

/// Bytes around an event: its length (8) and two checksums (4 each).
const FRAME: usize = 16;
/// Where the step is in an event of ours: after the tag and the value of the wall time.
const STEP: usize = 9;

/// A record: the length of the event (u64), the masked CRC-32C of these 8 bytes, the event, the
/// masked CRC-32C of it; numbers little-endian.
pub(super) fn framed(event: &[u8]) -> Vec<u8> {
    let length = (event.len() as u64).to_le_bytes();
    let mut bytes = Vec::with_capacity(event.len() + FRAME);
    bytes.extend(length);
    bytes.extend(masked(crc32c(&length)).to_le_bytes());
    bytes.extend(event);
    bytes.extend(masked(crc32c(event)).to_le_bytes());
    bytes
}

/// The first event of every file: `Event { wall_time = 1, file_version = 3 }`.
pub(super) fn version(wall_time: f64) -> Vec<u8> {
    let mut event = number(1, wall_time);
    event.extend(bytes(3, b"brain.Event:2"));
    event
}

/// `Event { wall_time = 1, step = 2, summary = 5 }` with a `Summary { value = 1 }` of
/// `Value { tag = 1, simple_value = 2 }` each.
pub(super) fn scalars<'t>(
    wall_time: f64,
    step: u64,
    values: impl Iterator<Item = (&'t str, f64)>,
) -> Vec<u8> {
    let mut summary = Vec::new();
    for (tag, scalar) in values {
        let mut value = bytes(1, tag.as_bytes());
        value.push(2 << 3 | 5);
        value.extend((scalar as f32).to_le_bytes());
        summary.extend(bytes(1, &value));
    }
    let mut event = number(1, wall_time);
    event.push(2 << 3);
    event.extend(varint(step));
    event.extend(bytes(5, &summary));
    event
}

/// Records of an event file that are kept.
pub(super) struct Kept {
    /// The whole and sound records of steps up to the one asked for; nothing if there is none
    /// with a step.
    pub(super) bytes: Vec<u8>,
    /// Bytes of damaged records, which were left out. A torn end is not counted.
    pub(super) damaged: usize,
}

/// The records of steps up to `step`. Behind a damaged one, reading goes on at the next that is
/// whole.
pub(super) fn kept(file: &[u8], step: u64) -> Kept {
    let (mut at, mut steps) = (0, 0);
    let mut kept = Kept {
        bytes: Vec::new(),
        damaged: 0,
    };
    while at < file.len() {
        let Some(event) = event_at(file, at) else {
            let end = end_of(file, at).filter(|&end| end <= file.len());
            let next = end.or_else(|| (at + 1..file.len()).find(|&i| event_at(file, i).is_some()));
            let Some(next) = next else { break };
            kept.damaged += next - at;
            at = next;
            continue;
        };
        let end = at + event.len() + FRAME;
        let found = step_of(event);
        if found.is_none_or(|found| found <= step) {
            steps += usize::from(found.is_some());
            kept.bytes.extend(&file[at..end]);
        }
        at = end;
    }
    if steps == 0 {
        kept.bytes.clear();
    }
    kept
}

/// Where the record at `start` ends, if its length is sound.
fn end_of(file: &[u8], start: usize) -> Option<usize> {
    let head = file.get(start..)?.get(..12)?;
    let (length, sum) = head.split_at(8);
    if sum != masked(crc32c(length)).to_le_bytes() {
        return None;
    }
    let length = u64::from_le_bytes(length.try_into().expect("8 bytes"));
    usize::try_from(length)
        .ok()?
        .checked_add(FRAME)?
        .checked_add(start)
}

/// The event of the record at `start`, if it is whole and sound.
fn event_at(file: &[u8], start: usize) -> Option<&[u8]> {
    let record = file.get(start..end_of(file, start)?)?;
    let (event, sum) = record[12..].split_at(record.len() - FRAME);
    (sum == masked(crc32c(event)).to_le_bytes()).then_some(event)
}

/// The step of an event of ours; that of the version has none.
fn step_of(event: &[u8]) -> Option<u64> {
    let rest = event.get(STEP..)?;
    let (&tag, digits) = rest.split_first()?;
    if tag != 2 << 3 {
        return None;
    }
    let mut step = 0;
    for (place, byte) in digits.iter().take(9).enumerate() {
        step |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some(step);
        }
    }
    None
}

fn number(field: u8, value: f64) -> Vec<u8> {
    let mut encoded = vec![field << 3 | 1];
    encoded.extend(value.to_le_bytes());
    encoded
}

fn bytes(field: u8, content: &[u8]) -> Vec<u8> {
    let mut encoded = vec![field << 3 | 2];
    encoded.extend(varint(content.len() as u64));
    encoded.extend(content);
    encoded
}

/// Seven bits a byte, the lowest first; the eighth says that more follow.
fn varint(mut value: u64) -> Vec<u8> {
    let mut encoded = Vec::new();
    while value >= 0x80 {
        encoded.push(value as u8 | 0x80);
        value >>= 7;
    }
    encoded.push(value as u8);
    encoded
}

/// The checksum of Castagnoli: CRC-32 with the reversed polynomial 0x82F63B78.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0x82F6_3B78 & (crc & 1).wrapping_neg())
        })
    };
    !bytes.iter().fold(!0, step)
}

/// Rotated and moved, since checksums of data that holds checksums are weak.
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xA282_EAD8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three records, the second of them damaged at every byte in turn.
    #[test]
    fn what_is_behind_a_damaged_record_is_kept() {
        let record = |step| framed(&scalars(1.0, step, [("loss", 0.5)].into_iter()));
        let [first, second, third] = [10, 20, 30].map(record);
        for at in 0..second.len() {
            let mut damaged = second.clone();
            damaged[at] ^= 0x10;
            let file = [&first[..], &damaged, &third].concat();
            let kept = kept(&file, 30);
            assert_eq!(kept.bytes, [&first[..], &third].concat(), "byte {at}");
            assert_eq!(kept.damaged, second.len(), "byte {at}");
        }
    }

    #[test]
    fn a_torn_end_is_left_out_without_a_word_and_a_damaged_end_is_counted() {
        let record = framed(&scalars(1.0, 10, [("loss", 0.5)].into_iter()));
        let torn = kept(&[&record[..], &record[..20]].concat(), 10);
        assert_eq!((torn.bytes, torn.damaged), (record.clone(), 0));
        let mut last = record.clone();
        last[20] ^= 1;
        let damaged = kept(&[&record[..], &last].concat(), 10);
        assert_eq!(
            (damaged.bytes, damaged.damaged),
            (record.clone(), last.len())
        );
    }

    /// RFC 3720, B.4: 32 bytes of zeros, of ones, and 0 to 31.
    #[test]
    fn checksums_are_those_of_the_standard() {
        let ascending: Vec<u8> = (0..32).collect();
        assert_eq!(crc32c(&[0; 32]), 0x8A91_36AA);
        assert_eq!(crc32c(&[0xff; 32]), 0x62A8_AB43);
        assert_eq!(crc32c(&ascending), 0x46DD_794E);
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
    }

    /// Bytes that the `RecordWriter` of TensorBoard 2.21 writes for the same event.
    #[test]
    fn an_event_has_the_bytes_that_tensorboard_writes() {
        let record = framed(&scalars(2.0, 300, [("loss", 0.5)].into_iter()));
        assert_eq!(record[..8], [27, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(models::weights::hex(&record), GOLDEN);
    }

    const GOLDEN: &str = "1b000000000000001a0d9e13090000000000000040\
        10ac022a0d0a0b0a046c6f7373150000003fdfc52b60";
}
