//! The hot table: decoded entries of one state, by key, in front of RocksDB.
//!
//! ```text
//! index (hash table of slot numbers) ──▶ slots: [key, entry, dirty in, sealed in epoch …]
//! record path: one lookup, no serialisation          dirty list ──▶ seal: encode each once an epoch
//! ```
//! An epoch is sealed a slice at a time, while records of the next one are already applied: a slot that is about to
//! change and is not sealed yet is sealed first, on the spot. So no record waits for the whole seal.
//!
//! Invariants: a slot is in the dirty list of the generation in which it is dirty, and perhaps in the list of the
//! generation before, whose seal then skips it. A slot may be evicted only when it is clean and RocksDB has applied the
//! epoch in which it was last sealed. While `complete`, every key that exists has a slot, so a miss means that there is
//! no entry. With a TTL, every entry is in the expiry queue; an expired entry that no delta has is removed at once, any
//! other with the next seal.

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

mod ahead;
mod expiry;
mod known;
mod load;
mod seal;

use expiry::ExpiryQueue;
use known::Ahead;

/// Bytes that the index takes for a slot, about.
const INDEX_BYTES: usize = 16;
/// The `dirty_in` of a slot that waits for no seal.
const CLEAN: u64 = 0;

struct Slot<K, E> {
    hash: u64,
    key: K,
    /// The entry; `None` if it was removed, but RocksDB may still have it.
    entry: Option<E>,
    /// Generation whose seal the slot waits for; [`CLEAN`] if it waits for none.
    dirty_in: u64,
    /// Whether a delta or RocksDB has rows of the entry.
    stored: bool,
    /// Whether the next seal has to delete stored rows first, because their entry was removed.
    removed: bool,
    touched: bool,
    sealed_epoch: u64,
    bytes: u32,
    /// Time when the entry expires, by the clock of the TTL.
    expires: i64,
}

/// A seal of an epoch that is in progress.
struct Sealing {
    epoch: u64,
    generation: u64,
    /// The slots that were dirty when the epoch ended.
    slots: Vec<u32>,
    /// Number of `slots`, from the front, that were visited.
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
    /// Free slots that are in the list `dirty`.
    free_dirty: Vec<u32>,
    /// Slots that changed in the current epoch.
    dirty: Vec<u32>,
    /// Generation of the current epoch: +1 per seal.
    generation: u64,
    sealing: Option<Sealing>,
    /// Size of the changes of the epoch that was sealed last, in bytes.
    last_sealed: usize,
    /// Buffer for a row key.
    row: Vec<u8>,
    complete: bool,
    /// The row with which loading continues; `None` if nothing is loaded any more.
    loading: Option<Vec<u8>>,
    /// Slots whose entry was removed while the table was loaded. They are freed once it is complete.
    removed_meanwhile: Vec<u32>,
    /// The last epoch in which the slot of a removed entry was freed, because a miss meant that there is no entry.
    forgotten_in: u64,
    hand: usize,
    ahead: Ahead<K>,
    now: i64,
    /// Time that has passed for all keys: entries that have expired by then can be removed.
    passed: i64,
    expiry: Option<ExpiryQueue>,
    look: Option<Look<E>>,
}

/// A function that reads an entry ahead of its use, so that it is in the processor's caches then.
type Look<E> = Box<dyn Fn(&E)>;

impl<K: Key, E: Entry> HotTable<K, E> {
    /// Number of slots that each write checks for expired entries. A write adds one slot that must be checked later.
    const EXPIRED_PER_WRITE: usize = 4;
    /// Number of slots that each seal checks for expired entries, for times when nothing is written.
    const EXPIRED_PER_SEAL: usize = 4096;

    /// Number of rows that are loaded at once although others are loaded later.
    const LOADED_WHEN_OPENED: usize = 64;

