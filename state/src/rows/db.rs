//! The rows behind a worker's hot tables: its deltas, applied in the order of epochs.
//!
//! A `Db` always has exactly the state at the end of epoch [`Db::applied`]. Deltas wait in memory until they are needed
//! as rows: for a base snapshot, or because a table wants to evict. Several are merged first: a row that they changed
//! many times is written once. The deltas of a restored checkpoint wait in the same
//! way, but they are part of the state already: until they are applied, they are read on top of the rows.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock, TryLockError};

use super::above::{Above, merge};
use super::figures::RowFigures;
use super::maps::Maps;
#[cfg(feature = "rocksdb")]
use super::rocks::Rocks;
use super::snapshot::RowSnapshot;
use super::store::{RowStore, VisitOf, finds_none};
use crate::checkpoint::delta::Delta;
use crate::error::StateError;
use crate::ids::KeyGroup;
use crate::locks;

/// Size of the deltas that are applied together, about, in bytes. They are in memory until they are.
const TOGETHER_BYTES: usize = 128 << 20;

/// The rows of one worker, and the deltas that are not applied to them yet.
pub struct Db {
    pub(super) rows: Box<dyn RowStore>,
    pending: Mutex<VecDeque<Arc<Delta>>>,
    /// Restored deltas that are not in `rows` yet, and are read on top of them. They are applied before any other.
    above: RwLock<Option<Above>>,
    /// Whether the rows are so many that tables should load them while the job runs.
    large: AtomicBool,
    /// Locked while deltas are applied, because they have an order.
    applying: Mutex<()>,
    applied: AtomicU64,
    /// Expired values, as (epoch, state, time): at the end of the epoch, the values of the state with an expiry up to
    /// the time have expired. Until RocksDB has applied that epoch, a restore could still read them.
    expiring: Mutex<VecDeque<(u64, String, i64)>>,
    eager: AtomicBool,
    /// Whether the job has ended.
    given_up: AtomicBool,
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
            above: RwLock::default(),
            large: AtomicBool::new(false),
            applying: Mutex::default(),
            applied: AtomicU64::new(applied),
            expiring: Mutex::default(),
            eager: AtomicBool::new(false),
            given_up: AtomicBool::new(false),
            keeps,
        }
    }

    /// Reads these deltas on top of the rows from now on. They are those after the rows' base, up to the epoch with which
    /// this was opened. So many threads sort them.
    pub(crate) fn put_above(&self, deltas: Vec<Arc<Delta>>, threads: usize) {
        *locks::write(&self.above) = (!deltas.is_empty()).then(|| Above::new(deltas, threads));
    }

    /// Writes restored deltas into the rows, so that the rows alone are the state.
    pub(super) fn settle(&self) -> Result<(), StateError> {
        let above = locks::read(&self.above);
        let Some(restored) = &*above else { return Ok(()) };
        // They may be read on top meanwhile: a row that is written here already is the same above.
        self.merge(restored.deltas())?;
        drop(above);
        *locks::write(&self.above) = None;
        Ok(())
    }

    /// Returns whether a base should be taken soon, for the sake of the rows: deltas should be applied, but those of the
    /// restored checkpoint come first, and they may be many. Nobody should wait for that.
    #[must_use]
    pub fn waits_for_base(&self) -> bool {
        self.eager.load(Ordering::Relaxed) && locks::read(&self.above).is_some()
    }

    /// Has tables load their rows while the job runs, instead of when they are opened.
    pub(crate) fn load_later(&self) {
        self.large.store(true, Ordering::Relaxed);
    }

    /// Returns whether tables should load their rows while the job runs.
    pub(crate) fn loads_later(&self) -> bool {
        self.large.load(Ordering::Relaxed)
    }

    /// Returns the last epoch whose changes have been applied to the rows.
    #[must_use]
    pub fn applied(&self) -> u64 {
        self.applied.load(Ordering::Acquire)
    }

    /// Returns what RocksDB says of itself; `None` if rows are in maps.
    #[must_use]
    pub fn figures(&self) -> Option<RowFigures> {
        self.rows.figures()
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
        if !self.eager.load(Ordering::Relaxed) || self.waits_for_base() {
            return Ok(());
        }
        match self.applying.try_lock() {
            Ok(_in_order) => self.apply_in_order(),
            Err(TryLockError::Poisoned(_)) => self.apply_pending(),
            // A base is being taken, which applies what was pending when it began. This delta is applied with the next one.
            Err(TryLockError::WouldBlock) => Ok(()),
        }
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
        self.settle()?;
        let mut there = locks::lock(&self.pending).len();
        while there > 0 {
            let next = self.next_pending(there);
            let Some(last) = next.last() else { return Ok(()) };
            match &next[..] {
                [one] => self.apply(one, |_| true)?,
                several => self.merge(several)?,
            }
            self.applied.store(last.epoch(), Ordering::Release);
            self.expire(last.epoch());
            there -= next.len();
        }
        Ok(())
    }

    /// Takes the next deltas that are applied together: at most so many, and about [`TOGETHER_BYTES`].
    fn next_pending(&self, most: usize) -> Vec<Arc<Delta>> {
        let (mut pending, mut bytes, mut next) = (locks::lock(&self.pending), 0, Vec::new());
        while next.len() < most
            && bytes < TOGETHER_BYTES
            && let Some(delta) = pending.pop_front()
        {
            bytes += delta.sections().map(|(_, ops)| ops.as_slice().len()).sum::<usize>();
            next.push(delta);
        }
        next
    }

    /// Gives up what is being applied, because the job ends: the next run begins with the checkpoint's files.
    pub fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
    }

    /// Writes the changes of several deltas, which are in the order of epochs.
    fn merge(&self, deltas: &[Arc<Delta>]) -> Result<(), StateError> {
        let is_empty = |state: &str| finds_none(|visit| self.rows.scan_from(state, &[], visit));
        merge(deltas, is_empty, |merged| {
            if self.given_up.load(Ordering::Relaxed) {
                return Err(StateError::Internal("the job has ended, and its rows are not needed any more".to_owned()));
            }
            self.apply(merged, |_| true)
        })
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

    /// Visits all rows of a state whose key begins with `prefix`, in order, until `visit` returns false.
    pub(crate) fn scan(
        &self,
        state: &str,
        prefix: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<bool, StateError>,
    ) -> Result<(), StateError> {
        match &*locks::read(&self.above) {
            Some(above) => above.scan(&*self.rows, state, (prefix, prefix), &mut visit),
            None if prefix.is_empty() => self.rows.scan_from(state, prefix, &mut visit),
            None => self.rows.scan(state, prefix, &mut visit),
        }
    }

    /// Visits the rows of a state in order, from the first whose key is not before `from`, until `visit` returns false.
    pub(crate) fn scan_from(
        &self,
        state: &str,
        from: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<bool, StateError>,
    ) -> Result<(), StateError> {
        match &*locks::read(&self.above) {
            Some(above) => above.scan(&*self.rows, state, (&[], from), &mut visit),
            None => self.rows.scan_from(state, from, &mut visit),
        }
    }

    /// Returns the value of one row.
    pub(crate) fn get(&self, state: &str, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        let above = locks::read(&self.above);
        match above.as_ref().and_then(|above| above.get(state, key)) {
            Some(value) => Ok(value.map(<[u8]>::to_vec)),
            None => self.rows.get(state, key),
        }
    }

    /// Visits these rows, as far as there are any, with their indices in `keys`, which must be sorted.
    pub(crate) fn get_many(&self, state: &str, keys: &[Vec<u8>], visit: &mut VisitOf<'_>) -> Result<(), StateError> {
        if locks::read(&self.above).is_none() {
            return self.rows.get_many(state, keys, visit);
        }
        // It is so only until the first base after a restore.
        keys.iter().enumerate().try_for_each(|(at, key)| match self.get(state, key)? {
            Some(value) => visit(at, key, &value),
            None => Ok(()),
        })
    }

    /// Visits the rows of these entries in order, with the indices of the entries in `prefixes`, which must be sorted.
    pub(crate) fn scan_many(
        &self,
        state: &str,
        prefixes: &[Vec<u8>],
        visit: &mut VisitOf<'_>,
    ) -> Result<(), StateError> {
        if locks::read(&self.above).is_none() {
            return self.rows.scan_many(state, prefixes, visit);
        }
        let of_entry = |(at, prefix): (usize, &Vec<u8>)| {
            self.scan(state, prefix, |key, value| visit(at, key, value).map(|()| true))
        };
        prefixes.iter().enumerate().try_for_each(of_entry)
    }

    /// Takes a base snapshot of the state at the end of the last epoch that was pushed. Epochs that are pushed
    /// meanwhile are not in it.
    ///
    /// # Errors
    /// When RocksDB refuses.
    pub fn snapshot(&self) -> Result<RowSnapshot, StateError> {
        let _in_order = locks::lock(&self.applying);
        self.apply_in_order()?;
        let snapshot = self.rows.snapshot(self.applied())?;
        // Meanwhile nothing could be applied, and a table may wait for it.
        if self.eager.load(Ordering::Relaxed) {
            self.apply_in_order()?;
        }
        Ok(snapshot)
    }
}
