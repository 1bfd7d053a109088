//! Copies between the program's memory and buffers that a device can reach.

use rayon::prelude::*;
use std::sync::{Arc, Mutex};

/// Elements that one task copies.
const BLOCK: usize = 1 << 16;

/// Buffers that can be written again.
#[derive(Clone, Debug, Default)]
pub(super) struct Returned(Arc<Mutex<Vec<wgpu::Buffer>>>);

impl Returned {
    pub fn take(&self) -> Vec<wgpu::Buffer> {
        std::mem::take(&mut self.0.lock().expect("no holder panics"))
    }

    /// After a submission that reads a buffer: it comes back when the device has done so.
    pub fn after_submission(&self, upload: &wgpu::Buffer) {
        let (returned, buffer) = (self.clone(), upload.clone());
        let give = move |mapped: Result<(), wgpu::BufferAsyncError>| {
            if mapped.is_ok() {
                returned.0.lock().expect("no holder panics").push(buffer);
            }
        };
        upload.map_async(wgpu::MapMode::Write, .., give);
    }
}

/// Elements on their way to the device.
pub(super) struct Transfer<'a> {
    pub values: &'a [f32],
    /// A buffer that can be written.
    pub upload: wgpu::Buffer,
    pub matrix: wgpu::Buffer,
}

impl Transfer<'_> {
    /// Writes the elements, and lets `encoder` copy them to the device.
    pub fn write(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        parallel: bool,
    ) -> Result<(), wgpu::MapRangeError> {
        let write = |(i, values): (usize, &[f32])| {
            let first = (4 * i * BLOCK) as u64;
            let bytes: &[u8] = bytemuck::cast_slice(values);
            let range = first..first + bytes.len() as u64;
            self.upload
                .get_mapped_range_mut(range)?
                .copy_from_slice(bytes);
            Ok(())
        };
        match parallel {
            true => {
                let blocks = self.values.par_chunks(BLOCK).enumerate();
                blocks.try_for_each(write)?;
            }
            false => write((0, self.values))?,
        }
        self.upload.unmap();
        let bytes = size_of_val(self.values) as u64;
        encoder.copy_buffer_to_buffer(&self.upload, 0, &self.matrix, 0, bytes);
        Ok(())
    }
}

/// `c = result` or `c += result`.
pub(super) fn take_over(c: &mut [f32], result: &[f32], accumulate: bool, parallel: bool) {
    let take = |(c, result): (&mut [f32], &[f32])| match accumulate {
        true => c.iter_mut().zip(result).for_each(|(c, x)| *c += x),
        false => c.copy_from_slice(result),
    };
    match parallel {
        true => c
            .par_chunks_mut(BLOCK)
            .zip(result.par_chunks(BLOCK))
            .for_each(take),
        false => take((c, result)),
    }
}
