//! Copies between the program's memory and buffers that a device can reach.

use rayon::prelude::*;
use std::sync::{Arc, Mutex};

/// Elements that one task copies.
pub(super) const BLOCK: usize = 1 << 16;

/// Writes the elements of a block, or of all from it on, to a buffer that can be written.
pub(super) fn write_block(
    upload: &wgpu::Buffer,
    block: usize,
    values: &[f32],
) -> Result<(), wgpu::MapRangeError> {
    let (first, bytes) = ((4 * block * BLOCK) as u64, size_of_val(values) as u64);
    upload
        .get_mapped_range_mut(first..first + bytes)?
        .copy_from_slice(bytemuck::cast_slice(values));
    Ok(())
}

/// Lets `encoder` copy what was written to the device.
pub(super) fn copy_over(
    upload: &wgpu::Buffer,
    matrix: &wgpu::Buffer,
    len: usize,
    encoder: &mut wgpu::CommandEncoder,
) {
    upload.unmap();
    encoder.copy_buffer_to_buffer(upload, 0, matrix, 0, 4 * len as u64);
}

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
        let write = |(block, values): (usize, &[f32])| write_block(&self.upload, block, values);
        match parallel {
            true => {
                let blocks = self.values.par_chunks(BLOCK).enumerate();
                blocks.try_for_each(write)?;
            }
            false => write((0, self.values))?,
        }
        copy_over(&self.upload, &self.matrix, self.values.len(), encoder);
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
