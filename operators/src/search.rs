//! Search in the queues that operators keep sorted by time.

use tidemill_state::Queue;

/// Number of the first entry that `holds` is true of, which must be so of all after it; behind the last one if of none.
/// It is likely among the first: what is over goes from there.
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
