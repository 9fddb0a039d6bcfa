//! Rolling aggregates: for each event, at time t, the count and sum of values over (t − W, t], for several lengths W at
//! once.
//!
//! ```text
//! events of a key   e0 e1 e2 e3 e4 e5 e6 ◀─ t         each stored once, read once per W when it leaves
//! W = 5m                        └──────┘  count 2
//! W = 1d               └───────────────┘  count 5     count, sum: of the events in each W right now
//! ```
//! Cost: one step per event that enters or leaves a window. An event is removed from the log when it leaves the widest
//! window. In event-time order the results are exact. In arrival order, a record that comes after a later record of its
//! key is counted from the moment it comes, instead of the time at which it happened.
//!
//! Invariant: the two floats of a window are its exact sum, or show that they are not. In that case the exact sum is
//! kept beside them. It is computed from the events in the log, so that a checkpoint needs only these.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use tidemill_engine::shell::{Context, ListState, States};
use tidemill_engine::{EventTime, JobError};
use tidemill_state::{Key, Log, Parameters, StateError, hash_key};

use crate::length::{invalid, positive_ms};

mod exact;
mod totals;

use exact::ExactTotals;
use totals::Event;
pub use totals::Totals;

/// The state of a key besides its events.
#[derive(Default, Serialize, Deserialize)]
struct Known {
    /// Hash of the lengths of the windows. If it differs from that of the current lengths, the windows are counted
    /// again.
    lengths: u32,
    /// The totals of each window; up to four are stored without a pointer to follow.
    windows: SmallVec<[Totals; 4]>,
    latest: Option<EventTime>,
    /// Exact sums that do not fit in `windows`, which few keys have. They are not stored: they are computed from the
    /// events.
    #[serde(skip)]
    exact: Option<Box<ExactTotals>>,
}

/// The rolling aggregates of a key, as [`Rolling`] passes them to its reader.
#[derive(Clone, Copy, Debug)]
pub struct Rolled<'a> {
    /// The totals of each window, in the order in which the lengths were passed to [`Rolling::open`].
    pub windows: &'a [Totals],
    /// The latest time of the key's earlier events, not counting the current one, even if that event has left every
    /// window.
    pub previous: Option<EventTime>,
}

/// Returns the parameters of the state. A checkpoint has the events of its longest window, from which shorter windows
/// can be computed, so windows of any lengths up to that one are accepted.
fn parameters(windows_ms: &[i64]) -> Parameters {
    const BEFORE: &str = "rolling windows of [";
    const AFTER: &str = "] ms";
    let lengths: Vec<String> = windows_ms.iter().map(i64::to_string).collect();
    let longest = windows_ms.iter().copied().max();
    Parameters::new(format!("{BEFORE}{}{AFTER}", lengths.join(", "))).or_from(move |stored| {
        let lengths = stored.strip_prefix(BEFORE).and_then(|stored| stored.strip_suffix(AFTER));
        let stored = lengths.unwrap_or_default().split(", ").filter_map(|length| length.parse::<i64>().ok()).max();
        longest <= stored
    })
}

/// Rolling counts and sums of a value, per key, over windows (t − W, t].
pub struct Rolling<K> {
    windows_ms: Vec<i64>,
    lengths: u32,
    events: ListState<K, Event, Known>,
}

