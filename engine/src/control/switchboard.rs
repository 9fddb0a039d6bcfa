//! The operators of a process that can be changed, and what became of the changes that were asked for.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use crossbeam_channel::{Receiver, Sender};
use serde::Serialize;
use serde_json::Value;
use tidemill_state::ControlEntry;

use super::events::ChangeEvent;
use super::held::Held;
use super::request::{Progress, Request, Said};
use super::{Controlled, Decision};
use crate::error::{ErrorKind, JobError, panic_text};
use crate::locks::lock;
use crate::threads;
use crate::time::{Epoch, EventTime};

/// Number of changes that are remembered for the page and the API.
const REMEMBERED: usize = 100;

/// How far a change is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub(crate) enum Step {
    /// The leader has it, and nothing is decided yet.
    Asked,
    /// The processes get ready for it.
    Preparing,
    /// It is in effect from this epoch on.
    Scheduled { epoch: u64 },
    /// It was not made.
    Refused { error: String },
}

/// A change that was asked for.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Change {
    pub(crate) id: String,
    pub(crate) operator: String,
    pub(crate) change: Value,
    pub(crate) by: String,
    pub(crate) reason: String,
    pub(crate) asked_ms: i64,
    #[serde(flatten)]
    pub(crate) step: Step,
}

/// What an operator goes on from.
pub(crate) struct Past<'a> {
    /// The first epoch of this run.
    pub(crate) first: Epoch,
    /// The control log of the restored checkpoint, of all operators.
    pub(crate) log: &'a [ControlEntry],
    /// What each process of the restored run had seen of this operator.
    pub(crate) seen: &'a [Vec<u8>],
    /// Whether this is the process that decides.
    pub(crate) leads: bool,
}

/// The operators of a process that can be changed, and the changes.
#[derive(Default)]
pub(crate) struct Switchboard {
    inner: Mutex<Inner>,
    /// Held by a worker that makes an operator, for which the others wait.
    making: Mutex<()>,
    /// Whether there are messages for the leader: looked at by the workers all the time, and nearly never true.
    has_mail: AtomicBool,
}

#[derive(Default)]
struct Inner {
    operators: BTreeMap<String, Operator>,
    mail: Vec<Said>,
    /// The last report of each process, by operator; in the leading process.
    reports: BTreeMap<String, BTreeMap<usize, String>>,
    /// The oldest first.
    changes: VecDeque<Change>,
    held: Held,
    /// Number of workers that have closed an epoch, while others have not.
    closed: BTreeMap<Epoch, usize>,
    /// Number of identifiers that were given out.
    ids: u64,
    /// Who hears what becomes of changes.
    listeners: Vec<Sender<ChangeEvent>>,
}

struct Operator {
    controlled: Arc<dyn Controlled>,
    /// The same, as the type that its workers know.
    own: Arc<dyn Any + Send + Sync>,
}

