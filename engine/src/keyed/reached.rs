//! The watermark that the state of each key group had reached before a restore.
//!
//! A restore begins at the watermark of the slowest worker of the previous run, but the state of each key group is
//! as the worker that owned it left it. That worker may have been further ahead: the results of its keys for the
//! event times in between have already been emitted.

use tidemill_state::{KeyGroup, KeyGroups};

use crate::checkpoint::blobs::Ahead;
use crate::checkpoint::restored::Restored;
use crate::time::EventTime;

/// The key groups whose state is ahead of the operator's watermark.
pub(crate) struct Reached {
    key_groups: KeyGroups,
    ahead: Ahead,
}

impl Reached {
    pub(crate) fn nothing(key_groups: KeyGroups) -> Self {
        Self { key_groups, ahead: Ahead::new() }
    }

    /// Reads from the checkpoint what was reached by the key groups that `worker` of `workers` owns.
    pub(crate) fn restored(
        restored: &Restored,
        name: &str,
        key_groups: KeyGroups,
        (worker, workers): (usize, usize),
    ) -> Self {
        let mut reached = Self::nothing(key_groups);
        // One watermark per worker of the previous run, in the order of their indexes.
        let watermarks = restored.operator_watermarks(name);
        for group in key_groups.owned(worker, workers) {
            let owner = key_groups.worker_of(KeyGroup(group), watermarks.len());
            reached.ahead.extend(watermarks.get(owner).map(|watermark| (group, *watermark)));
        }
        for (group, time) in restored.reached(name).iter().flatten() {
            if let Some(known) = reached.ahead.get_mut(group) {
                *known = (*time).max(*known);
            }
        }
        reached
    }

    /// Returns whether any key group may be ahead.
    pub(crate) fn is_ahead(&self) -> bool {
        !self.ahead.is_empty()
    }

    /// Returns the watermark reached by the key group of a key with this hash; `EventTime::MIN` if it is not ahead.
    pub(crate) fn of_hash(&self, hash: u64) -> EventTime {
        if !self.is_ahead() {
            return EventTime::MIN;
        }
        self.ahead.get(&self.key_groups.of_hash(hash).0).copied().unwrap_or(EventTime::MIN)
    }

    /// Returns the key groups that are still ahead of the watermark, to be stored, if there are any.
    pub(crate) fn ahead_of(&mut self, watermark: EventTime) -> Option<&Ahead> {
        self.ahead.retain(|_, reached| *reached > watermark);
        Some(&self.ahead).filter(|ahead| !ahead.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use tidemill_state::{DEFAULT_KEY_GROUPS, MemoryCheckpoint, WorkerState, WorkerStateConfig, hash_key};

    use super::*;
    use crate::error::JobError;
    use crate::keyed::{Context, KeyedLogic, LogicError, Order};
    use crate::keyed::{Core, KeyOf, Parts};
    use crate::metrics::Metrics;
    use crate::record::{Arrival, Record};

    /// A record, the watermark of its key, and whether the record is late.
    type Seen = ((u8, i64), i64, bool);

    /// Emits each record in this form.
    struct Watermarks<const COMES_AGAIN: bool>;

    impl<const COMES_AGAIN: bool> KeyedLogic for Watermarks<COMES_AGAIN> {
        type Key = u8;
        type In = (u8, i64);
        type Out = Seen;
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

    /// Returns what is emitted for records of two keys. The watermark of the operator is at 10 and then at 40; the
    /// state of the first key had reached 30.
    fn emitted<const COMES_AGAIN: bool>(order: Order) -> Result<Vec<Seen>, JobError> {
        let key_groups = KeyGroups::new(DEFAULT_KEY_GROUPS);
        let memory =
            WorkerStateConfig { dir: None, key_groups, worker: 0, workers: 1, memory_limit_bytes: None, durable: true };
        let mut worker_state = WorkerState::in_memory(memory, &MemoryCheckpoint::default())?;
        let key_of: KeyOf<Watermarks<COMES_AGAIN>> = Rc::new(|record| record.0);
        let parts = Parts::open(&mut worker_state, "emitted", order, &key_of, |_| Ok(Watermarks::<COMES_AGAIN>))?;
        let ahead = Ahead::from([(key_groups.of_hash(hash_key(&1_u8)).0, EventTime(30))]);
        let start = (EventTime(10), Reached { key_groups, ahead });
        let metrics = Metrics::default().operator("emitted", "keyed", 0);
        let mut core = Core::new("emitted", key_of, parts, start, Arrival(0), metrics);
        let record = |(key, time)| Record { event_time: EventTime(time), arrival: Arrival(0), data: (key, time) };
        core.take([(1, 35), (1, 20), (2, 20)].map(record).into())?;
        core.pass(EventTime(40))?;
        core.take([(1, 39)].map(record).into())?;
        Ok(core.buffers.out.into_iter().map(|record| record.data).collect())
    }

    #[test]
    fn a_record_behind_what_its_key_had_reached_is_late() {
        let late = [((1, 20), 30, true), ((2, 20), 10, false), ((1, 35), 30, false), ((1, 39), 40, true)];
        assert_eq!(emitted::<false>(Order::EventTime).unwrap(), late);
        let as_it_comes = [((1, 35), 30, false), ((1, 20), 30, true), ((2, 20), 10, false), ((1, 39), 40, true)];
        assert_eq!(emitted::<false>(Order::Arrival).unwrap(), as_it_comes);
        let again = [((1, 20), 10, false), ((2, 20), 10, false), ((1, 35), 10, false), ((1, 39), 40, true)];
        assert_eq!(emitted::<true>(Order::EventTime).unwrap(), again);
    }
}
