//! Elements that know where they are: in the program's memory or, until they are read, only
//! on a device.
//!
//! A backend may leave a result on its device: the result is *deferred*. Reading it as a
//! slice downloads it; a [job](super::Job) that takes it as an operand finds it where it is.
//! An operation over slices need not know of it.

use super::unique_number;
use crate::buffer::Buffer;
use std::{
    cell::{Cell, OnceCell},
    fmt,
    ops::{Deref, Range},
    sync::{Arc, OnceLock},
};

/// A device that holds elements under keys.
pub trait Device: Send + Sync {
    /// Fills every destination with the sum, in this order, of what is held under its keys.
    /// Zeros stand for what is lost with a device; [`Backend::failure`](super::Backend)
    /// reports it.
    fn download(&self, sums: &mut [Download<'_>], parallel: bool);

    /// Forgets what is held under a key.
    fn evict(&self, key: u64);
}

/// A sum that is wanted of a device.
pub struct Download<'a> {
    /// The keys of the summands.
    pub keys: Vec<u64>,
    /// The destination.
    pub values: &'a mut [f32],
}

/// A copy of elements on a device, evicted when dropped.
pub struct Resident {
    key: u64,
    device: Arc<dyn Device>,
    /// True if a download may use several threads.
    parallel: bool,
}

impl Resident {
    /// A copy under a new key.
    pub fn new(device: Arc<dyn Device>, parallel: bool) -> Self {
        Self {
            key: unique_number(),
            device,
            parallel,
        }
    }

    /// The key, unique in this process.
    pub fn key(&self) -> u64 {
        self.key
    }

    fn download(&self, values: &mut [f32]) {
        let keys = vec![self.key];
        self.device
            .download(&mut [Download { keys, values }], self.parallel);
    }
}

impl Drop for Resident {
    fn drop(&mut self) {
        self.device.evict(self.key);
    }
}

impl fmt::Debug for Resident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Resident({})", self.key)
    }
}

/// State of a device's copy of elements: none, a copy, or the only one.
#[derive(Debug, Default)]
pub(crate) struct Residence {
    copy: OnceLock<Resident>,
    deferred: bool,
}

impl Residence {
    /// Returns whether only a device has the elements.
    pub fn is_deferred(&self) -> bool {
        self.deferred
    }

    /// Forgets elements that are no longer wanted, not the room for them.
    pub fn discard(&mut self) {
        self.deferred = false;
    }

    /// Downloads the elements if only a device has them.
    pub fn download(&mut self, values: &mut [f32]) {
        if std::mem::take(&mut self.deferred)
            && let Some(copy) = self.copy.get()
        {
            copy.download(values);
        }
    }

    /// Destination of a gradient of a parameter.
    pub fn target<'a>(
        &'a mut self,
        values: &'a mut [f32],
        accumulate: bool,
        deferrable: bool,
    ) -> Target<'a> {
        Target {
            values,
            accumulate,
            role: Role::ParameterGradient,
            deferrable,
            residence: Some(self),
        }
    }
}

/// Sums of deferred elements, downloaded all at once.
#[derive(Default)]
pub(crate) struct Downloads<'a> {
    device: Option<Arc<dyn Device>>,
    sums: Vec<Download<'a>>,
}

impl<'a> Downloads<'a> {
    /// Adds the sum of those of the summands that are deferred.
    pub fn add<'s>(
        &mut self,
        summands: impl Iterator<Item = &'s mut Residence>,
        values: &'a mut [f32],
    ) {
        let mut keys = Vec::new();
        for summand in summands {
            if let (true, Some(copy)) = (summand.deferred, summand.copy.get()) {
                self.device.get_or_insert_with(|| Arc::clone(&copy.device));
                keys.push(copy.key);
            }
            summand.deferred = false;
        }
        self.sums.push(Download { keys, values });
    }

    /// Downloads the sums.
    pub fn run(mut self) {
        if let Some(device) = self.device {
            device.download(&mut self.sums, true);
        }
    }
}

