//! RocksDB behind the hot tables: the deltas of a worker, materialised in the order of epochs.
//!
//! It always holds exactly the state at the end of epoch [`Db::applied`]. Deltas wait in memory until somebody needs them here: a base snapshot, or a table
//! that wants to evict.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use rocksdb::checkpoint::Checkpoint;
use rocksdb::compaction_filter::Decision as CompactionDecision;
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DB, DBCompressionType, Direction, Env, IteratorMode, Options,
    PrefixRange, ReadOptions, SliceTransform, WriteBatch, WriteOptions,
};

use crate::checkpoint::delta::{Delta, Op};
use crate::checkpoint::store::{BaseEntry, BaseFile, CheckpointStore};
use crate::codec;
use crate::error::StateError;
use crate::locks;

use super::maps::Maps;

/// What all states of a worker together may take in RocksDB's write buffers before they are flushed, and in
/// its block cache. Both are beyond the memory limit of hot state.
const WRITE_BUFFER_BYTES: usize = 32 << 20;
const BLOCK_CACHE_BYTES: usize = 32 << 20;
/// What is written into RocksDB at a time, about.
pub(super) const MAX_BATCH_BYTES: usize = 64 << 20;
/// Its own lists of files and its log are begun anew at these sizes: each base has a copy of the first.
const MAX_LIST_BYTES: usize = 1 << 20;
const MAX_LOG_BYTES: usize = 4 << 20;

/// Up to when values of a state with a TTL have expired.
#[derive(Default)]
struct Expiry {
    /// By state: what compaction goes by.
    effective: Mutex<BTreeMap<String, Arc<AtomicI64>>>,
    /// What holds at the end of epochs that RocksDB has not reached: a restore would still read by it.
    noted: Mutex<VecDeque<(u64, String, i64)>>,
}

impl Expiry {
    fn of(&self, state: &str) -> Arc<AtomicI64> {
        let mut effective = locks::lock(&self.effective);
        Arc::clone(effective.entry(state.to_owned()).or_insert_with(|| Arc::new(AtomicI64::new(i64::MIN))))
    }

    fn note(&self, state: &str, epoch: u64, before: i64) {
        let mut noted = locks::lock(&self.noted);
        noted.push_back((epoch, state.to_owned(), before));
    }

    fn applied(&self, epoch: u64) {
        let mut noted = locks::lock(&self.noted);
        while let Some((_, state, before)) = noted.pop_front_if(|(of, _, _)| *of <= epoch) {
            self.of(&state).store(before, Ordering::Relaxed);
        }
    }
}

/// Where the rows are.
pub(super) enum Content {
    /// The lock is written only when a state's column family is created.
    Rocks(RwLock<DB>, Cache),
    Maps(RwLock<Maps>),
}

/// One worker's RocksDB.
pub struct Db {
    path: PathBuf,
    pub(super) content: Content,
    /// Options of the families created later: they own the compaction filters, and `create_cf` does not
    /// keep them. Dropped after `content`.
    created: Mutex<Vec<Options>>,
    expiry: Expiry,
    pending: Mutex<VecDeque<Arc<Delta>>>,
    /// Held while deltas are applied: they have an order.
    applying: Mutex<()>,
    applied: AtomicU64,
    eager: AtomicBool,
    keeps: bool,
    /// Of each state.
    write_buffer_bytes: usize,
}

impl Db {
    /// Opens `path` with all column families it has. `keeps`: whether deltas are wanted at all (a
    /// checkpoint directory or a memory limit is set).
    pub(crate) fn open(path: &Path, applied: u64, keeps: bool) -> Result<Self, StateError> {
        Self::open_with(&options(), path, applied, keeps, WRITE_BUFFER_BYTES / 2)
    }

    /// An empty one whose files are in memory, and gone with it.
    pub(crate) fn in_memory(applied: u64) -> Result<Self, StateError> {
        let path = Path::new("/memory");
        let env = Env::mem_env().map_err(|source| StateError::Rocks { what: "open", path: path.to_owned(), source })?;
        let mut options = options();
        options.set_env(&env);
        // A test opens many: memory for what it never writes would take most of its time.
        Self::open_with(&options, path, applied, true, 64 << 10)
    }

