//! A queue of slots by the time they expire, so that expired entries are found without visiting the live ones.
//!
//! ```text
//! write ──▶ bucket of the time it expires ── time has passed all of the bucket ─▶ due ── a few at each write ─▶ expired?
//!                 ▲                                                                                              │ no, it was
//!                 └──────────────────────────────────────────────────────────────────────────────────────────────┘ written since
//! ```
//! A slot is listed once, however often it is written: when its bucket is due, it moves to the bucket of its new time.
//! So each write pays for the work that it leaves for later, and the queue is about as long as there are live entries.

use std::collections::BTreeMap;

/// The bucket of a slot that is in no bucket.
const NOWHERE: i64 = i64::MAX;

/// The slots of a table with a TTL, in buckets by the time they expire.
pub(super) struct ExpiryQueue {
    /// How long an entry lives after a write.
    after_ms: i64,
    /// Width of a bucket, in milliseconds.
    width: i64,
    buckets: BTreeMap<i64, Vec<u32>>,
    /// A bucket that time has passed, and its slots that are still to be checked.
    due: (i64, Vec<u32>),
    /// The bucket of each slot. If the slot's number is in other buckets as well, it is ignored there.
    listed: Vec<i64>,
}

impl ExpiryQueue {
    /// Number of buckets per TTL: an entry may stay up to one bucket longer than its TTL before it is due.
    const PARTS: i64 = 32;

    pub(super) fn new(after_ms: i64) -> Self {
        let width = (after_ms / Self::PARTS).max(1);
        Self { after_ms, width, buckets: BTreeMap::new(), due: (NOWHERE, Vec::new()), listed: Vec::new() }
    }

    pub(super) fn after_ms(&self) -> i64 {
        self.after_ms
    }

    /// Lists a slot that expires at `expires`, unless it is written again.
    pub(super) fn list(&mut self, number: u32, expires: i64) {
        let (slot, bucket) = (number as usize, expires.div_euclid(self.width));
        if slot >= self.listed.len() {
            self.listed.resize(slot + 1, NOWHERE);
        }
        if bucket < self.listed[slot] {
            self.listed[slot] = bucket;
            self.buckets.entry(bucket).or_default().push(number);
        }
    }

    /// Takes out and returns a slot that may have expired by `passed`.
    pub(super) fn next_due(&mut self, passed: i64) -> Option<u32> {
        loop {
            let (bucket, due) = &mut self.due;
            while let Some(number) = due.pop() {
                let listed = self.listed.get_mut(number as usize).filter(|listed| **listed == *bucket);
                if let Some(listed) = listed {
                    *listed = NOWHERE;
                    return Some(number);
                }
            }
            let first = self.buckets.first_entry()?;
            if *first.key() >= passed.saturating_add(1).div_euclid(self.width) {
                return None;
            }
            self.due = first.remove_entry();
        }
    }
}
