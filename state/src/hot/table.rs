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

use crate::checkpoint::delta::Ops;
use crate::error::StateError;
use crate::evolve::spec::StateSpec;
use crate::hot::entry::Entry;
use crate::hot::memory::MemoryUse;
use crate::ids::KeyGroups;
use crate::key::Key;
use crate::rows::db::Db;

mod expiry;
mod load;
mod seal;

use expiry::ExpiryQueue;

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
pub struct HotTable<K, E> {
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

impl<K: Key, E: Entry> HotTable<K, E> {
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
        let after_ms = spec.ttl.map(|ttl| ttl.after_ms(&spec.name)).transpose()?;
        let expiry = after_ms.map(ExpiryQueue::new);
        db.ensure(&name)?;
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

    /// The slot of `key`, loading it from RocksDB when it may be there. One hash lookup when it is hot.
    fn find(&mut self, hash: u64, key: &K) -> Result<Option<u32>, StateError> {
        let slots = &self.slots;
        let hot = self.index.find(hash, |slot| slots[*slot as usize].as_ref().is_some_and(|s| s.key == *key));
        if let Some(slot) = hot.copied() {
            return Ok(Some(slot));
        }
        if self.complete { Ok(None) } else { self.load_one(hash, key) }
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
            return Err(StateError::Internal(format!("state \"{}\": a slot was lost", self.name)));
        };
        if slot.expires <= now {
            slot.removed |= slot.entry.take().is_some() && slot.stored;
        }
        if let Some(expiry) = &mut self.expiry {
            slot.expires = now.saturating_add(expiry.after_ms());
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
}

#[cfg(test)]
mod tests;
