//! The leader's queue of changes: one at a time, from the request to the epoch that it takes effect with. It does no
//! I/O.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use tidemill_state::ControlEntry;

use super::request::{Order, Progress, Request};
use crate::time::Epoch;

/// Time for which the processes may prepare a change, such as loading a model. Then it is refused, so that others can
/// be made.
const PATIENCE: Duration = Duration::from_secs(600);

/// An order for processes, and whether only the leading one gets it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Tell {
    pub(crate) only_leading: bool,
    pub(crate) order: Order,
}

#[derive(Debug)]
enum Stage {
    Resolving,
    /// The processes that are ready.
    Preparing(BTreeSet<usize>),
    /// The processes that have applied it.
    Applying(BTreeSet<usize>),
}

#[derive(Debug)]
struct Current {
    request: Request,
    /// The change as it was resolved.
    resolved: Option<Request>,
    stage: Stage,
    since: Instant,
}

/// The changes that were asked for, the one that is being made, and the log of those that were made.
#[derive(Debug)]
pub(crate) struct ChangeQueue {
    processes: usize,
    waiting: VecDeque<Request>,
    current: Option<Current>,
    log: Vec<ControlEntry>,
    tell: VecDeque<Tell>,
    /// Whether the run ends, so that no further change is made.
    closed: bool,
    /// Whether there will be no other run, because the input has ended.
    drained: bool,
}

impl ChangeQueue {
    /// Makes the queue of a run that goes on with this log.
    pub(crate) fn new(processes: usize, log: Vec<ControlEntry>) -> Self {
        let (log, undecided): (Vec<_>, Vec<_>) = log.into_iter().partition(|entry| entry.epoch.is_some());
        let waiting = undecided.iter().map(Request::from).collect();
        Self { processes, waiting, current: None, log, tell: VecDeque::new(), closed: false, drained: false }
    }

    /// Returns the log for a manifest, with what is not decided yet: who asked for it may not ask again.
    pub(crate) fn log(&self) -> Vec<ControlEntry> {
        let undecided = self.current.as_ref().filter(|current| !matches!(current.stage, Stage::Applying(_)));
        let undecided = undecided.map(|current| &current.request).into_iter().chain(&self.waiting);
        self.log.iter().cloned().chain(undecided.map(|request| request.entry(None))).collect()
    }

    /// Returns whether the next epoch must wait: not every process has applied a change that takes effect with it.
    pub(crate) fn holds_epoch(&self) -> bool {
        matches!(&self.current, Some(Current { stage: Stage::Applying(_), .. }))
    }

    pub(crate) fn ask(&mut self, request: Request) {
        let known =
            self.current.iter().map(|current| &current.request).chain(&self.waiting).any(|r| r.id == request.id);
        // The log has it already: the request was repeated, or whoever asks for it reads it anew after a restart.
        if let Some(epoch) = self.log.iter().find(|entry| entry.id == request.id).and_then(|entry| entry.epoch) {
            let order = Order::Known { id: request.id, epoch: Epoch(epoch) };
            self.tell.push_back(Tell { only_leading: false, order });
            return;
        }
        if known {
            return;
        }
        self.waiting.push_back(request);
        if self.drained {
            self.refuse_all();
        }
    }

    /// Handles the end of the run. What is not decided yet waits for the next one in the last checkpoint, or is refused if
    /// there will be none, because the input has ended.
    pub(crate) fn close(&mut self, drained: bool) {
        self.current.take_if(|current| !matches!(current.stage, Stage::Applying(_))).into_iter().for_each(|current| {
            self.waiting.push_front(current.request);
        });
        (self.closed, self.drained) = (true, drained);
        if drained {
            self.refuse_all();
        }
    }

    fn refuse_all(&mut self) {
        for request in std::mem::take(&mut self.waiting) {
            self.refuse(request, "the job ends".to_owned());
        }
    }

