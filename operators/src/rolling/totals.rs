//! Totals of a window of a key: the number of its events, and their sum in two floats that show whether they are exact.

use serde::{Deserialize, Serialize};
use tidemill_state::Queue;

use crate::sum::Pair;

/// The count, sum and mean of the events in one window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    /// Number of events.
    pub count: u64,
    pub(super) sum: f64,
    /// The part of the sum that rounding took from `sum`; NaN if the two together are not exact. If the values are
    /// finite but `sum` overflowed, it is their mean instead.
    pub(super) rounded: f64,
    /// Time of the oldest event in the window, so that the event itself is read only when it leaves. It is not stored:
    /// after a restore it is the beginning of time, which makes the event be read.
    #[serde(skip, default = "unknown_time")]
    oldest: i64,
}

fn unknown_time() -> i64 {
    i64::MIN
}

impl Totals {
    /// Returns the sum of the values in the window: the exact sum, rounded once. It is NaN while a NaN or infinities
    /// of both signs are among the values. It is infinite while a value is infinite, or while the sum is beyond the
    /// largest float.
    #[must_use]
    pub fn sum(&self) -> f64 {
        if self.sum.is_infinite() { self.sum } else { self.pair().value() }
    }

    /// Returns the mean of the values; 0 if there are no events. It is NaN or infinite if a value is.
    #[must_use]
    pub fn mean(&self) -> f64 {
        if self.count == 0 {
            0.0
        } else if self.sum.is_infinite() && self.rounded.is_finite() {
            self.rounded
        } else {
            self.sum() / self.count as f64
        }
    }

    pub(super) fn pair(&self) -> Pair {
        Pair { sum: self.sum, low: self.rounded }
    }

    fn shift(&mut self, value: f64) {
        Pair { sum: self.sum, low: self.rounded } = self.pair().plus(value);
    }

    pub(super) fn enter(&mut self, event: Event) {
        if self.count == 0 {
            self.oldest = event.time;
        }
        self.count += 1;
        self.shift(event.value);
    }

    /// Removes the events up to the time `left`. The window has the last `count` events of `events`.
    pub(super) fn leave(&mut self, left: i64, events: &Queue<Event>) {
        while self.count > 0 && self.oldest <= left {
            let mut inside = (events.tail() - self.count..).map_while(|sequence| events.get(sequence));
            match inside.next() {
                Some(oldest) if oldest.time <= left => {
                    self.count -= 1;
                    self.shift(-oldest.value);
                    self.oldest = inside.next().map_or(i64::MIN, |next| next.time);
                }
                oldest => {
                    self.oldest = oldest.map_or(i64::MIN, |oldest| oldest.time);
                    break;
                }
            }
        }
        if self.count == 0 {
            *self = Self::default();
        }
    }
}

/// An event as it is stored.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) struct Event {
    pub(super) time: i64,
    pub(super) value: f64,
}
