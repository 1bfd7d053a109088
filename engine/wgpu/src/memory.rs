//! Buffers of the device and of the transfers, used again.

use super::{
    super::{Identity, Job, Operand, Options, Traffic},
    device::{Device, Failed},
    sending::Sending,
    transfer::{Returned, Transfer},
};
use std::{collections::BTreeMap, sync::Arc};

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
    /// Whether it is no copy: nobody else has the elements.
    only: bool,
    /// On its way here.
    sending: Option<Arc<Sending>>,
}

/// What has to be sent before a submission.
#[derive(Default)]
pub(super) struct Needs<'a> {
    /// What this submission sends.
    pub transfers: Vec<Transfer<'a>>,
    /// Weights that are on their way: others need them as well.
    pub weights: Vec<(Arc<Sending>, &'a [f32])>,
}

/// All buffers.
pub(super) struct Memory {
    device: Arc<Device>,
    matrices: Idle,
    /// Buffers that can be written.
    uploads: Idle,
    pub returned: Returned,
    readbacks: Idle,
    kept: BTreeMap<Identity, Kept>,
    kept_bytes: u64,
    /// Of what nobody else has.
    only_bytes: u64,
    /// The last result of each tape.
    results: BTreeMap<u64, Identity>,
    budget: u64,
    fetch_results: bool,
    clock: u64,
    pub traffic: Traffic,
}