    /// An empty one without RocksDB.
    pub(crate) fn simulated(applied: u64) -> Self {
        let rows = Content::Maps(RwLock::default());
        Self::new(rows, Path::new("/simulated").to_owned(), Expiry::default(), applied, true, 0)
    }

    fn open_with(
        options: &Options,
        path: &Path,
        applied: u64,
        keeps: bool,
        write_buffer_bytes: usize,
    ) -> Result<Self, StateError> {
        let known = DB::list_cf(options, path).unwrap_or_default();
        let cache = Cache::new_lru_cache(BLOCK_CACHE_BYTES);
        let expiry = Expiry::default();
        let families = known.into_iter().map(|name| {
            let options = family_options(&cache, expiry.of(&name), write_buffer_bytes);
            ColumnFamilyDescriptor::new(name, options)
        });
        let rocks = DB::open_cf_descriptors(options, path, families).map_err(|source| StateError::Rocks {
            what: "open",
            path: path.to_owned(),
            source,
        })?;
        let rocks = Content::Rocks(RwLock::new(rocks), cache);
        Ok(Self::new(rocks, path.to_owned(), expiry, applied, keeps, write_buffer_bytes))
    }

    fn new(
        content: Content,
        path: PathBuf,
        expiry: Expiry,
        applied: u64,
        keeps: bool,
        write_buffer_bytes: usize,
    ) -> Self {
        Self {
            path,
            content,
            created: Mutex::default(),
            expiry,
            pending: Mutex::default(),
            applying: Mutex::default(),
            applied: AtomicU64::new(applied),
            eager: AtomicBool::new(false),
            keeps,
            write_buffer_bytes,
        }
    }

    pub(super) fn error(&self, what: &'static str) -> impl FnOnce(rocksdb::Error) -> StateError {
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
        locks::lock(&self.pending).push_back(delta);
        if self.eager.load(Ordering::Relaxed) { self.apply_pending() } else { Ok(()) }
    }

