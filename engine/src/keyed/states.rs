//! Typed handles to keyed state, for keyed logic.
//!
//! A handle reads and writes the value *of the context's key*. Values are kept decoded in memory; what
//! changed in an epoch is written into its delta once, when the epoch closes.

use std::cell::{RefCell, RefMut};
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::rc::Rc;

use tidemill_state::{
    Key, Log, LogTable, Parameters, Persistent as _, StateError, StateName, StateSpec, Ttl, Value, ValueTable,
    Versions, WorkerState,
};

use super::context::Context;
use crate::error::JobError;

/// The states of one operator, opened by name while the job is built.
pub struct States<'a, K> {
    worker_state: &'a mut WorkerState,
    operator: &'a str,
    key: PhantomData<K>,
}

impl<'a, K: Key> States<'a, K> {
    /// The version of states that declare no other one.
    const FIRST_VERSION: u8 = 1;

    pub(crate) fn new(worker_state: &'a mut WorkerState, operator: &'a str) -> Self {
        Self { worker_state, operator, key: PhantomData }
    }

    pub(crate) fn spec(operator: &str, state: &str) -> StateSpec {
        let name = StateName { operator: operator.to_owned(), state: state.to_owned() };
        StateSpec { name, version: Self::FIRST_VERSION, ttl: None, parameters: None }
    }

    /// Opens states that are valid only with the parameters they were made with: a length, a bound, a number of
    /// parts. The checkpoint keeps the parameters, and a program that opens the state with other ones is refused
    /// at its start; the message shows both.
    ///
    /// ```
    /// # use tidemill_engine::shell::{States, ValueState};
    /// # fn open(states: &mut States<'_, u32>, hours: u32) -> Result<ValueState<u32, u64>, tidemill_engine::JobError> {
    /// states.with_parameters(format!("counts of {hours} hours")).value("counts")
    /// # }
    /// ```
    ///
    /// [`Parameters::or_from`] declares other parameters that are accepted too.
    pub fn with_parameters(&mut self, parameters: impl Into<Parameters>) -> ParameterStates<'_, K> {
        ParameterStates {
            worker_state: &mut *self.worker_state,
            operator: self.operator,
            parameters: Some(parameters.into()),
            key: PhantomData,
        }
    }

    fn without_parameters(&mut self) -> ParameterStates<'_, K> {
        ParameterStates {
            worker_state: &mut *self.worker_state,
            operator: self.operator,
            parameters: None,
            key: PhantomData,
        }
    }

    /// Returns the name of the operator, for messages about its settings.
    #[must_use]
    pub fn operator(&self) -> &str {
        self.operator
    }

    /// Opens a state with one value per key. `name` is unique within the operator and names the state in checkpoints.
    ///
    /// # Errors
    /// When the name is taken, or what the checkpoint has under it cannot be read.
    pub fn value<V: Value>(&mut self, name: &str) -> Result<ValueState<K, V>, JobError> {
        self.without_parameters().value(name)
    }

    /// Opens a state with one value per key, which expires some time after it was last written.
    ///
    /// # Errors
    /// As [`value`](Self::value).
    pub fn value_with_ttl<V: Value>(&mut self, name: &str, ttl: Ttl) -> Result<ValueState<K, V>, JobError> {
        self.without_parameters().value_with_ttl(name, ttl)
    }

    /// Opens a state with one list per key, appended to at its end and removed from at its front.
    ///
    /// # Errors
    /// As [`value`](Self::value).
    pub fn list<V: Value>(&mut self, name: &str) -> Result<ListState<K, V>, JobError> {
        self.list_with_header(name)
    }

    /// Opens a state with one list per key and a small value beside it, the header, which is kept up to date with
    /// the list.
    ///
    /// # Errors
    /// As [`value`](Self::value).
    pub fn list_with_header<V: Value, H: Value + Default>(
        &mut self,
        name: &str,
    ) -> Result<ListState<K, V, H>, JobError> {
        self.without_parameters().list_with_header(name)
    }

    /// Opens a state with one value per key whose type has changed since checkpoints were written: values of an older
    /// version in the checkpoint are converted to `V` before the first record. The value of a [`map`](Self::map) is a
    /// `BTreeMap` here.
    ///
    /// ```
    /// # use tidemill_engine::shell::{States, ValueState};
    /// # use tidemill_state::Versions;
    /// # use serde::{Deserialize, Serialize};
    /// #[derive(Serialize, Deserialize)]
    /// struct ProfileV1 { count: u64 } // as it was, in `states.value("profile")`
    /// #[derive(Serialize, Deserialize)]
    /// struct Profile { count: u64, best: i64 }
    ///
    /// # fn open(states: &mut States<'_, u32>) -> Result<ValueState<u32, Profile>, tidemill_engine::JobError> {
    /// let versions = Versions::<ProfileV1>::first().then(|old| Profile { count: old.count, best: 0 });
    /// states.evolving("profile", &versions)
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`value`](Self::value), and when the checkpoint has a version that `versions` does not read, or the type
    /// of a version is not the one that wrote it: the message shows both.
    pub fn evolving<V: Value>(&mut self, name: &str, versions: &Versions<V>) -> Result<ValueState<K, V>, JobError> {
        self.without_parameters().evolving(name, versions)
    }

    /// Opens a state as [`value_with_ttl`](Self::value_with_ttl) does, with versions as in
    /// [`evolving`](Self::evolving). The conversion does not change when a value expires.
    ///
    /// # Errors
    /// As [`evolving`](Self::evolving).
    pub fn evolving_with_ttl<V: Value>(
        &mut self,
        name: &str,
        ttl: Ttl,
        versions: &Versions<V>,
    ) -> Result<ValueState<K, V>, JobError> {
        self.without_parameters().evolving_with_ttl(name, ttl, versions)
    }

    /// Opens a state as [`list`](Self::list) does, with versions of its elements as in [`evolving`](Self::evolving).
    ///
    /// # Errors
    /// As [`evolving`](Self::evolving).
    pub fn evolving_list<V: Value>(&mut self, name: &str, elements: &Versions<V>) -> Result<ListState<K, V>, JobError> {
        self.evolving_list_with_header(name, elements, &elements.of_nothing())
    }

    /// Opens a state as [`list_with_header`](Self::list_with_header) does, with versions as in
    /// [`evolving`](Self::evolving). Elements and header have one version together: where only one of them has
    /// changed, the other is [`unchanged`](Versions::unchanged).
    ///
    /// # Errors
    /// As [`evolving`](Self::evolving), and when the versions of elements and header differ.
    pub fn evolving_list_with_header<V: Value, H: Value + Default>(
        &mut self,
        name: &str,
        elements: &Versions<V>,
        headers: &Versions<H>,
    ) -> Result<ListState<K, V, H>, JobError> {
        self.without_parameters().evolving_list_with_header(name, elements, headers)
    }

    /// Opens a state with one ordered map per key. Known limit: an epoch that changes one entry of a key's map
    /// writes that whole map.
    ///
    /// # Errors
    /// As [`value`](Self::value).
    pub fn map<K2: Key, V: Value>(&mut self, name: &str) -> Result<MapState<K, K2, V>, JobError> {
        self.value(name)
    }
}

