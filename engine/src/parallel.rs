//! A training step over shards of the batch.
//!
//! The batch is cut into a fixed number of shards, a setting and not the number of
//! threads. Each shard runs forward and backward on its own tape, one micro-batch after
//! the other, while its activations stay in cache; the gradients of the shards are then
//! added in shard order. Kernels are single-threaded where there is a shard for every
//! thread, and share out their rows among the threads left over where there are fewer
//! shards. The bits of a step are those of its shards, for any number of threads.

use crate::{
    backend::Backend,
    params::{Gradients, Params},
    tape::{Tape, Var},
};
use std::sync::Arc;

/// Tapes and gradients of the shards of a training step.
pub struct Shards {
    tapes: Vec<Tape>,
    gradients: Vec<Gradients>,
}

/// One micro-batch: its place among all of a step.
#[derive(Clone, Copy, Debug)]
pub struct MicroBatch {
    /// Number, from 0 in the order of the batch.
    pub index: usize,
    /// Number in the step.
    pub count: usize,
}

impl Shards {
    /// `count` shards for the training of `params`; every tape is made by
    /// `new_tape`.
    ///
    /// # Panics
    /// If `count` is 0.
    pub fn new(count: usize, params: &Params, new_tape: impl Fn() -> Tape) -> Self {
        assert!(count > 0, "shards: at least one is needed");
        Self {
            tapes: (0..count).map(|_| new_tape()).collect(),
            gradients: (0..count).map(|_| Gradients::new(params)).collect(),
        }
    }

    /// Number of shards.
    pub fn count(&self) -> usize {
        self.tapes.len()
    }

    /// The tapes, to set or read their options.
    pub fn tapes_mut(&mut self) -> impl Iterator<Item = &mut Tape> {
        self.tapes.iter_mut()
    }

    /// Runs one micro-batch for each of `results`, consecutive runs of them on each
    /// shard, and stores there what `forward` returned beside its loss.
    ///
    /// `forward` records a micro-batch and returns its loss, whose gradient is added
    /// to the shard's, with anything to be kept. Afterwards
    /// [`Shards::gradients`] holds the sum over all micro-batches.
    ///
    /// If the backend fails meanwhile, the step is computed once more: a deferred result may
    /// be lost.
    pub fn step<T: Send>(
        &mut self,
        params: &Params,
        results: &mut [T],
        forward: impl for<'t> Fn(&'t Tape, MicroBatch) -> (Var<'t>, T) + Sync,
    ) {
        let total = Total {
            shards: self.tapes.len(),
            micro_batches: results.len(),
        };
        let idle_threads = self.tapes.len() < rayon::current_num_threads();
        let work = |tape: &mut Tape, gradients: &mut Gradients, first, slots: &mut [T]| {
            gradients.clear();
            tape.set_parallel(idle_threads);
            tape.set_deferring(true);
            for (offset, slot) in slots.iter_mut().enumerate() {
                let micro_batch = MicroBatch {
                    index: first + offset,
                    count: total.micro_batches,
                };
                tape.reset();
                tape.bind(params);
                let (loss, kept) = forward(tape, micro_batch);
                tape.backward(loss, gradients);
                *slot = kept;
            }
            tape.reset();
            tape.set_deferring(false);
            gradients.fill_untouched(params);
        };
        loop {
            let failed = self.backend().failure().is_some();
            let (tapes, gradients) = (&mut self.tapes, &mut self.gradients);
            run(tapes, gradients, 0, results, total, &work);
            Gradients::add_up(&mut self.gradients, params);
            if failed || self.backend().failure().is_none() {
                return;
            }
        }
    }

    /// The backend, the same for all shards.
    fn backend(&self) -> Arc<dyn Backend> {
        self.tapes[0].backend()
    }

    /// The gradients of the last step.
    pub fn gradients(&self) -> &Gradients {
        &self.gradients[0]
    }
}

#[derive(Clone, Copy)]
struct Total {
    shards: usize,
    micro_batches: usize,
}

impl Total {
    /// The first micro-batch of a shard.
    fn start(self, shard: usize) -> usize {
        shard * self.micro_batches / self.shards
    }
}

/// Runs `work` on every shard with the slots of its micro-batches, the shards in
/// parallel: halves recursively, so that nothing is allocated.
fn run<T: Send>(
    tapes: &mut [Tape],
    gradients: &mut [Gradients],
    number: usize,
    slots: &mut [T],
    total: Total,
    work: &(impl Fn(&mut Tape, &mut Gradients, usize, &mut [T]) + Sync),
) {
    match (&mut *tapes, &mut *gradients) {
        ([], _) | (_, []) => {}
        ([tape], [gradients]) => work(tape, gradients, total.start(number), slots),
        _ => {
            let half = tapes.len() / 2;
            let (left, right) = tapes.split_at_mut(half);
            let (left_gradients, right_gradients) = gradients.split_at_mut(half);
            let (left_slots, right_slots) =
                slots.split_at_mut(total.start(number + half) - total.start(number));
            rayon::join(
                || run(left, left_gradients, number, left_slots, total, work),
                || {
                    run(
                        right,
                        right_gradients,
                        number + half,
                        right_slots,
                        total,
                        work,
                    )
                },
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ops::{scale, sum},
        params::{Builder, Decay, Init},
        rng::Key,
    };

    /// Micro-batch i of step k has the loss `k (i + 1) w`.
    #[test]
    fn gradients_are_those_of_all_micro_batches_of_this_step() {
        let mut builder = Builder::new(Key::new(0));
        let weight = builder.param("w", [1], Decay::No, Init::Ones);
        let params = builder.finish();
        for count in [1, 2, 3, 5] {
            let mut shards = Shards::new(count, &params, Tape::new);
            for step in 1..4 {
                let mut indices = [usize::MAX; 5];
                shards.step(&params, &mut indices, |tape, micro_batch| {
                    let factor = (step * (micro_batch.index + 1)) as f32;
                    let loss = scale(sum(tape.param(weight)), factor);
                    (loss, micro_batch.index)
                });
                assert_eq!(indices, [0, 1, 2, 3, 4]);
                let gradient = shards.gradients().slab()[0];
                assert_eq!(gradient, 15.0 * step as f32, "{count} shards");
            }
        }
    }
}