    /// Handles what `process` says of the change `id`. `next` is the next epoch.
    pub(crate) fn hear(&mut self, process: usize, id: &str, progress: Progress, next: Epoch, now: Instant) {
        // What is said of a change that was refused meanwhile comes too late.
        let Some(current) = self.current.as_mut().filter(|current| current.request.id == id) else { return };
        match (&mut current.stage, progress) {
            (Stage::Resolving, Progress::Resolved(Ok(change))) => {
                let resolved = Request { change, ..current.request.clone() };
                (current.stage, current.since) = (Stage::Preparing(BTreeSet::new()), now);
                let order = Order::Prepare(resolved.clone());
                current.resolved = Some(resolved);
                self.tell.push_back(Tell { only_leading: false, order });
            }
            (Stage::Preparing(ready), Progress::Prepared(Ok(()))) => {
                ready.insert(process);
                if ready.len() == self.processes
                    && let Some(resolved) = current.resolved.take()
                {
                    // After a restart the log may have changes that are still to come: later ones come after them.
                    let last = self.log.iter().filter_map(|entry| entry.epoch).max().unwrap_or(0);
                    let next = next.max(Epoch(last));
                    current.stage = Stage::Applying(BTreeSet::new());
                    self.log.push(resolved.entry(Some(next)));
                    let order = Order::Apply(resolved, next);
                    self.tell.push_back(Tell { only_leading: false, order });
                }
            }
            (Stage::Applying(heard), Progress::Applied) => {
                heard.insert(process);
                if heard.len() == self.processes {
                    self.current = None;
                }
            }
            (_, Progress::Resolved(Err(reason))) => self.give_up(reason),
            (_, Progress::Prepared(Err(reason))) if self.processes == 1 => self.give_up(reason),
            (_, Progress::Prepared(Err(reason))) => self.give_up(format!("process {process}: {reason}")),
            _ => {}
        }
    }

    /// Returns the next message, if there is one now.
    pub(crate) fn decide(&mut self, now: Instant) -> Option<Tell> {
        if let Some(Current { stage, since, .. }) = &self.current
            && !matches!(stage, Stage::Applying(_))
            && now.saturating_duration_since(*since) >= PATIENCE
        {
            let ready = if let Stage::Preparing(ready) = stage { ready.clone() } else { BTreeSet::new() };
            let missing: Vec<String> =
                (0..self.processes).filter(|p| !ready.contains(p)).map(|p| p.to_string()).collect();
            self.give_up(format!("not ready within {PATIENCE:?}: process {}", missing.join(", ")));
        }
        if self.current.is_none()
            && !self.closed
            && let Some(request) = self.waiting.pop_front()
        {
            self.tell.push_back(Tell { only_leading: true, order: Order::Resolve(request.clone()) });
            self.current = Some(Current { request, resolved: None, stage: Stage::Resolving, since: now });
        }
        self.tell.pop_front()
    }

    fn give_up(&mut self, reason: String) {
        if let Some(current) = self.current.take() {
            self.refuse(current.request, reason);
        }
    }

