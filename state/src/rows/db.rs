//! What is behind a worker's hot tables: its deltas, materialised in the order of epochs.
//!
//! It always holds exactly the state at the end of epoch [`Db::applied`]. Deltas wait in memory until they are needed here,
//! for a base snapshot, or because a table wants to evict.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::maps::Maps;
#[cfg(feature = "rocksdb")]
use super::rocks::Rocks;
use super::snapshot::RowSnapshot;
use super::store::RowStore;
use crate::checkpoint::delta::Delta;
use crate::error::StateError;
use crate::ids::KeyGroup;
use crate::locks;

/// One worker's rows, and the deltas that are to come to them.
pub struct Db {
    pub(super) rows: Box<dyn RowStore>,
    pending: Mutex<VecDeque<Arc<Delta>>>,
    /// Held while deltas are applied: they have an order.
    applying: Mutex<()>,
    applied: AtomicU64,
    /// By epoch: a state, and up to when its values have expired at the end of it. A restore would still read them as long
    /// as RocksDB has not reached that epoch.
    expiring: Mutex<VecDeque<(u64, String, i64)>>,
    eager: AtomicBool,
    keeps: bool,
}

impl Db {
    /// Opens RocksDB in `path`. `keeps`: whether deltas are wanted at all (a checkpoint directory or a memory limit is
    /// set).
    #[cfg(feature = "rocksdb")]
    pub(crate) fn open(path: &Path, applied: u64, keeps: bool) -> Result<Self, StateError> {
        Ok(Self::over(Box::new(Rocks::open(path)?), applied, keeps))
    }

    /// Opens maps, which are empty and need no folder: this crate is built without RocksDB.
    #[cfg(not(feature = "rocksdb"))]
    pub(crate) fn open(_: &Path, applied: u64, keeps: bool) -> Result<Self, StateError> {
        Ok(Self::over(Box::new(Maps::default()), applied, keeps))
    }

    /// An empty RocksDB whose files are in memory, and gone with it.
    #[cfg(feature = "rocksdb")]
    pub(crate) fn in_memory(applied: u64) -> Result<Self, StateError> {
        Ok(Self::over(Box::new(Rocks::in_memory()?), applied, true))
    }

    /// The same without RocksDB.
    #[cfg(not(feature = "rocksdb"))]
    pub(crate) fn in_memory(applied: u64) -> Result<Self, StateError> {
        Ok(Self::simulated(applied))
    }

    /// Empty, and without RocksDB.
    pub(crate) fn simulated(applied: u64) -> Self {
        Self::over(Box::new(Maps::default()), applied, true)
    }

    fn over(rows: Box<dyn RowStore>, applied: u64, keeps: bool) -> Self {
        Self {
            rows,
            pending: Mutex::default(),
            applying: Mutex::default(),
            applied: AtomicU64::new(applied),
            expiring: Mutex::default(),
            eager: AtomicBool::new(false),
            keeps,
        }
    }

    /// The last epoch whose changes are in RocksDB.
    #[must_use]
    pub fn applied(&self) -> u64 {
        self.applied.load(Ordering::Acquire)
    }

    /// Whether deltas have to be encoded at all.
    pub(crate) fn keeps(&self) -> bool {
        self.keeps
    }

    /// From now on every delta is applied as it comes: a table wants to evict.
    pub(crate) fn apply_eagerly(&self) {
        self.eager.store(true, Ordering::Relaxed);
    }

    /// Takes in the changes of the next epoch.
    ///
    /// # Errors
    /// When RocksDB refuses.
    pub fn push(&self, delta: Arc<Delta>) -> Result<(), StateError> {
        if !self.keeps {
            return Ok(());
        }
        locks::lock(&self.pending).push_back(delta);
        if self.eager.load(Ordering::Relaxed) { self.apply_pending() } else { Ok(()) }
    }

    /// At the end of `epoch` every value of `state` that expires up to `before` has expired: compaction may
    /// drop it once RocksDB is there.
    pub(crate) fn expires(&self, state: &str, epoch: u64, before: i64) {
        locks::lock(&self.expiring).push_back((epoch, state.to_owned(), before));
    }

    /// Brings RocksDB up to the last delta that is there now.
    ///
    /// # Errors
    /// When RocksDB refuses.
    pub fn apply_pending(&self) -> Result<(), StateError> {
        let _in_order = locks::lock(&self.applying);
        self.apply_in_order()
    }

    fn apply_in_order(&self) -> Result<(), StateError> {
        let pending = || locks::lock(&self.pending);
        let there = pending().len();
        for _ in 0..there {
            let next = pending().pop_front();
            let Some(delta) = next else { return Ok(()) };
            self.apply(&delta, |_| true)?;
            self.applied.store(delta.epoch(), Ordering::Release);
            self.expire(delta.epoch());
        }
        Ok(())
    }

    /// At the end of `epoch` these have expired.
    fn expire(&self, epoch: u64) {
        let mut expiring = locks::lock(&self.expiring);
        while let Some((_, state, before)) = expiring.pop_front_if(|(of, _, _)| *of <= epoch) {
            self.rows.expired(&state, before);
        }
    }

    /// Writes the changes of `delta` whose key group `owned` holds for.
    pub(crate) fn apply(&self, delta: &Delta, owned: impl Fn(KeyGroup) -> bool) -> Result<(), StateError> {
        self.rows.apply(delta, &owned)
    }

    /// Makes sure that a state has its place.
    pub(crate) fn ensure(&self, state: &str) -> Result<(), StateError> {
        self.rows.ensure(state)
    }

    /// All rows of a state whose key begins with `prefix`, in order, until `visit` says stop (false).
    pub(crate) fn scan(
        &self,
        state: &str,
        prefix: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<bool, StateError>,
    ) -> Result<(), StateError> {
        self.rows.scan(state, prefix, &mut visit)
    }

    /// One row.
    pub(crate) fn get(&self, state: &str, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        self.rows.get(state, key)
    }

    /// Takes a base snapshot of the state at the end of the last epoch that was pushed. Epochs can be pushed
    /// meanwhile; they are not in it.
    ///
    /// # Errors
    /// When RocksDB refuses.
    pub fn snapshot(&self) -> Result<RowSnapshot, StateError> {
        let _in_order = locks::lock(&self.applying);
        self.apply_in_order()?;
        self.rows.snapshot(self.applied())
    }
}
