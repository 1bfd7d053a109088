//! Buffers of the device and of the transfers, used again.

use crate::{
    bytes_of,
    device::{Failed, Opened},
    transfer::{Returned, Sending, Transfer},
};
use engine::backend::{Operand, Options, Resident, Role, Target, Traffic};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    thread::{self, ThreadId},
};

/// Identity of the elements of a matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    /// A parameter or a part of one, whatever its version.
    Parameter {
        network: u64,
        /// First element in the slab.
        start: usize,
        len: usize,
    },
    /// A value or a gradient.
    Resident(u64),
}

impl Key {
    /// The key of an operand that may have been here before, with its version.
    fn of(operand: &Operand<'_>) -> Option<(Self, u64)> {
        match operand.parameter_version() {
            Some(parameter) => {
                let key = Self::Parameter {
                    network: parameter.network,
                    start: parameter.start,
                    len: operand.len(),
                };
                Some((key, parameter.version))
            }
            None => operand.key().map(|key| (Self::Resident(key), 0)),
        }
    }
}

/// Idle buffers of one usage by size.
#[derive(Debug, Default)]
struct Idle(BTreeMap<u64, Vec<wgpu::Buffer>>);

impl Idle {
    fn take(&mut self, bytes: u64) -> Option<wgpu::Buffer> {
        self.0.get_mut(&class_of(bytes)).and_then(Vec::pop)
    }

    fn give(&mut self, buffer: wgpu::Buffer) {
        self.0.entry(buffer.size()).or_default().push(buffer);
    }
}

/// The smallest buffer for so many bytes: an eighth of a power of two at least.
fn class_of(bytes: u64) -> u64 {
    let bytes = bytes.max(256);
    bytes.next_multiple_of((bytes.next_power_of_two() / 8).max(256))
}

/// A copy on the device.
#[derive(Debug)]
struct Kept {
    buffer: wgpu::Buffer,
    version: u64,
    made: u64,
    used: u64,
    /// True if it is no copy: nobody else has the elements.
    only: bool,
    /// On its way here.
    sending: Option<Arc<Sending>>,
}

/// Elements to be sent before a submission.
#[derive(Default)]
pub(super) struct Needs<'a> {
    /// Copies that this submission sends.
    pub transfers: Vec<Transfer<'a>>,
    /// Weights that are on their way: others need them as well.
    pub weights: Vec<(Arc<Sending>, &'a [f32])>,
}

/// All buffers.
pub(super) struct Memory {
    device: Arc<Opened>,
    matrices: Idle,
    /// Buffers that can be written.
    uploads: Idle,
    pub returned: Returned,
    readbacks: Idle,
    kept: BTreeMap<Key, Kept>,
    kept_bytes: u64,
    /// Of what nobody else has.
    only_bytes: u64,
    /// The last downloaded result of each thread.
    results: HashMap<ThreadId, Key>,
    budget: u64,
    fetch_results: bool,
    clock: u64,
    pub traffic: Traffic,
}

impl Memory {
    pub fn new(device: Arc<Opened>, options: &Options) -> Self {
        Self {
            device,
            matrices: Idle::default(),
            uploads: Idle::default(),
            returned: Returned::default(),
            readbacks: Idle::default(),
            kept: BTreeMap::new(),
            kept_bytes: 0,
            only_bytes: 0,
            results: HashMap::new(),
            budget: options.budget,
            fetch_results: options.fetch_results,
            clock: 0,
            traffic: Traffic::default(),
        }
    }

