//! Which slots expire when, so that what has expired is found without a look at what lives.
//!
//! ```text
//! write ──▶ bucket of the time it expires ── time has passed all of the bucket ─▶ due ── a few at each write ─▶ expired?
//!                 ▲                                                                                              │ no, it was
//!                 └──────────────────────────────────────────────────────────────────────────────────────────────┘ written since
//! ```
//! A slot is listed once, however often it is written: it moves on when its bucket is due. So each write pays for what it
//! leaves to do, and what waits is as much as lives.

use std::collections::BTreeMap;

/// Not in any bucket.
const NOWHERE: i64 = i64::MAX;

pub(super) struct ExpiryQueue {
    /// How long an entry lives after a write.
    after_ms: i64,
    /// Of a bucket, ms.
    width: i64,
    buckets: BTreeMap<i64, Vec<u32>>,
    /// Of a bucket that time has passed.
    due: (i64, Vec<u32>),
    /// By slot: its bucket. In others its number counts for nothing.
    listed: Vec<i64>,
}

impl ExpiryQueue {
    /// How much longer than its time something may stay: one part in so many.
    const PARTS: i64 = 32;

    pub(super) fn new(after_ms: i64) -> Self {
        let width = (after_ms / Self::PARTS).max(1);
        Self { after_ms, width, buckets: BTreeMap::new(), due: (NOWHERE, Vec::new()), listed: Vec::new() }
    }

    pub(super) fn after_ms(&self) -> i64 {
        self.after_ms
    }

    /// A slot expires at `expires`, unless it is written again.
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

    /// A slot that may have expired by `passed`. It is not listed any more.
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
