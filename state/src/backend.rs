//! All state of one worker: opening, restoring, sealing.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use crate::db::{Db, Snapshot};
use crate::delta::Delta;
use crate::error::StateError;
use crate::held::{HashOf, OrderBuffer};
use crate::key::{Key, KeyGroups, Value};
use crate::log::LogTable;
use crate::manifest::{Manifest, StateEntry, WorkerEntry};
use crate::spec::{Persistent, StateSpec};
use crate::store::CheckpointStore;
use crate::table::{MemoryUse, Table};
use crate::timers::TimerTable;
use crate::value::ValueTable;

/// A log table as its operator and the backend hold it.
type SharedLog<K, V, H> = Rc<RefCell<LogTable<K, V, H>>>;

/// Any state, as the backend holds it.
type SharedState = Rc<RefCell<dyn Persistent>>;

/// Where and how one worker keeps its state.
#[derive(Clone, Debug)]
pub struct BackendConfig {
    /// The folder RocksDB works in; its own. Without one the job is simulated: rows are kept in memory.
    pub dir: Option<PathBuf>,
    /// Key groups of the job.
    pub key_groups: KeyGroups,
    /// Index of this worker, `0..workers`.
    pub worker: usize,
    /// Number of workers.
    pub workers: usize,
    /// Memory for hot state of this worker, bytes (estimated). What an epoch has changed stays in
    /// memory until its delta is in RocksDB, also beyond the limit.
    pub memory_limit_bytes: Option<u64>,
    /// Whether epochs end up in a checkpoint store.
    pub durable: bool,
}

/// The checkpoint to restore.
pub struct RestoredWorker {
    /// What it consists of.
    pub manifest: Arc<Manifest>,
    /// Where its files are.
    pub store: Arc<dyn CheckpointStore>,
}

/// A checkpoint in memory: the deltas of all workers, in the order of epochs.
#[derive(Clone, Default)]
pub struct MemoryCheckpoint {
    epoch: u64,
    states: Vec<StateEntry>,
    deltas: Vec<Arc<Delta>>,
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
}

/// All state of one worker.
pub struct Backend {
    config: BackendConfig,
    db: Arc<Db>,
    memory: MemoryUse,
    /// When entries were last evicted: the epoch that RocksDB was at, and the memory that was left.
    relieved: (u64, u64),
    restored: BTreeMap<String, StateEntry>,
    states: BTreeMap<String, SharedState>,
    /// Until their operator takes them.
    by_operator: BTreeMap<String, Vec<SharedState>>,
}

impl Backend {
    /// Opens the state, restored or empty.
    ///
    /// # Errors
    /// When the folder cannot be used, or the checkpoint's files are not as its manifest says.
    pub fn open(config: BackendConfig, restored: Option<RestoredWorker>) -> Result<Self, StateError> {
        let keeps = config.durable || config.memory_limit_bytes.is_some();
        let (db, states) = match (&config.dir, &restored) {
            (Some(dir), None) => (Db::open(dir, 0, keeps)?, Vec::new()),
            (None, None) => (Db::simulated(0), Vec::new()),
            (Some(dir), Some(restored)) => (restore(&config, dir, restored, keeps)?, restored.manifest.states.clone()),
            (None, Some(restored)) => (restore_simulated(&config, restored)?, restored.manifest.states.clone()),
        };
        Ok(Self::new(config, db, states))
    }

    /// Opens the state as a checkpoint in memory has it, without any file: for tests of logic.
    ///
    /// # Errors
    /// When RocksDB refuses.
    pub fn in_memory(config: BackendConfig, from: &MemoryCheckpoint) -> Result<Self, StateError> {
        let owned = config.key_groups.owned(config.worker, config.workers);
        let db = Db::in_memory(from.epoch)?;
        from.deltas.iter().try_for_each(|delta| db.apply(delta, |group| owned.contains(&group)))?;
        Ok(Self::new(config, db, from.states.clone()))
    }

    fn new(config: BackendConfig, db: Db, restored: Vec<StateEntry>) -> Self {
        Self {
            memory: MemoryUse::new(config.memory_limit_bytes),
            relieved: (0, 0),
            db: Arc::new(db),
            config,
            restored: restored.into_iter().map(|state| (state.name.clone(), state)).collect(),
            states: BTreeMap::new(),
            by_operator: BTreeMap::new(),
        }
    }