impl Switchboard {
    /// Returns the operator that the workers of this process share. The first worker makes it, and makes the changes of
    /// the restored checkpoint, while the others wait.
    pub(crate) fn share<C: Controlled>(
        &self,
        name: &str,
        past: &Past<'_>,
        make: impl FnOnce() -> Result<C, JobError>,
    ) -> Result<Arc<C>, JobError> {
        // Models may take long to load, and the page looks at the operators meanwhile.
        let _making = lock(&self.making);
        if let Some(operator) = lock(&self.inner).operators.get(name) {
            let own = Arc::clone(&operator.own).downcast();
            return own.map_err(|_| JobError::Invalid(format!("operator \"{name}\" is of two types")));
        }
        let made = Arc::new(make()?);
        let own: Vec<&ControlEntry> = past.log.iter().filter(|entry| entry.operator == name).collect();
        let log: Vec<ControlEntry> = own.iter().copied().filter(|entry| entry.epoch.is_some()).cloned().collect();
        if !log.is_empty() {
            let refused = |reason: String| {
                let reason = format!("the control log of the checkpoint cannot be followed: {reason}");
                JobError::operator(name, ErrorKind::Invalid, Refusal(reason))
            };
            made.restore(past.first, &log).map_err(refused)?;
            made.resume(past.seen, past.leads);
        }
        let mut inner = lock(&self.inner);
        inner.held.passed(past.first);
        // Records may still wait for these.
        for entry in own {
            inner.held.hold(&entry.id, made.effective_from(&entry.change));
            entry.epoch.into_iter().for_each(|epoch| inner.held.scheduled(&entry.id, Epoch(epoch)));
        }
        for entry in &log {
            let Request { id, operator, by, reason, asked_ms, .. } = entry.into();
            let step = Step::Scheduled { epoch: entry.epoch.unwrap_or(0) };
            inner.remember(Change { id, operator, change: entry.change.clone(), by, reason, asked_ms, step });
        }
        let operator = Operator { controlled: made.clone(), own: made.clone() };
        inner.operators.insert(name.to_owned(), operator);
        Ok(made)
    }

    /// Returns the operator of this name that the workers of this process share, if one was made of this type.
    pub(crate) fn shared<C: Controlled>(&self, name: &str) -> Option<Arc<C>> {
        lock(&self.inner).operators.get(name).and_then(|operator| Arc::clone(&operator.own).downcast().ok())
    }

    /// Returns the names of the operators that can be changed.
    pub(crate) fn names(&self) -> Vec<String> {
        lock(&self.inner).operators.keys().cloned().collect()
    }

    /// Returns the operator of this name.
    fn operator(&self, name: &str) -> Option<Arc<dyn Controlled>> {
        lock(&self.inner).operators.get(name).map(|operator| Arc::clone(&operator.controlled))
    }

    /// Returns what becomes of changes from now on.
    pub(crate) fn listen(&self) -> Receiver<ChangeEvent> {
        let (listener, events) = crossbeam_channel::unbounded();
        lock(&self.inner).listeners.push(listener);
        events
    }

    /// Asks the leader for a change.
    pub(crate) fn ask(&self, request: Request) {
        let mut inner = lock(&self.inner);
        inner.note(&request, Step::Asked);
        self.post(&mut inner, Said::Asked(request));
    }

    /// Notes that a worker asks the leader for a change.
    pub(crate) fn asked(&self, request: &Request) {
        lock(&self.inner).note(request, Step::Asked);
    }

    /// Holds the event time of a request, if it has one, and the end of the job until it is decided and in effect.
    pub(crate) fn hold(&self, request: &Request) {
        let operator = self.operator(&request.operator);
        let from = operator.and_then(|operator| operator.effective_from(&request.value()));
        lock(&self.inner).held.hold(&request.id, from);
    }

    /// Returns the event time that no watermark may pass yet, and whether the end of the job waits.
    pub(crate) fn held(&self) -> (Option<EventTime>, bool) {
        let held = &lock(&self.inner).held;
        (held.least(), !held.is_empty())
    }

    /// Hears of a change that was asked for again.
    pub(crate) fn known(&self, id: &str, epoch: Epoch) {
        lock(&self.inner).held.scheduled(id, epoch);
    }

    /// Returns an identifier that no other change of this job has.
    pub(crate) fn next_id(&self, started_ms: i64, process: usize) -> String {
        let mut inner = lock(&self.inner);
        inner.ids += 1;
        format!("{started_ms}-{process}-{}", inner.ids)
    }

    /// Returns what the operators that decide on changes by themselves have seen, by name.
    pub(crate) fn reports(&self) -> Vec<(String, String)> {
        self.operators().into_iter().filter_map(|(name, operator)| Some((name, operator.report()?))).collect()
    }

