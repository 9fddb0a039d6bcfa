//! The hot table: decoded entries of one state, by key, in front of RocksDB.
//!
//! ```text
//! index (hash table of slot numbers) ──▶ slots: [key, entry, dirty in, sealed in epoch …]
//! record path: one lookup, no serialisation          dirty list ──▶ seal: encode each once an epoch
//! ```
//! An epoch is sealed a slice at a time, while records of the next one are already applied: a slot that is
//! about to change and not sealed yet is sealed first, on the spot. So nobody waits for all of it.
//!
//! Invariants: a slot is in the dirty list of the generation it is dirty in, and perhaps in the one before, which
//! then passes it by. A slot may be evicted only when it is clean and RocksDB has applied the epoch it was last
//! sealed in. While `complete`, every key that exists has a slot, so a miss is an answer. With a TTL, every entry is in the
//! expiry queue, and what has expired goes at once where no delta has it, or else with the next seal.

use std::sync::Arc;

use hashbrown::HashTable;
use smallvec::SmallVec;

use crate::checkpoint::delta::Ops;
use crate::codec::{self, DecodeError};
use crate::error::StateError;
use crate::evolve::spec::{StateSpec, TtlClock};
use crate::hot::persistent::Persistent;
use crate::ids::{KeyGroup, KeyGroups};
use crate::key::Key;
use crate::rows::db::Db;

mod expiry;
mod memory;

use expiry::ExpiryQueue;
pub use memory::MemoryUse;

/// What a table keeps under a key, and how it becomes rows.
pub trait Entry: Sized + 'static {
    /// Names the kind in manifests.
    const KIND: &'static str;

    /// Writes what changed since the last call. `row` is the row key without a suffix; it may be
    /// extended and must be left as it was. `header` starts each value.
    fn seal(&mut self, row: &mut Vec<u8>, header: &[u8], ops: &mut Ops) -> Result<(), DecodeError>;

    /// Writes that the whole entry is gone.
    fn seal_removed(row: &mut Vec<u8>, ops: &mut Ops);

    /// Takes in one stored row (in key order) of the entry.
    fn absorb(entry: &mut Option<Self>, suffix: &[u8], value: &[u8]) -> Result<(), DecodeError>;

    /// Whether an entry is exactly one row, found by its key.
    const SINGLE_ROW: bool;

    /// Memory it takes besides itself, bytes, estimated. `encoded`: how many bytes were last written or
    /// read of it; 0 where nothing was.
    fn heap_bytes(&self, encoded: usize) -> usize;
}

/// What the index takes for a slot, about.
const INDEX_BYTES: usize = 16;
/// A slot that no seal waits for.
const CLEAN: u64 = 0;

struct Slot<K, E> {
    hash: u64,
    key: K,
    /// `None`: removed, but not yet so in RocksDB.
    entry: Option<E>,
    /// The generation whose seal it waits for; [`CLEAN`] when for none.
    dirty_in: u64,
    /// Whether a delta or RocksDB holds rows of it.
    stored: bool,
    /// Whether stored rows of an entry that was removed since have to go first.
    removed: bool,
    touched: bool,
    sealed_epoch: u64,
    bytes: u32,
    /// When it expires, by the clock of the TTL.
    expires: i64,
}

/// The seal of an epoch that is under way.
struct Sealing {
    epoch: u64,
    generation: u64,
    /// What was dirty when the epoch ended, and how many of that were looked at.
    slots: Vec<u32>,
    done: usize,
    ops: Ops,
}

