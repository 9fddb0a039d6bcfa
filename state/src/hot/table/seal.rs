//! Sealing a table into a delta, at the end of an epoch and after it, a slice at a time; removing expired entries;
//! evicting.

use std::any::Any;

use smallvec::SmallVec;

use super::{CLEAN, HotTable, Sealing, Slot};
use crate::checkpoint::delta::Ops;
use crate::codec::{self, DecodeError};
use crate::error::StateError;
use crate::evolve::spec::{StateSpec, TtlClock};
use crate::hot::entry::{Entry, Header};
use crate::hot::persistent::Persistent;
use crate::key::Key;

/// Number of slots that are read together, ahead of their use.
const LOOKED_AT_TOGETHER: usize = 16;

impl<K: Key, E: Entry> HotTable<K, E> {
    /// Seals a slot of the dirty list, unless it has changed since the epoch ended: then it was sealed before it
    /// changed.
    fn seal_listed(&mut self, number: u32, sealing: &mut Sealing) -> Result<(), StateError> {
        let listed = |slot: &Slot<K, E>| slot.dirty_in == sealing.generation;
        if !self.slots.get(number as usize).is_some_and(|slot| slot.as_ref().is_some_and(listed)) {
            return Ok(());
        }
        self.seal_slot(number, sealing)?;
        // While the table is complete, a miss means that there is no entry, so the slot is not needed. Otherwise a miss
        // reads RocksDB, which still has the old rows for a while.
        let gone = matches!(self.slots.get(number as usize), Some(Some(slot)) if slot.entry.is_none());
        if gone && self.complete && !self.memory.is_high() {
            self.forget(number);
            self.forgotten_in = sealing.epoch;
        } else if gone && self.loading.is_some() {
            self.removed_meanwhile.push(number);
        }
        Ok(())
    }

    /// Writes the changes of a slot, as of the end of the sealed epoch.
    pub(super) fn seal_slot(&mut self, number: u32, sealing: &mut Sealing) -> Result<(), StateError> {
        let Some(Some(slot)) = self.slots.get_mut(number as usize) else { return Ok(()) };
        slot.dirty_in = CLEAN;
        let Sealing { epoch, ops, .. } = sealing;
        let before = ops.len();
        let whole = !self.complete && self.loading.is_none();
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
                let header = Header { version: self.spec.version, expires: self.spec.ttl.map(|_| slot.expires) };
                entry.seal(&mut self.row, header, whole, ops).map_err(bad)?;
            }
            (slot.stored, slot.sealed_epoch) = (slot.entry.is_some(), *epoch);
        }
        let encoded = ops.len() - before;
        self.account(number, encoded);
        Ok(())
    }

    fn slot(&self, number: u32) -> Option<&Slot<K, E>> {
        self.slots.get(number as usize).and_then(Option::as_ref)
    }

    /// Reads slots ahead of their use, one after the other, so that the processor waits for all of them at once.
    fn look_at<'a>(&self, numbers: impl Iterator<Item = &'a u32>) {
        let found: SmallVec<[&Slot<K, E>; LOOKED_AT_TOGETHER]> =
            numbers.filter_map(|number| self.slot(*number)).collect();
        std::hint::black_box(found.iter().fold(0, |all, slot| all ^ slot.dirty_in));
        if let Some(look) = &self.look {
            found.iter().filter_map(|slot| slot.entry.as_ref()).for_each(look);
        }
    }

    /// Checks up to `most` slots that may have expired, and removes the entries that have.
    pub(super) fn let_expired_go(&mut self, most: usize) -> Result<(), StateError> {
        for _ in 0..most {
            let Some(expiry) = &mut self.expiry else { return Ok(()) };
            let Some(number) = expiry.next_due(self.passed) else { return Ok(()) };
            match self.slots.get(number as usize) {
                Some(Some(slot)) if slot.entry.is_some() && slot.expires > self.passed => {
                    expiry.list(number, slot.expires);
                }
                Some(Some(slot)) if slot.entry.is_some() => drop(self.clear(number)?),
                _ => {}
            }
        }
        Ok(())
    }
}

