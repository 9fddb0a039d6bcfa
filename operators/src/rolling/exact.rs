//! Exact sums of windows for which two floats are not enough: with NaN, infinities, or magnitudes too far apart.
//!
//! A window gets an exact sum when its floats show that they are no longer exact. It loses it again when two floats
//! would have been exact for as many steps as the window has events. So the sum of all events of a window is computed
//! at most once in as many steps.

use tidemill_state::Queue;

use super::totals::{Event, Totals};
use crate::sum::{ExactSum, Pair};

/// The exact sum of each window that needs one.
pub(super) type ExactTotals = Vec<Option<WindowSum>>;

/// The exact sum of the events `from..to` of the log.
pub(super) struct WindowSum {
    sum: ExactSum,
    from: u64,
    to: u64,
    /// Number of steps, up to now, for which two floats would have been exact.
    calm: u64,
}

impl WindowSum {
    fn none(at: u64) -> Self {
        Self { sum: ExactSum::default(), from: at, to: at, calm: 0 }
    }

    /// Moves on to the events `from..to`. Events that leave must still be in the log.
    fn move_to(&mut self, from: u64, to: u64, events: &Queue<Event>) {
        let values = |range: std::ops::Range<u64>| range.filter_map(|at| events.get(at)).map(|event| event.value);
        values(self.from..self.to.min(from)).for_each(|value| self.sum.remove(value));
        values(self.to.max(from)..to).for_each(|value| self.sum.add(value));
        (self.from, self.to) = (from, to);
    }
}

/// Sets the two floats of each window from its exact sum, as precisely as they can represent it.
#[cold]
pub(super) fn sum_up(windows: &mut [Totals], exact: &mut Option<Box<ExactTotals>>, events: &Queue<Event>) {
    let sums = exact.get_or_insert_default();
    sums.resize_with(windows.len(), || None);
    for (window, slot) in windows.iter_mut().zip(sums.iter_mut()) {
        if slot.is_none() && window.pair().is_exact() {
            continue;
        }
        let (from, to) = (events.tail() - window.count, events.tail());
        let window_sum = slot.get_or_insert_with(|| WindowSum::none(from));
        // Its events have left the log: it was not updated while the window was empty.
        if window_sum.from < events.head() {
            *window_sum = WindowSum::none(from);
        }
        window_sum.move_to(from, to, events);
        let pair = window_sum.sum.pair();
        window_sum.calm = if pair.is_exact() { window_sum.calm + 1 } else { 0 };
        let beyond = pair.sum.is_infinite().then(|| window_sum.sum.mean(window.count)).filter(|mean| mean.is_finite());
        let Pair { sum, low } = pair;
        (window.sum, window.rounded) = (sum, beyond.unwrap_or(low));
        if window_sum.calm > 0 && window_sum.calm >= window.count {
            *slot = None;
        }
    }
    if sums.iter().all(Option::is_none) {
        *exact = None;
    }
}
