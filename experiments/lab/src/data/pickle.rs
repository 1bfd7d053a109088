//! One number of a Python pickle, found without executing anything.
//!
//! A pickle is a program for a stack machine that may call any Python function. Here a dictionary
//! of plain values is followed, and anything that calls is refused.

/// A value as far as it matters.
#[derive(Clone)]
enum Value {
    /// A text that may be a key.
    Text(String),
    Number(i64),
    /// A dictionary, by number.
    Dictionary(usize),
    Mark,
    Other,
}

/// The whole number that the pickled dictionary has at `key`; `None` if it has none.
///
/// # Errors
/// A sentence if the bytes are no pickle of a dictionary of plain values.
pub(super) fn number_at(key: &str, bytes: &[u8]) -> Result<Option<i64>, String> {
    Machine {
        bytes,
        at: 0,
        key,
        stack: Vec::new(),
        memo: std::collections::HashMap::new(),
        found: Vec::new(),
    }
    .run()
}

struct Machine<'b> {
    bytes: &'b [u8],
    at: usize,
    key: &'b str,
    stack: Vec<Value>,
    memo: std::collections::HashMap<u64, Value>,
    /// For each dictionary, the number at the key.
    found: Vec<Option<i64>>,
}

const SHORT: &str = "it ends too early";
const LOST: &str = "it is no pickle that Python writes";

