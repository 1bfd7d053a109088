//! The tape: an arena of values and operation records for one forward and backward.

mod arena;
mod backward;
mod graph;
mod record;
mod scope;
mod var;

pub use arena::{Edit, Noise};
pub use graph::{Call, Graph, GraphValue, Origin};
pub use scope::ScopeGuard;
pub use var::Var;

use crate::{backend::Backend, buffer::Pool, params::Params, profile::Profile};
use arena::Arena;
use std::{cell::RefCell, sync::Arc};

/// Records operations as they are executed and replays them backwards.
///
/// Records are appended in execution order, so that the reverse order is a
/// topological one: no hashing, no recursion, the same bits every time. The tape is
/// owned by the caller and [`reset`](Tape::reset) every step; its memory, down to the
/// boxes of the operations, is used again.
///
/// A [`Var`] cannot outlive the step that made it:
///
/// ```compile_fail
/// let mut tape = engine::tape::Tape::new();
/// let x = tape.constant([1], &[1.0]);
/// tape.reset();
/// let y = x + x;
/// ```
#[derive(Default)]
pub struct Tape {
    inner: RefCell<Arena>,
}

impl Tape {
    /// An empty tape on the CPU, with single-threaded kernels.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets kernels split their work over the threads of the current rayon pool.
    pub fn parallel(mut self, parallel: bool) -> Self {
        self.set_parallel(parallel);
        self
    }

    /// Lets kernels split their work over the threads of the current rayon pool, or not,
    /// from now on.
    pub fn set_parallel(&mut self, parallel: bool) {
        self.inner.get_mut().parallel = parallel;
    }

    /// Multiplies matrices with `backend`.
    pub fn with_backend(mut self, backend: Arc<dyn Backend>) -> Self {
        self.inner.get_mut().backend = backend;
        self
    }

    /// Empties the tape, and multiplies matrices with `backend` from now on.
    pub fn set_backend(&mut self, backend: Arc<dyn Backend>) {
        self.reset();
        self.inner.get_mut().backend = backend;
    }

    /// The backend.
    pub fn backend(&self) -> Arc<dyn Backend> {
        Arc::clone(&self.inner.borrow().backend)
    }

    /// Takes buffers from `pool`.
    pub fn with_pool(mut self, pool: Pool) -> Self {
        self.inner.get_mut().pool = pool;
        self
    }

    /// Switches the recording of operations for a backward on or off; off for evaluation.
    pub fn set_recording(&mut self, recording: bool) {
        self.inner.get_mut().recording = recording;
    }

    /// Keeps every value and its gradient over a backward, for [`Tape::graph`]; costs
    /// memory.
    pub fn set_keeping(&mut self) {
        self.inner.get_mut().keeping = true;
    }

    /// Lets the backend defer results from now on until they are read. A deferred result
    /// may be lost: it becomes zeros, and [`Backend::failure`] reports it.
    pub fn set_deferring(&mut self, deferring: bool) {
        self.inner.get_mut().deferring = deferring;
    }

    /// Measures the time of every operation from now on.
    pub fn set_profiling(&mut self) {
        self.inner.get_mut().profile = Some(Profile::default());
    }

    /// The times measured since [`Tape::set_profiling`] or the last call.
    pub fn take_profile(&mut self) -> Option<Profile> {
        self.inner.get_mut().profile.as_mut().map(std::mem::take)
    }

    /// Keeps what layers [`probe`](Tape::probe) from now on.
    pub fn set_probing(&mut self) {
        self.inner.get_mut().probes = Some(Vec::new());
    }

    /// Makes the parameters readable on this tape until the next reset.
    pub fn bind(&self, params: &Params) {
        self.inner.borrow_mut().params = Some(params.share());
    }

    /// Sets the source of random numbers; `None` turns dropout off.
    pub fn set_noise(&self, noise: Option<Noise>) {
        self.inner.borrow_mut().noise = noise;
    }

    /// Source of random numbers; `None` in evaluation.
    pub fn noise(&self) -> Option<Noise> {
        self.inner.borrow().noise
    }

    /// Empties the tape, keeping its memory, and lets go of the parameters.
    pub fn reset(&mut self) {
        self.inner.get_mut().reset();
    }

    /// Elements that this tape has allocated from the system so far.
    pub fn allocated(&self) -> usize {
        self.inner.borrow().pool.allocated()
    }
}
