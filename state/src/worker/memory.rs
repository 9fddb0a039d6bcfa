//! A checkpoint without files, for tests of logic.

use std::sync::Arc;

use crate::checkpoint::delta::Delta;
use crate::evolve::spec::StateEntry;

/// A checkpoint in memory: of all workers a base, and the deltas after it in the order of epochs.
#[derive(Clone, Default)]
pub struct MemoryCheckpoint {
    pub(super) epoch: u64,
    pub(super) states: Vec<StateEntry>,
    pub(super) deltas: Vec<Arc<Delta>>,
}

impl MemoryCheckpoint {
    /// The epoch it is of; 0 when it is empty.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Adds an epoch: what each worker changed in it. `states` are those of the program now.
    pub fn commit(&mut self, epoch: u64, states: Vec<StateEntry>, deltas: impl IntoIterator<Item = Arc<Delta>>) {
        (self.epoch, self.states) = (epoch, states);
        self.deltas.extend(deltas);
    }

    /// Has `bases` take the place of all deltas: each a worker's whole state at the end of the last epoch.
    pub fn rebase(&mut self, bases: impl IntoIterator<Item = Arc<Delta>>) {
        self.deltas = bases.into_iter().collect();
    }
}
