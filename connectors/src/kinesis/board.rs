//! What the workers of one process tell each other of a stream: which shards they have read to their end, and begun.
//!
//! A shard that two others were merged into is read by one worker, and one of those two may have been another's. It must not
//! begin before that one has ended; and not in an epoch before the one in which that one ended, or a restart at an epoch between
//! them would bring the records of a key out of order. So an end counts once it is committed, or while no epoch has ended.
//!
//! Known limit: workers of other processes are not heard of.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tidemill_engine::EventTime;

/// The boards of this process, by what their readers read.
static BOARDS: Mutex<BTreeMap<String, Weak<Board>>> = Mutex::new(BTreeMap::new());

/// What the readers of one source in this process share.
#[derive(Debug, Default)]
pub(super) struct Board(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The workers of this process.
    workers: BTreeSet<usize>,
    /// Whether an epoch has ended on any of them.
    has_ended_an_epoch: bool,
    /// The shards that were read to their end, with the watermark that they had.
    ended: BTreeMap<String, EventTime>,
    /// Those of which that is committed.
    committed: BTreeSet<String>,
    begun: BTreeSet<String>,
}

impl Board {
    /// Returns the board of the readers of `name`, with one more worker. A worker that is there already is one of another job.
    pub(super) fn join(name: &str, worker: usize) -> Arc<Self> {
        let mut boards = BOARDS.lock().unwrap_or_else(PoisonError::into_inner);
        boards.retain(|_, board| board.strong_count() > 0);
        let board = boards.get(name).and_then(Weak::upgrade).filter(|board| !board.is_here(worker));
        let board = board.unwrap_or_default();
        board.lock().workers.insert(worker);
        boards.insert(name.to_owned(), Arc::downgrade(&board));
        board
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether a worker is one of this process.
    pub(super) fn is_here(&self, worker: usize) -> bool {
        self.lock().workers.contains(&worker)
    }

    pub(super) fn end_epoch(&self) {
        self.lock().has_ended_an_epoch = true;
    }

    pub(super) fn end(&self, shard: &str, watermark: EventTime) {
        self.lock().ended.insert(shard.to_owned(), watermark);
    }

    pub(super) fn commit_end(&self, shard: &str) {
        self.lock().committed.insert(shard.to_owned());
    }

    pub(super) fn begin(&self, shard: &str) {
        self.lock().begun.insert(shard.to_owned());
    }

    pub(super) fn has_begun(&self, shard: &str) -> bool {
        self.lock().begun.contains(shard)
    }

    /// Returns the watermark that a shard of another worker had at its end, if what came of it may begin.
    pub(super) fn followed(&self, shard: &str) -> Option<EventTime> {
        let state = self.lock();
        let counts = !state.has_ended_an_epoch || state.committed.contains(shard);
        state.ended.get(shard).copied().filter(|_| counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_of_one_source_meet_and_those_of_another_job_do_not() {
        let (one, two) = (Board::join("board test", 0), Board::join("board test", 1));
        assert!(Arc::ptr_eq(&one, &two) && one.is_here(1) && !one.is_here(2));
        let other = Board::join("board test", 0);
        assert!(!Arc::ptr_eq(&one, &other), "there is such a worker already");
        drop((one, two, other));
        assert!(!Board::join("board test", 1).is_here(0));
    }

    #[test]
    fn an_end_counts_once_it_is_committed_or_before_any_epoch_has_ended() {
        let board = Board::default();
        board.end("a", EventTime(7));
        assert_eq!(board.followed("a"), Some(EventTime(7)));
        board.end_epoch();
        assert_eq!(board.followed("a"), None);
        board.commit_end("a");
        assert_eq!((board.followed("a"), board.followed("b")), (Some(EventTime(7)), None));
        board.begin("c");
        assert!(board.has_begun("c") && !board.has_begun("a"));
    }
}
