//! Rolling aggregates per event over (t − W, t], for several W at once.
//!
//! ```text
//! events of a key   e0 e1 e2 e3 e4 e5 e6 ◀─ t         each kept once, seen once per W when it leaves
//! W = 5m                        └──────┘  count 2
//! W = 1d               └───────────────┘  count 5     count, sum: what each W holds right now
//! ```
//! Cost: one step per event that enters or leaves a window. An event leaves the log with the widest
//! window. Under event-time order the answers are exact; under arrival order a record that comes
//! behind another one of its key is counted from when it comes, in place of when it happened.
//!
//! Invariant: a window's two floats are its sum to the last bit, or say that they are not. Then the sum is kept beside
//! them, made of the events in the log, which are all that a checkpoint needs to have.

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

/// What is known of a key besides its events.
#[derive(Default, Serialize, Deserialize)]
struct Known {
    /// Tells of which lengths the windows are: where that is not those of now, they are counted again.
    lengths: u32,
    /// What each window holds; four fit beside the list without a pointer to follow.
    windows: SmallVec<[Totals; 4]>,
    latest: Option<EventTime>,
    /// Sums that have no place in `windows`, of few keys. Not stored: the events are there to make them of.
    #[serde(skip)]
    exact: Option<Box<ExactTotals>>,
}

/// What [`Rolling`] tells of a key.
#[derive(Clone, Copy, Debug)]
pub struct Rolled<'a> {
    /// What each window holds, in the order they were given.
    pub windows: &'a [Totals],
    /// The latest time of the key's events before the one at hand, also when it has left every window.
    pub previous: Option<EventTime>,
}

/// The events of a key are those of the longest window: shorter ones can be made of them.
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

/// Rolling count and sum of a value, per key, over windows (t − W, t].
pub struct Rolling<K> {
    windows_ms: Vec<i64>,
    lengths: u32,
    events: ListState<K, Event, Known>,
}

impl<K: Key> Rolling<K> {
    /// Opens the state under `name`, for windows of these lengths. Over a checkpoint they may be others, in any
    /// order, as long as none is above the longest one before: events that old are not there.
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
        // The events that leave next lie apart from each other and from the totals.
        events.warm_with(|log| {
            let first = |window: &Totals| log.get(log.tail() - window.count).map_or(0, |event| event.time);
            std::hint::black_box(log.header().windows.iter().map(first).fold(0, i64::wrapping_add));
        });
        // Not 0, which is that of a key without windows.
        let lengths = (hash_key(&windows_ms) as u32).max(1);
        Ok(Self { windows_ms, lengths, events })
    }

    /// Makes windows of these lengths out of the events of a key, as of its latest one.
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

    /// Counts an event of the context's key at the time at hand and reads what each window holds, this
    /// event included.
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

    /// Reads what each window of the context's key holds at the time at hand.
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

    /// Drops what is kept of the context's key: its events, and the time of the latest one.
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
                // Where t − W is before time begins, nothing has left yet.
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
