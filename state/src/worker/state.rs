//! All state of one worker: opening it, registering the states of operators, evicting entries from memory.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

use crate::checkpoint::delta::{Delta, Ops};
use crate::checkpoint::manifest::WorkerEntry;
use crate::codec;
use crate::error::StateError;
use crate::evolve::changes::Changes;
use crate::evolve::fit::{LogRows, PassingRows, StoredRows, ValueRows};
use crate::evolve::shape::Layout;
use crate::evolve::spec::{StateEntry, StateName, StateSpec};
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

use super::config::{RestoredWorker, StartPart, WorkerStateConfig};
use super::memory::MemoryCheckpoint;
use super::operator::{OperatorStates, SharedState};
use super::restore::{check_parameters, make_fit, own_files, restore};

/// A log table, shared by its operator and the worker's state.
type SharedLog<K, V, H> = Rc<RefCell<LogTable<K, V, H>>>;

const NO_SPILLING: &str = "a limit to the memory of state (state_memory) needs RocksDB for the state beyond it, and \
    this program is built without RocksDB: build it with the feature \"rocksdb\"";

/// All state of one worker.
pub struct WorkerState {
    config: WorkerStateConfig,
    db: Arc<Db>,
    memory: MemoryUse,
    /// State of the last eviction: the epoch that RocksDB had applied, and the bytes still used afterwards.
    evicted: (u64, u64),
    /// The newest epoch that was asked to end.
    asked: Option<u64>,
    restored: BTreeMap<String, StateEntry>,
    /// The files of the restored checkpoint whose state is this worker's, as it is.
    files: Option<WorkerEntry>,
    /// Number of states, in the order of their names, that are loaded as far as they will be.
    loaded: usize,
    passed: Rc<dyn Fn(StartPart)>,
    changes: Changes,
    states: BTreeMap<String, (SharedState, Layout)>,
    /// The states of each operator, until the operator takes them.
    by_operator: BTreeMap<String, Vec<SharedState>>,
}

impl WorkerState {
    /// Opens the state, restored or empty.
    ///
    /// # Errors
    /// When the folder cannot be used, when memory is limited but there is no RocksDB to evict to, or when the
    /// checkpoint's files are not as its manifest says.
    pub fn open(config: WorkerStateConfig, restored: Option<RestoredWorker>) -> Result<Self, StateError> {
        Self::open_observed(config, restored, Rc::new(|_| ()))
    }