/// The states of one operator that depend on its parameters: see [`States::with_parameters`]. Each method does
/// what the method of [`States`] with the same name does, and also fails when the checkpoint has the state with
/// other parameters.
#[allow(clippy::missing_errors_doc, reason = "they are those of `States`")]
pub struct ParameterStates<'a, K> {
    worker_state: &'a mut WorkerState,
    operator: &'a str,
    parameters: Option<Parameters>,
    key: PhantomData<K>,
}

impl<K: Key> ParameterStates<'_, K> {
    fn spec(&self, name: &str, ttl: Option<Ttl>) -> StateSpec {
        StateSpec { ttl, parameters: self.parameters.clone(), ..States::<K>::spec(self.operator, name) }
    }

    /// Opens a state as [`States::value`] does.
    pub fn value<V: Value>(&mut self, name: &str) -> Result<ValueState<K, V>, JobError> {
        Ok(ValueState(self.worker_state.value_table(self.spec(name, None))?))
    }

    /// Opens a state as [`States::value_with_ttl`] does.
    pub fn value_with_ttl<V: Value>(&mut self, name: &str, ttl: Ttl) -> Result<ValueState<K, V>, JobError> {
        Ok(ValueState(self.worker_state.value_table(self.spec(name, Some(ttl)))?))
    }

    /// Opens a state as [`States::map`] does.
    pub fn map<K2: Key, V: Value>(&mut self, name: &str) -> Result<MapState<K, K2, V>, JobError> {
        self.value(name)
    }

    /// Opens a state as [`States::list`] does.
    pub fn list<V: Value>(&mut self, name: &str) -> Result<ListState<K, V>, JobError> {
        self.list_with_header(name)
    }

    /// Opens a state as [`States::list_with_header`] does.
    pub fn list_with_header<V: Value, H: Value + Default>(
        &mut self,
        name: &str,
    ) -> Result<ListState<K, V, H>, JobError> {
        Ok(ListState(self.worker_state.log_table(self.spec(name, None))?))
    }

    /// Opens a state as [`States::evolving`] does.
    pub fn evolving<V: Value>(&mut self, name: &str, versions: &Versions<V>) -> Result<ValueState<K, V>, JobError> {
        Ok(ValueState(self.worker_state.evolving_value_table(self.spec(name, None), versions)?))
    }

    /// Opens a state as [`States::evolving_with_ttl`] does.
    pub fn evolving_with_ttl<V: Value>(
        &mut self,
        name: &str,
        ttl: Ttl,
        versions: &Versions<V>,
    ) -> Result<ValueState<K, V>, JobError> {
        Ok(ValueState(self.worker_state.evolving_value_table(self.spec(name, Some(ttl)), versions)?))
    }

    /// Opens a state as [`States::evolving_list_with_header`] does.
    pub fn evolving_list_with_header<V: Value, H: Value + Default>(
        &mut self,
        name: &str,
        elements: &Versions<V>,
        headers: &Versions<H>,
    ) -> Result<ListState<K, V, H>, JobError> {
        Ok(ListState(self.worker_state.evolving_log_table(self.spec(name, None), elements, headers)?))
    }
}

