//! Sums of windows that two floats cannot hold: of NaN, infinities, and magnitudes too far apart.
//!
//! A window comes here when its floats say that they are no longer exact, and goes when they could have been for as
//! many events as it holds. So the sum is made of all events of a window at most once in as many events.

use tidemill_state::Queue;

use super::totals::{Event, Totals};
use crate::sum::{ExactSum, Pair};

/// One for each window that is here.
pub(super) type ExactTotals = Vec<Option<Held>>;

/// The exact sum of the events `from..to` of the log.
pub(super) struct Held {
    sum: ExactSum,
    from: u64,
    to: u64,
    /// For how many steps the floats could have held it.
    calm: u64,
}

impl Held {
    fn none(at: u64) -> Self {
        Self { sum: ExactSum::default(), from: at, to: at, calm: 0 }
    }

    /// Moves on to the events `from..to`. Those it lets go of must still be in the log.
    fn move_to(&mut self, from: u64, to: u64, events: &Queue<Event>) {
        let values = |range: std::ops::Range<u64>| range.filter_map(|at| events.get(at)).map(|event| event.value);
        values(self.from..self.to.min(from)).for_each(|value| self.sum.remove(value));
        values(self.to.max(from)..to).for_each(|value| self.sum.add(value));
        (self.from, self.to) = (from, to);
    }
}

/// Makes the floats of each window what they can be of its exact sum.
#[cold]
pub(super) fn sum_up(windows: &mut [Totals], exact: &mut Option<Box<ExactTotals>>, events: &Queue<Event>) {
    let sums = exact.get_or_insert_default();
    sums.resize_with(windows.len(), || None);
    for (window, slot) in windows.iter_mut().zip(sums.iter_mut()) {
        if slot.is_none() && window.pair().is_exact() {
            continue;
        }
        let (from, to) = (events.tail() - window.count, events.tail());
        let held = slot.get_or_insert_with(|| Held::none(from));
        // It was not asked for while the window was empty.
        if held.from < events.head() {
            *held = Held::none(from);
        }
        held.move_to(from, to, events);
        let pair = held.sum.pair();
        held.calm = if pair.is_exact() { held.calm + 1 } else { 0 };
        let beyond = pair.sum.is_infinite().then(|| held.sum.mean(window.count)).filter(|mean| mean.is_finite());
        let Pair { sum, low } = pair;
        (window.sum, window.rounded) = (sum, beyond.unwrap_or(low));
        if held.calm > 0 && held.calm >= window.count {
            *slot = None;
        }
    }
    if sums.iter().all(Option::is_none) {
        *exact = None;
    }
}
