//! Rows in RocksDB: a column family for each state.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use rocksdb::checkpoint::Checkpoint;
use rocksdb::{
    AsColumnFamilyRef, Cache, ColumnFamilyDescriptor, DB, Env, Options, PrefixRange, ReadOptions, WriteBatch,
};

use super::figures::RowFigures;
use super::options::{BLOCK_CACHE_BYTES, WRITE_BUFFER_BYTES, family_options, options, without_log};
use super::snapshot::RowSnapshot;
use super::store::{Put, Renew, RowStore, Visit, VisitOf, check_row};
use crate::checkpoint::delta::{Delta, Op};
use crate::codec;
use crate::error::StateError;
use crate::ids::KeyGroup;
use crate::locks;

/// Size of a batch that is written into RocksDB at a time, about.
const MAX_BATCH_BYTES: usize = 64 << 20;
const ROWS_PER_BATCH: usize = 10_000;
/// Number of bytes that a scan of a whole state reads at a time.
const READ_AHEAD_BYTES: usize = 1 << 20;
/// The column family that RocksDB always has. It belongs to no state.
const NO_STATE: &str = "default";

/// The RocksDB of one worker.
pub(crate) struct Rocks {
    path: PathBuf,
    /// The database. It is locked for writing only to create or drop a column family.
    rocks: RwLock<DB>,
    cache: Cache,
    /// Options of the families created after the opening. They own the compaction filters, and `create_cf` does not
    /// keep them. As a later field, they are dropped after `rocks`.
    created: Mutex<Vec<Options>>,
    /// Time up to which the values of each state have expired, for compaction.
    expired: Mutex<BTreeMap<String, Arc<AtomicI64>>>,
    /// Size of the write buffer of each state.
    write_buffer_bytes: usize,
}

impl Rocks {
    /// Opens the database in `path` with all its column families.
    pub(crate) fn open(path: &Path) -> Result<Self, StateError> {
        Self::open_with(&options(), path, WRITE_BUFFER_BYTES / 2)
    }

    /// Opens an empty database, whose files are in memory and are removed with it.
    pub(crate) fn in_memory() -> Result<Self, StateError> {
        let path = Path::new("/memory");
        let env = Env::mem_env().map_err(|source| StateError::Rocks { what: "open", path: path.to_owned(), source })?;
        let mut options = options();
        options.set_env(&env);
        // A test opens many databases, and allocating full write buffers that it never fills would take most of its
        // time.
        Self::open_with(&options, path, 64 << 10)
    }

    fn open_with(options: &Options, path: &Path, write_buffer_bytes: usize) -> Result<Self, StateError> {
        let known = DB::list_cf(options, path).unwrap_or_default();
        let cache = Cache::new_lru_cache(BLOCK_CACHE_BYTES);
        let mut expired = BTreeMap::new();
        let families: Vec<_> = known
            .into_iter()
            .map(|state| {
                let of_state = Arc::clone(expired.entry(state.clone()).or_insert_with(nothing_expired));
                ColumnFamilyDescriptor::new(state, family_options(&cache, of_state, write_buffer_bytes))
            })
            .collect();
        let rocks = DB::open_cf_descriptors(options, path, families).map_err(|source| StateError::Rocks {
            what: "open",
            path: path.to_owned(),
            source,
        })?;
        expired.remove(NO_STATE);
        Ok(Self {
            path: path.to_owned(),
            rocks: RwLock::new(rocks),
            cache,
            created: Mutex::default(),
            expired: Mutex::new(expired),
            write_buffer_bytes,
        })
    }

    /// Makes a state known, if it is not. That waits until it has rows: with each column family RocksDB writes the options
    /// of all into a file and reads them back, for which a start would wait.
    fn ensure(&self, state: &str) -> Result<(), StateError> {
        if locks::read(&self.rocks).cf_handle(state).is_some() {
            return Ok(());
        }
        let mut rocks = locks::write(&self.rocks);
        if rocks.cf_handle(state).is_some() {
            return Ok(());
        }
        let expired = nothing_expired();
        let options = family_options(&self.cache, Arc::clone(&expired), self.write_buffer_bytes);
        rocks.create_cf(state, &options).map_err(self.error("create a column family"))?;
        locks::lock(&self.created).push(options);
        locks::lock(&self.expired).insert(state.to_owned(), expired);
        Ok(())
    }