    fn create(
        &mut self,
        label: &str,
        bytes: u64,
        usage: wgpu::BufferUsages,
        mapped: bool,
    ) -> wgpu::Buffer {
        self.traffic.buffers += 1;
        self.device.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size: class_of(bytes),
            usage,
            mapped_at_creation: mapped,
        })
    }

    /// A matrix with unspecified contents.
    pub fn matrix(&mut self, bytes: u64) -> wgpu::Buffer {
        use wgpu::BufferUsages as Usage;
        let usage = Usage::STORAGE | Usage::COPY_DST | Usage::COPY_SRC;
        match self.matrices.take(bytes) {
            Some(buffer) => buffer,
            None => self.create("matrix", bytes, usage, false),
        }
    }

    pub fn give_matrix(&mut self, buffer: wgpu::Buffer) {
        self.matrices.give(buffer);
    }

    pub fn readback(&mut self, bytes: u64) -> wgpu::Buffer {
        use wgpu::BufferUsages as Usage;
        match self.readbacks.take(bytes) {
            Some(buffer) => buffer,
            None => self.create("readback", bytes, Usage::MAP_READ | Usage::COPY_DST, false),
        }
    }

    pub fn give_readback(&mut self, buffer: wgpu::Buffer) {
        self.readbacks.give(buffer);
    }

    fn upload(&mut self, bytes: u64) -> wgpu::Buffer {
        use wgpu::BufferUsages as Usage;
        for buffer in self.returned.take() {
            self.uploads.give(buffer);
        }
        match self.uploads.take(bytes) {
            Some(buffer) => buffer,
            None => self.create("upload", bytes, Usage::MAP_WRITE | Usage::COPY_SRC, true),
        }
    }

    /// Returns whether the device has an operand.
    pub fn has(&self, operand: &Operand<'_>) -> bool {
        Key::of(operand).is_some_and(|(key, version)| {
            let kept = self.kept.get(&key);
            kept.is_some_and(|kept| kept.version == version)
        })
    }

    /// The buffer of an operand. If its elements are not there yet, `needs` receives what has
    /// to be done before they are read; the buffer goes to `scratch` unless it is kept.
    pub fn operand<'a>(
        &mut self,
        operand: &Operand<'a>,
        needs: &mut Needs<'a>,
        scratch: &mut Vec<wgpu::Buffer>,
        resident: impl FnOnce() -> Resident,
    ) -> Result<wgpu::Buffer, Failed> {
        self.clock += 1;
        let known = Key::of(operand);
        let kept = known.and_then(|(key, _)| self.kept.get_mut(&key));
        if kept.is_none() && operand.is_deferred() {
            return Err(self.lost());
        }
        let bytes = bytes_of(operand.len());
        let matrix = match (kept, known) {
            (Some(kept), Some((_, version))) => {
                kept.used = self.clock;
                if std::mem::replace(&mut kept.version, version) == version {
                    if kept.sending.as_ref().is_some_and(|way| way.is_submitted()) {
                        kept.sending = None;
                    }
                    let sending = kept.sending.iter().cloned();
                    // Only parameters are: reading them downloads nothing.
                    needs
                        .weights
                        .extend(sending.map(|way| (way, operand.values())));
                    return Ok(kept.buffer.clone());
                }
                kept.buffer.clone()
            }
            (_, known) => {
                let new = || Some((Key::Resident(operand.keep(resident)?), 0));
                let key = known.or_else(new);
                let same =
                    |transfer: &&Transfer<'_>| std::ptr::eq(transfer.values, operand.values());
                if let (None, Some(transfer)) = (key, needs.transfers.iter().find(same)) {
                    return Ok(transfer.matrix.clone());
                }
                let matrix = self.matrix(bytes);
                match key {
                    Some((key, version)) => self.keep(key, version, matrix.clone(), false),
                    None => scratch.push(matrix.clone()),
                }
                matrix
            }
        };
        let (values, upload) = (operand.values(), self.upload(bytes));
        self.traffic.sent += bytes;
        match known {
            Some((key @ Key::Parameter { .. }, _)) => {
                let sending = Sending::new(upload, matrix.clone(), values.len());
                if let Some(kept) = self.kept.get_mut(&key) {
                    kept.sending = Some(sending.clone());
                }
                needs.weights.push((sending, values));
            }
            _ => needs.transfers.push(Transfer {
                values,
                upload,
                matrix: matrix.clone(),
            }),
        }
        Ok(matrix)
    }

    /// Returns whether a result is deferred: it may be, and there is room for it. One that
    /// is added to what is elsewhere may not.
    pub fn defers(&self, target: &Target<'_>) -> bool {
        let may = !self.fetch_results && target.is_deferrable();
        match target.accumulates() {
            true => target.is_deferred(),
            false => may && self.only_bytes + class_of(bytes_of(target.len())) <= self.budget,
        }
    }

    /// The buffer of a result, with the mark of a new copy that is kept.
    ///
    /// A copy of a value that is downloaded is kept, if `keeps`, for the next job of its
    /// thread, which makes the room free again unless it has used the copy.
    pub fn result(
        &mut self,
        target: &Target<'_>,
        [defers, keeps]: [bool; 2],
        scratch: &mut Vec<wgpu::Buffer>,
        resident: impl FnOnce() -> Resident,
    ) -> Result<(wgpu::Buffer, Option<Resident>), Failed> {
        self.clock += 1;
        let bytes = bytes_of(target.len());
        let whole = !target.accumulates();
        if defers {
            let known = target.key().map(Key::Resident);
            if let Some(key) = known
                && let Some(kept) = self.kept.get_mut(&key)
            {
                // The sum of the last step is the place for the next one.
                kept.used = self.clock;
                let buffer = kept.buffer.clone();
                self.set_only(&key, true);
                return Ok((buffer, None));
            }
            if !whole {
                return Err(self.lost());
            }
            let matrix = self.matrix(bytes);
            let new = known.is_none().then(resident);
            let key = new.as_ref().map(|new| Key::Resident(new.key())).or(known);
            self.keep(key.ok_or(Failed)?, 0, matrix.clone(), true);
            return Ok((matrix, new));
        }
        let matrix = self.matrix(bytes);
        if target.role() != Role::Value || !whole || !keeps {
            scratch.push(matrix.clone());
            return Ok((matrix, None));
        }
        let resident = resident();
        let key = Key::Resident(resident.key());
        if let Some(last) = self.results.insert(thread::current().id(), key)
            && let Some(kept) = self.kept.get(&last)
            && kept.used == kept.made
            && !kept.only
        {
            self.forget(&last);
        }
        self.keep(key, 0, matrix.clone(), false);
        Ok((matrix, Some(resident)))
    }

    /// The buffer of a deferred result.
    pub fn deferred(&mut self, key: &Key) -> Result<wgpu::Buffer, Failed> {
        self.clock += 1;
        match self.kept.get_mut(key) {
            Some(kept) => {
                kept.used = self.clock;
                Ok(kept.buffer.clone())
            }
            None => Err(self.lost()),
        }
    }

    /// Elements that nobody else has are gone.
    fn lost(&self) -> Failed {
        self.device.failure.set("the device has lost a result");
        Failed
    }

    /// Notes whether nobody else has what is kept.
    pub fn set_only(&mut self, key: &Key, only: bool) {
        if let Some(kept) = self.kept.get_mut(key) {
            let size = kept.buffer.size();
            if std::mem::replace(&mut kept.only, only) {
                self.only_bytes -= size;
            }
            if only {
                self.only_bytes += size;
            }
        }
    }

    /// Keeps a copy; what was not used for longest makes room for it. What another thread
    /// may be about to read is not used again, only let go of.
    fn keep(&mut self, key: Key, version: u64, buffer: wgpu::Buffer, only: bool) {
        self.kept_bytes += buffer.size();
        if only {
            self.only_bytes += buffer.size();
        }
        let kept = Kept {
            buffer,
            version,
            made: self.clock,
            used: self.clock,
            only,
            sending: None,
        };
        self.kept.insert(key, kept);
        while self.kept_bytes > self.budget {
            let copies = self.kept.iter().filter(|(_, kept)| !kept.only);
            let Some((&oldest, _)) = copies.min_by_key(|(_, kept)| kept.used) else {
                break;
            };
            self.take(&oldest);
        }
    }

    fn take(&mut self, key: &Key) -> Option<wgpu::Buffer> {
        self.set_only(key, false);
        let kept = self.kept.remove(key)?;
        self.kept_bytes -= kept.buffer.size();
        Some(kept.buffer)
    }

    /// Forgets a value or a gradient, whose buffer is used again.
    pub fn forget(&mut self, key: &Key) {
        if let Some(buffer) = self.take(key) {
            self.matrices.give(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_wastes_at_most_an_eighth_of_a_large_buffer() {
        for bytes in (1..1 << 20).step_by(997) {
            let class = class_of(bytes);
            assert!(class >= bytes && class * 8 <= bytes * 10 + 8 * 256);
            assert_eq!(class_of(class), class);
        }
    }
}