/// The hot table of one state.
pub struct Table<K, E> {
    spec: StateSpec,
    name: String,
    key_groups: KeyGroups,
    db: Arc<Db>,
    memory: MemoryUse,
    index: HashTable<u32>,
    slots: Vec<Option<Slot<K, E>>>,
    free: Vec<u32>,
    /// Those that `dirty` has.
    free_dirty: Vec<u32>,
    /// Of the epoch that runs. Its generation is +1 per seal.
    dirty: Vec<u32>,
    generation: u64,
    sealing: Option<Sealing>,
    /// A row key while it is made.
    row: Vec<u8>,
    complete: bool,
    /// The last epoch in which a removed entry's slot was let go of because a miss was an answer.
    forgotten_in: u64,
    hand: usize,
    now: i64,
    /// Up to here time has passed for all keys: what has expired by then can go.
    passed: i64,
    expiry: Option<ExpiryQueue>,
    look: Option<Look<E>>,
}

/// Looks at an entry ahead of its turn.
type Look<E> = Box<dyn Fn(&E)>;

impl<K: Key, E: Entry> Table<K, E> {
    /// Slots looked at per write for expired entries. A write leaves one to be looked at, later.
    const EXPIRED_PER_WRITE: usize = 4;
    /// The same per seal, where nothing is written.
    const EXPIRED_PER_SEAL: usize = 4096;

    /// Opens the table and loads what RocksDB holds, as far as memory goes.
    pub(crate) fn open(
        spec: StateSpec,
        key_groups: KeyGroups,
        db: Arc<Db>,
        memory: MemoryUse,
    ) -> Result<Self, StateError> {
        let name = spec.name.to_string();
        let expiry = spec.ttl.map(|ttl| ExpiryQueue::new(ttl.after_ms));
        db.ensure_family(&name)?;
        let mut table = Self {
            spec,
            name,
            key_groups,
            db,
            memory,
            index: HashTable::new(),
            slots: Vec::new(),
            free: Vec::new(),
            free_dirty: Vec::new(),
            dirty: Vec::new(),
            generation: CLEAN + 1,
            sealing: None,
            row: Vec::new(),
            complete: true,
            forgotten_in: 0,
            hand: 0,
            now: i64::MIN,
            passed: i64::MIN,
            expiry,
            look: None,
        };
        table.load_all()?;
        Ok(table)
    }

    fn load_all(&mut self) -> Result<(), StateError> {
        let db = Arc::clone(&self.db);
        let mut current: Option<(Vec<u8>, Loading<E>)> = None;
        db.scan(&self.name.clone(), &[], |row, value| {
            let (_, key, suffix) = codec::split_row_key(row).map_err(|e| self.bad_value(row, &e))?;
            let same = current.as_ref().is_some_and(|(known, _)| row.starts_with(known));
            if !same {
                if let Some((row, loading)) = current.take() {
                    self.insert_loaded(&row, loading)?;
                }
                if self.memory.is_high() {
                    self.complete = false;
                    return Ok(false);
                }
                let prefix = row[..6 + key.len()].to_vec();
                current = Some((prefix, Loading { entry: None, bytes: 0, expires: i64::MAX }));
            }
            if let Some((_, loading)) = &mut current {
                self.absorb(loading, row, suffix, value)?;
            }
            Ok(true)
        })?;
        if let Some((row, loading)) = current {
            self.insert_loaded(&row, loading)?;
        }
        Ok(())
    }

    fn absorb(&self, loading: &mut Loading<E>, row: &[u8], suffix: &[u8], value: &[u8]) -> Result<(), StateError> {
        let body = self.strip_header(value, &mut loading.expires).map_err(|e| self.bad_value(row, &e))?;
        loading.bytes += row.len() + value.len();
        E::absorb(&mut loading.entry, suffix, body).map_err(|e| self.bad_value(row, &e))
    }

    fn insert_loaded(&mut self, row: &[u8], loading: Loading<E>) -> Result<(), StateError> {
        let (_, key, _) = codec::split_row_key(row).map_err(|e| self.bad_value(row, &e))?;
        let key: K = codec::decode(key).map_err(|e| self.bad_value(row, &e))?;
        let hash = crate::key::hash_key(&key);
        self.loaded_slot(hash, key, loading);
        Ok(())
    }

