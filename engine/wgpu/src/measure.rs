//! Measuring which tile is fastest, and from which size on the device is.

use crate::{
    Gpu, bytes_of,
    device::runs,
    kernel::{TILES, Tile},
    tuning::{Class, Tuning},
};
use engine::backend::{Backend, CpuBackend, Job, Layout, Operand, Product, Target};
use std::{
    array,
    sync::Arc,
    time::{Duration, Instant},
};

/// Sizes of cubes at which device and CPU are compared.
const CUBES: [usize; 6] = [64, 128, 256, 512, 1024, 2048];

/// Number of measurements of each tile.
const ROUNDS: usize = 3;

/// The time of a round.
const ROUND: Duration = Duration::from_millis(5);

/// The longest time that a device is given to reach its clock rate.
const WARM_UP: Duration = Duration::from_millis(400);

impl Gpu {
    /// The fastest tile for products like this one, measured on the first of them.
    pub(super) fn tile(&self, product: &Product) -> Tile {
        let class = Class::of(product);
        let mut tuning = self.tuning.lock().expect("no holder panics");
        if let Some(&tile) = tuning.tiles.get(&class)
            && runs(&self.device.adapter, &tile)
        {
            return tile;
        }
        if !self.tunes {
            return TILES[0];
        }
        let possible: Vec<Tile> = TILES
            .into_iter()
            .filter(|tile| runs(&self.device.adapter, tile))
            .collect();
        let sizes = product.shapes().map(|[rows, columns]| rows * columns);
        let times = self.times(
            &sizes,
            &possible,
            |tile, buffers, encoder, scratch, rounds| {
                let [a, b, c] = buffers else { return };
                self.encode_product((product, tile, false), [a, b, c], encoder, scratch, rounds);
            },
        );
        let timed = times.iter().zip(possible);
        let best = timed
            .filter_map(|(time, tile)| Some(((*time)?, tile)))
            .min_by_key(|(time, _)| *time);
        let tile = best.map_or(TILES[0], |(_, tile)| tile);
        tuning.tiles.insert(class, tile);
        self.save(&tuning);
        tile
    }

    /// A cache that cannot be written costs a measurement next time, nothing else.
    pub(super) fn save(&self, tuning: &Tuning) {
        if let Some(path) = &self.cache {
            let _ = tuning.save(path);
        }
    }

    /// The time of a job on operands that are there; `None` where the device fails.
    pub(super) fn time(&self, job: &Job<'_>) -> Option<Duration> {
        let operands = job.operands.iter().map(Operand::len);
        let sizes: Vec<usize> = operands
            .chain(job.targets.iter().map(Target::len))
            .collect();
        self.times(&sizes, &[()], |(), buffers, encoder, scratch, rounds| {
            let matrices = buffers.iter().zip(&sizes);
            let mut matrices = matrices.map(|(buffer, &len)| (len > 0).then_some((buffer, len)));
            let operands = array::from_fn(|_| matrices.next().flatten());
            let targets = array::from_fn(|_| Some((matrices.next().flatten()?, false)));
            self.encode_work(&job.work, operands, targets, encoder, scratch, rounds);
        })[0]
    }

