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

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use tidemill_engine::shell::{Context, ListState, States};
use tidemill_engine::{EventTime, JobError};
use tidemill_state::{Key, StateError};

/// What one window holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    /// Number of events.
    pub count: u64,
    sum: f64,
    /// What rounding took from `sum`: together they are exact for values of usual size, so that what
    /// leaves takes away exactly what it brought (TwoSum; Knuth, The Art of Computer Programming 2, 4.2.2).
    rounded: f64,
}

impl Totals {
    /// Sum of the values.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.sum + self.rounded
    }

    /// The mean value; 0 of no events.
    #[must_use]
    pub fn mean(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.sum() / self.count as f64 }
    }

    fn shift(&mut self, value: f64) {
        let sum = self.sum + value;
        let of_value = sum - self.sum;
        self.rounded += (self.sum - (sum - of_value)) + (value - of_value);
        self.sum = sum;
    }

    fn enter(&mut self, value: f64) {
        self.count += 1;
        self.shift(value);
    }

    fn leave(&mut self, value: f64) {
        self.count -= 1;
        self.shift(-value);
        if self.count == 0 {
            *self = Self::default();
        }
    }
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct Event {
    time: i64,
    value: f64,
}

/// What all windows of a key hold; four fit beside the list without a pointer to follow.
type AllTotals = SmallVec<[Totals; 4]>;

/// Rolling count and sum of a value, per key, over windows (t − W, t].
pub struct Rolling<K> {
    windows_ms: Vec<i64>,
    events: ListState<K, Event, AllTotals>,
}

impl<K: Key> Rolling<K> {
    /// Opens the state under `name`, for windows of these lengths in milliseconds.
    ///
    /// # Errors
    /// When a length is not positive, or the state cannot be opened.
    pub fn open(states: &mut States<'_, K>, name: &str, windows_ms: &[i64]) -> Result<Self, JobError> {
        if windows_ms.is_empty() || windows_ms.iter().any(|w| *w <= 0) {
            let fault = format!("rolling \"{name}\": windows {windows_ms:?} ms must be one or more, each above 0");
            return Err(JobError::Invalid(fault));
        }
        Ok(Self { windows_ms: windows_ms.to_vec(), events: states.list_with_header(name)? })
    }

    /// Counts an event of the context's key at the time at hand and reads what each window holds, this
    /// event included, in the order the windows were given.
    ///
    /// # Errors
    /// When state cannot be read.
    pub fn add<O, S, R>(
        &self,
        ctx: &Context<'_, K, O, S>,
        value: f64,
        read: impl FnOnce(&[Totals]) -> R,
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
        read: impl FnOnce(&[Totals]) -> R,
    ) -> Result<R, StateError> {
        self.step(ctx, None, read)
    }

    fn step<O, S, R>(
        &self,
        ctx: &Context<'_, K, O, S>,
        value: Option<f64>,
        read: impl FnOnce(&[Totals]) -> R,
    ) -> Result<R, StateError> {
        let EventTime(now) = ctx.event_time();
        self.events.with(ctx, |events| {
            if let Some(value) = value {
                events.push_back(Event { time: now, value });
            }
            // Taken out while events are read.
            let mut totals = std::mem::take(events.header_mut());
            totals.resize(self.windows_ms.len(), Totals::default());
            if let Some(value) = value {
                totals.iter_mut().for_each(|window| window.enter(value));
            }
            let mut widest = 0;
            for (window, length) in totals.iter_mut().zip(&self.windows_ms) {
                let left = now.saturating_sub(*length);
                // A window holds the last `count` events: the oldest of them is where it begins.
                while window.count > 0
                    && let Some(oldest) = events.get(events.tail() - window.count)
                    && oldest.time <= left
                {
                    window.leave(oldest.value);
                }
                widest = widest.max(window.count);
            }
            while events.len() as u64 > widest {
                events.pop_front();
            }
            let result = read(&totals);
            *events.header_mut() = totals;
            result
        })
    }
}
