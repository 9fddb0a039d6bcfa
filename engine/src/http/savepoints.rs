//! The savepoints that were asked for over HTTP since the process began, and what became of them.

use std::collections::VecDeque;
use std::sync::Mutex;

use serde::Serialize;
use tokio::task::JoinHandle;

use crate::locks::lock;

/// Number of savepoints that are remembered.
const REMEMBERED: usize = 20;

/// How far a savepoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Step {
    /// The checkpoint that it will be of is not made yet.
    Waiting,
    Copying,
    Taken,
    Failed,
}

/// A savepoint that was asked for.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Asked {
    id: u64,
    /// Absent until it is known: the default has the epoch.
    name: Option<String>,
    state: Step,
    asked_ms: i64,
    epoch: Option<u64>,
    bytes: Option<u64>,
    error: Option<String>,
}

/// A savepoint that is there.
pub(super) struct Taken {
    pub(super) name: String,
    pub(super) epoch: u64,
    pub(super) bytes: u64,
}

/// The answer of `/api/v1/savepoints`.
#[derive(Serialize)]
pub(super) struct List {
    savepoints: Vec<Asked>,
}

/// The savepoints that were asked for, one at a time.
#[derive(Default)]
pub(super) struct Savepoints {
    asked: Mutex<VecDeque<Asked>>,
    /// What takes the last one.
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Savepoints {
    /// Remembers a savepoint that was asked for, and returns its id; `None` while another one is being taken.
    pub(super) fn begin(&self, name: Option<String>, now_ms: i64) -> Option<u64> {
        let mut asked = lock(&self.asked);
        let last = asked.back();
        if last.is_some_and(|last| matches!(last.state, Step::Waiting | Step::Copying)) {
            return None;
        }
        let id = last.map_or(1, |last| last.id + 1);
        if asked.len() >= REMEMBERED {
            asked.pop_front();
        }
        asked.push_back(Asked {
            id,
            name,
            state: Step::Waiting,
            asked_ms: now_ms,
            epoch: None,
            bytes: None,
            error: None,
        });
        Some(id)
    }

    pub(super) fn taken_by(&self, task: JoinHandle<()>) {
        *lock(&self.task) = Some(task);
    }

    pub(super) fn copying(&self, id: u64) {
        self.change(id, |asked| asked.state = Step::Copying);
    }

    pub(super) fn end(&self, id: u64, end: Result<Taken, String>) {
        self.change(id, |asked| match end {
            Ok(Taken { name, epoch, bytes }) => {
                (asked.state, asked.name, asked.epoch) = (Step::Taken, Some(name), Some(epoch));
                asked.bytes = Some(bytes);
            }
            Err(error) => (asked.state, asked.error) = (Step::Failed, Some(error)),
        });
    }

    fn change(&self, id: u64, change: impl FnOnce(&mut Asked)) {
        lock(&self.asked).iter_mut().find(|asked| asked.id == id).map(change);
    }

    /// Returns all that are remembered, the newest first.
    pub(super) fn list(&self) -> List {
        List { savepoints: lock(&self.asked).iter().rev().cloned().collect() }
    }

    /// Waits until the last one is taken, or has failed.
    pub(super) async fn settle(&self) {
        let task = lock(&self.task).take();
        if let Some(task) = task
            && task.await.is_err()
        {
            tracing::error!("what took a savepoint has panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_savepoint_is_taken_at_a_time_and_the_last_ones_are_remembered() {
        let savepoints = Savepoints::default();
        for id in 1..=REMEMBERED as u64 + 2 {
            assert_eq!(savepoints.begin(None, 0), Some(id));
            assert_eq!(savepoints.begin(None, 0), None, "{id} is being taken");
            savepoints.copying(id);
            assert_eq!(savepoints.begin(None, 0), None, "{id} is being copied");
            savepoints.end(id, Err("damaged".to_owned()));
        }
        let list = savepoints.list().savepoints;
        assert_eq!((list.len(), list[0].id, list[0].state), (REMEMBERED, REMEMBERED as u64 + 2, Step::Failed));
    }
}
