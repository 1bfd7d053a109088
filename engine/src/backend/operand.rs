//! What the matrices of a job are known by, and where they are.

use std::{
    ops::Range,
    sync::atomic::{AtomicBool, Ordering},
};

/// What the elements of a matrix are known by. The same identity means the same elements,
/// so that a device can keep a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Identity {
    /// A parameter or a part of one, until the slab changes.
    Parameter {
        /// The network.
        network: u64,
        /// The parameter, in registration order.
        index: u32,
        /// The first element.
        start: usize,
        /// How many elements.
        len: usize,
        /// The state of the slab.
        version: u64,
    },
    /// A value of a tape, until the tape is reset.
    Value {
        /// The tape since its last reset.
        tape: u64,
        /// The value.
        number: u32,
    },
    /// The gradient of a value, from when it is complete, or of one that only a device has.
    Gradient {
        /// The tape since its last reset.
        tape: u64,
        /// Which backward of the tape.
        pass: u32,
        /// The value.
        number: u32,
    },
    /// The gradient of a parameter, as far as it has been added up.
    Sum {
        /// The gradients.
        gradients: u64,
        /// The parameter, in registration order.
        index: u32,
    },
}

/// A matrix that is read.
#[derive(Clone, Copy, Debug)]
pub struct Operand<'a> {
    /// The elements; unspecified while they are away.
    pub values: &'a [f32],
    /// What they are known by; `None` for scratch memory.
    pub identity: Option<Identity>,
    /// Whether only a device has the elements.
    pub away: bool,
}

impl<'a> Operand<'a> {
    /// Some of the elements: the matrix of one expert within the weights of all. What is
    /// known by an identity keeps one only if it is a parameter, the parts of which are
    /// always the same.
    ///
    /// # Panics
    /// If the elements are away.
    #[must_use]
    pub fn part(&self, range: Range<usize>) -> Self {
        assert!(!self.away, "operand: a part of a matrix that is away");
        let identity = match self.identity {
            Some(Identity::Parameter {
                network,
                index,
                start,
                version,
                ..
            }) => Some(Identity::Parameter {
                network,
                index,
                start: start + range.start,
                len: range.len(),
                version,
            }),
            _ => None,
        };
        Self {
            values: &self.values[range],
            identity,
            away: false,
        }
    }
}

impl<'a> From<&'a [f32]> for Operand<'a> {
    fn from(values: &'a [f32]) -> Self {
        Self {
            values,
            identity: None,
            away: false,
        }
    }
}

/// What a result will be known by, and where it goes.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// What it will be known by.
    pub identity: Identity,
    /// Whether only a device has the result, before a job that adds to it and after any;
    /// `None` if it has to come back at once.
    pub away: Option<&'a AtomicBool>,
}

impl Place<'_> {
    /// Whether only a device has what is there.
    pub fn is_away(&self) -> bool {
        self.away.is_some_and(|away| away.load(Ordering::Relaxed))
    }

    /// For backends: notes where the result is.
    pub fn set_away(&self, value: bool) {
        if let Some(away) = self.away {
            away.store(value, Ordering::Relaxed);
        }
    }
}

/// Elements that only a device has, on their way back.
#[derive(Debug)]
pub struct Away<'a> {
    /// What they are known by. Of several, the sum is wanted, taken in this order.
    pub identities: &'a [Identity],
    /// Where they go.
    pub values: &'a mut [f32],
}
