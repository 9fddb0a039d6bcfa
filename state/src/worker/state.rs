//! All state of one worker: what it opens, what operators register, what it gives up of memory.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

use crate::checkpoint::delta::{Delta, Ops};
use crate::codec;
use crate::error::StateError;
use crate::evolve::changes::Changes;
use crate::evolve::fit::{LogRows, PassingRows, StoredRows, ValueRows};
use crate::evolve::shape::Layout;
use crate::evolve::spec::{StateEntry, StateSpec};
use crate::evolve::versions::Versions;
use crate::hot::log::LogTable;
use crate::hot::memory::MemoryUse;
use crate::hot::pending::{HashOf, OrderBuffer};
use crate::hot::persistent::Persistent;
use crate::hot::table::HotTable;
use crate::hot::timers::TimerTable;
use crate::hot::value::ValueTable;
use crate::ids::KeyGroups;
use crate::key::{Key, Value};
use crate::remedy::Remedy;
use crate::rows::db::Db;

use super::config::{RestoredWorker, WorkerStateConfig};
use super::memory::MemoryCheckpoint;
use super::operator::{OperatorStates, SharedState};
use super::restore::{check_parameters, make_fit, restore};

/// A log table as its operator and the worker's state hold it.
type SharedLog<K, V, H> = Rc<RefCell<LogTable<K, V, H>>>;

const NO_SPILLING: &str = "a limit to the memory of state (state_memory) needs RocksDB to take what is beyond it, and this \
                           program is built without: build it with the feature \"rocksdb\"";

/// All state of one worker.
pub struct WorkerState {
    config: WorkerStateConfig,
    db: Arc<Db>,
    memory: MemoryUse,
    /// When entries were last evicted: the epoch that RocksDB was at, and the memory that was left.
    evicted: (u64, u64),
    restored: BTreeMap<String, StateEntry>,
    changes: Changes,
    states: BTreeMap<String, (SharedState, Layout)>,
    /// Until their operator takes them.
    by_operator: BTreeMap<String, Vec<SharedState>>,
}

impl WorkerState {
    /// Opens the state, restored or empty.
    ///
    /// # Errors
    /// When the folder cannot be used, when memory is limited and there is no RocksDB to take what is beyond, or the checkpoint's files are not as its manifest says.
    pub fn open(config: WorkerStateConfig, restored: Option<RestoredWorker>) -> Result<Self, StateError> {
        if config.memory_limit_bytes.is_some() && config.dir.is_some() && !crate::SPILLS {
            return Err(StateError::setting(NO_SPILLING, [Remedy::Setting("state_memory")]));
        }
        let keeps = config.durable || config.memory_limit_bytes.is_some();
        let (db, states, changes) = match restored {
            None => {
                let db = config.dir.as_ref().map_or_else(|| Ok(Db::simulated(0)), |dir| Db::open(dir, 0, keeps))?;
                (db, Vec::new(), Changes::default())
            }
            Some(restored) => {
                let db = restore(&config, &restored, keeps)?;
                (db, restored.manifest.states.clone(), restored.changes)
            }
        };
        Ok(Self::new(config, db, states, changes))
    }

    /// Opens the state as a checkpoint in memory has it, without any file: for tests of logic.
    ///
    /// # Errors
    /// When RocksDB refuses.
    pub fn in_memory(config: WorkerStateConfig, from: &MemoryCheckpoint) -> Result<Self, StateError> {
        let owned = config.key_groups.owned(config.worker, config.workers);
        let db = Db::in_memory(from.epoch)?;
        from.deltas.iter().try_for_each(|delta| db.apply(delta, |group| owned.contains(&group.0)))?;
        Ok(Self::new(config, db, from.states.clone(), Changes::default()))
    }