    /// The times of work on matrices of these sizes, done in each of these ways; `None` where
    /// the device fails. `encode` does it so many times over.
    ///
    /// An idle GPU runs at a fraction of its clock rate and needs tens of milliseconds of
    /// work to leave it. All kernels are compiled first, so that nothing interrupts what
    /// follows: work until it gets no faster, then [`ROUNDS`] rounds of about
    /// five milliseconds for each way in turn, of which the fastest counts.
    fn times<W: Copy>(
        &self,
        sizes: &[usize],
        ways: &[W],
        encode: impl Fn(W, &[wgpu::Buffer], &mut wgpu::CommandEncoder, &mut Vec<wgpu::Buffer>, u32),
    ) -> Vec<Option<Duration>> {
        let buffers: Vec<_> = {
            let mut memory = self.memory();
            let buffer = |&size| memory.matrix(bytes_of(size));
            sizes.iter().map(buffer).collect()
        };
        for (buffer, &size) in buffers.iter().zip(sizes) {
            let values: Vec<f32> = (0..size)
                .map(|i| (i * 7919 % 1021) as f32 / 512.0 - 1.0)
                .collect();
            self.device
                .queue
                .write_buffer(buffer, 0, bytemuck::cast_slice(&values));
        }
        let timed = |way, repeats: u32| {
            let mut scratch = Vec::new();
            let mut encoder = self.device.encoder();
            encode(way, &buffers, &mut encoder, &mut scratch, repeats);
            let started = Instant::now();
            let submission = self.device.queue.submit([encoder.finish()]);
            self.device.wait(submission).ok()?;
            let time = started.elapsed() / repeats;
            self.give_back(scratch);
            Some(time)
        };
        let repeats = |once: Duration| -> u32 {
            (ROUND.as_nanos() / once.as_nanos().max(1)).clamp(1, 500) as u32
        };
        let mut times: Vec<Option<Duration>> = ways.iter().map(|&way| timed(way, 1)).collect();
        if let [Some(mut once), ..] = times[..] {
            let started = Instant::now();
            while started.elapsed() < WARM_UP {
                match timed(ways[0], repeats(once)) {
                    Some(time) if started.elapsed() < WARM_UP / 4 || time < once * 31 / 32 => {
                        once = once.min(time);
                    }
                    _ => break,
                }
            }
        }
        for _ in 0..ROUNDS {
            for (best, &way) in times.iter_mut().zip(ways) {
                *best = best.and_then(|best| Some(best.min(timed(way, repeats(best))?)));
            }
        }
        self.give_back(buffers);
        times
    }

    /// The edge of the smallest cube that the device, transfers included, computes sooner
    /// than one thread of the CPU, as measured now or before; `usize::MAX` if all threads
    /// together are faster than the device at every edge.
    ///
    /// A shard's thread that waits for the device leaves the other threads to their own
    /// shards: what it gives up is its own rate. What the step as a whole gains is decided by
    /// the rate of all threads.
    pub(super) fn measured_threshold(self: &Arc<Self>) -> usize {
        let known = self.tuning.lock().expect("no holder panics").threshold;
        if let Some(edge) = known {
            return edge;
        }
        let (mut smallest, mut threshold) = (None, usize::MAX);
        for edge in CUBES {
            let Some([all, one, device]) = self.time_cube(edge) else {
                return usize::MAX;
            };
            if device < one {
                smallest = smallest.or(Some(edge));
            }
            if device < all {
                threshold = smallest.unwrap_or(edge);
                break;
            }
            // So far behind that it will not catch up.
            if edge >= 256 && device > 4 * all {
                break;
            }
        }
        let mut tuning = self.tuning.lock().expect("no holder panics");
        tuning.threshold = Some(threshold);
        self.save(&tuning);
        threshold
    }

    /// The shortest times of a cube with all threads, with one, and on the device with its
    /// transfers; `None` if the device fails.
    fn time_cube(self: &Arc<Self>, edge: usize) -> Option<[Duration; 3]> {
        let product = Product::new(Layout::Nn, edge, edge, edge);
        let values = |shift: usize| -> Vec<f32> {
            (shift..edge * edge + shift)
                .map(|i| (i % 1021) as f32 / 512.0 - 1.0)
                .collect()
        };
        let (a, b, mut c) = (values(0), values(7), values(0));
        let mut best = [Duration::MAX; 3];
        // The first round of the device measures tiles and makes buffers.
        for _ in 0..4 {
            for (best, parallel) in best.iter_mut().zip([true, false]) {
                let started = Instant::now();
                CpuBackend.matmul(product, &a, &b, &mut c, parallel);
                *best = (*best).min(started.elapsed());
            }
            let mut job = Job::new(product, &a[..], &b[..], &mut c[..]);
            let started = Instant::now();
            self.run(&mut [&mut job], true).ok()?;
            best[2] = best[2].min(started.elapsed());
        }
        Some(best)
    }
}
