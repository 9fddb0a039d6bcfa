//! Gathers what is new, once a second, and passes it to the pages that listen.

use std::sync::Arc;

use serde::Serialize;

use super::api::checkpoints::Checkpoint;
use super::api::job::{self, Job};
use super::api::logs;
use super::api::operators::{self, Operators};
use super::news::News;
use super::sampler::Row;
use super::shown::Shown;
use crate::locks::lock;
use crate::metrics::Snapshot;

/// What the pages have been told.
#[derive(Default)]
pub(super) struct Publisher {
    log_lines: u64,
    checkpoints: Vec<Checkpoint>,
}

/// The numbers of a second.
#[derive(Serialize)]
pub(super) struct Stats {
    job: Job,
    operators: Operators,
    row: Option<Row>,
}

impl Publisher {
    /// Begins with what is there: a page that comes asks for it.
    pub(super) fn new() -> Self {
        Self { log_lines: logs::since(u64::MAX).map_or(0, |(_, count)| count), checkpoints: Vec::new() }
    }

    /// Looks at the job, and tells the pages what is new.
    pub(super) fn publish(&mut self, shown: &Shown, last: bool) {
        let snapshot = shown.look();
        shown.watched.process.taps.next_second();
        shown.watched.process.metrics.next_second();
        let checkpoints = shown.watched.process.progress.written.history.newest_first();
        let checkpoints: Vec<Checkpoint> = checkpoints.iter().map(Checkpoint::of).collect();
        let lines = logs::since(self.log_lines);
        self.log_lines = lines.as_ref().map_or(self.log_lines, |(_, count)| *count);
        let before = std::mem::replace(&mut self.checkpoints, checkpoints);
        if shown.news.receiver_count() == 0 {
            return;
        }
        let mut news = News { last, ..News::default() };
        news.add("stats", &stats(shown, &snapshot));
        let changed = self.checkpoints.iter().rev().filter(|checkpoint| !before.contains(checkpoint));
        changed.for_each(|checkpoint| news.add("checkpoint", checkpoint));
        lines.iter().flat_map(|(lines, _)| lines).for_each(|line| news.add("log", line));
        // Pages may just have left: then there is nobody to tell.
        drop(shown.news.send(Arc::new(news)));
    }
}

/// Returns the numbers of the last second.
pub(super) fn stats(shown: &Shown, snapshot: &Snapshot) -> Stats {
    let row = lock(&shown.sampler).rows.back().copied();
    Stats { job: job::job(shown, snapshot), operators: operators::operators(shown, snapshot), row }
}
