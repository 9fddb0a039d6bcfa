//! The states of one operator, in the form in which its shell drives them.

use std::cell::RefCell;
use std::rc::Rc;

use crate::checkpoint::delta::Delta;
use crate::error::StateError;
use crate::hot::persistent::Persistent;
use crate::key::Key;

/// A state of any kind, shared by its operator and the worker's state.
pub(super) type SharedState = Rc<RefCell<dyn Persistent>>;

/// All states of one operator.
pub struct OperatorStates {
    pub(super) states: Vec<SharedState>,
    /// Number of states, from the front, that have not written all of the epoch that is being sealed.
    pub(super) unsealed: usize,
}

impl OperatorStates {
    /// Sets the times that have passed for all keys of the operator. Entries that have expired by then are
    /// removed, little by little.
    pub fn pass(&self, watermark_ms: i64, processing_time_ms: i64) {
        self.states.iter().for_each(|state| state.borrow_mut().pass(watermark_ms, processing_time_ms));
    }

    /// Begins to write the changes of `epoch`. [`seal_on`](Self::seal_on) continues, while records of the next epoch
    /// may already be applied. The times have the same meaning as in [`pass`](Self::pass).
    ///
    /// # Errors
    /// When a value refuses to be encoded.
    pub fn begin_seal(&mut self, epoch: u64, watermark_ms: i64, processing_time_ms: i64) -> Result<(), StateError> {
        self.unsealed = self.states.len();
        self.states.iter().try_for_each(|state| {
            let mut state = state.borrow_mut();
            state.pass(watermark_ms, processing_time_ms);
            state.begin_seal(epoch)
        })
    }

    /// Continues writing into the epoch's delta, about `entries` entries. Returns whether everything is written.
    ///
    /// # Errors
    /// When a value refuses to be encoded.
    pub fn seal_on(&mut self, entries: usize, delta: &mut Delta) -> Result<bool, StateError> {
        while let Some(state) = self.states[..self.unsealed].last() {
            let mut state = state.borrow_mut();
            let Some(ops) = state.seal_on(entries)? else { return Ok(false) };
            delta.set_section(state.spec().name.to_string(), ops);
            self.unsealed -= 1;
        }
        Ok(true)
    }

    /// Returns whether some entries may not be in memory, so that [`load_ahead`](Self::load_ahead) has something to do.
    #[must_use]
    pub fn are_partial(&self) -> bool {
        self.states.iter().any(|state| state.borrow().is_partial())
    }

    /// Loads the entries of the keys that are needed next, if they are not in memory.
    ///
    /// # Errors
    /// When stored rows cannot be read.
    #[allow(clippy::ptr_arg, reason = "the type of the keys is found again by that of the whole list")]
    pub fn load_ahead<K: Key>(&self, keys: &Vec<K>) -> Result<(), StateError> {
        self.states.iter().try_for_each(|state| state.borrow_mut().load_ahead(keys))
    }

    /// Prefetches the entries with these hashes into the processor's caches.
    pub fn prefetch(&self, hashes: &[u64]) {
        self.states.iter().for_each(|state| state.borrow().prefetch(hashes));
    }
}