/// Elements of a value or of its gradient, wherever they are; dereferencing downloads them.
#[derive(Default)]
pub struct Stored {
    len: usize,
    /// The elements, or the memory for deferred ones, until they are read.
    unread: Cell<Buffer>,
    /// The elements once they have been read.
    read: OnceCell<Buffer>,
    residence: Residence,
}

impl Deref for Stored {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        self.read.get_or_init(|| {
            let mut buffer = self.unread.take();
            if let (true, Some(copy)) = (self.residence.deferred, self.residence.copy.get()) {
                copy.download(&mut buffer);
            }
            buffer
        })
    }
}

impl From<Buffer> for Stored {
    fn from(buffer: Buffer) -> Self {
        Self {
            len: buffer.len(),
            unread: Cell::new(buffer),
            ..Self::default()
        }
    }
}

impl Stored {
    fn is_deferred(&self) -> bool {
        self.residence.deferred && self.read.get().is_none()
    }

    /// The elements, to be overwritten or, if `accumulate`, changed.
    pub fn values_mut(&mut self, accumulate: bool) -> &mut [f32] {
        self.target(accumulate, false, Role::Gradient).into_values()
    }

    /// Destination of a value.
    pub fn value_target(&mut self, deferrable: bool) -> Target<'_> {
        self.target(false, deferrable, Role::Value)
    }

    /// Destination of the gradient of a value.
    pub fn gradient_target(&mut self, accumulate: bool, deferrable: bool) -> Target<'_> {
        self.target(accumulate, deferrable, Role::Gradient)
    }

    fn target(&mut self, accumulate: bool, deferrable: bool, role: Role) -> Target<'_> {
        if let Some(read) = self.read.take() {
            self.unread.set(read);
            self.residence.deferred = false;
        }
        Target {
            values: self.unread.get_mut(),
            accumulate,
            role,
            deferrable,
            residence: Some(&mut self.residence),
        }
    }

    /// The memory, to be used again.
    pub(crate) fn into_buffer(self) -> Buffer {
        self.read
            .into_inner()
            .unwrap_or_else(|| self.unread.into_inner())
    }
}

/// The elements of a parameter, known to be the same until the slab changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParameterVersion {
    /// The network.
    pub network: u64,
    /// The first element in the slab.
    pub start: usize,
    /// The state of the slab.
    pub version: u64,
}

/// A matrix that is read.
#[derive(Clone, Copy)]
pub struct Operand<'a>(Source<'a>);

#[derive(Clone, Copy)]
enum Source<'a> {
    Slice(&'a [f32]),
    Stored(&'a Stored),
    Parameter(&'a [f32], ParameterVersion),
}

impl Default for Operand<'_> {
    fn default() -> Self {
        Self(Source::Slice(&[]))
    }
}

impl<'a> From<&'a [f32]> for Operand<'a> {
    fn from(values: &'a [f32]) -> Self {
        Self(Source::Slice(values))
    }
}

impl<'a> From<&'a Stored> for Operand<'a> {
    fn from(stored: &'a Stored) -> Self {
        Self(Source::Stored(stored))
    }
}

impl<'a> Operand<'a> {
    /// A parameter, or a part of one.
    pub fn parameter(values: &'a [f32], version: ParameterVersion) -> Self {
        Self(Source::Parameter(values, version))
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        match self.0 {
            Source::Slice(values) | Source::Parameter(values, _) => values.len(),
            Source::Stored(stored) => stored.len,
        }
    }