    fn error(&self, what: &'static str) -> impl FnOnce(rocksdb::Error) -> StateError {
        let path = self.path.clone();
        move |source| StateError::Rocks { what, path, source }
    }

    fn write(&self, rocks: &DB, batch: &mut WriteBatch) -> Result<(), StateError> {
        rocks.write_opt(std::mem::take(batch), &without_log()).map_err(self.error("write"))
    }

    fn scan_in(&self, rocks: &DB, state: &str, prefix: &[u8], visit: &mut Visit<'_>) -> Result<(), StateError> {
        let mut options = ReadOptions::default();
        options.set_iterate_range(PrefixRange(prefix));
        options.set_total_order_seek(prefix.is_empty());
        options.set_prefix_same_as_start(!prefix.is_empty());
        self.visit(rocks, state, (options, prefix), visit)
    }

    /// Visits the rows of a state that these options show, from the first whose key is not before `from`.
    fn visit(
        &self,
        rocks: &DB,
        state: &str,
        (options, from): (ReadOptions, &[u8]),
        visit: &mut Visit<'_>,
    ) -> Result<(), StateError> {
        let Some(family) = rocks.cf_handle(state) else { return Ok(()) };
        // This iterator lends its rows; the more convenient one allocates a key and a value for each.
        let mut rows = rocks.raw_iterator_cf_opt(&family, options);
        rows.seek(from);
        while let Some((key, value)) = rows.item() {
            if !visit(key, value)? {
                return Ok(());
            }
            rows.next();
        }
        rows.status().map_err(self.error("read"))
    }

    /// Puts rows of a known state, in batches.
    fn put_in(
        &self,
        rocks: &DB,
        state: &str,
        fill: &mut dyn FnMut(&mut Put<'_>) -> Result<(), StateError>,
    ) -> Result<(), StateError> {
        let Some(family) = rocks.cf_handle(state) else { return Ok(()) };
        let mut batch = WriteBatch::default();
        fill(&mut |key, value| {
            check_row(state, key, value)?;
            batch.put_cf(&family, key, value);
            let is_full = batch.len() >= ROWS_PER_BATCH || batch.size_in_bytes() >= MAX_BATCH_BYTES;
            if is_full { self.write(rocks, &mut batch) } else { Ok(()) }
        })?;
        self.write(rocks, &mut batch)
    }

    /// Checks that the files of a snapshot are as long as RocksDB wrote them. They are hard links to RocksDB's own
    /// files, as those of older bases are: a file that is cut in one place is cut in all.
    fn check_links(&self, rocks: &DB, folder: &Path) -> Result<(), StateError> {
        for live in rocks.live_files().map_err(self.error("list its files"))? {
            let path = folder.join(live.name.trim_start_matches('/'));
            // A file that was created since is not in the snapshot.
            let Ok(found) = fs::metadata(&path) else { continue };
            if found.len() != live.size as u64 {
                return Err(StateError::Corrupt {
                    file: self.path.join(live.name.trim_start_matches('/')).display().to_string(),
                    reason: format!(
                        "it has {} bytes instead of {}: it was truncated while the job ran, here or through its hard link in a base snapshot; no base snapshot can be taken with it",
                        found.len(),
                        live.size
                    ),
                });
            }
        }
        Ok(())
    }
}

impl RowStore for Rocks {
    fn states(&self) -> Vec<String> {
        locks::lock(&self.expired).keys().cloned().collect()
    }

