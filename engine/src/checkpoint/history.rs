//! The last checkpoints and how long their parts took, for the page.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::locks::lock;
use crate::time::{Epoch, ProcessingTime};

/// Number of checkpoints that are kept.
const KEPT: usize = 60;

/// The last checkpoints of a process. Cheap to clone, shared by its workers and their checkpoint threads.
#[derive(Clone, Debug, Default)]
pub(crate) struct History(Arc<Mutex<VecDeque<Attempt>>>);

/// One checkpoint, as this process has seen it.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) epoch: Epoch,
    /// The time at which the epoch ended.
    pub(crate) began: ProcessingTime,
    pub(crate) committed: Option<ProcessingTime>,
    /// The parts of the workers of this process.
    pub(crate) parts: BTreeMap<u32, Part>,
}

/// One worker's part of a checkpoint. Each time is absent until that work is done.
#[derive(Clone, Debug, Default)]
pub(crate) struct Part {
    /// From the end of the epoch until all operators of the worker have sealed their changes.
    pub(crate) align: Option<Duration>,
    /// Until the output of the epoch is durable at the sinks, though not visible yet.
    pub(crate) flush: Option<Duration>,
    /// Until the delta is durable.
    pub(crate) write: Option<Duration>,
    /// Until the base snapshot is durable, if there was one.
    pub(crate) base: Option<Duration>,
    /// Until the manifest is durable; only the worker that leads writes it.
    pub(crate) manifest: Option<Duration>,
    /// Until the output of the epoch is visible.
    pub(crate) publish: Option<Duration>,
    pub(crate) delta_bytes: u64,
}

impl History {
    /// Records that `epoch` has ended, at `now`. Each worker says so; the first one counts.
    pub(crate) fn begin(&self, epoch: Epoch, now: ProcessingTime) {
        let mut attempts = lock(&self.0);
        if attempts.iter().any(|attempt| attempt.epoch == epoch) {
            return;
        }
        if attempts.len() >= KEPT {
            attempts.pop_front();
        }
        attempts.push_back(Attempt { epoch, began: now, committed: None, parts: BTreeMap::new() });
    }

    /// Records something of a worker's part.
    pub(crate) fn note(&self, epoch: Epoch, worker: u32, note: impl FnOnce(&mut Part)) {
        // It may be an old one: its output is published after many others have been committed.
        if let Some(attempt) = lock(&self.0).iter_mut().find(|attempt| attempt.epoch == epoch) {
            note(attempt.parts.entry(worker).or_default());
        }
    }

    /// Records that `epoch` is committed. Each worker says so; the first one counts.
    pub(crate) fn committed(&self, epoch: Epoch, now: ProcessingTime) {
        if let Some(attempt) = lock(&self.0).iter_mut().find(|attempt| attempt.epoch == epoch) {
            attempt.committed.get_or_insert(now);
        }
    }

    /// Returns when the newest committed checkpoint began, and when it was committed.
    #[cfg_attr(not(feature = "http"), expect(dead_code, reason = "the API and the metrics show it"))]
    pub(crate) fn last_committed(&self) -> Option<(ProcessingTime, ProcessingTime)> {
        lock(&self.0).iter().rev().find_map(|attempt| Some((attempt.began, attempt.committed?)))
    }

    /// Returns the checkpoints, the newest first.
    #[cfg_attr(not(feature = "http"), expect(dead_code, reason = "the API shows it"))]
    pub(crate) fn newest_first(&self) -> Vec<Attempt> {
        lock(&self.0).iter().rev().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_counts_and_the_oldest_are_forgotten() {
        let history = History::default();
        history.begin(Epoch(1), ProcessingTime(10));
        history.begin(Epoch(1), ProcessingTime(11));
        history.note(Epoch(1), 1, |part| part.delta_bytes = 7);
        history.committed(Epoch(1), ProcessingTime(20));
        history.committed(Epoch(1), ProcessingTime(21));
        let first = history.newest_first().remove(0);
        assert_eq!((first.began, first.committed), (ProcessingTime(10), Some(ProcessingTime(20))));
        assert_eq!(history.last_committed(), Some((ProcessingTime(10), ProcessingTime(20))));
        assert_eq!(first.parts[&1].delta_bytes, 7);
        for epoch in 2..=KEPT as u64 + 1 {
            history.begin(Epoch(epoch), ProcessingTime(30));
        }
        history.note(Epoch(1), 1, |_| unreachable!("it is forgotten"));
        let epochs: Vec<u64> = history.newest_first().iter().map(|attempt| attempt.epoch.0).collect();
        assert_eq!((epochs.len(), epochs[0], epochs[KEPT - 1]), (KEPT, KEPT as u64 + 1, 2));
    }
}
