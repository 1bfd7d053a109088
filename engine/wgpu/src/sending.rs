//! A changed weight on its way to the device. Every shard needs it at about the same time:
//! the threads that do copy it together, and it is sent once.

use crate::{
    device::{Failed, Opened},
    transfer::{BLOCK, Returned, copy_over, write_block},
};
use std::sync::{
    Arc, Condvar, Mutex,
    atomic::{AtomicUsize, Ordering},
};

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
