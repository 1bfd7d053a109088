//! A submission: operands sent, jobs done, results fetched.

use super::{
    super::{Away, Job},
    WgpuBackend,
    call::Call,
    device::Failed,
    element_wise,
    memory::Needs,
    transfer::take_over,
};
use std::sync::mpsc;

/// A result on its way back.
struct Readback {
    buffer: wgpu::Buffer,
    bytes: u64,
    arrived: mpsc::Receiver<bool>,
}

impl WgpuBackend {
    /// Does all jobs in one submission. Afterwards either all results are there, or none
    /// has been touched. Those that may stay on the device are not waited for.
    pub(super) fn run(&self, jobs: &mut [&mut Job<'_>], parallel: bool) -> Result<(), Failed> {
        let mut encoder = self.device.encoder();
        let (mut needs, mut scratch) = (Needs::default(), Vec::new());
        let mut places = Vec::with_capacity(jobs.len());
        let returned = {
            let mut memory = self.memory();
            memory.traffic.submissions += 1;
            for job in &*jobs {
                let a = memory.operand(&job.a, &mut needs, &mut scratch)?;
                let b = match job.b.values {
                    [] => a.clone(),
                    _ => memory.operand(&job.b, &mut needs, &mut scratch)?,
                };
                let leaves = memory.leaves(job);
                let c = memory.result(job, leaves, &mut scratch)?;
                let bytes = size_of_val(&*job.c) as u64;
                let readback = (!leaves).then(|| memory.readback(bytes));
                places.push((readback, [a, b, c]));
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
        for (job, (readback, buffers)) in jobs.iter().zip(&places) {
            let leaves = readback.is_none();
            let buffers = buffers.each_ref();
            self.encode_job(job, leaves, buffers, &mut encoder, &mut scratch);
            if let Some(readback) = readback {
                let bytes = size_of_val(&*job.c) as u64;
                encoder.copy_buffer_to_buffer(buffers[2], 0, readback, 0, bytes);
            }
        }
        let submission = self.device.queue.submit([encoder.finish()]);
        for transfer in needs.transfers {
            returned.after_submission(&transfer.upload);
        }
        let mut results = Vec::with_capacity(jobs.len());
        for (job, (readback, _)) in jobs.iter_mut().zip(&places) {
            if let Some(buffer) = readback {
                let readback = Readback::of(buffer.clone(), size_of_val(&*job.c));
                results.push((readback, &mut *job.c, job.work.accumulates()));
            }
        }
        if !results.is_empty() {
            self.fetch(results, submission, parallel)?;
        } else if self.device.failure.is_set() {
            return Err(Failed);
        }
        for (job, (readback, _)) in jobs.iter().zip(&places) {
            if let Some(place) = &job.place {
                place.set_away(readback.is_none());
            }
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

    /// Brings back what only the device has, all of it on its way before the first is waited
    /// for. It `stays` there if that is still counted on.
    pub(super) fn bring(&self, away: &mut [Away<'_>], stays: bool, parallel: bool) {
        if self.device.failure.is_set() {
            away.iter_mut().for_each(|away| away.values.fill(0.0));
            return;
        }
        let sent = away.iter().map(|away| self.send_back(away, stays));
        let sent: Vec<_> = sent.collect();
        for (away, sent) in away.iter_mut().zip(sent) {
            let done = sent.and_then(|(readback, submission)| {
                self.fetch(vec![(readback, away.values, false)], submission, parallel)
            });
            if done.is_err() {
                away.values.fill(0.0);
            }
        }
    }

    /// Lets the device add up and send back what only it has.
    fn send_back(
        &self,
        away: &Away<'_>,
        stays: bool,
    ) -> Result<(Readback, wgpu::SubmissionIndex), Failed> {
        let mut encoder = self.device.encoder();
        let bytes = size_of_val(away.values);
        let (sum, addends, buffer) = {
            let mut memory = self.memory();
            memory.traffic.submissions += 1;
            let places = away.identities.iter().map(|identity| memory.left(identity));
            let mut places = places.collect::<Result<Vec<_>, _>>()?.into_iter();
            let sum = places.next().ok_or(Failed)?;
            for identity in away.identities {
                memory.set_only(identity, stays);
            }
            (sum, places, memory.readback(bytes as u64))
        };
        for addend in addends {
            let len = away.values.len();
            let buffers = [(&addend, len), (&addend, len), (&sum, len)];
            let kind = element_wise::Kind::Sum(true);
            let call = Call::element_wise(kind, [len, 1], buffers);
            self.encode(&[call], &mut encoder, 1);
        }
        encoder.copy_buffer_to_buffer(&sum, 0, &buffer, 0, bytes as u64);
        let submission = self.device.queue.submit([encoder.finish()]);
        Ok((Readback::of(buffer, bytes), submission))
    }
}

impl Readback {
    /// What a submission has copied to a buffer.
    fn of(buffer: wgpu::Buffer, bytes: usize) -> Self {
        let (sender, arrived) = mpsc::channel();
        buffer.map_async(wgpu::MapMode::Read, .., move |result| {
            // The receiver is gone only after a failure.
            let _ = sender.send(result.is_ok());
        });
        Self {
            buffer,
            bytes: bytes as u64,
            arrived,
        }
    }
}
