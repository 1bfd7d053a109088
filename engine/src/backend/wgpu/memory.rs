//! Buffers of the device and of the transfers, used again.

use super::{super::Identity, super::Operand, device::Failure};
use std::collections::BTreeMap;

/// Something on the device went wrong; what is in the device's failure.
#[derive(Debug)]
pub(super) struct Failed;

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
    used: u64,
}

/// All buffers.
pub(super) struct Memory {
    device: wgpu::Device,
    failure: Failure,
    matrices: Idle,
    /// Buffers that are mapped, ready to be written.
    uploads: Idle,
    readbacks: Idle,
    kept: BTreeMap<Identity, Kept>,
    kept_bytes: u64,
    budget: u64,
    clock: u64,
    sent: u64,
}

impl Memory {
    pub fn new(device: wgpu::Device, failure: Failure, budget: u64) -> Self {
        Self {
            device,
            failure,
            matrices: Idle::default(),
            uploads: Idle::default(),
            readbacks: Idle::default(),
            kept: BTreeMap::new(),
            kept_bytes: 0,
            budget,
            clock: 0,
            sent: 0,
        }
    }

    fn create(
        &self,
        label: &str,
        bytes: u64,
        usage: wgpu::BufferUsages,
        mapped: bool,
    ) -> wgpu::Buffer {
        self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size: class_of(bytes),
            usage,
            mapped_at_creation: mapped,
        })
    }

    /// A matrix with unspecified contents.
    pub fn matrix(&mut self, bytes: u64) -> wgpu::Buffer {
        self.matrices.take(bytes).unwrap_or_else(|| {
            use wgpu::BufferUsages as Usage;
            let usage = Usage::STORAGE | Usage::COPY_DST | Usage::COPY_SRC;
            self.create("matrix", bytes, usage, false)
        })
    }

    pub fn give_matrix(&mut self, buffer: wgpu::Buffer) {
        self.matrices.give(buffer);
    }

    pub fn readback(&mut self, bytes: u64) -> wgpu::Buffer {
        self.readbacks.take(bytes).unwrap_or_else(|| {
            use wgpu::BufferUsages as Usage;
            self.create("readback", bytes, Usage::MAP_READ | Usage::COPY_DST, false)
        })
    }

    pub fn give_readback(&mut self, buffer: wgpu::Buffer) {
        self.readbacks.give(buffer);
    }

    /// Takes a mapped buffer back.
    pub fn give_upload(&mut self, buffer: wgpu::Buffer) {
        self.uploads.give(buffer);
    }

    /// Bytes sent to the device so far.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// An operand on the device: what is kept of it, or a copy that `encoder` sends.
    /// Buffers to be given back after the submission go to `scratch` and `uploads`.
    pub fn operand(
        &mut self,
        operand: &Operand<'_>,
        encoder: &mut wgpu::CommandEncoder,
        scratch: &mut Vec<wgpu::Buffer>,
        uploads: &mut Vec<wgpu::Buffer>,
    ) -> Result<wgpu::Buffer, Failed> {
        self.clock += 1;
        let key = operand.identity.map(key_of);
        if let Some((identity, version)) = key
            && let Some(kept) = self.kept.get_mut(&identity)
        {
            kept.used = self.clock;
            let buffer = kept.buffer.clone();
            if kept.version != version {
                kept.version = version;
                self.send(operand.values, &buffer, encoder, uploads)?;
            }
            return Ok(buffer);
        }
        let bytes = size_of_val(operand.values) as u64;
        let buffer = self.matrix(bytes);
        self.send(operand.values, &buffer, encoder, uploads)?;
        match key {
            Some((identity, version)) => self.keep(identity, version, buffer.clone()),
            None => scratch.push(buffer.clone()),
        }
        Ok(buffer)
    }

    fn send(
        &mut self,
        values: &[f32],
        buffer: &wgpu::Buffer,
        encoder: &mut wgpu::CommandEncoder,
        uploads: &mut Vec<wgpu::Buffer>,
    ) -> Result<(), Failed> {
        let bytes = size_of_val(values) as u64;
        let upload = self.uploads.take(bytes).unwrap_or_else(|| {
            use wgpu::BufferUsages as Usage;
            self.create("upload", bytes, Usage::MAP_WRITE | Usage::COPY_SRC, true)
        });
        match upload.get_mapped_range_mut(..bytes) {
            Ok(mut view) => view.copy_from_slice(bytemuck::cast_slice(values)),
            Err(error) => {
                self.failure
                    .set(format!("out of memory for transfers: {error}"));
                return Err(Failed);
            }
        }
        upload.unmap();
        encoder.copy_buffer_to_buffer(&upload, 0, buffer, 0, bytes);
        uploads.push(upload);
        self.sent += bytes;
        Ok(())
    }

    /// Keeps a copy; what was not used for longest makes room for it. A buffer may be
    /// used again while earlier submissions read it: the queue keeps their order.
    fn keep(&mut self, identity: Identity, version: u64, buffer: wgpu::Buffer) {
        self.kept_bytes += buffer.size();
        let used = self.clock;
        let kept = Kept {
            buffer,
            version,
            used,
        };
        self.kept.insert(identity, kept);
        while self.kept_bytes > self.budget && self.kept.len() > 2 {
            let oldest = self.kept.iter().min_by_key(|(_, kept)| kept.used);
            let identity = *oldest.expect("more than two").0;
            self.forget(&identity);
        }
    }

    fn forget(&mut self, identity: &Identity) {
        if let Some(kept) = self.kept.remove(identity) {
            self.kept_bytes -= kept.buffer.size();
            self.matrices.give(kept.buffer);
        }
    }

    /// Forgets the values and gradients of a tape.
    pub fn release(&mut self, tape: u64) {
        let number = 0;
        for (first, last) in [
            (
                Identity::Value { tape, number },
                Identity::Value {
                    tape,
                    number: u32::MAX,
                },
            ),
            (
                Identity::Gradient { tape, number },
                Identity::Gradient {
                    tape,
                    number: u32::MAX,
                },
            ),
        ] {
            while let Some((&identity, _)) = self.kept.range(first..=last).next() {
                self.forget(&identity);
            }
        }
    }
}

/// One place for all versions of a parameter.
fn key_of(identity: Identity) -> (Identity, u64) {
    match identity {
        Identity::Parameter {
            network,
            index,
            version,
        } => {
            let place = Identity::Parameter {
                network,
                index,
                version: 0,
            };
            (place, version)
        }
        other => (other, 0),
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