    /// Hears what a process has seen, in the leading process, and asks for what the operator decides on.
    pub(crate) fn hear(&self, processes: usize, (process, name, report): (usize, &str, String), asked_ms: i64) {
        let reports = {
            let mut inner = lock(&self.inner);
            let reports = inner.reports.entry(name.to_owned()).or_default();
            reports.insert(process, report);
            reports.values().cloned().collect::<Vec<_>>()
        };
        let operator = self.operator(name).filter(|_| reports.len() == processes);
        let Some(Decision { id, change, reason }) = operator.and_then(|operator| operator.decide(&reports)) else {
            return;
        };
        let (operator, by) = (name.to_owned(), "the rollout".to_owned());
        self.ask(Request { id, operator, change: change.to_string(), by, reason, asked_ms });
    }

    /// Returns what this process has seen of the records of `epoch` and earlier, by the operators that decide. Each of its
    /// `workers` calls it when it has closed the epoch, and only the last one hears of it: the others may have had records.
    pub(crate) fn seen(&self, epoch: Epoch, workers: usize) -> Vec<(String, Vec<u8>)> {
        {
            let mut inner = lock(&self.inner);
            let closed = inner.closed.entry(epoch).or_default();
            *closed += 1;
            if *closed < workers {
                return Vec::new();
            }
            inner.closed.remove(&epoch);
        }
        self.operators().into_iter().filter_map(|(name, operator)| Some((name, operator.seen(epoch)?))).collect()
    }

    fn operators(&self) -> Vec<(String, Arc<dyn Controlled>)> {
        let inner = lock(&self.inner);
        inner.operators.iter().map(|(name, operator)| (name.clone(), Arc::clone(&operator.controlled))).collect()
    }

    /// Takes the messages for the leader.
    pub(crate) fn take_mail(&self) -> Vec<Said> {
        if self.has_mail.load(Ordering::Relaxed) && self.has_mail.swap(false, Ordering::Acquire) {
            return std::mem::take(&mut lock(&self.inner).mail);
        }
        Vec::new()
    }

    fn post(&self, inner: &mut MutexGuard<'_, Inner>, message: Said) {
        inner.mail.push(message);
        self.has_mail.store(true, Ordering::Release);
    }

    /// Resolves a change on a thread of its own.
    pub(crate) fn resolve(self: &Arc<Self>, process: usize, request: Request) {
        lock(&self.inner).note(&request, Step::Asked);
        self.work(process, request, |operator, request| {
            Progress::Resolved(operator.and_then(|operator| operator.resolve(&request.value())).map(|c| c.to_string()))
        });
    }

    /// Prepares a change on a thread of its own.
    pub(crate) fn prepare(self: &Arc<Self>, process: usize, request: Request) {
        lock(&self.inner).note(&request, Step::Preparing);
        self.work(process, request, |operator, request| {
            Progress::Prepared(operator.and_then(|operator| operator.prepare(&request.id, &request.value())))
        });
    }

    fn work(
        self: &Arc<Self>,
        process: usize,
        request: Request,
        work: impl FnOnce(Result<Arc<dyn Controlled>, String>, &Request) -> Progress + Send + 'static,
    ) {
        let name = request.operator.clone();
        let operator = self.operator(&name).ok_or_else(|| self.unknown(&name));
        let (board, id) = (Arc::clone(self), request.id.clone());
        let failed = |reason: String| Progress::Prepared(Err(reason));
        let waiting = std::thread::current();
        let task = move || {
            let done = catch_unwind(AssertUnwindSafe(|| work(operator, &request)));
            let progress = done.unwrap_or_else(|panic| failed(format!("it panicked: {}", panic_text(&*panic))));
            board.post(&mut lock(&board.inner), Said::Progress { process, id: request.id, progress });
            waiting.unpark();
        };
        if let Err(error) = threads::spawn("control".to_owned(), task) {
            let progress = failed(format!("no thread can be started: {error}"));
            self.post(&mut lock(&self.inner), Said::Progress { process, id, progress });
        }
    }

