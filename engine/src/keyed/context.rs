//! The context that the logic is given while it handles one record or timer.

use tidemill_state::{Key, TimerTable};

use super::reached::Reached;
use crate::metrics::{Counter, UserCounters};
use crate::record::{Arrival, Record};
use crate::time::{EventTime, ProcessingTime};

pub(crate) fn is_late(event_time: EventTime, watermark: EventTime) -> bool {
    event_time < watermark || watermark == EventTime::MAX
}

/// The context of one record or timer: its key, its times, the key's timers, and the outputs.
pub struct Context<'a, K: Key, O, S> {
    pub(crate) key: &'a K,
    pub(crate) hash: u64,
    pub(crate) event_time: EventTime,
    pub(crate) arrival: Arrival,
    pub(crate) watermark: EventTime,
    pub(crate) reached: &'a Reached,
    pub(crate) now: ProcessingTime,
    pub(crate) timers: &'a mut TimerTable<K>,
    pub(crate) processing_timers: &'a mut TimerTable<K>,
    pub(crate) out: &'a mut Vec<Record<O>>,
    pub(crate) side: &'a mut Vec<Record<S>>,
    pub(crate) counters: &'a mut UserCounters,
}

impl<K: Key, O, S> Context<'_, K, O, S> {
    /// Returns the key of the record or timer at hand.
    #[must_use]
    pub fn key(&self) -> &K {
        self.key
    }

    /// Returns the event time of the record, or the time of the timer.
    #[must_use]
    pub fn event_time(&self) -> EventTime {
        self.event_time
    }

    /// Returns the watermark of the key at hand: no record before it will come any more, except late ones. It is
    /// the operator's watermark, or, after a restore, the one that the key's state had [`reached`](Self::reached),
    /// if that is later.
    #[must_use]
    pub fn watermark(&self) -> EventTime {
        self.watermark
    }

    /// Returns the watermark that the state of the key at hand had reached in the previous run. After a restore it
    /// may be ahead of the operator's watermark, which is that of the slowest worker: the results for event times
    /// before it have already been emitted.
    #[must_use]
    pub fn reached(&self) -> EventTime {
        self.reached.of_hash(self.hash)
    }

    /// Returns whether the record at hand came behind the watermark. After the end of time every record does.
    #[must_use]
    pub fn is_late(&self) -> bool {
        is_late(self.event_time, self.watermark)
    }

    /// Returns the time by the job's clock. Results that depend on it differ from replay to replay.
    #[must_use]
    pub fn processing_time(&self) -> ProcessingTime {
        self.now
    }

    /// Returns the counter of this name, for the program's own metrics: `ctx.counter("ties").add(1)`. It is
    /// `tidemill_user_events_total{operator="…",name="ties"}` in `/metrics`, and in `user_counters` of
    /// [`OperatorSnapshot`](crate::OperatorSnapshot). A counter begins at 0 with each start of the process: it is not
    /// part of a checkpoint, and records that are read again after a restore count again. An operator has at most 32
    /// of them.
    pub fn counter(&mut self, name: &'static str) -> &Counter {
        self.counters.get(name)
    }

    /// Emits a result with the event time at hand.
    pub fn emit(&mut self, data: O) {
        self.emit_at(self.event_time, data);
    }

    /// Emits a result with an event time of its own. A result before the watermark may be late downstream.
    pub fn emit_at(&mut self, event_time: EventTime, data: O) {
        self.out.push(Record { event_time, arrival: self.arrival, data });
    }

    /// Emits `data` to the side output, with the event time at hand.
    pub fn side(&mut self, data: S) {
        self.side.push(Record { event_time: self.event_time, arrival: self.arrival, data });
    }

    /// Sets an event-time timer for the key at hand. Setting the same timer twice has no further effect.
    /// A timer at or behind the watermark fires soon after the record at hand has been handled.
    pub fn set_timer(&mut self, at: EventTime) {
        self.timers.set(at.0, self.key);
    }

    /// Cancels an event-time timer of the key at hand. Returns whether there was one.
    pub fn cancel_timer(&mut self, at: EventTime) -> bool {
        self.timers.cancel(at.0, self.key)
    }

    /// Sets a processing-time timer for the key at hand: it fires when the job's clock reaches `at`. A timer that is
    /// still in the future when a bounded input ends does not fire; one in the future when the job stops is kept for
    /// the restore.
    pub fn set_processing_timer(&mut self, at: ProcessingTime) {
        self.processing_timers.set(at.0, self.key);
    }

    /// Cancels a processing-time timer of the key at hand. Returns whether there was one.
    pub fn cancel_processing_timer(&mut self, at: ProcessingTime) -> bool {
        self.processing_timers.cancel(at.0, self.key)
    }
}