    /// A slot for what RocksDB has.
    fn loaded_slot(&mut self, hash: u64, key: K, loading: Loading<E>) -> u32 {
        let number = self.new_slot(hash, key, loading.entry);
        if let Some(Some(slot)) = self.slots.get_mut(number as usize) {
            (slot.stored, slot.sealed_epoch, slot.expires) = (true, self.db.applied(), loading.expires);
        }
        if let Some(expiry) = &mut self.expiry {
            expiry.list(number, loading.expires);
        }
        self.account(number, loading.bytes);
        number
    }

    /// The slot of `key`, loading it from RocksDB when it may be there. One hash lookup when it is hot.
    fn find(&mut self, hash: u64, key: &K) -> Result<Option<u32>, StateError> {
        let slots = &self.slots;
        let hot = self.index.find(hash, |slot| slots[*slot as usize].as_ref().is_some_and(|s| s.key == *key));
        if let Some(slot) = hot.copied() {
            return Ok(Some(slot));
        }
        if self.complete { Ok(None) } else { self.load_one(hash, key) }
    }

    #[cold]
    fn load_one(&mut self, hash: u64, key: &K) -> Result<Option<u32>, StateError> {
        let mut row = Vec::new();
        codec::row_key(self.key_groups.of_hash(hash), key, &mut row).map_err(|e| self.bad_value(&[], &e))?;
        let mut loading = Loading { entry: None, bytes: 0, expires: i64::MAX };
        if E::SINGLE_ROW {
            if let Some(value) = self.db.get(&self.name, &row)? {
                self.absorb(&mut loading, &row, &[], &value)?;
            }
        } else {
            let db = Arc::clone(&self.db);
            db.scan(&self.name, &row, |full, value| {
                self.absorb(&mut loading, full, &full[row.len()..], value)?;
                Ok(true)
            })?;
        }
        if loading.entry.is_none() {
            return Ok(None);
        }
        Ok(Some(self.loaded_slot(hash, key.clone(), loading)))
    }

    /// The entry of `key`, to read.
    pub(crate) fn entry(&mut self, hash: u64, key: &K) -> Result<Option<&mut E>, StateError> {
        let Some(slot) = self.find(hash, key)? else { return Ok(None) };
        let now = self.now;
        let Some(Some(slot)) = self.slots.get_mut(slot as usize) else { return Ok(None) };
        slot.touched = true;
        Ok(if slot.expires <= now { None } else { slot.entry.as_mut() })
    }

    /// The entry of `key`, to change; `make` where there is none.
    pub(crate) fn entry_or_insert(
        &mut self,
        hash: u64,
        key: &K,
        make: impl FnOnce() -> E,
    ) -> Result<&mut E, StateError> {
        if self.expiry.is_some() {
            self.let_expired_go(Self::EXPIRED_PER_WRITE)?;
        }
        let number = match self.find(hash, key)? {
            Some(number) => number,
            None => self.new_slot(hash, key.clone(), None),
        };
        self.mark_dirty(number)?;
        let now = self.now;
        let Some(Some(slot)) = self.slots.get_mut(number as usize) else {
            return Err(StateError::Invalid(format!("state \"{}\": a slot was lost, which is a bug", self.name)));
        };
        if slot.expires <= now {
            slot.removed |= slot.entry.take().is_some() && slot.stored;
        }
        if let (Some(ttl), Some(expiry)) = (self.spec.ttl, &mut self.expiry) {
            slot.expires = now.saturating_add(ttl.after_ms);
            expiry.list(number, slot.expires);
        }
        Ok(slot.entry.get_or_insert_with(make))
    }

    /// Removes the entry of `key`.
    pub(crate) fn take(&mut self, hash: u64, key: &K) -> Result<Option<E>, StateError> {
        let Some(number) = self.find(hash, key)? else { return Ok(None) };
        let Some(Some(slot)) = self.slots.get(number as usize) else { return Ok(None) };
        let expired = slot.expires <= self.now;
        Ok(self.clear(number)?.filter(|_| !expired))
    }