    /// At the end of `epoch` every value of `state` that expires up to `before` has expired: compaction may
    /// drop it once RocksDB is there.
    pub(crate) fn expires(&self, state: &str, epoch: u64, before: i64) {
        self.expiry.note(state, epoch, before);
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
            self.expiry.applied(delta.epoch());
        }
        Ok(())
    }

    /// Writes the changes of `delta` whose key group `owned` holds for.
    pub(crate) fn apply(&self, delta: &Delta, owned: impl Fn(u16) -> bool) -> Result<(), StateError> {
        let rocks = match &self.content {
            Content::Rocks(rocks, _) => rocks,
            Content::Maps(maps) => {
                let mut maps = locks::write(maps);
                for (state, ops) in delta.sections() {
                    let ops = ops.iter().flatten().filter(|op| owned(codec::group_of_row(op.key())));
                    ops.for_each(|op| maps.change(state, op));
                }
                return Ok(());
            }
        };
        for (state, _) in delta.sections() {
            self.ensure_family(state)?;
        }
        let rocks = locks::read(rocks);
        let mut batch = WriteBatch::default();
        for (state, ops) in delta.sections() {
            let Some(family) = rocks.cf_handle(state) else { continue };
            for op in ops.iter().flatten().filter(|op| owned(codec::group_of_row(op.key()))) {
                // In parts, because RocksDB counts rows in 32 bits, and memory is to be had. Nobody sees a part: a row is read
                // here only when no delta has it that is not applied.
                if batch.size_in_bytes() >= MAX_BATCH_BYTES {
                    rocks.write_opt(std::mem::take(&mut batch), &without_log()).map_err(self.error("write"))?;
                }
                match op {
                    Op::Put { key, value } => batch.put_cf(&family, key, value),
                    Op::Delete { key } => batch.delete_cf(&family, key),
                    Op::DeleteRange { from, to } => batch.delete_range_cf(&family, from, to),
                    Op::PutElements { row, from, values } => {
                        let mut row = row.to_vec();
                        for (element, value) in (from..).zip(values) {
                            codec::with_sequence(&mut row, element, |row| batch.put_cf(&family, row, value));
                        }
                    }
                    Op::DeleteElements { row, from, to } => {
                        let mut row = row.to_vec();
                        for element in from..to {
                            codec::with_sequence(&mut row, element, |row| batch.delete_cf(&family, row));
                        }
                    }
                }
            }
        }
        rocks.write_opt(batch, &without_log()).map_err(self.error("write"))
    }

    /// Makes sure that a state has its column family.
    pub(crate) fn ensure_family(&self, state: &str) -> Result<(), StateError> {
        let Content::Rocks(rocks, cache) = &self.content else { return Ok(()) };
        if locks::read(rocks).cf_handle(state).is_some() {
            return Ok(());
        }
        let mut rocks = locks::write(rocks);
        let options = family_options(cache, self.expiry.of(state), self.write_buffer_bytes);
        rocks.create_cf(state, &options).map_err(self.error("create a column family"))?;
        locks::lock(&self.created).push(options);
        Ok(())
    }

    /// All rows of a state whose key begins with `prefix`, in order, until `visit` says stop (false).
    pub(crate) fn scan(
        &self,
        state: &str,
        prefix: &[u8],
        visit: impl FnMut(&[u8], &[u8]) -> Result<bool, StateError>,
    ) -> Result<(), StateError> {
        match &self.content {
            Content::Rocks(rocks, _) => self.scan_in(&locks::read(rocks), state, prefix, visit),
            Content::Maps(maps) => locks::read(maps).scan(state, prefix, visit),
        }
    }

    pub(super) fn scan_in(
        &self,
        rocks: &DB,
        state: &str,
        prefix: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<bool, StateError>,
    ) -> Result<(), StateError> {
        let Some(family) = rocks.cf_handle(state) else { return Ok(()) };
        let mut options = ReadOptions::default();
        options.set_iterate_range(PrefixRange(prefix));
        options.set_total_order_seek(prefix.is_empty());
        options.set_prefix_same_as_start(!prefix.is_empty());
        for row in rocks.iterator_cf_opt(&family, options, IteratorMode::From(prefix, Direction::Forward)) {
            let (key, value) = row.map_err(self.error("read"))?;
            if !visit(&key, &value)? {
                break;
            }
        }
        Ok(())
    }

    /// One row.
    pub(crate) fn get(&self, state: &str, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        let rocks = match &self.content {
            Content::Rocks(rocks, _) => rocks,
            Content::Maps(maps) => {
                let maps = locks::read(maps);
                return Ok(maps.get(state, key).map(<[u8]>::to_vec));
            }
        };
        let rocks = locks::read(rocks);
        let Some(family) = rocks.cf_handle(state) else { return Ok(None) };
        rocks.get_cf(&family, key).map_err(self.error("read"))
    }

    /// The states that have rows here.
    pub(crate) fn families(&self) -> Result<Vec<String>, StateError> {
        let names = DB::list_cf(&options(), &self.path).map_err(self.error("list its column families"))?;
        Ok(names.into_iter().filter(|name| name != "default").collect())
    }

    /// Takes a base snapshot of the state at the end of the last epoch that was pushed. Epochs can be pushed
    /// meanwhile; they are not in it.
    ///
    /// # Errors
    /// When RocksDB refuses.
    pub fn snapshot(&self) -> Result<Snapshot, StateError> {
        let _in_order = locks::lock(&self.applying);
        self.apply_in_order()?;
        let rocks = match &self.content {
            Content::Rocks(rocks, _) => rocks,
            Content::Maps(maps) => {
                let rows = locks::read(maps).to_delta(self.applied())?;
                return Ok(Snapshot { epoch: self.applied(), files: Files::Rows(rows) });
            }
        };
        let folder = self.path.with_extension("snapshot");
        let rocks = locks::read(rocks);
        let checkpoint = Checkpoint::new(&rocks).map_err(self.error("prepare a snapshot"))?;
        // RocksDB flushes its memtables first; SST files become hard links.
        checkpoint.create_checkpoint(&folder).map_err(self.error("take a snapshot"))?;
        self.check_links(&rocks, &folder)?;
        make_durable(&folder)?;
        Ok(Snapshot { epoch: self.applied(), files: Files::Folder(folder) })
    }

    /// Whether the files of a snapshot are as long as RocksDB wrote them. They are links to its own, and those of older bases
    /// are, too: who cuts one cuts it everywhere.
    fn check_links(&self, rocks: &DB, folder: &Path) -> Result<(), StateError> {
        for live in rocks.live_files().map_err(self.error("list its files"))? {
            let path = folder.join(live.name.trim_start_matches('/'));
            // One that came since is not in the snapshot.
            let Ok(found) = fs::metadata(&path) else { continue };
            if found.len() != live.size as u64 {
                return Err(StateError::Corrupt {
                    file: self.path.join(live.name.trim_start_matches('/')).display().to_string(),
                    reason: format!(
                        "it has {} bytes instead of {}: somebody cut it, or a file of a base that is the same one, while the job ran; no base snapshot can be taken with it",
                        found.len(),
                        live.size
                    ),
                });
            }
        }
        Ok(())
    }
}

