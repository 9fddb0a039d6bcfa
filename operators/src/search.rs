//! Binary search in the queues that operators keep sorted by time.

use tidemill_state::Queue;

/// Returns the number of the first entry for which `holds` is true; the number after the last entry if there is none.
/// `holds` must be true for all later entries, too.
///
/// The search begins at the front, where the entry likely is, since operators remove old entries there.
pub(crate) fn first_where<T>(queue: &Queue<T>, holds: impl Fn(&T) -> bool) -> u64 {
    let (mut from, mut to, mut step) = (queue.head(), queue.tail(), 1);
    while let Some(entry) = queue.get(from + step - 1) {
        if holds(entry) {
            to = from + step - 1;
            break;
        }
        from += step;
        step *= 2;
    }
    while from < to {
        let middle = from + (to - from) / 2;
        match queue.get(middle) {
            Some(entry) if !holds(entry) => from = middle + 1,
            _ => to = middle,
        }
    }
    from
}