    /// Removes the entry of a slot: at once where no delta has it, or else with the next seal.
    fn clear(&mut self, number: u32) -> Result<Option<E>, StateError> {
        self.mark_dirty(number)?;
        let Some(Some(slot)) = self.slots.get_mut(number as usize) else { return Ok(None) };
        let entry = slot.entry.take();
        slot.removed |= slot.stored;
        // Where RocksDB is asked, it may still have rows that were removed before this entry came.
        if !slot.stored && (self.complete || slot.sealed_epoch <= self.db.applied()) {
            self.forgotten_in = self.forgotten_in.max(slot.sealed_epoch);
            self.forget(number);
        }
        Ok(entry)
    }

    /// Says how an entry is looked at ahead of its turn.
    pub fn warm_with(&mut self, look: impl Fn(&E) + 'static) {
        self.look = Some(Box::new(look));
    }

    /// The keys that RocksDB has: all of the restored checkpoint, as long as nothing was changed.
    ///
    /// # Errors
    /// When a key cannot be read.
    pub fn stored_keys(&self) -> Result<Vec<K>, StateError> {
        let (mut keys, mut last) = (Vec::new(), Vec::new());
        self.db.scan(&self.name, &[], |row, _| {
            let (_, key, _) = codec::split_row_key(row).map_err(|e| self.bad_value(row, &e))?;
            // An entry of several rows has them one after the other.
            let entry = codec::entry_of_row(row);
            if last != entry {
                last.clear();
                last.extend_from_slice(entry);
                keys.push(codec::decode(key).map_err(|e| self.bad_value(row, &e))?);
            }
            Ok(true)
        })?;
        Ok(keys)
    }

    /// Keys that are in memory.
    #[must_use]
    pub fn hot_len(&self) -> usize {
        self.index.len()
    }

    /// To be called before a slot changes: what it was belongs to the seal that is under way, if there is one.
    fn mark_dirty(&mut self, number: u32) -> Result<(), StateError> {
        let Some(Some(slot)) = self.slots.get_mut(number as usize) else { return Ok(()) };
        slot.touched = true;
        if slot.dirty_in == self.generation {
            return Ok(());
        }
        if slot.dirty_in != CLEAN
            && let Some(mut sealing) = self.sealing.take()
        {
            let sealed = self.seal_slot(number, &mut sealing);
            self.sealing = Some(sealing);
            sealed?;
        }
        if let Some(Some(slot)) = self.slots.get_mut(number as usize) {
            slot.dirty_in = self.generation;
        }
        self.dirty.push(number);
        Ok(())
    }

    fn new_slot(&mut self, hash: u64, key: K, entry: Option<E>) -> u32 {
        // One without an entry is about to be changed. What is in the dirty list already need not go there again.
        let dirty = if entry.is_none() { self.free_dirty.pop() } else { None };
        let slot = Slot {
            hash,
            key,
            entry,
            dirty_in: if dirty.is_some() { self.generation } else { CLEAN },
            stored: false,
            removed: false,
            touched: true,
            sealed_epoch: 0,
            bytes: 0,
            expires: i64::MAX,
        };
        let number = match dirty.or_else(|| self.free.pop()) {
            Some(number) => {
                self.slots[number as usize] = Some(slot);
                number
            }
            None => {
                self.slots.push(Some(slot));
                (self.slots.len() - 1) as u32
            }
        };
        let slots = &self.slots;
        self.index.insert_unique(hash, number, |slot| slots[*slot as usize].as_ref().map_or(0, |s| s.hash));
        self.account(number, 0);
        number
    }

    /// Counts what a slot holds now; `encoded` is how many bytes were last written or read of it.
    fn account(&mut self, slot: u32, encoded: usize) {
        if let Some(Some(slot)) = self.slots.get_mut(slot as usize) {
            let heap = slot.entry.as_ref().map_or(0, |entry| entry.heap_bytes(encoded));
            self.memory.sub(u64::from(slot.bytes));
            slot.bytes = u32::try_from(size_of::<Slot<K, E>>() + INDEX_BYTES + heap).unwrap_or(u32::MAX);
            self.memory.add(u64::from(slot.bytes));
        }
    }