    fn unknown(&self, name: &str) -> String {
        let names = self.names();
        let known = if names.is_empty() { "none can".to_owned() } else { format!("these can: {}", names.join(", ")) };
        format!("there is no operator \"{name}\" that can be changed; {known}")
    }

    /// Returns the operators of a log that the program does not have, or does not let be changed, each once.
    pub(crate) fn unclaimed(&self, log: &[ControlEntry]) -> Vec<String> {
        let inner = lock(&self.inner);
        // What is not decided yet is refused by itself, if it cannot be made.
        let decided = log.iter().filter(|entry| entry.epoch.is_some());
        let names: BTreeSet<&str> = decided.map(|entry| &*entry.operator).collect();
        names.into_iter().filter(|name| !inner.operators.contains_key(*name)).map(str::to_owned).collect()
    }

    /// Checks that an operator can be changed.
    pub(crate) fn check(&self, name: &str) -> Result<(), String> {
        self.operator(name).map(drop).ok_or_else(|| self.unknown(name))
    }

    /// Applies a change that this process has prepared.
    pub(crate) fn apply(&self, request: &Request, epoch: Epoch) {
        let entry = request.entry(Some(epoch));
        if let Some(operator) = self.operator(&request.operator) {
            operator.apply(&entry);
        }
        let mut inner = lock(&self.inner);
        inner.held.scheduled(&request.id, epoch);
        inner.note(request, Step::Scheduled { epoch: epoch.0 });
        inner.tell(&entry.clone().into());
        drop(inner);
        let ControlEntry { id, operator, change, by, reason, .. } = entry;
        tracing::info!(id, operator, %change, by, reason, %epoch, "an operator is changed");
    }

    /// Drops what was prepared for a change that was refused.
    pub(crate) fn refuse(&self, request: &Request, reason: &str) {
        let mut inner = lock(&self.inner);
        inner.held.refused(&request.id);
        inner.note(request, Step::Refused { error: reason.to_owned() });
        inner.tell(&ChangeEvent { error: Some(reason.to_owned()), ..request.entry(None).into() });
        drop(inner);
        let Request { id, operator, change, by, .. } = request;
        tracing::warn!(id, operator, change, by, reason, "a change of an operator was refused");
        if let Some(operator) = self.operator(operator) {
            operator.forget(id);
        }
    }

    /// Tells the operators that no record of an epoch before `first` will come any more.
    pub(crate) fn passed(&self, first: Epoch) {
        lock(&self.inner).held.passed(first);
        self.operators().iter().for_each(|(_, operator)| operator.passed(first));
    }

    /// Returns the changes, the newest first.
    pub(crate) fn changes(&self) -> Vec<Change> {
        lock(&self.inner).changes.iter().rev().cloned().collect()
    }

    /// Returns what each operator says of itself.
    pub(crate) fn statuses(&self) -> BTreeMap<String, Value> {
        self.operators().into_iter().map(|(name, operator)| (name, operator.status())).collect()
    }
}

impl Inner {
    /// Notes how far a change is, which may be new to this process.
    fn note(&mut self, request: &Request, step: Step) {
        let Request { id, operator, by, reason, asked_ms, .. } = request.clone();
        let change = Change { id, operator, change: request.value(), by, reason, asked_ms, step };
        match self.changes.iter_mut().rev().find(|known| known.id == request.id) {
            // Who repeats a request does not undo it.
            Some(known) if change.step == Step::Asked && !matches!(known.step, Step::Refused { .. }) => {}
            Some(known) => *known = change,
            None => self.remember(change),
        }
    }

    /// Tells who listens.
    fn tell(&mut self, event: &ChangeEvent) {
        self.listeners.retain(|listener| listener.send(event.clone()).is_ok());
    }

    fn remember(&mut self, change: Change) {
        if self.changes.len() >= REMEMBERED {
            self.changes.pop_front();
        }
        self.changes.push_back(change);
    }
}

/// Why a restored control log cannot be followed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refusal(String);