impl Memory {
    pub fn new(device: Arc<Device>, options: &Options) -> Self {
        Self {
            device,
            matrices: Idle::default(),
            uploads: Idle::default(),
            returned: Returned::default(),
            readbacks: Idle::default(),
            kept: BTreeMap::new(),
            kept_bytes: 0,
            only_bytes: 0,
            results: BTreeMap::new(),
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

    /// Whether the device has an operand.
    pub fn has(&self, operand: &Operand<'_>) -> bool {
        let key = operand.identity.map(key_of);
        key.is_some_and(|(identity, version)| {
            let kept = self.kept.get(&identity);
            kept.is_some_and(|kept| kept.version == version)
        })
    }

    /// The place of an operand on the device. If it is not there yet, `needs` receives what
    /// has to be done before it is read; the buffer goes to `scratch` unless it is kept.
    pub fn operand<'a>(
        &mut self,
        operand: &Operand<'a>,
        needs: &mut Needs<'a>,
        scratch: &mut Vec<wgpu::Buffer>,
    ) -> Result<wgpu::Buffer, Failed> {
        self.clock += 1;
        let key = operand.identity.map(key_of);
        let kept = key.and_then(|(identity, _)| self.kept.get_mut(&identity));
        let matrix = match (kept, key) {
            (Some(kept), Some((_, version))) => {
                kept.used = self.clock;
                if std::mem::replace(&mut kept.version, version) == version {
                    if kept.sending.as_ref().is_some_and(|way| way.is_submitted()) {
                        kept.sending = None;
                    }
                    let sending = kept.sending.iter().cloned();
                    needs
                        .weights
                        .extend(sending.map(|way| (way, operand.values)));
                    return Ok(kept.buffer.clone());
                }
                kept.buffer.clone()
            }
            _ if operand.away => return Err(self.lost()),
            (_, key) => {
                let same = |transfer: &&Transfer<'_>| std::ptr::eq(transfer.values, operand.values);
                if let (None, Some(transfer)) = (key, needs.transfers.iter().find(same)) {
                    return Ok(transfer.matrix.clone());
                }
                let matrix = self.matrix(size_of_val(operand.values) as u64);
                match key {
                    Some((identity, version)) => {
                        self.keep(identity, version, matrix.clone(), false);
                    }
                    None => scratch.push(matrix.clone()),
                }
                matrix
            }
        };
        let bytes = size_of_val(operand.values) as u64;
        let upload = self.upload(bytes);
        self.traffic.sent += bytes;
        match (operand.identity, key) {
            (Some(Identity::Parameter { .. }), Some((identity, _))) => {
                let sending = Sending::new(upload, matrix.clone(), operand.values.len());
                if let Some(kept) = self.kept.get_mut(&identity) {
                    kept.sending = Some(sending.clone());
                }
                needs.weights.push((sending, operand.values));
            }
            _ => needs.transfers.push(Transfer {
                values: operand.values,
                upload,
                matrix: matrix.clone(),
            }),
        }
        Ok(matrix)
    }

    /// Whether the result of a job may stay, and there is room for it. One that is added to
    /// what is elsewhere may not.
    pub fn leaves(&self, job: &Job<'_>) -> bool {
        let may = !self.fetch_results && job.place.is_some_and(|place| place.away.is_some());
        let bytes = size_of_val(&*job.c) as u64;
        match job.work.accumulates() {
            true => job.is_away(),
            false => may && self.only_bytes + class_of(bytes) <= self.budget,
        }
    }

    /// The place of a result, which stays there alone if it `leaves` nothing to be fetched.
    ///
    /// A copy of a value that is fetched is kept for the next job of its tape, which makes the
    /// place free again unless it has used it.
    pub fn result(
        &mut self,
        job: &Job<'_>,
        leaves: bool,
        scratch: &mut Vec<wgpu::Buffer>,
    ) -> Result<wgpu::Buffer, Failed> {
        self.clock += 1;
        let identity = job.place.map(|place| place.identity);
        let bytes = size_of_val(&*job.c) as u64;
        let whole = !job.work.accumulates();
        if let (true, Some(identity)) = (leaves, identity) {
            return match (self.kept.get_mut(&identity), whole) {
                // The sum of the last step is the place for the next one.
                (Some(kept), _) => {
                    kept.used = self.clock;
                    let buffer = kept.buffer.clone();
                    self.set_only(&identity, true);
                    Ok(buffer)
                }
                (None, true) => {
                    let matrix = self.matrix(bytes);
                    self.keep(identity, 0, matrix.clone(), true);
                    Ok(matrix)
                }
                (None, false) => Err(self.lost()),
            };
        }
        let matrix = self.matrix(bytes);
        let Some(identity @ Identity::Value { tape, .. }) = identity.filter(|_| whole) else {
            scratch.push(matrix.clone());
            return Ok(matrix);
        };
        if let Some(last) = self.results.insert(tape, identity)
            && let Some(kept) = self.kept.get(&last)
            && kept.used == kept.made
            && !kept.only
        {
            self.forget(&last);
        }
        self.keep(identity, 0, matrix.clone(), false);
        Ok(matrix)
    }

    /// The place of what was left.
    pub fn left(&mut self, identity: &Identity) -> Result<wgpu::Buffer, Failed> {
        self.clock += 1;
        match self.kept.get_mut(identity) {
            Some(kept) => {
                kept.used = self.clock;
                Ok(kept.buffer.clone())
            }
            None => Err(self.lost()),
        }
    }

    /// What nobody else has is gone.
    fn lost(&self) -> Failed {
        self.device.failure.set("the device has lost a result");
        Failed
    }

    /// Notes whether nobody else has what is kept.
    pub fn set_only(&mut self, identity: &Identity, only: bool) {
        if let Some(kept) = self.kept.get_mut(identity) {
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
    fn keep(&mut self, identity: Identity, version: u64, buffer: wgpu::Buffer, only: bool) {
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
        self.kept.insert(identity, kept);
        while self.kept_bytes > self.budget {
            let copies = self.kept.iter().filter(|(_, kept)| !kept.only);
            let Some((&oldest, _)) = copies.min_by_key(|(_, kept)| kept.used) else {
                break;
            };
            self.take(&oldest);
        }
    }

    fn take(&mut self, identity: &Identity) -> Option<wgpu::Buffer> {
        self.set_only(identity, false);
        let kept = self.kept.remove(identity)?;
        self.kept_bytes -= kept.buffer.size();
        Some(kept.buffer)
    }

    /// Forgets a value, gradient or sum, whose place is used again.
    pub fn forget(&mut self, identity: &Identity) {
        if let Some(buffer) = self.take(identity) {
            self.matrices.give(buffer);
        }
    }

    /// Forgets the values and gradients of a tape.
    pub fn release(&mut self, tape: u64) {
        self.results.remove(&tape);
        let value = |number| Identity::Value { tape, number };
        let gradient = |pass, number| Identity::Gradient { tape, pass, number };
        let all = u32::MAX;
        for range in [value(0)..=value(all), gradient(0, 0)..=gradient(all, all)] {
            while let Some((&identity, _)) = self.kept.range(range.clone()).next() {
                self.forget(&identity);
            }
        }
    }
}

/// One place for all versions of a parameter, and the version.
fn key_of(identity: Identity) -> (Identity, u64) {
    let mut place = identity;
    match &mut place {
        Identity::Parameter { version, .. } => {
            let version = std::mem::take(version);
            (place, version)
        }
        Identity::Value { .. } | Identity::Gradient { .. } | Identity::Sum { .. } => (place, 0),
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