    /// Opens the table and loads the stored entries, as far as the memory limit allows: now, or while the job runs.
    pub(crate) fn open(
        spec: StateSpec,
        key_groups: KeyGroups,
        db: Arc<Db>,
        memory: MemoryUse,
    ) -> Result<Self, StateError> {
        let name = spec.name.to_string();
        let after_ms = spec.ttl.map(|ttl| ttl.after_ms(&spec.name)).transpose()?;
        let expiry = after_ms.map(ExpiryQueue::new);
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
            last_sealed: 0,
            row: Vec::new(),
            complete: false,
            loading: Some(Vec::new()),
            removed_meanwhile: Vec::new(),
            forgotten_in: 0,
            hand: 0,
            ahead: Ahead::default(),
            now: i64::MIN,
            passed: i64::MIN,
            expiry,
            look: None,
        };
        let at_once = if table.db.loads_later() { Self::LOADED_WHEN_OPENED } else { usize::MAX };
        table.load_some(at_once)?;
        Ok(table)
    }

    /// Returns the slot of `key`, after loading it from RocksDB if it may be there. A hot key takes one hash lookup.
    fn find(&mut self, hash: u64, key: &K) -> Result<Option<u32>, StateError> {
        self.ahead.asked += 1;
        let slots = &self.slots;
        let hot = self.index.find(hash, |slot| slots[*slot as usize].as_ref().is_some_and(|s| s.key == *key));
        if let Some(slot) = hot.copied() {
            return Ok(Some(slot));
        }
        if self.complete { Ok(None) } else { self.load_one(hash, key) }
    }

    /// Returns the entry of `key`, to be read.
    pub(crate) fn entry(&mut self, hash: u64, key: &K) -> Result<Option<&mut E>, StateError> {
        let Some(slot) = self.find(hash, key)? else { return Ok(None) };
        let now = self.now;
        let Some(Some(slot)) = self.slots.get_mut(slot as usize) else { return Ok(None) };
        slot.touched = true;
        Ok(if slot.expires <= now { None } else { slot.entry.as_mut() })
    }

    /// Returns the entry of `key`, to be changed. If there is none, `make` creates it.
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

    /// Removes and returns the entry of `key`.
    pub(crate) fn take(&mut self, hash: u64, key: &K) -> Result<Option<E>, StateError> {
        let Some(number) = self.find(hash, key)? else { return Ok(None) };
        let Some(Some(slot)) = self.slots.get(number as usize) else { return Ok(None) };
        let expired = slot.expires <= self.now;
        Ok(self.clear(number)?.filter(|_| !expired))
    }

    /// Removes and returns the entry of a slot. The slot is freed at once if no delta has the entry, or else with the
    /// next seal.
    fn clear(&mut self, number: u32) -> Result<Option<E>, StateError> {
        self.mark_dirty(number)?;
        let Some(Some(slot)) = self.slots.get_mut(number as usize) else { return Ok(None) };
        let entry = slot.entry.take();
        slot.removed |= slot.stored;
        // If the table is not complete, a miss reads RocksDB, which may still have rows that were removed before this
        // entry was created.
        if !slot.stored && (self.complete || slot.sealed_epoch <= self.db.applied()) {
            self.forgotten_in = self.forgotten_in.max(slot.sealed_epoch);
            self.forget(number);
        }
        Ok(entry)
    }

    /// Sets the function by which [`prefetch`](crate::Persistent::prefetch) reads an entry.
    pub fn prefetch_with(&mut self, look: impl Fn(&E) + 'static) {
        self.look = Some(Box::new(look));
    }

    /// Returns the number of keys that have a slot in memory.
    #[must_use]
    pub fn hot_len(&self) -> usize {
        self.index.len()
    }

    /// Marks a slot as dirty. To be called before the slot changes: if a seal is in progress that has not reached the
    /// slot, its present content is written first.
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
        // A slot without an entry is about to be changed. It takes a number that is already in the dirty list if there
        // is one, because that number need not be listed again.
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

    /// Updates the memory count of a slot. `encoded` is the number of bytes that were last written or read of its
    /// entry.
    fn account(&mut self, slot: u32, encoded: usize) {
        if let Some(Some(slot)) = self.slots.get_mut(slot as usize) {
            let heap = slot.entry.as_ref().map_or(0, |entry| entry.heap_bytes(encoded));
            self.memory.sub(u64::from(slot.bytes));
            slot.bytes = u32::try_from(size_of::<Slot<K, E>>() + INDEX_BYTES + heap).unwrap_or(u32::MAX);
            self.memory.add(u64::from(slot.bytes));
        }
    }

    /// Frees a slot that waits for no seal, or only for the seal of the current epoch.
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
