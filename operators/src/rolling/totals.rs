//! What a window of a key holds: how many events, and their sum in two floats that say whether they are exact.

use serde::{Deserialize, Serialize};
use tidemill_state::Queue;

use crate::sum::Pair;

/// What one window holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    /// Number of events.
    pub count: u64,
    pub(super) sum: f64,
    /// What rounding took from `sum`; NaN where the two together are not exact. Beside a sum that is beyond the
    /// floats, of values that are not: their mean.
    pub(super) rounded: f64,
    /// Time of the oldest event it holds, so that the event itself is looked at only when it leaves. Not stored:
    /// after a restore it is so old that the event is looked at.
    #[serde(skip, default = "unknown_time")]
    oldest: i64,
}

fn unknown_time() -> i64 {
    i64::MIN
}

impl Totals {
    /// Sum of the values the window holds: the exact one, rounded once. It is NaN while a NaN is among them, or
    /// infinities of both signs; infinite while one of them is, or while it is beyond the largest float.
    #[must_use]
    pub fn sum(&self) -> f64 {
        if self.sum.is_infinite() { self.sum } else { self.pair().value() }
    }

    /// The mean value; 0 of no events. It is NaN or infinite where a value is.
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

    /// Lets go of the events of up to `left`. It holds the last `count` ones of `events`.
    pub(super) fn leave(&mut self, left: i64, events: &Queue<Event>) {
        while self.count > 0 && self.oldest <= left {
            let mut held = (events.tail() - self.count..).map_while(|sequence| events.get(sequence));
            match held.next() {
                Some(oldest) if oldest.time <= left => {
                    self.count -= 1;
                    self.shift(-oldest.value);
                    self.oldest = held.next().map_or(i64::MIN, |next| next.time);
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

/// What is kept of an event.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) struct Event {
    pub(super) time: i64,
    pub(super) value: f64,
}
