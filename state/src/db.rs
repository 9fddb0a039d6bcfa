//! RocksDB behind the hot tables: the deltas of a worker, materialised in the order of epochs.
//!
//! Written by the checkpoint thread only, so it always holds exactly the state at the end of epoch
//! [`Db::applied`]. Deltas wait in memory until somebody needs them here: a base snapshot, or a table
//! that wants to evict.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rocksdb::checkpoint::Checkpoint;
use rocksdb::{
    BlockBasedOptions, ColumnFamilyDescriptor, DB, DBCompressionType, Direction, IteratorMode, Options, WriteBatch,
    WriteOptions,
};

use crate::delta::{Delta, Op};
use crate::error::StateError;
use crate::store::{BaseEntry, CheckpointStore};

/// One worker's RocksDB.
pub struct Db {
    path: PathBuf,
    /// The lock is written only when a state's column family is created.
    rocks: RwLock<DB>,
    pending: Mutex<VecDeque<Arc<Delta>>>,
    applied: AtomicU64,
    eager: AtomicBool,
    keeps: bool,
}

impl Db {
    /// Opens `path` with all column families it has. `keeps`: whether deltas are wanted at all (a
    /// checkpoint directory or a memory limit is set).
    pub(crate) fn open(path: &Path, applied: u64, keeps: bool) -> Result<Self, StateError> {
        let options = options();
        let known = DB::list_cf(&options, path).unwrap_or_default();
        let families = known.into_iter().map(|name| ColumnFamilyDescriptor::new(name, family_options()));
        let rocks = DB::open_cf_descriptors(&options, path, families).map_err(|source| StateError::Rocks {
            what: "open",
            path: path.to_owned(),
            source,
        })?;
        Ok(Self {
            path: path.to_owned(),
            rocks: RwLock::new(rocks),
            pending: Mutex::default(),
            applied: AtomicU64::new(applied),
            eager: AtomicBool::new(false),
            keeps,
        })
    }

