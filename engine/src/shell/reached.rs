//! How far the state of each key group had come before a restore.
//!
//! A restore begins at the watermark of the slowest old worker, and each key group with the state that its own old worker
//! left. That worker may have been further: what its keys told of event times in between is told already.

use std::collections::BTreeMap;

use tidemill_state::KeyGroups;

use super::operator::watermark_of;
use crate::time::EventTime;
use crate::worker::Shared;

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
        for (group, time) in context.restored_blobs(&blob(name)).iter().flat_map(|blob| entries(blob)) {
            if let Some(known) = reached.ahead.get_mut(&group) {
                *known = time.max(*known);
            }
        }
        reached
    }

    /// Whether any group may be ahead.
    pub(crate) fn is_ahead(&self) -> bool {
        !self.ahead.is_empty()
    }

    /// Of the group of a key with this hash.
    pub(crate) fn of_hash(&self, hash: u64) -> EventTime {
        if !self.is_ahead() {
            return EventTime::MIN;
        }
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

fn entries(blob: &[u8]) -> impl Iterator<Item = (u16, EventTime)> {
    blob.chunks_exact(ENTRY_BYTES).filter_map(|entry| {
        let (group, time) = entry.split_at(GROUP_BYTES);
        Some((u16::from_le_bytes(group.try_into().ok()?), EventTime(i64::from_le_bytes(time.try_into().ok()?))))
    })
}

/// How far the state of any operator had come. An operator's watermark may be of the epoch after the one it closes, and so
/// ahead of where the checkpoint has the sources.
pub(crate) fn furthest(context: &Shared) -> EventTime {
    let of_operator = |name: &str| {
        let ahead = context.restored_blobs(&blob(name)).iter().flat_map(|blob| entries(blob)).map(|(_, time)| time);
        watermark_of(context, name).into_iter().chain(ahead).max()
    };
    context.restored_operators().filter_map(of_operator).max().unwrap_or(EventTime::MIN)
}

pub(crate) fn blob(name: &str) -> String {
    format!("operator/{name}/reached")
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use tidemill_state::{Backend, BackendConfig, DEFAULT_KEY_GROUPS, MemoryCheckpoint, hash_key};

    use super::*;
    use crate::error::JobError;
    use crate::metrics::Metrics;
    use crate::record::{Arrival, Record};
    use crate::shell::core::{Core, KeyOf, Parts};
    use crate::shell::{Context, KeyedLogic, LogicError, Order};

    /// A record, its key's watermark, and whether it is late.
    type Told = ((u8, i64), i64, bool);

    /// Tells each record so.
    struct Watermarks<const COMES_AGAIN: bool>;

    impl<const COMES_AGAIN: bool> KeyedLogic for Watermarks<COMES_AGAIN> {
        type Key = u8;
        type In = (u8, i64);
        type Out = Told;
        type Side = ();
        const COMES_AGAIN: bool = COMES_AGAIN;

        fn on_record(
            &mut self,
            ctx: &mut Context<'_, u8, Self::Out, ()>,
            record: Record<(u8, i64)>,
        ) -> Result<(), LogicError> {
            ctx.emit((record.data, ctx.watermark().0, ctx.is_late()));
            Ok(())
        }
    }

    /// What is told of records of two keys when the operator is at 10, and then at 40, and the first key's state is at 30.
    fn told<const COMES_AGAIN: bool>(order: Order) -> Result<Vec<Told>, JobError> {
        let key_groups = KeyGroups::new(DEFAULT_KEY_GROUPS);
        let memory =
            BackendConfig { dir: None, key_groups, worker: 0, workers: 1, memory_limit_bytes: None, durable: true };
        let mut backend = Backend::in_memory(memory, &MemoryCheckpoint::default())?;
        let key_of: KeyOf<Watermarks<COMES_AGAIN>> = Rc::new(|record| record.0);
        let parts = Parts::open(&mut backend, "told", order, &key_of, |_| Ok(Watermarks::<COMES_AGAIN>))?;
        let ahead = BTreeMap::from([(key_groups.of_hash(hash_key(&1_u8)).0, EventTime(30))]);
        let start = (EventTime(10), Reached { key_groups, ahead });
        let metrics = Metrics::default().operator("told", "keyed", 0);
        let mut core = Core::new("told", key_of, parts, start, Arrival(0), metrics);
        let record = |(key, time)| Record { event_time: EventTime(time), arrival: Arrival(0), data: (key, time) };
        core.take([(1, 35), (1, 20), (2, 20)].map(record).into())?;
        core.pass(EventTime(40))?;
        core.take([(1, 39)].map(record).into())?;
        Ok(core.buffers.out.into_iter().map(|record| record.data).collect())
    }

    #[test]
    fn a_record_behind_what_its_key_had_reached_is_late() {
        let late = [((1, 20), 30, true), ((2, 20), 10, false), ((1, 35), 30, false), ((1, 39), 40, true)];
        assert_eq!(told::<false>(Order::EventTime).unwrap(), late);
        let as_it_comes = [((1, 35), 30, false), ((1, 20), 30, true), ((2, 20), 10, false), ((1, 39), 40, true)];
        assert_eq!(told::<false>(Order::Arrival).unwrap(), as_it_comes);
        let again = [((1, 20), 10, false), ((2, 20), 10, false), ((1, 35), 10, false), ((1, 39), 40, true)];
        assert_eq!(told::<true>(Order::EventTime).unwrap(), again);
    }
}