    /// Opens the state as [`open`](Self::open) does. `passed` is called at the end of each part of that, and of the
    /// opening of each state.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_observed(
        config: WorkerStateConfig,
        restored: Option<RestoredWorker>,
        passed: Rc<dyn Fn(StartPart)>,
    ) -> Result<Self, StateError> {
        if config.memory_limit_bytes.is_some() && config.dir.is_some() && !crate::SPILLS {
            return Err(StateError::setting(NO_SPILLING, [Remedy::Setting("state_memory")]));
        }
        let keeps = config.durable || config.memory_limit_bytes.is_some();
        let (db, states, files, changes) = match restored {
            None => {
                let db = config.dir.as_ref().map_or_else(|| Ok(Db::simulated(0)), |dir| Db::open(dir, 0, keeps))?;
                (db, Vec::new(), None, Changes::default())
            }
            Some(restored) => {
                let db = restore(&config, &restored, keeps, &*passed)?;
                let files = own_files(&config, &restored).cloned();
                (db, restored.manifest.states.clone(), files, restored.changes)
            }
        };
        Ok(Self { files, passed, ..Self::new(config, db, states, changes) })
    }

    /// Opens the state from a checkpoint in memory, without any file: for tests of logic.
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
            asked: None,
            db: Arc::new(db),
            config,
            restored: restored.into_iter().filter_map(named).collect(),
            files: None,
            loaded: 0,
            passed: Rc::new(|_| ()),
            changes,
            states: BTreeMap::new(),
            by_operator: BTreeMap::new(),
        }
    }

    /// Returns the key groups of the job.
    #[must_use]
    pub fn key_groups(&self) -> KeyGroups {
        self.config.key_groups
    }

    /// Returns the worker's rows (in RocksDB or in maps), for the checkpoint thread.
    #[must_use]
    pub fn db(&self) -> Arc<Db> {
        Arc::clone(&self.db)
    }

    /// Opens a state with one value per key. The only version that is read is the spec's.
    ///
    /// # Errors
    /// When the name is taken or is to be dropped, when the version is 0, when the TTL is not in whole milliseconds, or
    /// when the checkpoint's state of that name does not fit the program or cannot be read.
    pub fn value_table<K: Key, V: Value>(
        &mut self,
        spec: StateSpec,
    ) -> Result<Rc<RefCell<ValueTable<K, V>>>, StateError> {
        let versions = Versions::since(spec.version);
        self.evolving_value_table(spec, &versions)
    }

    /// Opens a state with one value per key, in the newest of these versions. Values that the checkpoint has in an
    /// older version are upgraded to it.
    ///
    /// # Errors
    /// As [`value_table`](Self::value_table), and when the newest version is above 255.
    pub fn evolving_value_table<K: Key, V: Value>(
        &mut self,
        spec: StateSpec,
        versions: &Versions<V>,
    ) -> Result<Rc<RefCell<ValueTable<K, V>>>, StateError> {
        let rows = ValueRows { versions, ttl: spec.ttl, key: PhantomData::<K> };
        self.register(spec, &rows, |this, spec| {
            HotTable::open(spec, this.config.key_groups, this.db(), this.memory.of_state())
        })
    }

    /// Opens a state with a queue and a header per key. The only version that is read is the spec's.
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

    /// Opens a state with a queue and a header per key, in the newest of these versions. Elements and headers that the
    /// checkpoint has in an older version are upgraded to it.
    ///
    /// # Errors
    /// As [`evolving_value_table`](Self::evolving_value_table), and when elements and headers differ in their newest
    /// version.
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
            HotTable::open(spec, this.config.key_groups, this.db(), this.memory.of_state())
        })
    }

    /// Opens the timers of an operator on one clock.
    ///
    /// # Errors
    /// As [`value_table`](Self::value_table).
    pub fn timer_table<K: Key>(&mut self, spec: StateSpec) -> Result<Rc<RefCell<TimerTable<K>>>, StateError> {
        let rows = PassingRows::timers::<K>(spec.version);
        self.register(spec, &rows, |this, spec| TimerTable::open(spec, this.config.key_groups, &this.db))
    }

    /// Opens a buffer of pending records, which wait for the watermark.
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
        spec: StateSpec,
        rows: &dyn StoredRows,
        open: impl FnOnce(&Self, StateSpec) -> Result<T, StateError>,
    ) -> Result<Rc<RefCell<T>>, StateError> {
        let spec = self.fitted(spec, rows)?;
        let (name, layout) = (spec.name.clone(), rows.layout(u32::from(spec.version)));
        let table = Rc::new(RefCell::new(open(self, spec)?));
        (self.passed)(StartPart::Tables);
        self.add(name, Rc::clone(&table) as _, layout);
        Ok(table)
    }

    /// Checks that a state can be opened, and makes what the checkpoint has of it fit. Returns its spec with its
    /// version.
    fn fitted(&mut self, mut spec: StateSpec, rows: &dyn StoredRows) -> Result<StateSpec, StateError> {
        let name = spec.name.to_string();
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
        (self.passed)(StartPart::Other);
        if let Some(stored) = self.restored.get(&name) {
            let as_it_was = make_fit(&self.db, stored, rows, self.config.worker)?;
            self.files = self.files.take().filter(|_| as_it_was);
        }
        Ok(spec)
    }

    fn add(&mut self, name: StateName, state: SharedState, layout: Layout) {
        self.by_operator.entry(name.operator.clone()).or_default().push(Rc::clone(&state));
        self.states.insert(name.to_string(), (state, layout));
    }

    /// Returns the registered states, for manifests.
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

    /// Returns the files of the restored checkpoint to which this worker can add deltas, once all states are registered.
    /// There are none if nothing was restored, or if rows were moved, renamed or upgraded since: then only a base has
    /// the state as it is now.
    #[must_use]
    pub fn files(&self) -> Option<WorkerEntry> {
        self.files.clone()
    }

    /// Checks that a part of the program is not to be dropped. `name` is its name; `what` says in the error what it is.
    ///
    /// # Errors
    /// When it is to be dropped.
    pub fn check_kept(&self, name: &str, what: &str) -> Result<(), StateError> {
        if self.changes.drops(name) {
            let reason = format!(
                "{what}\"{name}\" is in drop_state, but this program declares it: to start it over, give it another name in the program; otherwise remove it from drop_state"
            );
            return Err(StateError::setting(reason, [Remedy::KeepState(name.to_owned())]));
        }
        Ok(())
    }

    /// Returns the states of the restored checkpoint that no operator has registered: they would be lost.
    #[must_use]
    pub fn unclaimed(&self) -> Vec<&str> {
        self.restored.keys().filter(|name| !self.states.contains_key(*name)).map(String::as_str).collect()
    }

    /// Returns all rows of this worker's registered states, as one delta.
    ///
    /// # Errors
    /// When RocksDB refuses, or a row is too long.
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

    /// Takes the states that an operator has registered, for its shell.
    pub fn operator(&mut self, operator: &str) -> OperatorStates {
        let states = self.by_operator.remove(operator).unwrap_or_default();
        OperatorStates { states, unsealed: 0 }
    }

    /// Continues to load the states that were not loaded completely when they were opened, with about `rows` rows. Returns
    /// whether there is more to load.
    ///
    /// # Errors
    /// When a row cannot be read.
    pub fn load_on(&mut self, rows: usize) -> Result<bool, StateError> {
        while self.loaded < self.states.len() {
            let state = self.states.values().nth(self.loaded);
            if state.map_or(Ok(false), |(state, _)| state.borrow_mut().load_on(rows))? {
                return Ok(true);
            }
            self.loaded += 1;
        }
        Ok(false)
    }

    /// Evicts entries if memory is nearly full and there may be something to evict: RocksDB has applied an epoch since
    /// the last eviction, or memory has grown by an eighth of the limit since then.
    ///
    /// Returns whether `running`, the epoch that runs, should end now; once for each. Entries that it has changed cannot be
    /// evicted before its delta is applied, and when they take most of the memory, nothing else can be read until then.
    pub fn evict(&mut self, running: u64) -> bool {
        if !self.memory.is_high() {
            return false;
        }
        self.db.apply_eagerly();
        let (applied, used) = (self.db.applied(), self.memory.used());
        let grown = self.config.memory_limit_bytes.is_some_and(|limit| used > self.evicted.1 + limit / 8);
        if applied == self.evicted.0 && !grown {
            return false;
        }
        for (state, _) in self.states.values() {
            state.borrow_mut().evict();
        }
        self.evicted = (applied, self.memory.used());
        // Epochs that have ended and are not applied yet are going to free some.
        let is_next = applied + 1 >= running;
        is_next && self.memory.is_high() && self.asked.replace(running) != Some(running)
    }

    /// Returns whether state exceeds its memory limit: nothing should be taken in until some of it was evicted.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.memory.is_full()
    }

    /// Returns the memory that each state takes, in bytes (estimated), with its name; states whose memory is not counted
    /// are left out.
    #[must_use]
    pub fn memory_by_state(&self) -> Vec<(StateName, u64)> {
        let states = self.states.values().map(|(state, _)| state.borrow());
        states.filter_map(|state| Some((state.spec().name.clone(), state.memory_used()?))).collect()
    }

    /// Returns the memory that hot state takes, in bytes (estimated).
    #[must_use]
    pub fn memory_used(&self) -> u64 {
        self.memory.used()
    }
}
