//! A checkpoint without files, for tests of logic.

use std::sync::Arc;

use crate::checkpoint::delta::Delta;
use crate::evolve::spec::StateEntry;

/// A checkpoint in memory: the deltas of all workers, in the order of epochs. After a [`rebase`](Self::rebase) the
/// first of them are bases.
#[derive(Clone, Default)]
pub struct MemoryCheckpoint {
    pub(super) epoch: u64,
    pub(super) states: Vec<StateEntry>,
    pub(super) deltas: Vec<Arc<Delta>>,
}

impl MemoryCheckpoint {
    /// Returns the last committed epoch, or 0 if the checkpoint is empty.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Adds an epoch with the delta of each worker. `states` are the states that the program has now.
    pub fn commit(&mut self, epoch: u64, states: Vec<StateEntry>, deltas: impl IntoIterator<Item = Arc<Delta>>) {
        (self.epoch, self.states) = (epoch, states);
        self.deltas.extend(deltas);
    }

    /// Replaces all deltas with `bases`, one per worker: its whole state at the end of the last epoch.
    pub fn rebase(&mut self, bases: impl IntoIterator<Item = Arc<Delta>>) {
        self.deltas = bases.into_iter().collect();
    }
}