    fn apply(&self, delta: &Delta, owned: &dyn Fn(KeyGroup) -> bool) -> Result<(), StateError> {
        delta.sections().try_for_each(|(state, _)| self.ensure(state))?;
        let rocks = locks::read(&self.rocks);
        let mut batch = WriteBatch::default();
        for (state, ops) in delta.sections() {
            let Some(family) = rocks.cf_handle(state) else { continue };
            let owned = ops.iter().flatten().filter(|op| owned(codec::group_of_row(op.key())));
            in_order_of_entries(owned, |op| {
                // A delta is written in parts, because RocksDB counts rows in 32 bits and a batch takes memory. No
                // reader sees a part: a row is read here only if no delta that is still to be applied has it.
                if batch.size_in_bytes() >= MAX_BATCH_BYTES {
                    self.write(&rocks, &mut batch)?;
                }
                change(&mut batch, &family, op);
                Ok(())
            })?;
        }
        self.write(&rocks, &mut batch)
    }

    fn scan(&self, state: &str, prefix: &[u8], visit: &mut Visit<'_>) -> Result<(), StateError> {
        self.scan_in(&locks::read(&self.rocks), state, prefix, visit)
    }

    fn scan_from(&self, state: &str, from: &[u8], visit: &mut Visit<'_>) -> Result<(), StateError> {
        let mut options = ReadOptions::default();
        options.set_total_order_seek(true);
        // Rows that are read once would push others out of the cache.
        options.fill_cache(false);
        options.set_readahead_size(READ_AHEAD_BYTES);
        self.visit(&locks::read(&self.rocks), state, (options, from), visit)
    }

    fn get(&self, state: &str, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        let rocks = locks::read(&self.rocks);
        let Some(family) = rocks.cf_handle(state) else { return Ok(None) };
        rocks.get_cf(&family, key).map_err(self.error("read"))
    }

    fn get_many(&self, state: &str, keys: &[Vec<u8>], visit: &mut VisitOf<'_>) -> Result<(), StateError> {
        let rocks = locks::read(&self.rocks);
        let Some(family) = rocks.cf_handle(state) else { return Ok(()) };
        let values = rocks.batched_multi_get_cf(&family, keys, true);
        keys.iter().zip(values).enumerate().try_for_each(|(at, (key, value))| {
            match value.map_err(self.error("read"))? {
                Some(value) => visit(at, key, &value),
                None => Ok(()),
            }
        })
    }

    /// Moves one iterator from entry to entry: creating it takes longer than moving it.
    fn scan_many(&self, state: &str, prefixes: &[Vec<u8>], visit: &mut VisitOf<'_>) -> Result<(), StateError> {
        let rocks = locks::read(&self.rocks);
        let Some(family) = rocks.cf_handle(state) else { return Ok(()) };
        let mut options = ReadOptions::default();
        options.set_prefix_same_as_start(true);
        let mut rows = rocks.raw_iterator_cf_opt(&family, options);
        for (at, prefix) in prefixes.iter().enumerate() {
            rows.seek(prefix);
            while let Some((key, value)) = rows.item().filter(|(key, _)| key.starts_with(prefix)) {
                visit(at, key, value)?;
                rows.next();
            }
            rows.status().map_err(self.error("read"))?;
        }
        Ok(())
    }

