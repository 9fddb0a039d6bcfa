//! The states of one operator, as its shell drives them.

use std::cell::RefCell;
use std::rc::Rc;

use crate::checkpoint::delta::Delta;
use crate::error::StateError;
use crate::hot::persistent::Persistent;

/// Any state, as the worker's state holds it.
pub(super) type SharedState = Rc<RefCell<dyn Persistent>>;

/// All states of one operator.
pub struct OperatorStates {
    pub(super) states: Vec<SharedState>,
    /// How many of them, from the front, have not written all of the epoch that is sealed.
    pub(super) unsealed: usize,
}

impl OperatorStates {
    /// Time has passed for all keys of the operator: what has expired by then goes, little by little.
    pub fn pass(&self, watermark_ms: i64, processing_time_ms: i64) {
        self.states.iter().for_each(|state| state.borrow_mut().pass(watermark_ms, processing_time_ms));
    }

    /// Begins to write what changed in `epoch`: to be gone on with by [`seal_on`](Self::seal_on), while records of
    /// the next epoch may be applied. The times are those of [`pass`](Self::pass).
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

    /// Goes on writing into the epoch's delta, about `entries` entries. Returns whether everything is written.
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

    /// Brings the entries with these hashes into the processor's caches.
    pub fn prefetch(&self, hashes: &[u64]) {
        self.states.iter().for_each(|state| state.borrow().prefetch(hashes));
    }
}
