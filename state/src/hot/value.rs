//! Value state: one value per key, one row each.

use crate::checkpoint::delta::Ops;
use crate::codec::{self, DecodeError};
use crate::error::StateError;
use crate::hot::entry::{Entry, Header};
use crate::hot::table::HotTable;
use crate::key::{Key, Value};

/// One value per key.
pub type ValueTable<K, V> = HotTable<K, Single<V>>;

/// The entry of value state.
pub struct Single<V>(V);

impl<V: Value> Entry for Single<V> {
    const KIND: &'static str = "value";
    const WHOLE: &'static [u8] = &[];
    const SINGLE_ROW: bool = true;

    fn seal(&mut self, row: &mut Vec<u8>, header: Header, _whole: bool, ops: &mut Ops) -> Result<(), DecodeError> {
        ops.put_with(row, |out| {
            header.push(out);
            codec::encode(&self.0, out)
        })
    }

    fn heap_bytes(&self, encoded: usize) -> usize {
        encoded
    }

    fn seal_removed(row: &mut Vec<u8>, ops: &mut Ops) {
        ops.delete(row);
    }

    fn absorb(entry: &mut Option<Self>, _suffix: &[u8], value: &[u8]) -> Result<(), DecodeError> {
        *entry = Some(Self(codec::decode(value)?));
        Ok(())
    }
}

impl<K: Key, V: Value> ValueTable<K, V> {
    /// Sets the function by which [`prefetch`](crate::Persistent::prefetch) reads a value.
    pub fn prefetch_values_with(&mut self, look: impl Fn(&V) + 'static) {
        self.prefetch_with(move |Single(value)| look(value));
    }

    /// Returns the value of `key`, whose hash is `hash`.
    ///
    /// # Errors
    /// When the stored row cannot be read.
    pub fn get(&mut self, hash: u64, key: &K) -> Result<Option<&V>, StateError> {
        Ok(self.entry(hash, key)?.map(|single| &single.0))
    }

    /// Returns the value of `key`, to be changed. If there is none, `make` creates it.
    ///
    /// # Errors
    /// When the stored row cannot be read.
    pub fn get_or_insert_with(&mut self, hash: u64, key: &K, make: impl FnOnce() -> V) -> Result<&mut V, StateError> {
        Ok(&mut self.entry_or_insert(hash, key, || Single(make()))?.0)
    }

    /// Sets the value of `key`.
    ///
    /// # Errors
    /// When the stored row cannot be read.
    pub fn put(&mut self, hash: u64, key: &K, value: V) -> Result<(), StateError> {
        let mut value = Some(value);
        let entry = self.entry_or_insert(hash, key, || {
            // There is one value. It is taken here if there is no entry, and below if there is one.
            #[expect(clippy::expect_used, reason = "called at most once, before the line below")]
            Single(value.take().expect("the value was not used yet"))
        })?;
        if let Some(value) = value {
            entry.0 = value;
        }
        Ok(())
    }

    /// Removes the value of `key` and returns it.
    ///
    /// # Errors
    /// When the stored row cannot be read.
    pub fn remove(&mut self, hash: u64, key: &K) -> Result<Option<V>, StateError> {
        Ok(self.take(hash, key)?.map(|single| single.0))
    }
}
