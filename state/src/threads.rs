//! Work that is shared by some threads while the caller waits for it.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{Builder, available_parallelism, scope};

/// Most threads that one worker uses at its start.
const MOST: usize = 8;

/// Returns how many threads each of so many workers may use while nothing else runs.
pub(crate) fn spare(workers: usize) -> usize {
    let cores = available_parallelism().map_or(1, usize::from);
    (cores / workers.max(1)).clamp(1, MOST)
}

/// Calls `work` with each part of `0..parts`, each on a thread of its own, and returns the results in order. Where the
/// system has no thread to give, the work is done here.
pub(crate) fn share<T: Send>(parts: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let work = &work;
    scope(|scope| {
        let begin = |part| (part, Builder::new().name("restore".to_owned()).spawn_scoped(scope, move || work(part)));
        let others: Vec<_> = (1..parts).map(begin).collect();
        let mut done: Vec<T> = (0..parts.min(1)).map(work).collect();
        done.extend(others.into_iter().map(|(part, thread)| match thread {
            Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            Err(_) => work(part),
        }));
        done
    })
}

/// Calls `work` with each of `0..items`, by so many threads, of which each takes the next one when it is ready, and returns the
/// results in order.
pub(crate) fn each<T: Send>(items: usize, threads: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let of_thread = |_| {
        let taken = std::iter::from_fn(|| Some(next.fetch_add(1, Ordering::Relaxed)).filter(|item| *item < items));
        taken.map(|item| (item, work(item))).collect::<Vec<_>>()
    };
    let mut done: Vec<_> = share(threads.clamp(1, items.max(1)), of_thread).into_iter().flatten().collect();
    done.sort_unstable_by_key(|(item, _)| *item);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_parts() {
        for parts in 0..5 {
            assert_eq!(share(parts, |part| part * part), (0..parts).map(|part| part * part).collect::<Vec<_>>());
        }
        for (items, threads) in [(0, 2), (1, 3), (7, 0), (7, 1), (7, 3)] {
            assert_eq!(each(items, threads, |item| item + 1), (1..=items).collect::<Vec<_>>());
        }
        assert!(spare(1) >= spare(2) && spare(0) >= 1 && spare(1000) == 1);
    }
}
