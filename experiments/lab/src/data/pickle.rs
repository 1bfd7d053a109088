//! Dictionaries of plain values in a Python pickle, read without executing anything.
//!
//! A pickle is a program for a stack machine that may call any Python function. Here numbers, texts
//! and dictionaries of these are followed, and anything that calls is refused.

use std::{collections::HashMap, rc::Rc};

/// A value, as far as it matters.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// A text without escapes.
    Text(Rc<str>),
    /// A whole number of 64 bits.
    Number(i64),
    /// The number of a dictionary.
    Dictionary(usize),
    Mark,
    Other,
}

/// Pairs of key and value in the order in which they were entered.
pub(super) type Dictionary = Vec<(Value, Value)>;

/// The dictionary that a pickle holds, and those in it.
#[derive(Debug)]
pub(super) struct Pickle {
    dictionaries: Vec<Dictionary>,
    outer: usize,
}

impl Pickle {
    /// Reads a pickle of any protocol.
    ///
    /// # Errors
    /// A sentence if the bytes are no pickle of a dictionary of plain values.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        let mut machine = Machine {
            rest: bytes,
            stack: Vec::new(),
            memo: HashMap::new(),
            dictionaries: Vec::new(),
        };
        while !machine.step()? {}
        match machine.pop()? {
            Value::Dictionary(outer) => Ok(Self {
                dictionaries: machine.dictionaries,
                outer,
            }),
            _ => Err("it is no dictionary".to_owned()),
        }
    }

    /// The last value that the outer dictionary was given for a key.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        let is_at = |pair: &&(Value, Value)| matches!(&pair.0, Value::Text(text) if **text == *key);
        let pair = self.dictionaries[self.outer].iter().rev().find(is_at)?;
        Some(&pair.1)
    }

    /// A dictionary in the outer one; empty if there is none at the key.
    pub(super) fn inner(&self, key: &str) -> &[(Value, Value)] {
        match self.get(key) {
            Some(&Value::Dictionary(index)) => &self.dictionaries[index],
            _ => &[],
        }
    }
}

struct Machine<'b> {
    rest: &'b [u8],
    stack: Vec<Value>,
    memo: HashMap<u64, Value>,
    dictionaries: Vec<Dictionary>,
}

const SHORT: &str = "it ends too early";
const LOST: &str = "it is no pickle that Python writes";
const CALLS: &str = "it holds more than plain numbers and texts, and nothing in it is executed";

impl<'b> Machine<'b> {
    /// Carries out one instruction; `true` after the last one.
    fn step(&mut self) -> Result<bool, String> {
        let code = self.take(1)?[0];
        let argument = match code {
            b'K' | b'q' | b'h' | 0x80 => self.take(1)?,
            b'M' => self.take(2)?,
            b'J' | b'r' | b'j' => self.take(4)?,
            b'G' | 0x95 => self.take(8)?,
            0x8a | 0x8c | b'U' | b'C' => self.counted(1)?,
            b'X' | b'T' | b'B' => self.counted(4)?,
            0x8d => self.counted(8)?,
            b'I' | b'L' | b'V' | b'S' | b'p' | b'g' => self.line()?,
            _ => &[],
        };
        let line = || String::from_utf8_lossy(argument).trim().to_owned();
        let place = || match code {
            b'p' | b'g' => line().parse().map_err(|_| LOST),
            _ => Ok(unsigned(argument)),
        };
        let value = match code {
            // Protocol and frame.
            0x80 | 0x95 => return Ok(false),
            b'.' => return Ok(true),
            b'(' => Value::Mark,
            b'}' => self.dictionary(Vec::new())?,
            b'd' => {
                let items = self.down_to_mark()?;
                self.dictionary(items)?
            }
            b's' | b'u' => {
                let items = match code {
                    b's' => self.stack.split_off(self.stack.len().saturating_sub(2)),
                    _ => self.down_to_mark()?,
                };
                let dictionary = self.pop()?;
                self.enter(&dictionary, items)?;
                dictionary
            }
            b'K' | b'M' => Value::Number(unsigned(argument) as i64),
            b'J' | 0x8a => signed(argument).map_or(Value::Other, Value::Number),
            b'I' | b'L' => {
                let number = line().trim_end_matches('L').parse();
                number.map_or(Value::Other, Value::Number)
            }
            0x8c | 0x8d | b'U' | b'X' | b'T' | b'V' | b'S' => {
                let text = String::from_utf8_lossy(argument);
                match code {
                    b'V' | b'S' if text.contains('\\') => Value::Other,
                    b'S' => Value::Text(text.trim_matches(['\'', '"']).into()),
                    _ => Value::Text(text.into()),
                }
            }
            // To and from the memory.
            0x94 | b'q' | b'r' | b'p' => {
                let place = match code {
                    0x94 => self.memo.len() as u64,
                    _ => place()?,
                };
                let top = self.pop()?;
                self.memo.insert(place, top.clone());
                top
            }
            b'h' | b'j' | b'g' => self.memo.get(&place()?).cloned().ok_or(LOST)?,
            // What may stand beside the numbers and texts and does not matter.
            b'N' | 0x88 | 0x89 | b']' | b')' | b'G' | b'C' | b'B' => Value::Other,
            b'a' | b'0' => {
                self.pop()?;
                return Ok(false);
            }
            b'e' => {
                self.down_to_mark()?;
                return Ok(false);
            }
            b't' => {
                self.down_to_mark()?;
                Value::Other
            }
            0x85..=0x87 => {
                for _ in 0x84..code {
                    self.pop()?;
                }
                Value::Other
            }
            b'c' | b'R' | b'b' | b'i' | b'o' | 0x81 | 0x92 | 0x93 => return Err(CALLS.to_owned()),
            _ => return Err(LOST.to_owned()),
        };
        self.stack.push(value);
        Ok(false)
    }

