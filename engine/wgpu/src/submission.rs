//! A submission: operands sent, jobs done, results fetched.

use crate::{
    Gpu, bytes_of,
    call::Call,
    device::Failed,
    element_wise,
    memory::{Key, Needs},
    transfer::take_over,
};
use engine::backend::{Device, Download, Job, Resident};
use std::sync::{Arc, mpsc};

/// A result that is being downloaded.
struct Readback {
    buffer: wgpu::Buffer,
    bytes: u64,
    arrived: mpsc::Receiver<bool>,
}

impl Gpu {
    /// Does all jobs in one submission. Afterwards either all results are there, or none
    /// has been touched. Deferred ones are not waited for.
    pub(super) fn run(
        self: &Arc<Self>,
        jobs: &mut [&mut Job<'_>],
        parallel: bool,
    ) -> Result<(), Failed> {
        let resident = || Resident::new(Arc::clone(self) as Arc<dyn Device>, parallel);
        let mut encoder = self.device.encoder();
        let (mut needs, mut scratch) = (Needs::default(), Vec::new());
        let mut places = Vec::with_capacity(jobs.len());
        let returned = {
            let mut memory = self.memory();
            memory.traffic.submissions += 1;
            for job in &*jobs {
                let a = memory.operand(&job.a, &mut needs, &mut scratch, resident)?;
                let b = match job.b.is_empty() {
                    true => a.clone(),
                    false => memory.operand(&job.b, &mut needs, &mut scratch, resident)?,
                };
                let defers = memory.defers(job);
                let (c, kept) = memory.result(job, defers, &mut scratch, resident)?;
                let readback = (!defers).then(|| memory.readback(bytes_of(job.c.len())));
                places.push((readback, [a, b, c], kept));
            }
            memory.returned.clone()
        };
        // Without the lock: other threads copy and multiply meanwhile.
        for (weight, values) in &needs.weights {
            weight.help(values, &self.device, &returned)?;
        }
        for transfer in &needs.transfers {
            self.device
                .checked(transfer.write(&mut encoder, parallel))?;
        }
        for (job, (readback, buffers, _)) in jobs.iter().zip(&places) {
            let buffers = buffers.each_ref();
            self.encode_job(job, readback.is_none(), buffers, &mut encoder, &mut scratch);
            if let Some(readback) = readback {
                let bytes = bytes_of(job.c.len());
                encoder.copy_buffer_to_buffer(buffers[2], 0, readback, 0, bytes);
            }
        }
        let submission = self.device.queue.submit([encoder.finish()]);
        for transfer in needs.transfers {
            returned.after_submission(&transfer.upload);
        }
        let mut results = Vec::with_capacity(jobs.len());
        for (job, (readback, ..)) in jobs.iter_mut().zip(&places) {
            if let Some(buffer) = readback {
                let readback = Readback::of(buffer.clone(), bytes_of(job.c.len()));
                let adds = job.c.accumulates();
                results.push((readback, job.c.memory(), adds));
            }
        }
        if !results.is_empty() {
            self.fetch(results, submission, parallel)?;
        } else if self.device.failure.is_set() {
            return Err(Failed);
        }
        for (job, (readback, _, kept)) in jobs.iter_mut().zip(places) {
            job.c.computed(kept, readback.is_none());
        }
        self.give_back(scratch);
        Ok(())
    }

    /// Waits for results of a submission. Afterwards either all are there, or none has been
    /// touched.
    fn fetch(
        &self,
        results: Vec<(Readback, &mut [f32], bool)>,
        submission: wgpu::SubmissionIndex,
        parallel: bool,
    ) -> Result<(), Failed> {
        self.device.wait(submission)?;
        let views: Result<Vec<_>, Failed> = results
            .iter()
            .map(|(readback, ..)| {
                let arrived = readback.arrived.recv().ok().filter(|&mapped| mapped);
                self.device
                    .checked(arrived.ok_or("a result did not arrive"))?;
                let bytes = readback.bytes;
                self.device
                    .checked(readback.buffer.get_mapped_range(..bytes))
            })
            .collect();
        let mut buffers = Vec::with_capacity(results.len());
        for ((readback, c, adds), view) in results.into_iter().zip(views?) {
            take_over(c, bytemuck::cast_slice(&view), adds, parallel);
            buffers.push((readback.buffer, readback.bytes));
        }
        let mut memory = self.memory();
        for (buffer, bytes) in buffers {
            memory.traffic.fetched += bytes;
            buffer.unmap();
            memory.give_readback(buffer);
        }
        Ok(())
    }

    /// Downloads sums of deferred results, all of them on their way before the first is waited
    /// for. Copies stay.
    pub(super) fn download_sums(&self, sums: &mut [Download<'_>], parallel: bool) {
        if self.device.failure.is_set() {
            sums.iter_mut().for_each(|sum| sum.values.fill(0.0));
            return;
        }
        let sent: Vec<_> = sums.iter().map(|sum| self.send_back(sum)).collect();
        for (sum, sent) in sums.iter_mut().zip(sent) {
            let done = sent.and_then(|(readback, submission)| {
                self.fetch(
                    vec![(readback, &mut *sum.values, false)],
                    submission,
                    parallel,
                )
            });
            if done.is_err() {
                sum.values.fill(0.0);
            }
        }
    }

    /// Lets the device add up and send back what only it has.
    fn send_back(
        &self,
        wanted: &Download<'_>,
    ) -> Result<(Readback, wgpu::SubmissionIndex), Failed> {
        let mut encoder = self.device.encoder();
        let len = wanted.values.len();
        let bytes = bytes_of(len);
        let (sum, addends, buffer) = {
            let mut memory = self.memory();
            memory.traffic.submissions += 1;
            let keys = || wanted.keys.iter().map(|&key| Key::Resident(key));
            let buffers = keys().map(|key| memory.deferred(&key));
            let mut buffers = buffers.collect::<Result<Vec<_>, _>>()?.into_iter();
            let sum = buffers.next().ok_or(Failed)?;
            keys().for_each(|key| memory.set_only(&key, false));
            (sum, buffers, memory.readback(bytes))
        };
        for addend in addends {
            let buffers = [(&addend, len), (&addend, len), (&sum, len)];
            let kind = element_wise::Kind::Sum(true);
            let call = Call::element_wise(kind, [len, 1], buffers);
            self.encode(&[call], &mut encoder, 1);
        }
        encoder.copy_buffer_to_buffer(&sum, 0, &buffer, 0, bytes);
        let submission = self.device.queue.submit([encoder.finish()]);
        Ok((Readback::of(buffer, bytes), submission))
    }
}

impl Readback {
    /// Bytes that a submission has copied to a buffer.
    fn of(buffer: wgpu::Buffer, bytes: u64) -> Self {
        let (sender, arrived) = mpsc::channel();
        buffer.map_async(wgpu::MapMode::Read, .., move |result| {
            // The receiver is gone only after a failure.
            let _ = sender.send(result.is_ok());
        });
        Self {
            buffer,
            bytes,
            arrived,
        }
    }
}
