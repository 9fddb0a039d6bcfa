//! Timers: a set of (time, key), taken out in time order. Known limit: all timers of an operator are in memory.
//!
//! A timer that is set and fired within one epoch leaves no trace in the delta.

use std::collections::BTreeMap;

use hashbrown::HashMap;

use crate::checkpoint::delta::Ops;
use crate::codec::{self, DecodeError};
use crate::error::StateError;
use crate::evolve::spec::StateSpec;
use crate::hot::persistent::Persistent;
use crate::ids::KeyGroups;
use crate::key::{Key, hash_key};
use crate::rows::db::Db;

/// Maximum capacity, in keys, of an allocation that is kept for reuse.
const SPARE_KEYS: usize = 1024;

/// The keys that have a timer at one time, each with whether a delta has the timer.
type KeysAt<K> = HashMap<K, bool, foldhash::fast::FixedState>;

/// The timers of one operator on one clock.
pub struct TimerTable<K> {
    spec: StateSpec,
    key_groups: KeyGroups,
    keeps: bool,
    /// The timers by time and key, each with whether a delta has it.
    timers: BTreeMap<i64, KeysAt<K>>,
    /// Allocation of a time whose timers were taken out, reused for the next time.
    spare: KeysAt<K>,
    /// Timers that were set since the last seal; some of them may have fired or been cancelled.
    added: Vec<(i64, K)>,
    /// Stored timers that fired or were cancelled since the last seal.
    removed: Vec<(i64, K)>,
    sealed: Ops,
}

impl<K: Key> TimerTable<K> {
    pub(crate) fn open(spec: StateSpec, key_groups: KeyGroups, db: &Db) -> Result<Self, StateError> {
        let name = spec.name.to_string();
        let mut timers: BTreeMap<i64, KeysAt<K>> = BTreeMap::new();
        db.scan(&name, &[], |row, _| {
            let (time, key) = split_row(row).map_err(|e| StateError::Value {
                state: name.clone(),
                group: codec::group_of_row(row).0,
                reason: e.0,
            })?;
            timers.entry(time).or_default().insert(key, true);
            Ok(true)
        })?;
        Ok(Self {
            spec,
            key_groups,
            keeps: db.keeps(),
            timers,
            spare: KeysAt::default(),
            added: Vec::new(),
            removed: Vec::new(),
            sealed: Ops::default(),
        })
    }

    /// Sets a timer. Returns whether it is a new one.
    pub fn set(&mut self, time: i64, key: &K) -> bool {
        let keys = self.timers.entry(time).or_insert_with(|| std::mem::take(&mut self.spare));
        if keys.contains_key(key) {
            return false;
        }
        keys.insert(key.clone(), false);
        if self.keeps {
            self.added.push((time, key.clone()));
        }
        true
    }

    /// Cancels a timer. Returns whether there was one.
    pub fn cancel(&mut self, time: i64, key: &K) -> bool {
        let Some(keys) = self.timers.get_mut(&time) else { return false };
        let Some((key, stored)) = keys.remove_entry(key) else { return false };
        if keys.is_empty() {
            self.timers.remove(&time);
        }
        if stored {
            self.removed.push((time, key));
        }
        true
    }

    /// Returns the time of the earliest timer.
    #[must_use]
    pub fn next_time(&self) -> Option<i64> {
        self.timers.first_key_value().map(|(time, _)| *time)
    }

    /// Takes out all timers of the earliest time, if that is not after `up_to`. The keys are sorted, so that they fire
    /// in the same order in any replay.
    pub fn pop_due(&mut self, up_to: i64) -> Option<(i64, Vec<K>)> {
        let first = self.timers.first_entry().filter(|first| *first.key() <= up_to)?;
        let (time, mut keys) = first.remove_entry();
        let mut due = Vec::with_capacity(keys.len());
        for (key, stored) in keys.drain() {
            if stored {
                self.removed.push((time, key.clone()));
            }
            due.push(key);
        }
        due.sort_unstable();
        // The memory of a time with many keys is not kept for ever.
        if keys.capacity() <= SPARE_KEYS {
            self.spare = keys;
        }
        Some((time, due))
    }

    fn row(&self, time: i64, key: &K, row: &mut Vec<u8>) -> Result<(), DecodeError> {
        row.clear();
        row.extend_from_slice(&self.key_groups.of_hash(hash_key(key)).0.to_be_bytes());
        row.extend_from_slice(&codec::ordered_time(time));
        codec::encode(key, row)?;
        codec::check_row_key(row)
    }
}

fn split_row<K: Key>(row: &[u8]) -> Result<(i64, K), DecodeError> {
    let short = || DecodeError("the timer's row is too short".to_owned());
    let (_, rest) = row.split_first_chunk::<2>().ok_or_else(short)?;
    let (time, key) = rest.split_first_chunk::<8>().ok_or_else(short)?;
    Ok((codec::time_of(*time), codec::decode(key)?))
}

impl<K: Key> Persistent for TimerTable<K> {
    fn begin_seal(&mut self, _epoch: u64) -> Result<(), StateError> {
        let ops = &mut std::mem::take(&mut self.sealed);
        let name = self.spec.name.to_string();
        let group = |key: &K| self.key_groups.of_hash(hash_key(key)).0;
        let bad = |key: &K| {
            let (state, group) = (name.clone(), group(key));
            move |e: DecodeError| StateError::Unwritable { state, group, reason: e.0 }
        };
        let (added, removed) = (std::mem::take(&mut self.added), std::mem::take(&mut self.removed));
        let mut row = Vec::new();
        for (time, key) in &removed {
            self.row(*time, key, &mut row).map_err(bad(key))?;
            ops.delete(&row);
        }
        for (time, key) in &added {
            self.row(*time, key, &mut row).map_err(bad(key))?;
            if let Some(stored) = self.timers.get_mut(time).and_then(|keys| keys.get_mut(key)) {
                *stored = true;
                ops.put(&row, &[]).map_err(bad(key))?;
            }
        }
        (self.added, self.removed) = (added, removed);
        self.added.clear();
        self.removed.clear();
        self.sealed = std::mem::take(ops);
        Ok(())
    }

    fn seal_on(&mut self, _entries: usize) -> Result<Option<Ops>, StateError> {
        Ok(Some(std::mem::take(&mut self.sealed)))
    }

    fn set_now(&mut self, _event_time_ms: i64, _processing_time_ms: i64) {}

    fn kind(&self) -> &'static str {
        "timers"
    }

    fn spec(&self) -> &StateSpec {
        &self.spec
    }
}
