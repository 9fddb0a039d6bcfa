//! The rows behind a worker's hot tables: its deltas, applied in the order of epochs.
//!
//! A `Db` always has exactly the state at the end of epoch [`Db::applied`]. Deltas wait in memory until they are needed
//! as rows: for a base snapshot, or because a table wants to evict.

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

/// The rows of one worker, and the deltas that are not applied to them yet.
pub struct Db {
    pub(super) rows: Box<dyn RowStore>,
    pending: Mutex<VecDeque<Arc<Delta>>>,
    /// Locked while deltas are applied, because they have an order.
    applying: Mutex<()>,
    applied: AtomicU64,
    /// Expired values, as (epoch, state, time): at the end of the epoch, the values of the state with an expiry up to
    /// the time have expired. Until RocksDB has applied that epoch, a restore could still read them.
    expiring: Mutex<VecDeque<(u64, String, i64)>>,
    eager: AtomicBool,
    keeps: bool,
}

impl Db {
    /// Opens RocksDB in the folder `path`. `keeps` says whether deltas are needed at all, which is so if a checkpoint
    /// directory or a memory limit is set.
    #[cfg(feature = "rocksdb")]
    pub(crate) fn open(path: &Path, applied: u64, keeps: bool) -> Result<Self, StateError> {
        Ok(Self::over(Box::new(Rocks::open(path)?), applied, keeps))
    }

    /// Opens empty maps, which need no folder, because this crate is built without RocksDB.
    #[cfg(not(feature = "rocksdb"))]
    pub(crate) fn open(_: &Path, applied: u64, keeps: bool) -> Result<Self, StateError> {
        Ok(Self::over(Box::new(Maps::default()), applied, keeps))
    }

    /// Creates an empty RocksDB, whose files are in memory and are removed with it.
    #[cfg(feature = "rocksdb")]
    pub(crate) fn in_memory(applied: u64) -> Result<Self, StateError> {
        Ok(Self::over(Box::new(Rocks::in_memory()?), applied, true))
    }

    /// Creates empty maps, because this crate is built without RocksDB.
    #[cfg(not(feature = "rocksdb"))]
    pub(crate) fn in_memory(applied: u64) -> Result<Self, StateError> {
        Ok(Self::simulated(applied))
    }

    /// Creates empty maps, for a simulated job.
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

    /// Returns the last epoch whose changes have been applied to the rows.
    #[must_use]
    pub fn applied(&self) -> u64 {
        self.applied.load(Ordering::Acquire)
    }

    /// Returns whether deltas are needed at all.
    pub(crate) fn keeps(&self) -> bool {
        self.keeps
    }

    /// Makes every later delta be applied as it comes, because a table wants to evict.
    pub(crate) fn apply_eagerly(&self) {
        self.eager.store(true, Ordering::Relaxed);
    }

    /// Adds the changes of the next epoch.
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

    /// Notes that, at the end of `epoch`, every value of `state` with an expiry up to `before` has expired.
    /// Compaction may remove these values once the epoch has been applied.
    pub(crate) fn expires(&self, state: &str, epoch: u64, before: i64) {
        locks::lock(&self.expiring).push_back((epoch, state.to_owned(), before));
    }

    /// Applies all deltas that are waiting now.
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

    /// Passes on to the rows which values have expired at the end of `epoch`.
    fn expire(&self, epoch: u64) {
        let mut expiring = locks::lock(&self.expiring);
        while let Some((_, state, before)) = expiring.pop_front_if(|(of, _, _)| *of <= epoch) {
            self.rows.expired(&state, before);
        }
    }

    /// Writes the changes of `delta` in the key groups for which `owned` returns true.
    pub(crate) fn apply(&self, delta: &Delta, owned: impl Fn(KeyGroup) -> bool) -> Result<(), StateError> {
        self.rows.apply(delta, &owned)
    }

    /// Makes a state known to the rows.
    pub(crate) fn ensure(&self, state: &str) -> Result<(), StateError> {
        self.rows.ensure(state)
    }

    /// Visits all rows of a state whose key begins with `prefix`, in order, until `visit` returns false.
    pub(crate) fn scan(
        &self,
        state: &str,
        prefix: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<bool, StateError>,
    ) -> Result<(), StateError> {
        self.rows.scan(state, prefix, &mut visit)
    }

    /// Returns the value of one row.
    pub(crate) fn get(&self, state: &str, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        self.rows.get(state, key)
    }

    /// Takes a base snapshot of the state at the end of the last epoch that was pushed. Epochs that are pushed
    /// meanwhile are not in it.
    ///
    /// # Errors
    /// When RocksDB refuses.
    pub fn snapshot(&self) -> Result<RowSnapshot, StateError> {
        let _in_order = locks::lock(&self.applying);
        self.apply_in_order()?;
        self.rows.snapshot(self.applied())
    }
}