/// A state with one value per key. To reduce records into it, call [`update`](Self::update) with the fold.
pub struct ValueState<K, V>(Rc<RefCell<ValueTable<K, V>>>);

impl<K: Key, V: Value> ValueState<K, V> {
    /// Sets the function that prefetches the parts of a value that its key's next record will read. It is called a few
    /// records ahead, so that the cache misses of different keys overlap; results do not depend on it.
    pub fn prefetch_with(&self, look: impl Fn(&V) + 'static) {
        self.0.borrow_mut().prefetch_values_with(look);
    }

    /// Borrows the table, with its time set to that of the record at hand: values expire by it.
    fn table<O, S>(&self, ctx: &Context<'_, K, O, S>) -> RefMut<'_, ValueTable<K, V>> {
        let mut table = self.0.borrow_mut();
        table.set_now(ctx.event_time.0, ctx.now.0);
        table
    }

    /// Returns the keys, among those this worker owns, that have a value in the restored checkpoint. To be called
    /// before the first record ([`KeyedLogic::restored_keys`](super::KeyedLogic::restored_keys)): later changes
    /// are not included.
    ///
    /// # Errors
    /// When the state in RocksDB cannot be read.
    pub fn stored_keys(&self) -> Result<Vec<K>, StateError> {
        self.0.borrow().stored_keys()
    }

    /// Reads the value of the key at hand.
    ///
    /// # Errors
    /// When the state in RocksDB cannot be read.
    pub fn read<O, S, R>(&self, ctx: &Context<'_, K, O, S>, f: impl FnOnce(Option<&V>) -> R) -> Result<R, StateError> {
        Ok(f(self.table(ctx).get(ctx.hash, ctx.key)?))
    }

    /// Returns a copy of the value of the key at hand.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn get<O, S>(&self, ctx: &Context<'_, K, O, S>) -> Result<Option<V>, StateError>
    where
        V: Clone,
    {
        self.read(ctx, |value| value.cloned())
    }

    /// Changes the value of the key at hand, starting from `default` if there is none.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn update<O, S, R>(
        &self,
        ctx: &Context<'_, K, O, S>,
        default: impl FnOnce() -> V,
        f: impl FnOnce(&mut V) -> R,
    ) -> Result<R, StateError> {
        Ok(f(self.table(ctx).get_or_insert_with(ctx.hash, ctx.key, default)?))
    }

    /// Sets the value of the key at hand.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn put<O, S>(&self, ctx: &Context<'_, K, O, S>, value: V) -> Result<(), StateError> {
        self.table(ctx).put(ctx.hash, ctx.key, value)?;
        Ok(())
    }

    /// Removes the value of the key at hand and returns it.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn remove<O, S>(&self, ctx: &Context<'_, K, O, S>) -> Result<Option<V>, StateError> {
        self.table(ctx).remove(ctx.hash, ctx.key)
    }
}

/// A state with one ordered map per key.
pub type MapState<K, K2, V> = ValueState<K, BTreeMap<K2, V>>;

/// A state with one list per key, and optionally a header beside each list.
pub struct ListState<K, V, H = ()>(Rc<RefCell<LogTable<K, V, H>>>);

impl<K: Key, V: Value, H: Value + Default> ListState<K, V, H> {
    /// Sets the function that prefetches the parts of a list that its key's next record will read. It is called a few
    /// records ahead, so that the cache misses of different keys overlap; results do not depend on it.
    pub fn prefetch_with(&self, look: impl Fn(&Log<V, H>) + 'static) {
        self.0.borrow_mut().prefetch_with(look);
    }

    /// Reads the list of the key at hand, if there is one.
    ///
    /// # Errors
    /// When the state in RocksDB cannot be read.
    pub fn read<O, S, R>(
        &self,
        ctx: &Context<'_, K, O, S>,
        f: impl FnOnce(Option<&Log<V, H>>) -> R,
    ) -> Result<R, StateError> {
        Ok(f(self.0.borrow_mut().get(ctx.hash, ctx.key)?))
    }

    /// Calls `f` with the list of the key at hand, which is made if there is none.
    ///
    /// # Errors
    /// When the state in RocksDB cannot be read.
    pub fn with<O, S, R>(
        &self,
        ctx: &Context<'_, K, O, S>,
        f: impl FnOnce(&mut Log<V, H>) -> R,
    ) -> Result<R, StateError> {
        Ok(f(self.0.borrow_mut().log(ctx.hash, ctx.key)?))
    }

    /// Removes the list of the key at hand, and its header.
    ///
    /// # Errors
    /// As [`with`](Self::with).
    pub fn remove<O, S>(&self, ctx: &Context<'_, K, O, S>) -> Result<(), StateError> {
        self.0.borrow_mut().remove(ctx.hash, ctx.key)
    }
}