    fn new(config: WorkerStateConfig, db: Db, restored: Vec<StateEntry>, changes: Changes) -> Self {
        let named =
            |state: StateEntry| changes.state(&state.name).map(|name| (name.clone(), StateEntry { name, ..state }));
        Self {
            memory: MemoryUse::new(config.memory_limit_bytes),
            evicted: (0, 0),
            db: Arc::new(db),
            config,
            restored: restored.into_iter().filter_map(named).collect(),
            changes,
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

    /// One value per key, of the spec's version and no older one.
    ///
    /// # Errors
    /// When the name is taken, or what the checkpoint holds under it does not fit or cannot be read.
    pub fn value_table<K: Key, V: Value>(
        &mut self,
        spec: StateSpec,
    ) -> Result<Rc<RefCell<ValueTable<K, V>>>, StateError> {
        let versions = Versions::since(spec.version);
        self.evolving_value_table(spec, &versions)
    }

    /// One value per key, of the newest of these versions. What the checkpoint holds of older ones becomes of that one.
    ///
    /// # Errors
    /// As [`value_table`](Self::value_table).
    pub fn evolving_value_table<K: Key, V: Value>(
        &mut self,
        spec: StateSpec,
        versions: &Versions<V>,
    ) -> Result<Rc<RefCell<ValueTable<K, V>>>, StateError> {
        let rows = ValueRows { versions, ttl: spec.ttl, key: PhantomData::<K> };
        self.register(spec, &rows, |this, spec| {
            HotTable::open(spec, this.config.key_groups, this.db(), this.memory.clone())
        })
    }

    /// A queue per key, with a header, of the spec's version and no older one.
    ///
    /// # Errors
    /// As [`value_table`](Self::value_table).
    pub fn log_table<K: Key, V: Value, H: Value + Default>(
        &mut self,
        spec: StateSpec,
    ) -> Result<SharedLog<K, V, H>, StateError> {
        let (elements, headers) = (Versions::since(spec.version), Versions::since(spec.version));
        self.evolving_log_table(spec, &elements, &headers)
    }

    /// A queue per key, with a header, of the newest of these versions. What the checkpoint holds of older ones becomes
    /// of that one.
    ///
    /// # Errors
    /// As [`value_table`](Self::value_table), and when elements and headers are not of the same version.
    pub fn evolving_log_table<K: Key, V: Value, H: Value + Default>(
        &mut self,
        spec: StateSpec,
        elements: &Versions<V>,
        headers: &Versions<H>,
    ) -> Result<SharedLog<K, V, H>, StateError> {
        if elements.version() != headers.version() {
            return Err(StateError::Invalid(format!(
                "state \"{}\": its elements are of version {}, its header is of version {}: a list has one version; where only one of them changed, the other is `unchanged`",
                spec.name,
                elements.version(),
                headers.version()
            )));
        }
        let rows = LogRows { elements, headers, ttl: spec.ttl, key: PhantomData::<K> };
        self.register(spec, &rows, |this, spec| {
            HotTable::open(spec, this.config.key_groups, this.db(), this.memory.clone())
        })
    }

    /// Timers.
    ///
    /// # Errors
    /// As [`value_table`](Self::value_table).
    pub fn timer_table<K: Key>(&mut self, spec: StateSpec) -> Result<Rc<RefCell<TimerTable<K>>>, StateError> {
        let rows = PassingRows::timers::<K>(spec.version);
        self.register(spec, &rows, |this, spec| TimerTable::open(spec, this.config.key_groups, &this.db))
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
        let rows = PassingRows::pending::<T>(spec.version);
        self.register(spec, &rows, |this, spec| OrderBuffer::open(spec, this.config.key_groups, hash_of, &this.db))
    }

    fn register<T: Persistent + 'static>(
        &mut self,
        mut spec: StateSpec,
        rows: &dyn StoredRows,
        open: impl FnOnce(&Self, StateSpec) -> Result<T, StateError>,
    ) -> Result<Rc<RefCell<T>>, StateError> {
        let (name, operator) = (spec.name.to_string(), spec.name.operator.clone());
        if self.states.contains_key(&name) {
            return Err(StateError::Invalid(format!(
                "state \"{name}\" is registered twice: give each state of an operator its own name"
            )));
        }
        self.check_kept(&name, "state ")?;
        let (version, _) = rows.versions();
        spec.version = u8::try_from(version).ok().filter(|version| *version > 0).ok_or_else(|| {
            StateError::Invalid(format!("state \"{name}\": its version is {version}, versions are 1 to 255"))
        })?;
        check_parameters(&self.restored, &spec)?;
        if let Some(stored) = self.restored.get(&name) {
            make_fit(&self.db, stored, rows, self.config.worker)?;
        }
        let table = Rc::new(RefCell::new(open(self, spec)?));
        let erased: SharedState = Rc::clone(&table) as _;
        self.states.insert(name, (Rc::clone(&erased), rows.layout(version)));
        self.by_operator.entry(operator).or_default().push(erased);
        Ok(table)
    }

    /// The registered states, for manifests.
    #[must_use]
    pub fn states(&self) -> Vec<StateEntry> {
        let entry = |(name, (state, layout)): (&String, &(SharedState, Layout))| {
            let state = state.borrow();
            let (spec, kind) = (state.spec(), state.kind().to_owned());
            let parameters = spec.parameters.as_ref().map(ToString::to_string);
            StateEntry { name: name.clone(), version: spec.version, kind, layout: Some(layout.clone()), parameters }
        };
        self.states.iter().map(entry).collect()
    }

    /// Checks that what the program has (`what` it is, and its name) is not to be dropped.
    ///
    /// # Errors
    /// When it is.
    pub fn check_kept(&self, name: &str, what: &str) -> Result<(), StateError> {
        if self.changes.drops(name) {
            let reason = format!(
                "{what}\"{name}\" is to be dropped, but this program has it: to begin it anew, give it another name in the program; or do not drop it"
            );
            return Err(StateError::setting(reason, [Remedy::KeepState(name.to_owned())]));
        }
        Ok(())
    }

    /// The states of the restored checkpoint that no operator has: they would be lost.
    #[must_use]
    pub fn unclaimed(&self) -> Vec<&str> {
        self.restored.keys().filter(|name| !self.states.contains_key(*name)).map(String::as_str).collect()
    }

    /// All that this worker's RocksDB holds, as one delta.
    ///
    /// # Errors
    /// When RocksDB refuses.
    pub fn whole(&self) -> Result<Delta, StateError> {
        let mut delta = Delta::new(self.db.applied(), self.config.worker as u32);
        for name in self.states.keys() {
            let mut ops = Ops::default();
            self.db.scan(name, &[], |row, value| {
                ops.put(row, value).map_err(|e| StateError::Unwritable {
                    state: name.clone(),
                    group: codec::group_of_row(row).0,
                    reason: e.0,
                })?;
                Ok(true)
            })?;
            delta.set_section(name.clone(), ops);
        }
        Ok(delta)
    }

    /// The states that an operator has registered, for its shell.
    pub fn operator(&mut self, operator: &str) -> OperatorStates {
        let states = self.by_operator.remove(operator).unwrap_or_default();
        OperatorStates { states, unsealed: 0 }
    }

    /// Evicts if it is time to, and if there may be something to evict: when RocksDB took in an epoch since
    /// the last call, or much was read.
    pub fn evict(&mut self) {
        if !self.memory.is_high() {
            return;
        }
        self.db.apply_eagerly();
        let (applied, used) = (self.db.applied(), self.memory.used());
        let grown = self.config.memory_limit_bytes.is_some_and(|limit| used > self.evicted.1 + limit / 8);
        if applied == self.evicted.0 && !grown {
            return;
        }
        for (state, _) in self.states.values() {
            state.borrow_mut().evict();
        }
        self.evicted = (applied, self.memory.used());
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