impl Machine<'_> {
    fn run(mut self) -> Result<Option<i64>, String> {
        loop {
            match self.take(1)?[0] {
                // PROTO, FRAME: nothing to do.
                0x80 => drop(self.take(1)?),
                0x95 => drop(self.take(8)?),
                b'.' => break,
                b'(' => self.stack.push(Value::Mark),
                b'}' => self.push_dictionary(),
                b'd' => {
                    let items = self.down_to_mark()?;
                    self.push_dictionary();
                    self.set(&items)?;
                }
                b's' => {
                    let value = self.pop()?;
                    let key = self.pop()?;
                    self.set(&[key, value])?;
                }
                b'u' => {
                    let items = self.down_to_mark()?;
                    self.set(&items)?;
                }
                // Numbers.
                b'K' => self.number(1)?,
                b'M' => self.number(2)?,
                b'J' => {
                    let four = self.take(4)?.try_into().expect("four bytes");
                    let number = i32::from_le_bytes(four);
                    self.stack.push(Value::Number(number.into()));
                }
                0x8a => {
                    let length = self.length(1)?;
                    self.number(length)?;
                }
                b'I' | b'L' => {
                    let line = self.line()?;
                    let number = line.trim_end_matches('L').parse();
                    self.stack.push(number.map_or(Value::Other, Value::Number));
                }
                // Texts.
                0x8c | b'U' => self.text(1)?,
                b'X' | b'T' => self.text(4)?,
                0x8d => self.text(8)?,
                b'V' => {
                    let line = self.line()?;
                    self.stack.push(Value::Text(line));
                }
                b'S' => {
                    let line = self.line()?;
                    let text = line.trim_matches(['\'', '"']).to_owned();
                    self.stack.push(Value::Text(text));
                }
                // Memory.
                0x94 => {
                    let place = self.memo.len() as u64;
                    self.remember(place)?;
                }
                b'q' => {
                    let place = self.unsigned(1)?;
                    self.remember(place)?;
                }
                b'r' => {
                    let place = self.unsigned(4)?;
                    self.remember(place)?;
                }
                b'p' => {
                    let place = self.line()?.parse().map_err(|_| LOST)?;
                    self.remember(place)?;
                }
                b'h' => {
                    let place = self.unsigned(1)?;
                    self.recall(place)?;
                }
                b'j' => {
                    let place = self.unsigned(4)?;
                    self.recall(place)?;
                }
                b'g' => {
                    let place = self.line()?.parse().map_err(|_| LOST)?;
                    self.recall(place)?;
                }
                // What may stand beside the number and does not matter.
                b'N' | 0x88 | 0x89 | b']' | b')' => self.stack.push(Value::Other),
                b'G' => {
                    self.take(8)?;
                    self.stack.push(Value::Other);
                }
                b'C' => self.skipped(1)?,
                b'B' => self.skipped(4)?,
                b'a' | b'0' => drop(self.pop()?),
                b'e' => drop(self.down_to_mark()?),
                b't' => {
                    self.down_to_mark()?;
                    self.stack.push(Value::Other);
                }
                code @ 0x85..=0x87 => {
                    for _ in 0..code - 0x84 {
                        self.pop()?;
                    }
                    self.stack.push(Value::Other);
                }
                b'c' | b'R' | b'b' | b'i' | b'o' | 0x81 | 0x92 | 0x93 => {
                    return Err(
                        "it holds more than plain numbers and texts, and nothing in it \
                                is executed"
                            .to_owned(),
                    );
                }
                _ => return Err(LOST.to_owned()),
            }
        }
        match self.pop()? {
            Value::Dictionary(index) => Ok(self.found[index]),
            _ => Err("it is no dictionary".to_owned()),
        }
    }

    fn take(&mut self, count: usize) -> Result<&[u8], String> {
        let end = self.at.checked_add(count).ok_or(SHORT)?;
        let taken = self.bytes.get(self.at..end).ok_or(SHORT)?;
        self.at = end;
        Ok(taken)
    }

    fn line(&mut self) -> Result<String, String> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|&byte| byte == b'\n').ok_or(SHORT)?;
        self.at += end + 1;
        Ok(String::from_utf8_lossy(&rest[..end]).trim().to_owned())
    }

    /// A little-endian number of up to eight bytes.
    fn unsigned(&mut self, bytes: usize) -> Result<u64, String> {
        let taken = self.take(bytes)?;
        let mut eight = [0; 8];
        eight[..bytes].copy_from_slice(taken);
        Ok(u64::from_le_bytes(eight))
    }

    fn length(&mut self, bytes: usize) -> Result<usize, String> {
        usize::try_from(self.unsigned(bytes)?).map_err(|_| SHORT.to_owned())
    }

    fn number(&mut self, bytes: usize) -> Result<(), String> {
        let value = if bytes < 8 {
            Value::Number(self.unsigned(bytes)? as i64)
        } else {
            self.take(bytes)?;
            Value::Other
        };
        self.stack.push(value);
        Ok(())
    }

    fn text(&mut self, length_bytes: usize) -> Result<(), String> {
        let length = self.length(length_bytes)?;
        let longest = self.key.len();
        let bytes = self.take(length)?;
        let value = match bytes.len() == longest {
            true => Value::Text(String::from_utf8_lossy(bytes).into_owned()),
            false => Value::Other,
        };
        self.stack.push(value);
        Ok(())
    }

    fn skipped(&mut self, length_bytes: usize) -> Result<(), String> {
        let length = self.length(length_bytes)?;
        self.take(length)?;
        self.stack.push(Value::Other);
        Ok(())
    }

    fn pop(&mut self) -> Result<Value, String> {
        self.stack.pop().ok_or_else(|| LOST.to_owned())
    }

    fn down_to_mark(&mut self) -> Result<Vec<Value>, String> {
        let mark = |value: &Value| matches!(value, Value::Mark);
        let at = self.stack.iter().rposition(mark).ok_or(LOST)?;
        let items = self.stack.split_off(at + 1);
        self.stack.pop();
        Ok(items)
    }

    fn push_dictionary(&mut self) {
        self.stack.push(Value::Dictionary(self.found.len()));
        self.found.push(None);
    }

    /// Enters pairs of key and value into the dictionary on top.
    fn set(&mut self, items: &[Value]) -> Result<(), String> {
        let Some(&Value::Dictionary(index)) = self.stack.last() else {
            return Err(LOST.to_owned());
        };
        for pair in items.chunks_exact(2) {
            if let (Value::Text(key), Value::Number(number)) = (&pair[0], &pair[1])
                && key == self.key
            {
                self.found[index] = Some(*number);
            }
        }
        Ok(())
    }

    fn remember(&mut self, place: u64) -> Result<(), String> {
        let top = self.stack.last().cloned().ok_or(LOST)?;
        self.memo.insert(place, top);
        Ok(())
    }

    fn recall(&mut self, place: u64) -> Result<(), String> {
        let value = self.memo.get(&place).cloned().ok_or(LOST)?;
        self.stack.push(value);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `pickle.dumps({'vocab_size': 65, 'itos': {0: '\n', 1: 'a'}, 'stoi': {'\n': 0, 'a': 1}})`
    /// of Python 3 in protocols 4, 2 and 0.
    const PROTOCOLS: [&[u8]; 3] = [b"\x80\x04\x95>\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\nvocab_size\x94KA\x8c\x04itos\x94}\x94(K\x00\x8c\x01\n\x94K\x01\x8c\x01a\x94u\x8c\x04stoi\x94}\x94(h\x04K\x00h\x05K\x01uu.", b"\x80\x02}q\x00(X\n\x00\x00\x00vocab_sizeq\x01KAX\x04\x00\x00\x00itosq\x02}q\x03(K\x00X\x01\x00\x00\x00\nq\x04K\x01X\x01\x00\x00\x00aq\x05uX\x04\x00\x00\x00stoiq\x06}q\x07(h\x04K\x00h\x05K\x01uu.", b"(dp0\nVvocab_size\np1\nI65\nsVitos\np2\n(dp3\nI0\nV\\u000a\np4\nsI1\nVa\np5\nssVstoi\np6\n(dp7\ng4\nI0\nsg5\nI1\nss."];

    #[test]
    fn the_number_is_found_in_every_protocol() {
        for pickle in PROTOCOLS {
            assert_eq!(number_at("vocab_size", pickle), Ok(Some(65)));
            assert_eq!(number_at("size_vocab", pickle), Ok(None));
        }
    }

    #[test]
    fn a_pickle_that_calls_is_refused_and_not_executed() {
        // `os.system("true")`, as a class with __reduce__ pickles it.
        let calls = b"cposix\nsystem\n(S'true'\ntR.";
        let error = number_at("vocab_size", calls).expect_err("a call");
        assert!(error.contains("nothing in it is executed"), "{error}");
    }

    #[test]
    fn damaged_pickles_are_errors_and_never_panics() {
        for pickle in PROTOCOLS {
            for end in 0..pickle.len() {
                assert!(number_at("vocab_size", &pickle[..end]).is_err());
            }
            for at in 0..pickle.len() {
                for byte in 0..=255 {
                    let mut damaged = pickle.to_vec();
                    damaged[at] = byte;
                    let _ = number_at("vocab_size", &damaged);
                }
            }
        }
        assert!(number_at("vocab_size", b"\x80\x04K\x01.").is_err());
    }
}