    fn error(&self, what: &'static str) -> impl FnOnce(rocksdb::Error) -> StateError {
        let path = self.path.clone();
        move |source| StateError::Rocks { what, path, source }
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
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).push_back(delta);
        if self.eager.load(Ordering::Relaxed) { self.apply_pending() } else { Ok(()) }
    }

    /// Brings RocksDB up to the last delta.
    ///
    /// # Errors
    /// When RocksDB refuses.
    pub fn apply_pending(&self) -> Result<(), StateError> {
        loop {
            let next = self.pending.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(delta) = next else { return Ok(()) };
            self.apply(&delta, |_| true)?;
            self.applied.store(delta.epoch(), Ordering::Release);
        }
    }

    /// Writes the changes of `delta` whose key group `owned` holds for.
    pub(crate) fn apply(&self, delta: &Delta, owned: impl Fn(u16) -> bool) -> Result<(), StateError> {
        for (state, _) in delta.sections() {
            self.ensure_family(state)?;
        }
        let rocks = self.rocks.read().unwrap_or_else(PoisonError::into_inner);
        let mut batch = WriteBatch::default();
        for (state, ops) in delta.sections() {
            let Some(family) = rocks.cf_handle(state) else { continue };
            for op in ops.iter().flatten().filter(|op| owned(crate::codec::group_of_row(op.key()))) {
                match op {
                    Op::Put { key, value } => batch.put_cf(&family, key, value),
                    Op::Delete { key } => batch.delete_cf(&family, key),
                    Op::DeleteRange { from, to } => batch.delete_range_cf(&family, from, to),
                }
            }
        }
        rocks.write_opt(batch, &without_log()).map_err(self.error("write"))
    }

    /// Makes sure that a state has its column family.
    pub(crate) fn ensure_family(&self, state: &str) -> Result<(), StateError> {
        if self.rocks.read().unwrap_or_else(PoisonError::into_inner).cf_handle(state).is_some() {
            return Ok(());
        }
        let mut rocks = self.rocks.write().unwrap_or_else(PoisonError::into_inner);
        rocks.create_cf(state, &family_options()).map_err(self.error("create a column family"))
    }

    /// All rows of a state whose key begins with `prefix`, in order, until `visit` says stop (false).
    pub(crate) fn scan(
        &self,
        state: &str,
        prefix: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<bool, StateError>,
    ) -> Result<(), StateError> {
        let rocks = self.rocks.read().unwrap_or_else(PoisonError::into_inner);
        let Some(family) = rocks.cf_handle(state) else { return Ok(()) };
        for row in rocks.iterator_cf(&family, IteratorMode::From(prefix, Direction::Forward)) {
            let (key, value) = row.map_err(self.error("read"))?;
            if !key.starts_with(prefix) || !visit(&key, &value)? {
                break;
            }
        }
        Ok(())
    }

    /// One row.
    pub(crate) fn get(&self, state: &str, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        let rocks = self.rocks.read().unwrap_or_else(PoisonError::into_inner);
        let Some(family) = rocks.cf_handle(state) else { return Ok(None) };
        rocks.get_cf(&family, key).map_err(self.error("read"))
    }

    /// The states that have rows here.
    pub(crate) fn families(&self) -> Result<Vec<String>, StateError> {
        let names = DB::list_cf(&options(), &self.path).map_err(self.error("list its column families"))?;
        Ok(names.into_iter().filter(|name| name != "default").collect())
    }

    /// Writes rows of another RocksDB that `owned` holds for: part of a restore with another number of
    /// workers.
    pub(crate) fn copy_from(&self, other: &Self, owned: impl Fn(u16) -> bool) -> Result<(), StateError> {
        const ROWS_PER_BATCH: usize = 10_000;
        for state in other.families()? {
            self.ensure_family(&state)?;
            let rocks = self.rocks.read().unwrap_or_else(PoisonError::into_inner);
            let Some(family) = rocks.cf_handle(&state) else { continue };
            let mut batch = WriteBatch::default();
            other.scan(&state, &[], |key, value| {
                if owned(crate::codec::group_of_row(key)) {
                    batch.put_cf(&family, key, value);
                }
                if batch.len() >= ROWS_PER_BATCH {
                    rocks.write_opt(std::mem::take(&mut batch), &without_log()).map_err(self.error("write"))?;
                }
                Ok(true)
            })?;
            rocks.write_opt(batch, &without_log()).map_err(self.error("write"))?;
        }
        Ok(())
    }

    /// Takes a base snapshot of the state at the end of `epoch`, which must be the last one pushed.
    ///
    /// # Errors
    /// When RocksDB or the store refuses.
    pub fn snapshot(
        &self,
        store: &dyn CheckpointStore,
        epoch: u64,
        worker: u32,
        incarnation: u64,
    ) -> Result<BaseEntry, StateError> {
        self.apply_pending()?;
        debug_assert_eq!(self.applied(), epoch);
        let folder = self.path.with_extension("snapshot");
        let rocks = self.rocks.read().unwrap_or_else(PoisonError::into_inner);
        let checkpoint = Checkpoint::new(&rocks).map_err(self.error("prepare a snapshot"))?;
        // RocksDB flushes its memtables first; SST files become hard links.
        checkpoint.create_checkpoint(&folder).map_err(self.error("take a snapshot"))?;
        let dir = format!("bases/{epoch:020}-w{worker:03}-{incarnation:016x}");
        let files = store.adopt(&dir, &folder)?;
        Ok(BaseEntry { epoch, dir, files })
    }
}

fn options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    // The state is what the deltas say: nothing of RocksDB's own log is needed.
    options.set_max_background_jobs(2);
    options.set_keep_log_file_num(2);
    options
}

fn family_options() -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_bloom_filter(10.0, false);
    let mut options = Options::default();
    options.set_block_based_table_factory(&blocks);
    options.set_compression_type(DBCompressionType::Lz4);
    options
}

fn without_log() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.disable_wal(true);
    options
}
