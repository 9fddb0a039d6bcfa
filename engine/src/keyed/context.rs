//! What the logic sees of the world while it handles one record or timer.

use tidemill_state::{Key, TimerTable};

use super::reached::Reached;
use crate::record::{Arrival, Record};
use crate::time::{EventTime, ProcessingTime};

pub(crate) fn is_late(event_time: EventTime, watermark: EventTime) -> bool {
    event_time < watermark || watermark == EventTime::MAX
}

/// The key at hand, its times, its timers and where results go.
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
}

impl<K: Key, O, S> Context<'_, K, O, S> {
    /// The key of the record or timer at hand.
    #[must_use]
    pub fn key(&self) -> &K {
        self.key
    }

    /// Event time of the record, or the time of the timer.
    #[must_use]
    pub fn event_time(&self) -> EventTime {
        self.event_time
    }

    /// The watermark of the key at hand: no record before it is still to come, late ones excepted. It is the operator's, or,
    /// after a restore, the one that the key's state has [`reached`](Self::reached), if that is further.
    #[must_use]
    pub fn watermark(&self) -> EventTime {
        self.watermark
    }

    /// The watermark that the state of the key at hand had reached in the run before. After a restore it may be ahead of
    /// the operator's, which is that of the slowest worker: what was to be told of event times before it has been told.
    #[must_use]
    pub fn reached(&self) -> EventTime {
        self.reached.of_hash(self.hash)
    }

    /// Whether the record at hand came behind the watermark. After the end of time everything does.
    #[must_use]
    pub fn is_late(&self) -> bool {
        is_late(self.event_time, self.watermark)
    }

    /// Returns the time of the job's clock. Results that depend on it differ from replay to replay.
    #[must_use]
    pub fn processing_time(&self) -> ProcessingTime {
        self.now
    }

    /// Sends a result with the event time at hand.
    pub fn emit(&mut self, data: O) {
        self.emit_at(self.event_time, data);
    }

    /// Sends a result with an event time of its own. One before the watermark may be late downstream.
    pub fn emit_at(&mut self, event_time: EventTime, data: O) {
        self.out.push(Record { event_time, arrival: self.arrival, data });
    }

    /// Sends something to the side output, with the event time at hand.
    pub fn side(&mut self, data: S) {
        self.side.push(Record { event_time: self.event_time, arrival: self.arrival, data });
    }

    /// Sets an event-time timer for the key at hand. Setting it twice is setting it once. One at or
    /// behind the watermark fires as soon as the record at hand is done.
    pub fn set_timer(&mut self, at: EventTime) {
        self.timers.set(at.0, self.key);
    }

    /// Takes an event-time timer of the key at hand back. Returns whether there was one.
    pub fn cancel_timer(&mut self, at: EventTime) -> bool {
        self.timers.cancel(at.0, self.key)
    }

    /// Sets a processing-time timer for the key at hand: it fires when the job's clock reaches `at`. One that is
    /// still ahead when a bounded input ends does not fire; one ahead when the job stops is kept.
    pub fn set_processing_timer(&mut self, at: ProcessingTime) {
        self.processing_timers.set(at.0, self.key);
    }

    /// Takes a processing-time timer of the key at hand back. Returns whether there was one.
    pub fn cancel_processing_timer(&mut self, at: ProcessingTime) -> bool {
        self.processing_timers.cancel(at.0, self.key)
    }
}