    /// Lets go of a slot that no seal waits for, or the next one only.
    fn forget(&mut self, number: u32) {
        let Some(slot) = self.slots.get_mut(number as usize).and_then(Option::take) else { return };
        debug_assert!(slot.dirty_in == CLEAN || slot.dirty_in == self.generation, "it is to be sealed");
        self.memory.sub(u64::from(slot.bytes));
        if let Ok(entry) = self.index.find_entry(slot.hash, |other| *other == number) {
            entry.remove();
        }
        if slot.dirty_in == CLEAN { self.free.push(number) } else { self.free_dirty.push(number) }
    }

    /// Seals a slot of the dirty list, unless it changed meanwhile: then that was done before it did.
    fn seal_listed(&mut self, number: u32, sealing: &mut Sealing) -> Result<(), StateError> {
        let listed = |slot: &Slot<K, E>| slot.dirty_in == sealing.generation;
        if !self.slots.get(number as usize).is_some_and(|slot| slot.as_ref().is_some_and(listed)) {
            return Ok(());
        }
        self.seal_slot(number, sealing)?;
        // Without the slot a miss is the answer. Not so once RocksDB is asked, which has the old rows for a while.
        let gone = matches!(self.slots.get(number as usize), Some(Some(slot)) if slot.entry.is_none());
        if gone && self.complete && !self.memory.is_high() {
            self.forget(number);
            self.forgotten_in = sealing.epoch;
        }
        Ok(())
    }

    /// Writes what a slot holds as of the end of the sealed epoch.
    fn seal_slot(&mut self, number: u32, sealing: &mut Sealing) -> Result<(), StateError> {
        let Some(Some(slot)) = self.slots.get_mut(number as usize) else { return Ok(()) };
        slot.dirty_in = CLEAN;
        let Sealing { epoch, ops, .. } = sealing;
        let before = ops.len();
        if self.db.keeps() {
            let group = self.key_groups.of_hash(slot.hash);
            let name = &self.name;
            let bad = |DecodeError(reason)| StateError::Unwritable { state: name.clone(), group: group.0, reason };
            if slot.entry.is_some() || slot.stored {
                codec::row_key(group, &slot.key, &mut self.row).map_err(bad)?;
            }
            if std::mem::take(&mut slot.removed) {
                E::seal_removed(&mut self.row, ops);
            }
            if let Some(entry) = &mut slot.entry {
                let mut header = [self.spec.version; 9];
                header[1..].copy_from_slice(&slot.expires.to_le_bytes());
                let header = if self.spec.ttl.is_some() { &header[..] } else { &header[..1] };
                entry.seal(&mut self.row, header, ops).map_err(bad)?;
            }
            (slot.stored, slot.sealed_epoch) = (slot.entry.is_some(), *epoch);
        }
        let encoded = ops.len() - before;
        self.account(number, encoded);
        Ok(())
    }

    fn strip_header<'v>(&self, value: &'v [u8], expires: &mut i64) -> Result<&'v [u8], DecodeError> {
        let short = || DecodeError("it is too short".to_owned());
        let (version, rest) = value.split_first().ok_or_else(short)?;
        if *version != self.spec.version {
            return Err(DecodeError(format!("it is of version {version}, this program reads {}", self.spec.version)));
        }
        if self.spec.ttl.is_none() {
            return Ok(rest);
        }
        let (at, rest) = rest.split_first_chunk().ok_or_else(short)?;
        *expires = i64::from_le_bytes(*at);
        Ok(rest)
    }

    fn bad_value(&self, row: &[u8], error: &DecodeError) -> StateError {
        bad_value(&self.name, KeyGroup(codec::group_of_row(row)), error)
    }
}

