//! Leaving and taking up a training, bit for bit.

use super::Trainer;
use crate::state::{StateError, TrainState};
use sha2::{Digest, Sha256};

impl Trainer {
    /// Everything that the next step depends on. `seconds` is the wall time so far. Logs, if
    /// there are any, are for the caller to add.
    pub fn state(&self, seconds: f64) -> TrainState {
        let (first, second) = self.optimiser.moments();
        TrainState {
            identity: self.identity(),
            step: self.step,
            updates: self.optimiser.steps(),
            seconds,
            guard: self.guard.clone(),
            params: self.params.slab().to_vec(),
            first_moment: first.to_vec(),
            second_moment: second.to_vec(),
            logs: None,
        }
    }

    /// Goes on from a state.
    ///
    /// # Errors
    /// [`StateError::OtherRun`] if it was made by another configuration, on another
    /// corpus, or by a program that builds this network differently.
    pub fn restore(&mut self, state: &TrainState) -> Result<(), StateError> {
        let slab = self.params.slab().len();
        let slabs = [&state.params, &state.first_moment, &state.second_moment];
        let fits = state.identity == self.identity()
            && slabs.iter().all(|values| values.len() == slab)
            && state.guard.fits(&self.params);
        if !fits {
            return Err(StateError::OtherRun);
        }
        self.params.slab_mut().copy_from_slice(&state.params);
        self.optimiser
            .restore(&state.first_moment, &state.second_moment, state.updates);
        self.guard = state.guard.clone();
        self.step = state.step;
        self.earlier_seconds = state.seconds;
        Ok(())
    }

    /// A digest of configuration, data and parameter names.
    fn identity(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.config.identity());
        hash.update(&self.task.data().fingerprint);
        for part in self.params.parts() {
            hash.update([0]);
            hash.update(&part.name);
            hash.update((part.range.start as u64).to_le_bytes());
            hash.update((part.range.end as u64).to_le_bytes());
        }
        hash.finalize().into()
    }
}