impl<K: Key, E: Entry> Persistent for HotTable<K, E> {
    fn begin_seal(&mut self, epoch: u64) -> Result<(), StateError> {
        debug_assert!(self.sealing.is_none(), "one epoch is sealed after the other");
        self.let_expired_go(Self::EXPIRED_PER_SEAL)?;
        if self.db.keeps() && self.spec.ttl.is_some() {
            self.db.expires(&self.name, epoch, self.passed);
        }
        let slots = std::mem::take(&mut self.dirty);
        self.free.append(&mut self.free_dirty);
        // Epochs are often of about one size: with room from the start nothing is copied while the changes grow.
        let ops = Ops::with_room(self.last_sealed + self.last_sealed / 4);
        self.sealing = Some(Sealing { epoch, generation: self.generation, slots, done: 0, ops });
        self.generation += 1;
        Ok(())
    }

    fn seal_on(&mut self, entries: usize) -> Result<Option<Ops>, StateError> {
        let Some(mut sealing) = self.sealing.take() else { return Ok(Some(Ops::default())) };
        let end = sealing.slots.len().min(sealing.done.saturating_add(entries));
        while sealing.done < end {
            let next = end.min(sealing.done + LOOKED_AT_TOGETHER);
            self.look_at(sealing.slots[sealing.done..next].iter());
            for at in sealing.done..next {
                self.seal_listed(sealing.slots[at], &mut sealing)?;
            }
            sealing.done = next;
        }
        if end < sealing.slots.len() {
            self.sealing = Some(sealing);
            return Ok(None);
        }
        self.last_sealed = sealing.ops.len();
        Ok(Some(sealing.ops))
    }

    fn prefetch(&self, hashes: &[u64]) {
        let of_hash = |hash: u64, number: &u32| self.slot(*number).is_some_and(|slot| slot.hash == hash);
        self.look_at(hashes.iter().filter_map(|hash| self.index.find(*hash, |number| of_hash(*hash, number))));
    }

    fn is_partial(&self) -> bool {
        !self.complete
    }

    fn load_ahead(&mut self, keys: &dyn Any) -> Result<(), StateError> {
        keys.downcast_ref::<Vec<K>>().map_or(Ok(()), |keys| self.load_all(keys))
    }

    fn load_on(&mut self, rows: usize) -> Result<bool, StateError> {
        self.load_some(rows)
    }

    /// Evicts the coldest entries first, by the clock algorithm: a hand that moves over the slots.
    fn memory_used(&self) -> Option<u64> {
        Some(self.memory.part())
    }

    fn evict(&mut self) {
        let applied = self.db.applied();
        if self.complete && applied < self.forgotten_in {
            // After an eviction a miss reads RocksDB, which still has rows of removed entries until it applies that
            // epoch.
            return;
        }
        self.ahead.forget();
        for _ in 0..self.slots.len() * 2 {
            if self.memory.is_low() {
                return;
            }
            self.hand = (self.hand + 1) % self.slots.len();
            let Some(Some(slot)) = self.slots.get_mut(self.hand) else { continue };
            if slot.dirty_in != CLEAN || slot.sealed_epoch > applied || std::mem::take(&mut slot.touched) {
                continue;
            }
            (self.complete, self.loading) = (false, None);
            self.forget(self.hand as u32);
        }
    }

    fn set_now(&mut self, event_time_ms: i64, processing_time_ms: i64) {
        if let Some(ttl) = self.spec.ttl {
            // An entry that lives up to the end of time (`i64::MAX`) never expires.
            match ttl.clock {
                TtlClock::EventTime => self.now = event_time_ms.min(i64::MAX - 1),
                // Processing time is the same for all keys, so it has passed for all of them.
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