    fn refuse(&mut self, request: Request, reason: String) {
        self.tell.push_back(Tell { only_leading: false, order: Order::Refused { request, reason } });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(id: &str) -> Request {
        let text = |text: &str| text.to_owned();
        Request {
            id: text(id),
            operator: text("score"),
            change: text("{}"),
            by: text("a test"),
            reason: text(""),
            asked_ms: 0,
        }
    }

    fn messages(queue: &mut ChangeQueue, now: Instant) -> Vec<String> {
        std::iter::from_fn(|| queue.decide(now))
            .map(|Tell { order, .. }| match order {
                Order::Resolve(request) => format!("resolve {}", request.id),
                Order::Prepare(request) => format!("prepare {} {}", request.id, request.change),
                Order::Apply(request, epoch) => format!("apply {} {epoch}", request.id),
                Order::Known { id, epoch } => format!("known {id} {epoch}"),
                Order::Refused { request, reason } => format!("refused {}: {reason}", request.id),
            })
            .collect()
    }

    fn log(queue: &ChangeQueue) -> Vec<(String, Option<u64>)> {
        queue.log().into_iter().map(|entry| (entry.id, entry.epoch)).collect()
    }

    fn resolved() -> Progress {
        Progress::Resolved(Ok("{\"version\":2}".to_owned()))
    }

    #[test]
    fn a_change_is_scheduled_once_all_are_ready_and_its_epoch_waits_for_all() {
        let now = crate::threads::now();
        let mut queue = ChangeQueue::new(2, Vec::new());
        queue.ask(request("a"));
        queue.ask(request("b"));
        queue.ask(request("a"));
        assert_eq!(messages(&mut queue, now), ["resolve a"], "one at a time, and each once");
        queue.hear(0, "a", resolved(), Epoch(5), now);
        assert_eq!(messages(&mut queue, now), ["prepare a {\"version\":2}"]);
        queue.hear(1, "a", Progress::Prepared(Ok(())), Epoch(5), now);
        assert!(messages(&mut queue, now).is_empty() && !queue.holds_epoch());
        queue.hear(0, "a", Progress::Prepared(Ok(())), Epoch(7), now);
        assert_eq!(messages(&mut queue, now), ["apply a 7"]);
        assert!(queue.holds_epoch());
        assert_eq!(log(&queue), [("a".to_owned(), Some(7)), ("b".to_owned(), None)]);
        queue.hear(0, "a", Progress::Applied, Epoch(7), now);
        assert!(queue.holds_epoch(), "process 1 has not heard of it");
        queue.hear(1, "a", Progress::Applied, Epoch(7), now);
        assert!(!queue.holds_epoch());
        assert_eq!(messages(&mut queue, now), ["resolve b"]);
        queue.ask(request("a"));
        assert_eq!(messages(&mut queue, now), ["known a 7"]);
        queue.hear(0, "b", Progress::Resolved(Err("no such model".to_owned())), Epoch(7), now);
        assert_eq!(messages(&mut queue, now), ["refused b: no such model"], "and a is in the log");
    }

    #[test]
    fn a_change_does_not_come_before_one_that_is_still_to_come() {
        let now = crate::threads::now();
        let mut queue = ChangeQueue::new(1, vec![request("a").entry(Some(Epoch(9)))]);
        queue.ask(request("b"));
        queue.decide(now);
        queue.hear(0, "b", resolved(), Epoch(7), now);
        queue.hear(0, "b", Progress::Prepared(Ok(())), Epoch(7), now);
        assert_eq!(log(&queue), [("a".to_owned(), Some(9)), ("b".to_owned(), Some(9))]);
    }

    #[test]
    fn a_process_that_cannot_stops_the_change_and_nothing_else() {
        let now = crate::threads::now();
        let mut queue = ChangeQueue::new(2, Vec::new());
        queue.ask(request("a"));
        queue.ask(request("b"));
        queue.decide(now);
        queue.hear(0, "a", resolved(), Epoch(5), now);
        queue.decide(now);
        queue.hear(0, "a", Progress::Prepared(Ok(())), Epoch(5), now);
        queue.hear(1, "a", Progress::Prepared(Err("no file".to_owned())), Epoch(5), now);
        assert_eq!(messages(&mut queue, now), ["refused a: process 1: no file", "resolve b"]);
        queue.hear(1, "a", Progress::Prepared(Ok(())), Epoch(5), now);
        assert_eq!(log(&queue), [("b".to_owned(), None)]);
        assert!(messages(&mut queue, now).is_empty(), "too late");
        let later = now + PATIENCE;
        assert_eq!(messages(&mut queue, later), ["refused b: not ready within 600s: process 0, 1"]);
    }

    #[test]
    fn the_end_of_the_input_refuses_what_is_not_decided_and_a_stop_leaves_it_to_the_next_run() {
        let now = crate::threads::now();
        let mut queue = ChangeQueue::new(1, Vec::new());
        queue.ask(request("a"));
        queue.ask(request("b"));
        queue.decide(now);
        queue.close(false);
        assert!(messages(&mut queue, now).is_empty());
        assert_eq!(log(&queue), [("a".to_owned(), None), ("b".to_owned(), None)]);
        let mut next = ChangeQueue::new(1, queue.log());
        assert_eq!(messages(&mut next, now), ["resolve a"]);
        next.close(true);
        let refused = ["refused a: the job ends", "refused b: the job ends"];
        assert_eq!((messages(&mut next, now), next.log()), (refused.map(str::to_owned).to_vec(), Vec::new()));
        next.ask(request("c"));
        assert_eq!(messages(&mut next, now), ["refused c: the job ends"]);
    }
}