impl<K: Key> Rolling<K> {
    /// Opens the state under `name`, for windows of these lengths. A program that restores a checkpoint may have other
    /// lengths, in any order, but none above the longest one in the checkpoint: older events are not stored.
    ///
    /// # Errors
    /// When a length is zero or has fractions of a millisecond, or is above the longest one in the checkpoint, or the
    /// state cannot be opened.
    pub fn open(states: &mut States<'_, K>, name: &str, windows: &[Duration]) -> Result<Self, JobError> {
        let fault = |fault| invalid(states.operator(), format!("rolling \"{name}\": {fault}"));
        if windows.is_empty() {
            return Err(fault("there are no windows".to_owned()));
        }
        let windows = windows.iter().map(|length| positive_ms("the length of a window", *length));
        let windows_ms: Vec<i64> = windows.collect::<Result<_, _>>().map_err(fault)?;
        let events: ListState<K, Event, Known> =
            states.with_parameters(parameters(&windows_ms)).list_with_header(name)?;
        // Prefetches the events that leave next and the latest one, beside which the next is put and which the next delta has: they lie
        // apart from each other and from the totals in memory.
        events.prefetch_with(|log| {
            let time = |from_end: u64| log.get(log.tail().wrapping_sub(from_end)).map_or(0, |event| event.time);
            let leaving = log.header().windows.iter().map(|window| time(window.count));
            std::hint::black_box(leaving.fold(time(1), i64::wrapping_add));
        });
        // It must not be 0, which is the hash of a key without windows.
        let lengths = (hash_key(&windows_ms) as u32).max(1);
        Ok(Self { windows_ms, lengths, events })
    }

    /// Computes windows of the current lengths from the events of a key, as of its latest event.
    fn count_again(&self, log: &mut Log<Event, Known>) {
        let (Known { lengths, windows, latest, exact }, events) = log.parts();
        (*lengths, *exact) = (self.lengths, None);
        *windows = self.windows_ms.iter().map(|_| Totals::default()).collect();
        for (window, length) in windows.iter_mut().zip(&self.windows_ms) {
            events.iter().for_each(|event| window.enter(*event));
            if let Some(left) = latest.and_then(|EventTime(latest)| latest.checked_sub(*length)) {
                window.leave(left, events);
            }
        }
    }

    /// Adds an event of the current key, at the current event time, and passes the totals of each window to `read`.
    /// They include this event.
    ///
    /// # Errors
    /// When state cannot be read.
    pub fn add<O, S, R>(
        &self,
        ctx: &Context<'_, K, O, S>,
        value: f64,
        read: impl FnOnce(Rolled<'_>) -> R,
    ) -> Result<R, StateError> {
        self.step(ctx, Some(value), read)
    }

    /// Passes the totals of each window of the current key, at the current event time, to `read`.
    ///
    /// # Errors
    /// When state cannot be read.
    pub fn read<O, S, R>(
        &self,
        ctx: &Context<'_, K, O, S>,
        read: impl FnOnce(Rolled<'_>) -> R,
    ) -> Result<R, StateError> {
        self.step(ctx, None, read)
    }

    /// Removes the state of the current key: its events, and the time of the latest one.
    ///
    /// # Errors
    /// When state cannot be read.
    pub fn forget<O, S>(&self, ctx: &Context<'_, K, O, S>) -> Result<(), StateError> {
        self.events.remove(ctx)
    }

    fn step<O, S, R>(
        &self,
        ctx: &Context<'_, K, O, S>,
        value: Option<f64>,
        read: impl FnOnce(Rolled<'_>) -> R,
    ) -> Result<R, StateError> {
        let EventTime(now) = ctx.event_time();
        self.events.with(ctx, |log| {
            if log.header().lengths != self.lengths {
                self.count_again(log);
            }
            let (Known { windows, latest, exact, .. }, events) = log.parts();
            let previous = *latest;
            if let Some(value) = value {
                let event = Event { time: now, value };
                events.push_back(event);
                windows.iter_mut().for_each(|window| window.enter(event));
                *latest = previous.max(Some(EventTime(now)));
            }
            let mut widest = 0;
            for (window, length) in windows.iter_mut().zip(&self.windows_ms) {
                // If t − W is before the beginning of time, no event has left yet.
                if let Some(left) = now.checked_sub(*length) {
                    window.leave(left, events);
                }
                widest = widest.max(window.count);
            }
            if exact.is_some() || windows.iter().any(|window| !window.pair().is_exact()) {
                exact::sum_up(windows, exact, events);
            }
            while events.len() as u64 > widest {
                events.pop_front();
            }
            read(Rolled { windows, previous })
        })
    }
}
