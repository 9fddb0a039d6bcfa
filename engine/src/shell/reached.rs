//! How far the state of each key group had come before a restore.
//!
//! A restore begins at the watermark of the slowest old worker, and each key group with the state that its own old worker
//! left. That worker may have been further: what its keys told of event times in between is told already.

use std::collections::BTreeMap;

use tidemill_state::KeyGroups;

use super::operator::watermark_of;
use crate::context::Shared;
use crate::time::EventTime;

/// The key groups whose state is ahead of the operator's watermark.
pub(crate) struct Reached {
    key_groups: KeyGroups,
    ahead: BTreeMap<u16, EventTime>,
}

impl Reached {
    pub(crate) fn nothing(key_groups: KeyGroups) -> Self {
        Self { key_groups, ahead: BTreeMap::new() }
    }

    /// As the checkpoint has it, of the groups that this worker owns.
    pub(crate) fn restored(context: &Shared, name: &str) -> Self {
        let mut reached = Self::nothing(context.backend.borrow().key_groups());
        let watermarks = watermark_of(context, name);
        for group in reached.key_groups.owned(context.worker, context.workers) {
            // One of each old worker, in their order.
            let owner = reached.key_groups.worker_of(tidemill_state::KeyGroup(group), watermarks.len());
            reached.ahead.extend(watermarks.get(owner).map(|watermark| (group, *watermark)));
        }
        for blob in context.restored_blobs(&blob(name)) {
            for entry in blob.chunks_exact(ENTRY_BYTES) {
                let (group, time) = entry.split_at(GROUP_BYTES);
                if let (Ok(group), Ok(time)) = (group.try_into(), time.try_into())
                    && let Some(known) = reached.ahead.get_mut(&u16::from_le_bytes(group))
                {
                    *known = EventTime(i64::from_le_bytes(time)).max(*known);
                }
            }
        }
        reached
    }

    /// Of the group of a key with this hash.
    pub(crate) fn of_hash(&self, hash: u64) -> EventTime {
        self.ahead.get(&self.key_groups.of_hash(hash).0).copied().unwrap_or(EventTime::MIN)
    }

    /// What is still ahead of the watermark, to be stored.
    pub(crate) fn ahead_of(&mut self, watermark: EventTime) -> Option<Vec<u8>> {
        self.ahead.retain(|_, reached| *reached > watermark);
        let entry = |(group, time): (&u16, &EventTime)| [&group.to_le_bytes()[..], &time.0.to_le_bytes()].concat();
        (!self.ahead.is_empty()).then(|| self.ahead.iter().flat_map(entry).collect())
    }
}

const GROUP_BYTES: usize = size_of::<u16>();
const ENTRY_BYTES: usize = GROUP_BYTES + size_of::<i64>();

pub(crate) fn blob(name: &str) -> String {
    format!("operator/{name}/reached")
}