struct Loading<E> {
    entry: Option<E>,
    bytes: usize,
    expires: i64,
}

fn bad_value(state: &str, group: KeyGroup, error: &DecodeError) -> StateError {
    StateError::Value { state: state.to_owned(), group: group.0, reason: error.0.clone() }
}

impl<K: Key, E: Entry> Persistent for Table<K, E> {
    fn begin_seal(&mut self, epoch: u64) -> Result<(), StateError> {
        debug_assert!(self.sealing.is_none(), "one epoch is sealed after the other");
        self.let_expired_go(Self::EXPIRED_PER_SEAL)?;
        if self.db.keeps() && self.spec.ttl.is_some() {
            self.db.expires(&self.name, epoch, self.passed);
        }
        let slots = std::mem::take(&mut self.dirty);
        self.free.append(&mut self.free_dirty);
        self.sealing = Some(Sealing { epoch, generation: self.generation, slots, done: 0, ops: Ops::default() });
        self.generation += 1;
        Ok(())
    }

    fn seal_on(&mut self, entries: usize) -> Result<Option<Ops>, StateError> {
        let Some(mut sealing) = self.sealing.take() else { return Ok(Some(Ops::default())) };
        let end = sealing.slots.len().min(sealing.done.saturating_add(entries));
        for at in sealing.done..end {
            self.seal_listed(sealing.slots[at], &mut sealing)?;
        }
        sealing.done = end;
        if end < sealing.slots.len() {
            self.sealing = Some(sealing);
            return Ok(None);
        }
        Ok(Some(sealing.ops))
    }

    fn warm(&self, hashes: &[u64]) {
        let slot = |number: &u32| self.slots[*number as usize].as_ref();
        let find = |hash: &u64| self.index.find(*hash, |number| slot(number).is_some_and(|slot| slot.hash == *hash));
        let found: SmallVec<[&Slot<K, E>; 16]> = hashes.iter().filter_map(find).filter_map(slot).collect();
        std::hint::black_box(found.iter().fold(0, |all, slot| all ^ slot.dirty_in));
        if let Some(look) = &self.look {
            found.iter().filter_map(|slot| slot.entry.as_ref()).for_each(look);
        }
    }

    /// The coldest go first (a clock hand over the slots).
    fn evict(&mut self) {
        let applied = self.db.applied();
        if self.complete && applied < self.forgotten_in {
            // A miss would find rows that are gone: RocksDB has to hear of that first.
            return;
        }
        for _ in 0..self.slots.len() * 2 {
            if self.memory.is_low() {
                return;
            }
            self.hand = (self.hand + 1) % self.slots.len();
            let Some(Some(slot)) = self.slots.get_mut(self.hand) else { continue };
            if slot.dirty_in != CLEAN || slot.sealed_epoch > applied || std::mem::take(&mut slot.touched) {
                continue;
            }
            self.complete = false;
            self.forget(self.hand as u32);
        }
    }

    fn set_now(&mut self, event_time_ms: i64, processing_time_ms: i64) {
        if let Some(ttl) = self.spec.ttl {
            // What lives up to the end of time lives through it.
            match ttl.clock {
                TtlClock::EventTime => self.now = event_time_ms.min(i64::MAX - 1),
                // It is the same for all keys.
                TtlClock::ProcessingTime => {
                    self.now = processing_time_ms.min(i64::MAX - 1);
                    self.passed = self.now;
                }
            }
        }
    }

    fn pass(&mut self, watermark_ms: i64, processing_time_ms: i64) {
        if let Some(ttl) = self.spec.ttl {
            let passed = match ttl.clock {
                TtlClock::EventTime => watermark_ms,
                TtlClock::ProcessingTime => processing_time_ms,
            };
            self.passed = passed.min(i64::MAX - 1);
        }
    }

    fn kind(&self) -> &'static str {
        E::KIND
    }

    fn spec(&self) -> &StateSpec {
        &self.spec
    }
}

#[cfg(test)]
mod tests;