    /// Key groups of the job.
    #[must_use]
    pub fn key_groups(&self) -> KeyGroups {
        self.config.key_groups
    }

    /// RocksDB, for the checkpoint thread.
    #[must_use]
    pub fn db(&self) -> Arc<Db> {
        Arc::clone(&self.db)
    }

    /// One value per key.
    ///
    /// # Errors
    /// When the name is taken, or what the checkpoint holds under it does not fit or cannot be read.
    pub fn value_table<K: Key, V: Value>(
        &mut self,
        spec: StateSpec,
    ) -> Result<Rc<RefCell<ValueTable<K, V>>>, StateError> {
        self.register(spec, "value", |this, spec| {
            Table::open(spec, this.config.key_groups, this.db(), this.memory.clone())
        })
    }

    /// A queue per key, with a header.
    ///
    /// # Errors
    /// As [`value_table`](Self::value_table).
    pub fn log_table<K: Key, V: Value, H: Value + Default>(
        &mut self,
        spec: StateSpec,
    ) -> Result<SharedLog<K, V, H>, StateError> {
        self.register(spec, "log", |this, spec| {
            Table::open(spec, this.config.key_groups, this.db(), this.memory.clone())
        })
    }

    /// Timers.
    ///
    /// # Errors
    /// As [`value_table`](Self::value_table).
    pub fn timer_table<K: Key>(&mut self, spec: StateSpec) -> Result<Rc<RefCell<TimerTable<K>>>, StateError> {
        self.register(spec, "timers", |this, spec| TimerTable::open(spec, this.config.key_groups, &this.db))
    }

    /// Records that wait for the watermark.
    ///
    /// # Errors
    /// As [`value_table`](Self::value_table).
    pub fn order_buffer<T: Value>(
        &mut self,
        spec: StateSpec,
        hash_of: HashOf<T>,
    ) -> Result<Rc<RefCell<OrderBuffer<T>>>, StateError> {
        self.register(spec, "held", |this, spec| OrderBuffer::open(spec, this.config.key_groups, hash_of, &this.db))
    }

    fn register<T: Persistent + 'static>(
        &mut self,
        spec: StateSpec,
        kind: &str,
        open: impl FnOnce(&Self, StateSpec) -> Result<T, StateError>,
    ) -> Result<Rc<RefCell<T>>, StateError> {
        let (name, operator) = (spec.name.to_string(), spec.name.operator.clone());
        if self.states.contains_key(&name) {
            return Err(StateError::Invalid(format!(
                "state \"{name}\" is registered twice: give each state of an operator its own name"
            )));
        }
        if let Some(stored) = self.restored.get(&name)
            && (stored.version != spec.version || stored.kind != kind)
        {
            return Err(StateError::Mismatch {
                found: format!("a {} state of version {}", stored.kind, stored.version),
                expected: format!("a {kind} state of version {}", spec.version),
                state: name,
            });
        }
        let table = Rc::new(RefCell::new(open(self, spec)?));
        let erased: SharedState = Rc::clone(&table) as _;
        self.states.insert(name, Rc::clone(&erased));
        self.by_operator.entry(operator).or_default().push(erased);
        Ok(table)
    }

    /// The registered states, for manifests.
    #[must_use]
    pub fn states(&self) -> Vec<StateEntry> {
        let entry = |(name, state): (&String, &SharedState)| {
            let state = state.borrow();
            StateEntry { name: name.clone(), version: state.spec().version, kind: state.kind().to_owned() }
        };
        self.states.iter().map(entry).collect()
    }

    /// Checks that the program has an operator for every state of the restored checkpoint.
    ///
    /// # Errors
    /// When a state would be lost, naming it.
    pub fn check_all_claimed(&self) -> Result<(), StateError> {
        let lost: Vec<&str> =
            self.restored.keys().filter(|name| !self.states.contains_key(*name)).map(String::as_str).collect();
        if lost.is_empty() {
            return Ok(());
        }
        Err(StateError::Invalid(format!(
            "the checkpoint holds state that no operator of this program has: {}; run the program that wrote it, or start with --restore none in an empty checkpoint directory",
            lost.join(", ")
        )))
    }

    /// The states that an operator has registered, for its shell.
    pub fn operator(&mut self, operator: &str) -> OperatorStates {
        let states = self.by_operator.remove(operator).unwrap_or_default();
        OperatorStates { states, unsealed: 0 }
    }

    /// Evicts if it is time to, and if there may be something to evict: when RocksDB took in an epoch since
    /// the last call, or much was read.
    pub fn relieve(&mut self) {
        if !self.memory.is_high() {
            return;
        }
        self.db.apply_eagerly();
        let (applied, used) = (self.db.applied(), self.memory.used());
        let grown = self.config.memory_limit_bytes.is_some_and(|limit| used > self.relieved.1 + limit / 8);
        if applied == self.relieved.0 && !grown {
            return;
        }
        for state in self.states.values() {
            state.borrow_mut().evict();
        }
        self.relieved = (applied, self.memory.used());
    }

    /// Whether state takes all the memory it may: nothing should come in until some of it went.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.memory.is_full()
    }

    /// Memory that hot state takes, bytes (estimated).
    #[must_use]
    pub fn memory_used(&self) -> u64 {
        self.memory.used()
    }
}