/// A snapshot is taken beside the epochs and stored in line with them: what the disk takes its time for is done here, so that
/// it is quick there.
fn make_durable(folder: &Path) -> Result<(), StateError> {
    for entry in fs::read_dir(folder).map_err(StateError::io("list", folder))? {
        let path = entry.map_err(StateError::io("list", folder))?.path();
        fs::File::open(&path).and_then(|file| file.sync_data()).map_err(StateError::io("make durable", &path))?;
    }
    Ok(())
}

/// A base snapshot that is not in the checkpoint store yet.
pub struct Snapshot {
    epoch: u64,
    files: Files,
}

enum Files {
    /// A RocksDB checkpoint.
    Folder(PathBuf),
    /// One file, of a simulated one.
    Rows(Delta),
}

impl Snapshot {
    const ROWS: &str = "rows";

    /// Gives it up.
    ///
    /// # Errors
    /// When its files cannot be removed.
    pub fn discard(self) -> Result<(), StateError> {
        match self.files {
            Files::Folder(folder) => fs::remove_dir_all(&folder).map_err(StateError::io("remove", &folder)),
            Files::Rows(_) => Ok(()),
        }
    }

    /// Moves the snapshot into the store. `epoch`: the one that runs, of which the file is; it must not be
    /// committed yet, or the file may be taken for one that nobody needs.
    ///
    /// # Errors
    /// When the store refuses.
    pub fn store(
        self,
        store: &dyn CheckpointStore,
        epoch: u64,
        worker: u32,
        incarnation: u64,
    ) -> Result<BaseEntry, StateError> {
        debug_assert!(self.epoch <= epoch);
        let dir = format!("bases/{epoch:020}-w{worker:03}-{incarnation:016x}");
        let files = match self.files {
            Files::Folder(folder) => store.adopt(&dir, &folder)?,
            Files::Rows(rows) => {
                let len = rows.put(store, &format!("{dir}/{}", Self::ROWS))?;
                vec![BaseFile { name: Self::ROWS.to_owned(), len }]
            }
        };
        Ok(BaseEntry { epoch: self.epoch, dir, files })
    }

    /// The rows of a base snapshot that was taken of a simulated one.
    pub(crate) fn rows(store: &dyn CheckpointStore, base: &BaseEntry) -> Result<Delta, StateError> {
        Delta::get(store, &format!("{}/{}", base.dir, Self::ROWS))
    }
}

