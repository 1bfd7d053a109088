//! Copies between the program's memory and buffers that a device can reach.
//!
//! A changed weight is needed by every shard at about the same time: the threads that do
//! copy it together, and it is sent once.

use crate::device::{Failed, Opened};
use rayon::prelude::*;
use std::sync::{
    Arc, Condvar, Mutex,
    atomic::{AtomicUsize, Ordering},
};

/// Elements that one task copies.
const BLOCK: usize = 1 << 16;

/// Writes the elements of a block, or of all from it on, to a buffer that can be written.
fn write_block(
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
fn copy_over(
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

/// A weight on its way.
#[derive(Debug)]
pub(super) struct Sending {
    /// A buffer that can be written.
    upload: wgpu::Buffer,
    matrix: wgpu::Buffer,
    len: usize,
    /// The next block to be copied.
    next: AtomicUsize,
    progress: Mutex<Progress>,
    changed: Condvar,
}

#[derive(Debug)]
struct Progress {
    /// Blocks that have been copied.
    copied: usize,
    /// Success of the transfer, once the device has been told to take it.
    submitted: Option<bool>,
}

impl Sending {
    pub fn new(upload: wgpu::Buffer, matrix: wgpu::Buffer, len: usize) -> Arc<Self> {
        Arc::new(Self {
            upload,
            matrix,
            len,
            next: AtomicUsize::new(0),
            progress: Mutex::new(Progress {
                copied: 0,
                submitted: None,
            }),
            changed: Condvar::new(),
        })
    }

    /// Returns whether the device has been told to take it: what is submitted from now on finds it.
    pub fn is_submitted(&self) -> bool {
        let progress = self.progress.lock().expect("no holder panics");
        progress.submitted == Some(true)
    }

    /// Copies what nobody else does, and returns when the device has been told to take it.
    /// Nobody waits for a thread that is not copying, so that this comes to an end whatever
    /// the threads of a pool do.
    ///
    /// # Panics
    /// If these are not the elements of the weight.
    pub fn help(&self, values: &[f32], device: &Opened, returned: &Returned) -> Result<(), Failed> {
        assert_eq!(values.len(), self.len, "a weight has changed its size");
        let blocks = self.len.div_ceil(BLOCK);
        let mut copied = 0;
        let mut well = true;
        loop {
            let block = self.next.fetch_add(1, Ordering::Relaxed);
            if block >= blocks {
                break;
            }
            let values = &values[block * BLOCK..self.len.min((block + 1) * BLOCK)];
            let written = write_block(&self.upload, block, values);
            well &= device.checked(written).is_ok();
            copied += 1;
        }
        let mut progress = self.progress.lock().expect("no holder panics");
        progress.copied += copied;
        if copied > 0 && progress.copied == blocks {
            drop(progress);
            let well = well && !device.failure.is_set();
            if well {
                self.submit(device, returned);
            }
            progress = self.progress.lock().expect("no holder panics");
            progress.submitted = Some(well);
            self.changed.notify_all();
        }
        let waiting = |progress: &mut Progress| progress.submitted.is_none();
        let progress = self.changed.wait_while(progress, waiting);
        match progress.expect("no holder panics").submitted {
            Some(true) => Ok(()),
            _ => Err(Failed),
        }
    }

    fn submit(&self, device: &Opened, returned: &Returned) {
        let mut encoder = device.encoder();
        copy_over(&self.upload, &self.matrix, self.len, &mut encoder);
        device.queue.submit([encoder.finish()]);
        returned.after_submission(&self.upload);
    }
}
