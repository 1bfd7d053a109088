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
use std::{
    array,
    sync::{Arc, mpsc},
};

/// Matrices of a job on the device; `None` where there is none.
#[derive(Default)]
struct Place {
    operands: [Option<wgpu::Buffer>; 5],
    targets: [Option<Made>; 2],
}

/// A result on the device.
struct Made {
    buffer: wgpu::Buffer,
    /// Destination of its download, unless it is deferred.
    readback: Option<wgpu::Buffer>,
    kept: Option<Resident>,
}

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
                let mut place = Place::default();
                for (buffer, operand) in place.operands.iter_mut().zip(&job.operands) {
                    if !operand.is_empty() {
                        *buffer =
                            Some(memory.operand(operand, &mut needs, &mut scratch, resident)?);
                    }
                }
                for (i, target) in job.targets.iter().enumerate() {
                    if !target.is_empty() {
                        let defers = memory.defers(target);
                        let (buffer, kept) =
                            memory.result(target, [defers, i == 0], &mut scratch, resident)?;
                        let readback = (!defers).then(|| memory.readback(bytes_of(target.len())));
                        place.targets[i] = Some(Made {
                            buffer,
                            readback,
                            kept,
                        });
                    }
                }
                places.push(place);
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
        for (job, place) in jobs.iter().zip(&places) {
            self.encode_job(job, place, &mut encoder, &mut scratch);
        }
        let submission = self.device.queue.submit([encoder.finish()]);
        for transfer in needs.transfers {
            returned.after_submission(&transfer.upload);
        }
        let mut results = Vec::with_capacity(jobs.len());
        for (job, place) in jobs.iter_mut().zip(&places) {
            for (target, made) in job.targets.iter_mut().zip(&place.targets) {
                if let Some(buffer) = made.as_ref().and_then(|made| made.readback.clone()) {
                    let readback = Readback::of(buffer, bytes_of(target.len()));
                    let adds = target.accumulates();
                    results.push((readback, target.memory(), adds));
                }
            }
        }
        if !results.is_empty() {
            self.fetch(results, submission, parallel)?;
        } else if self.device.failure.is_set() {
            return Err(Failed);
        }
        for (job, place) in jobs.iter_mut().zip(places) {
            for (target, made) in job.targets.iter_mut().zip(place.targets) {
                if let Some(made) = made {
                    target.computed(made.kept, made.readback.is_none());
                }
            }
        }
        self.give_back(scratch);
        Ok(())
    }

    /// Lets the encoder do a job, and copy what is downloaded.
    fn encode_job(
        &self,
        job: &Job<'_>,
        place: &Place,
        encoder: &mut wgpu::CommandEncoder,
        scratch: &mut Vec<wgpu::Buffer>,
    ) {
        let operands = array::from_fn(|i| {
            let buffer = place.operands[i].as_ref()?;
            Some((buffer, job.operands[i].len()))
        });
        let targets = array::from_fn(|i| {
            let (made, target) = (place.targets[i].as_ref()?, &job.targets[i]);
            // Elements of the CPU are added to when the result is downloaded.
            let adds = made.readback.is_none() && target.accumulates();
            Some(((&made.buffer, target.len()), adds))
        });
        self.encode_work(&job.work, operands, targets, encoder, scratch, 1);
        for (target, made) in job.targets.iter().zip(&place.targets) {
            if let Some(made) = made
                && let Some(readback) = &made.readback
            {
                let bytes = bytes_of(target.len());
                encoder.copy_buffer_to_buffer(&made.buffer, 0, readback, 0, bytes);
            }
        }
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
