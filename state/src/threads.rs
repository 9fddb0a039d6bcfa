//! Work that is shared by some threads while the caller waits for it.

use std::panic::resume_unwind;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_parts() {
        for parts in 0..5 {
            assert_eq!(share(parts, |part| part * part), (0..parts).map(|part| part * part).collect::<Vec<_>>());
        }
        assert!(spare(1) >= spare(2) && spare(0) >= 1 && spare(1000) == 1);
    }
}