    /// Returns whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements, downloaded if only a device has them.
    pub fn values(&self) -> &'a [f32] {
        match self.0 {
            Source::Slice(values) | Source::Parameter(values, _) => values,
            Source::Stored(stored) => stored,
        }
    }

    /// Some of the elements: the matrix of one expert within the weights of all.
    #[must_use]
    pub fn part(&self, range: Range<usize>) -> Self {
        match self.0 {
            Source::Parameter(values, version) => {
                let start = version.start + range.start;
                Self::parameter(&values[range], ParameterVersion { start, ..version })
            }
            _ => self.values()[range].into(),
        }
    }

    /// Returns whether only a device has the elements.
    pub fn is_deferred(&self) -> bool {
        matches!(self.0, Source::Stored(stored) if stored.is_deferred())
    }

    /// For devices: the version of a parameter.
    pub fn parameter_version(&self) -> Option<ParameterVersion> {
        match self.0 {
            Source::Parameter(_, version) => Some(version),
            _ => None,
        }
    }

    /// For devices: the key of the copy that a device has, or had.
    pub fn key(&self) -> Option<u64> {
        match self.0 {
            Source::Stored(stored) => stored.residence.copy.get().map(Resident::key),
            _ => None,
        }
    }

    /// For devices: notes that a copy is kept, `None` for scratch memory, which is not known
    /// again. Returns its key.
    pub fn keep(&self, resident: impl FnOnce() -> Resident) -> Option<u64> {
        match self.0 {
            Source::Stored(stored) => Some(stored.residence.copy.get_or_init(resident).key),
            _ => None,
        }
    }
}

/// The role of what a job computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Memory that is not known again.
    Scratch,
    /// A value.
    Value,
    /// The gradient of a value.
    Gradient,
    /// The gradient of a parameter, added up over all micro-batches of a step.
    ParameterGradient,
}

/// Destination of a result.
pub struct Target<'a> {
    values: &'a mut [f32],
    accumulate: bool,
    role: Role,
    deferrable: bool,
    residence: Option<&'a mut Residence>,
}

impl Default for Target<'_> {
    fn default() -> Self {
        (&mut [][..]).into()
    }
}

impl<'a> From<&'a mut [f32]> for Target<'a> {
    fn from(values: &'a mut [f32]) -> Self {
        Self {
            values,
            accumulate: false,
            role: Role::Scratch,
            deferrable: false,
            residence: None,
        }
    }
}

impl<'a> Target<'a> {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Returns whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Returns whether the result is added to what is there.
    pub fn accumulates(&self) -> bool {
        self.accumulate
    }

    /// The same destination, to which the result is added if `accumulate`.
    #[must_use]
    pub fn accumulating(self, accumulate: bool) -> Self {
        Self { accumulate, ..self }
    }

    /// The elements, to be added to or overwritten: no device has them from now on.
    pub fn values(&mut self) -> &mut [f32] {
        if let Some(residence) = &mut self.residence {
            match self.accumulate {
                true => residence.download(self.values),
                false => residence.discard(),
            }
            residence.copy.take();
        }
        self.values
    }

    /// As [`Target::values`], for as long as the target is there.
    pub fn into_values(mut self) -> &'a mut [f32] {
        self.values();
        self.values
    }

    /// The role of the result.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Returns whether only a device has what is there.
    pub fn is_deferred(&self) -> bool {
        self.residence.as_ref().is_some_and(|r| r.deferred)
    }

    /// Returns whether the result may be deferred.
    pub fn is_deferrable(&self) -> bool {
        self.deferrable && self.residence.is_some()
    }

    /// For devices: the key of the copy that a device has, or had.
    pub fn key(&self) -> Option<u64> {
        let residence = self.residence.as_ref()?;
        residence.copy.get().map(Resident::key)
    }

    /// For devices: the memory as it is, for a download into it.
    pub fn memory(&mut self) -> &mut [f32] {
        self.values
    }

    /// For devices: notes that the result is there, under a new key if `resident` is given,
    /// and whether only the device has it.
    pub fn computed(&mut self, resident: Option<Resident>, deferred: bool) {
        if let Some(residence) = &mut self.residence {
            residence.deferred = deferred;
            match resident {
                Some(resident) => residence.copy = resident.into(),
                // The room for the sum of the next step.
                None if deferred || self.role == Role::ParameterGradient => {}
                None => drop(residence.copy.take()),
            }
        }
    }
}