    fn put_rows(
        &self,
        state: &str,
        fill: &mut dyn FnMut(&mut Put<'_>) -> Result<(), StateError>,
    ) -> Result<(), StateError> {
        self.ensure(state)?;
        self.put_in(&locks::read(&self.rocks), state, fill)
    }

    fn rewrite(&self, from: &str, to: &str, renew: &mut Renew<'_>) -> Result<u64, StateError> {
        self.ensure(to)?;
        let rocks = locks::read(&self.rocks);
        let (mut rows, mut new) = (0, Vec::new());
        self.put_in(&rocks, to, &mut |put| {
            // The scan sees the rows as they were when it began, so it does not see the rows that are put.
            self.scan_in(&rocks, from, &[], &mut |key, old| {
                new.clear();
                renew(key, old, &mut new)?;
                rows += 1;
                put(key, &new).map(|()| true)
            })
        })?;
        Ok(rows)
    }

    fn remove(&self, state: &str) -> Result<(), StateError> {
        if locks::lock(&self.expired).remove(state).is_some() {
            locks::write(&self.rocks).drop_cf(state).map_err(self.error("drop a column family"))?;
        }
        Ok(())
    }

    fn expired(&self, state: &str, before: i64) {
        if let Some(expired) = locks::lock(&self.expired).get(state) {
            expired.store(before, Ordering::Relaxed);
        }
    }

    fn figures(&self) -> Option<RowFigures> {
        Some(RowFigures::of(&locks::read(&self.rocks), &self.states(), &self.cache))
    }

    fn snapshot(&self, epoch: u64) -> Result<RowSnapshot, StateError> {
        let folder = self.path.with_extension("snapshot");
        let rocks = locks::read(&self.rocks);
        let checkpoint = Checkpoint::new(&rocks).map_err(self.error("prepare a snapshot"))?;
        // RocksDB flushes its memtables first. The snapshot has hard links to the SST files.
        checkpoint.create_checkpoint(&folder).map_err(self.error("take a snapshot"))?;
        self.check_links(&rocks, &folder)?;
        make_durable(&folder)?;
        Ok(RowSnapshot::of_folder(epoch, folder))
    }

    #[cfg(test)]
    fn compact(&self, state: &str) {
        let rocks = locks::read(&self.rocks);
        if let Some(family) = rocks.cf_handle(state) {
            rocks.compact_range_cf(&family, None::<&[u8]>, None::<&[u8]>);
        }
    }
}

/// Visits changes in the order of their entries: RocksDB finds the place of a row in a write buffer faster if it comes
/// after the one before. Changes of one entry stay in their order, and so do all around a range.
fn in_order_of_entries<'a>(
    ops: impl Iterator<Item = Op<'a>>,
    mut visit: impl FnMut(Op<'a>) -> Result<(), StateError>,
) -> Result<(), StateError> {
    let is_range = |op: &Op<'_>| matches!(op, Op::DeleteRange { .. });
    let (mut ops, mut run) = (ops.peekable(), Vec::new());
    while ops.peek().is_some() {
        while run.len() < ROWS_PER_BATCH
            && let Some(op) = ops.next_if(|op| !is_range(op))
        {
            run.push(op);
        }
        run.sort_by(|a, b| codec::entry_of_row(a.key()).cmp(codec::entry_of_row(b.key())));
        run.drain(..).try_for_each(&mut visit)?;
        ops.next_if(is_range).map_or(Ok(()), &mut visit)?;
    }
    Ok(())
}

fn change(batch: &mut WriteBatch, family: &impl AsColumnFamilyRef, op: Op<'_>) {
    match op {
        Op::Put { key, value } => batch.put_cf(family, key, value),
        Op::Delete { key } => batch.delete_cf(family, key),
        Op::DeleteRange { from, to } => batch.delete_range_cf(family, from, to),
        Op::PutElements { row, from, values } => {
            let mut row = row.to_vec();
            for (element, value) in (from..).zip(values) {
                codec::with_sequence(&mut row, element, |row| batch.put_cf(family, row, value));
            }
        }
        Op::DeleteElements { row, from, to } => {
            let mut row = row.to_vec();
            for element in from..to {
                codec::with_sequence(&mut row, element, |row| batch.delete_cf(family, row));
            }
        }
    }
}

fn nothing_expired() -> Arc<AtomicI64> {
    Arc::new(AtomicI64::new(i64::MIN))
}

/// Makes the files of a snapshot durable, which may take the disk some time. It is done here, because taking a snapshot
/// does not delay the epochs, but storing it does.
fn make_durable(folder: &Path) -> Result<(), StateError> {
    for entry in fs::read_dir(folder).map_err(StateError::io("list", folder))? {
        let path = entry.map_err(StateError::io("list", folder))?.path();
        fs::File::open(&path).and_then(|file| file.sync_data()).map_err(StateError::io("make durable", &path))?;
    }
    Ok(())
}
