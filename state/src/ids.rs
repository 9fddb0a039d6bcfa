//! Key groups: the unit of placement and of rescaling.

use std::ops::Range;

/// Default number of key groups of a job.
pub const DEFAULT_KEY_GROUPS: u16 = 128;

/// A group of keys that one worker owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyGroup(pub u16);

/// The key groups of a job: their number, and which worker owns which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyGroups(u16);

impl KeyGroups {
    /// Creates `count` key groups (0 is taken as 1).
    #[must_use]
    pub fn new(count: u16) -> Self {
        Self(count.max(1))
    }

    /// Returns the group of a key with this hash. It depends on the high bits, because hot tables use the low ones.
    #[must_use]
    pub fn of_hash(self, hash: u64) -> KeyGroup {
        KeyGroup(((u128::from(hash) * u128::from(self.0)) >> 64) as u16)
    }

    /// Returns the worker that owns a group. Each worker owns a contiguous range of groups.
    #[must_use]
    pub fn worker_of(self, group: KeyGroup, workers: usize) -> usize {
        usize::from(group.0) * workers / usize::from(self.0)
    }

    /// Returns the groups that a worker owns.
    #[must_use]
    pub fn owned(self, worker: usize, workers: usize) -> Range<u16> {
        let first = |worker: usize| (worker * usize::from(self.0)).div_ceil(workers) as u16;
        first(worker)..first(worker + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_has_exactly_one_owner() {
        for (count, workers) in [(128, 1), (128, 3), (128, 4), (7, 5), (128, 128)] {
            let groups = KeyGroups::new(count);
            for group in 0..count {
                let owner = groups.worker_of(KeyGroup(group), workers);
                let owners: Vec<usize> = (0..workers).filter(|w| groups.owned(*w, workers).contains(&group)).collect();
                assert_eq!(owners, [owner], "group {group} of {count}, {workers} workers");
            }
        }
    }
}