/// All states of one operator.
pub struct OperatorStates {
    states: Vec<SharedState>,
    /// How many of them, from the front, have not written all of the epoch that is sealed.
    unsealed: usize,
}

impl OperatorStates {
    /// Begins to write what changed in `epoch`: to be gone on with by [`seal_on`](Self::seal_on), while records of
    /// the next epoch may be applied. The times are by which what has expired goes.
    ///
    /// # Errors
    /// When a value refuses to be encoded.
    pub fn begin_seal(&mut self, epoch: u64, event_time_ms: i64, processing_time_ms: i64) -> Result<(), StateError> {
        self.unsealed = self.states.len();
        self.states.iter().try_for_each(|state| {
            let mut state = state.borrow_mut();
            state.set_now(event_time_ms, processing_time_ms);
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
    pub fn warm(&self, hashes: &[u64]) {
        self.states.iter().for_each(|state| state.borrow().warm(hashes));
    }
}

/// Brings the checkpoint's state of this worker's key groups into a fresh RocksDB.
fn restore(config: &BackendConfig, dir: &Path, restored: &RestoredWorker, keeps: bool) -> Result<Db, StateError> {
    let RestoredWorker { manifest, store } = restored;
    let owned = config.key_groups.owned(config.worker, config.workers);
    let same = manifest.workers.len() == config.workers;
    let own = manifest.workers.get(config.worker).filter(|_| same);
    // The same number of workers means the same key groups: the old base is this worker's own.
    if let Some(base) = own.and_then(|own| own.base.as_ref()) {
        store.fetch(base, dir)?;
    }
    let db = Db::open(dir, manifest.epoch, keeps)?;
    let sources: Vec<&WorkerEntry> = own.map_or_else(|| manifest.workers.iter().collect(), |own| vec![own]);
    for worker in sources {
        if let (None, Some(base)) = (own, &worker.base) {
            let folder = dir.with_extension("old");
            store.fetch(base, &folder)?;
            db.copy_from(&Db::open(&folder, base.epoch, false)?, |group| owned.contains(&group))?;
            fs::remove_dir_all(&folder).map_err(StateError::io("remove", &folder))?;
        }
        for entry in worker.deltas_to_apply() {
            db.apply(&Delta::load(store.as_ref(), entry)?, |group| owned.contains(&group))?;
        }
    }
    Ok(db)
}

/// The same without files.
fn restore_simulated(config: &BackendConfig, restored: &RestoredWorker) -> Result<Db, StateError> {
    let RestoredWorker { manifest, store } = restored;
    let owned = config.key_groups.owned(config.worker, config.workers);
    let db = Db::simulated(manifest.epoch);
    for worker in &manifest.workers {
        if let Some(base) = &worker.base {
            db.apply(&Snapshot::rows(store.as_ref(), base)?, |group| owned.contains(&group))?;
        }
        for entry in worker.deltas_to_apply() {
            db.apply(&Delta::load(store.as_ref(), entry)?, |group| owned.contains(&group))?;
        }
    }
    Ok(db)
}