    fn take(&mut self, count: usize) -> Result<&'b [u8], String> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(SHORT)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Bytes whose number stands before them.
    fn counted(&mut self, length: usize) -> Result<&'b [u8], String> {
        let count = unsigned(self.take(length)?);
        self.take(usize::try_from(count).map_err(|_| SHORT)?)
    }

    fn line(&mut self) -> Result<&'b [u8], String> {
        let end = self.rest.iter().position(|&byte| byte == b'\n');
        let line = self.take(end.ok_or(SHORT)?)?;
        self.take(1)?;
        Ok(line)
    }

    fn pop(&mut self) -> Result<Value, String> {
        self.stack.pop().ok_or_else(|| LOST.to_owned())
    }

    fn down_to_mark(&mut self) -> Result<Vec<Value>, String> {
        let mark = self.stack.iter().rposition(|value| *value == Value::Mark);
        let items = self.stack.split_off(mark.ok_or(LOST)? + 1);
        self.stack.pop();
        Ok(items)
    }

    fn dictionary(&mut self, items: Vec<Value>) -> Result<Value, String> {
        self.dictionaries.push(Dictionary::new());
        let dictionary = Value::Dictionary(self.dictionaries.len() - 1);
        self.enter(&dictionary, items)?;
        Ok(dictionary)
    }

    /// Enters keys and values, which alternate.
    fn enter(&mut self, dictionary: &Value, items: Vec<Value>) -> Result<(), String> {
        let Value::Dictionary(index) = dictionary else {
            return Err(LOST.to_owned());
        };
        let mut items = items.into_iter();
        while let (Some(key), Some(value)) = (items.next(), items.next()) {
            self.dictionaries[*index].push((key, value));
        }
        Ok(())
    }
}

/// A little-endian number; of more than eight bytes the first eight.
fn unsigned(bytes: &[u8]) -> u64 {
    let digits = bytes.iter().take(8).rev();
    digits.fold(0, |number, &byte| number << 8 | u64::from(byte))
}

/// A little-endian number in two's complement; `None` if it has more than 64 bits.
fn signed(bytes: &[u8]) -> Option<i64> {
    let negative = bytes.last().is_some_and(|last| *last >= 0x80);
    let mut eight = [if negative { 0xff } else { 0 }; 8];
    eight.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(i64::from_le_bytes(eight))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `pickle.dumps({'vocab_size': 65, 'itos': {0: '\n', 1: 'a'}, 'stoi': {'\n': 0, 'a': 1}})`
    /// of Python 3 in protocols 4, 2 and 0.
    const PROTOCOLS: [&[u8]; 3] = [b"\x80\x04\x95>\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\nvocab_size\x94KA\x8c\x04itos\x94}\x94(K\x00\x8c\x01\n\x94K\x01\x8c\x01a\x94u\x8c\x04stoi\x94}\x94(h\x04K\x00h\x05K\x01uu.", b"\x80\x02}q\x00(X\n\x00\x00\x00vocab_sizeq\x01KAX\x04\x00\x00\x00itosq\x02}q\x03(K\x00X\x01\x00\x00\x00\nq\x04K\x01X\x01\x00\x00\x00aq\x05uX\x04\x00\x00\x00stoiq\x06}q\x07(h\x04K\x00h\x05K\x01uu.", b"(dp0\nVvocab_size\np1\nI65\nsVitos\np2\n(dp3\nI0\nV\\u000a\np4\nsI1\nVa\np5\nssVstoi\np6\n(dp7\ng4\nI0\nsg5\nI1\nss."];

    #[test]
    fn numbers_and_dictionaries_are_found_in_every_protocol() {
        for pickle in PROTOCOLS {
            let pickle = Pickle::read(pickle).expect("a pickle");
            assert_eq!(pickle.get("vocab_size"), Some(&Value::Number(65)));
            assert_eq!(pickle.get("size_vocab"), None);
            let text = |text: &str| Value::Text(text.into());
            assert_eq!(pickle.inner("stoi")[1], (text("a"), Value::Number(1)));
            assert_eq!(pickle.inner("itos")[1], (Value::Number(1), text("a")));
            assert_eq!(pickle.inner("vocab_size"), []);
        }
    }

    #[test]
    fn numbers_have_signs() {
        for (bytes, number) in [(&b"\xff"[..], -1), (b"\xff\x00", 255), (b"", 0)] {
            assert_eq!(signed(bytes), Some(number));
        }
        assert_eq!(signed(&i64::MIN.to_le_bytes()), Some(i64::MIN));
        assert_eq!(signed(&[1; 9]), None);
    }

    #[test]
    fn a_pickle_that_calls_is_refused_and_not_executed() {
        // `os.system("true")`, as a class with __reduce__ pickles it.
        let calls = b"cposix\nsystem\n(S'true'\ntR.";
        let error = Pickle::read(calls).expect_err("a call");
        assert!(error.contains("nothing in it is executed"), "{error}");
    }

    #[test]
    fn damaged_pickles_are_errors_and_never_panics() {
        for pickle in PROTOCOLS {
            for end in 0..pickle.len() {
                assert!(Pickle::read(&pickle[..end]).is_err());
            }
            for at in 0..pickle.len() {
                for byte in 0..=255 {
                    let mut damaged = pickle.to_vec();
                    damaged[at] = byte;
                    let _ = Pickle::read(&damaged);
                }
            }
        }
        assert!(Pickle::read(b"\x80\x04K\x01.").is_err());
    }
}