fn options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    // The state is what the deltas say: nothing of RocksDB's own log is needed.
    options.set_max_background_jobs(2);
    options.set_db_write_buffer_size(WRITE_BUFFER_BYTES);
    options.set_keep_log_file_num(2);
    options.set_max_log_file_size(MAX_LOG_BYTES);
    options.set_max_manifest_file_size(MAX_LIST_BYTES);
    options
}

fn family_options(cache: &Cache, expired: Arc<AtomicI64>, write_buffer_bytes: usize) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    blocks.set_bloom_filter(10.0, false);
    let mut options = Options::default();
    options.set_block_based_table_factory(&blocks);
    options.set_compression_type(DBCompressionType::Lz4);
    // A read of one entry's rows passes by every buffer and file that has none of them.
    options.set_compaction_filter("expired", move |_, _, value| {
        let before = expired.load(Ordering::Relaxed);
        let expires = (before > i64::MIN).then(|| codec::expiry_of_value(value)).flatten();
        if expires.is_some_and(|at| at <= before) { CompactionDecision::Remove } else { CompactionDecision::Keep }
    });
    options.set_prefix_extractor(SliceTransform::create("row", codec::entry_of_row, None));
    options.set_write_buffer_size(write_buffer_bytes);
    options.set_memtable_prefix_bloom_ratio(0.05);
    options.set_memtable_whole_key_filtering(true);
    options
}

pub(super) fn without_log() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.disable_wal(true);
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compaction_drops_what_had_expired_at_the_epoch_rocksdb_is_at() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path(), 0, true).unwrap();
        let Content::Rocks(rocks, _) = &db.content else { panic!("not a RocksDB") };
        let rows = |state: &str| {
            rocks.read().unwrap().compact_range_cf(
                rocks.read().unwrap().cf_handle(state).unwrap(),
                None::<&[u8]>,
                None::<&[u8]>,
            );
            let mut rows = 0;
            db.scan(state, &[], |_, _| {
                rows += 1;
                Ok(true)
            })
            .unwrap();
            rows
        };
        let mut delta = Delta::new(1, 0);
        for state in ["mortal", "immortal"] {
            for n in 0..100_u8 {
                let value = [&[1][..], &i64::from(n).to_le_bytes(), b"value"].concat();
                delta.section(state).put(&[0, 0, 0, 0, 0, 1, n], &value).unwrap();
            }
        }
        db.expires("mortal", 1, 9);
        db.expires("mortal", 2, 49);
        db.push(Arc::new(delta)).unwrap();
        db.apply_pending().unwrap();
        assert_eq!((rows("mortal"), rows("immortal")), (90, 100));
        db.push(Arc::new(Delta::new(2, 0))).unwrap();
        db.apply_pending().unwrap();
        assert_eq!((rows("mortal"), rows("immortal")), (50, 100));
    }

    /// Bases share files with the working RocksDB: who cuts one there has cut it here.
    #[test]
    fn no_base_is_taken_of_a_file_that_was_cut() {
        let dir = tempfile::tempdir().unwrap();
        let store = crate::checkpoint::store::LocalStore::open(&dir.path().join("store")).unwrap();
        let db = Db::open(&dir.path().join("work"), 0, true).unwrap();
        let mut delta = Delta::new(1, 0);
        delta.section("state").put(&[0, 0, 0, 0, 0, 1, 7], b"value").unwrap();
        db.push(Arc::new(delta)).unwrap();
        let base = db.snapshot().unwrap().store(&store, 1, 0, 9).unwrap();
        let sst = base.files.iter().find(|file| file.name.ends_with(".sst")).unwrap();
        let path = dir.path().join("store").join(&base.dir).join(&sst.name);
        db.snapshot().unwrap().discard().unwrap();
        fs::OpenOptions::new().write(true).open(path).unwrap().set_len(sst.len - 1).unwrap();
        let error = db.snapshot().err().unwrap().to_string();
        let lengths = format!("it has {} bytes instead of {}", sst.len - 1, sst.len);
        assert!(error.contains(&sst.name) && error.contains(&lengths), "{error}");
    }
}
