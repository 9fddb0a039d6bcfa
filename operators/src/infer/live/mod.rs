//! Models that change while the job runs: which version scores which record is a function of the control log, the epoch, the
//! event time and the key of the record.
//!
//! ```text
//! change.rs, resolve.rs: what can be asked for, and what it means ─▶ mod.rs: loaded beside the workers, warmed up, applied
//!   ─▶ state.rs: versions and routes, one change after the other
//!   ─▶ route.rs: the versions from that epoch on, by event time and by bucket.rs: the bucket of the key
//!   ─▶ router.rs: each worker takes the route of a batch's epoch, and its ladder the version that was opened for it
//! rollout.rs, checks.rs, decide.rs: a rollout, its checks and its decisions, step by step
//!   tally.rs: what the scores of canary and baseline were  ·  label_tally.rs: what labels.rs was told of them, later
//!   resume.rs: both in a checkpoint
//! shadow.rs: a version beside, whose scores are only compared  ·  kept.rs: copies of versions beside the checkpoints
//! ```

pub(super) mod bucket;
mod change;
mod checks;
mod decide;
mod kept;
mod label_tally;
mod labels;
mod memory;
mod resolve;
mod resume;
mod rollout;
pub(super) mod route;
mod router;
mod shadow;
mod state;
mod status;
mod tally;

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::Value;
use tidemill_engine::locks::lock;
use tidemill_engine::threads::{self, Pace, Priority};
use tidemill_engine::{ControlEntry, Controlled, Decision, Epoch, EventTime, with_causes};

use self::change::{Change, Which};
pub(super) use self::kept::Kept;
pub(crate) use self::labels::Labels;
use self::memory::Memory;
pub use self::route::ModelRole;
use self::route::{Assigned, Route};
pub(super) use self::router::Router;
pub(super) use self::shadow::Copied;
use self::shadow::ShadowThread;
use self::state::{State, Version};
pub(super) use self::tally::Tally;
use super::backend::{ModelInfo, ModelSource};
use super::loaded::{Loaded, outputs_of};
use super::models::Models;
use super::size::made_up;
use super::versions::{VersionId, VersionSource};

/// Number of epochs for which a version is kept after the last checkpoint that needs it should be gone.
const MARGIN: u64 = 16;

/// What the operator is, which does not change.
pub(super) struct Fixed {
    pub(super) models: Models,
    pub(super) source: Arc<dyn VersionSource>,
    /// Number of rows of every run, where all must have the same number.
    pub(super) exact_rows: Option<usize>,
    /// Largest number of rows of a run.
    pub(super) max_rows: usize,
    /// Whether records have keys, without which there can be no canary.
    pub(super) has_keys: bool,
    /// Whether batches run on threads, where a model may wait for a server.
    pub(super) has_threads: bool,
    /// Number of ladders of this process, each of which has a backend of each version.
    pub(super) ladders: usize,
    /// Where versions are copied to; none in a job without checkpoints.
    pub(super) kept: Option<Kept>,
    /// Number of checkpoints that a job keeps.
    pub(super) retained: u64,
}

/// The versions of the models of an operator, which the workers of a process share.
pub(super) struct Live {
    fixed: Fixed,
    state: Mutex<State>,
    /// Grows with each change of the state that workers have to know of.
    generation: AtomicU64,
    /// The latest event time of all records so far.
    seen: AtomicI64,
    shadow: ShadowThread,
}

impl Live {
    /// Creates the versions that the program names.
    pub(super) fn new(fixed: Fixed) -> Self {
        let state = State::new(&fixed.models);
        Self {
            fixed,
            state: Mutex::new(state),
            generation: AtomicU64::new(0),
            seen: AtomicI64::new(i64::MIN),
            shadow: ShadowThread::default(),
        }
    }

    /// Returns a number that changes whenever routes or versions do.
    #[inline]
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Returns the route of each epoch from which on it is valid.
    pub(super) fn routes(&self) -> Vec<(u64, Arc<Route>)> {
        lock(&self.state).routes.clone()
    }

    /// Returns a version for a ladder: opened if it was prepared, and otherwise to be opened by its first run.
    pub(super) fn take(&self, version: usize) -> Option<Loaded> {
        self.taken(&mut lock(&self.state), version)
    }

    fn taken(&self, state: &mut State, version: usize) -> Option<Loaded> {
        if let Some(ready) = state.ready.get_mut(&version).and_then(Vec::pop) {
            return Some(ready);
        }
        Some(Loaded::closed(state.source(version)?, self.fixed.exact_rows))
    }

    /// Returns whether a version is still used.
    pub(super) fn has(&self, version: usize) -> bool {
        lock(&self.state).source(version).is_some()
    }

    /// Hears of the latest event time of a batch.
    pub(super) fn saw(&self, latest: EventTime) {
        self.seen.fetch_max(latest.0, Ordering::Relaxed);
    }

    /// Adds what was seen of a batch of an epoch.
    pub(super) fn add(&self, epoch: Epoch, tally: &Tally) {
        let State { tally: [whole, step], later, .. } = &mut *lock(&self.state);
        whole.add(tally, true);
        step.add(tally, false);
        later.iter_mut().for_each(|later| later.entry(epoch.0).or_default().add(tally, false));
    }

    /// Hears what a label said of a record that the canary or the baseline of now has scored.
    fn labelled(&self, model: &ModelInfo, role: ModelRole, at: EventTime, score: f64, truth: bool) {
        let mut state = lock(&self.state);
        if state.canary_since.is_none() {
            return;
        }
        // Where it is not known when the canary began, what came since counts.
        let seen = EventTime(self.seen.load(Ordering::Relaxed)).max(at);
        if at <= *state.canary_after.get_or_insert(seen) {
            return;
        }
        let is_it = |version: &Option<Version>| {
            version.as_ref().and_then(|version| version.source.as_ref()).is_some_and(|source| source.info() == model)
        };
        let Some(version) = state.versions.iter().position(is_it) else { return };
        state.tally.iter_mut().for_each(|tally| tally.labelled(Assigned { version, role }, score, truth));
    }

    /// Has the shadow version score rows that the primary one has scored.
    pub(super) fn compare(&self, copied: Copied) {
        self.shadow.offer(copied);
    }

    /// Loads a version, checks that it can stand in for the first one, and opens a backend for each ladder.
    /// `rest` is called after each piece of work.
    fn load(&self, id: &VersionId, rest: &mut dyn FnMut()) -> Result<(Arc<dyn ModelSource>, Vec<Loaded>), String> {
        let kept = self.fixed.kept.as_ref();
        let loaded = self.fixed.source.load(id);
        rest();
        let source = match (loaded, kept.and_then(|kept| kept.find(id))) {
            (Ok(source), _) => {
                if let (Some(kept), Some(folder)) = (kept, self.fixed.source.folder(id)) {
                    let failed = |error| format!("{id} cannot be copied beside the checkpoints: {error}");
                    kept.keep(id, &folder).map_err(failed)?;
                    rest();
                }
                source
            }
            (Err(error), Some(copy)) => {
                let error = with_causes(&error);
                tracing::warn!(model = %id, error, "a version is loaded from its copy beside the checkpoints");
                self.fixed.source.load_from(&copy, id).map_err(|error| with_causes(&error))?
            }
            (Err(error), None) => return Err(with_causes(&error)),
        };
        self.fixed.models.can_be(&source).map_err(|error| with_causes(&error))?;
        if source.blocks() && !self.fixed.has_threads {
            return Err(format!("{id} is on a server, and the model of this operator runs on the workers: set a pool"));
        }
        let ready = self.open(&source, rest)?;
        Ok((source, ready))
    }

    /// Opens a backend for each ladder, and one for a shadow, and runs each with one row and with as many as a batch may
    /// have.
    fn open(&self, source: &Arc<dyn ModelSource>, rest: &mut dyn FnMut()) -> Result<Vec<Loaded>, String> {
        let open = |_: usize| -> Result<Loaded, String> {
            let mut loaded = Loaded::closed(source, self.fixed.exact_rows);
            loaded.open().map_err(|error| with_causes(&error))?;
            // A server needs no warm-up, and it may reject made-up values.
            for rows in [1, self.fixed.max_rows].into_iter().filter(|_| !source.blocks()) {
                let inputs: Vec<_> = source.inputs().iter().map(|spec| made_up(spec, rows)).collect();
                let mut outputs = outputs_of(&**source);
                loaded
                    .run(rows, &inputs, &mut outputs)
                    .map_err(|error| format!("{} does not score {rows} made-up rows: {error}", source.info()))?;
            }
            Ok(loaded)
        };
        // The first one may be the one with which the model was checked; the second one shows what another one takes.
        let mut opened = vec![open(0)?];
        let (count, before) = (self.fixed.ladders, Memory::now());
        for at in 1..=count {
            opened.push(open(at)?);
            rest();
            if at == 1 && !source.blocks() {
                Memory::check(before, Memory::now(), count - 1)?;
            }
        }
        if let (Some(rows), Some(first), false) = (self.fixed.exact_rows, opened.first_mut(), source.blocks())
            && first.is_exact(rows) == Ok(false)
        {
            let info = source.info();
            return Err(format!(
                "batch_exact is set, and a score of {info} depends on the place of its row in a run of {rows}"
            ));
        }
        Ok(opened)
    }

    /// Refuses a switch at an event time that was reached already.
    fn check_time(&self, change: &Change) -> Result<(), String> {
        let Change::Switch { from_event_time: Some(from), .. } = change else { return Ok(()) };
        let seen = EventTime(self.seen.load(Ordering::Relaxed));
        if *from <= seen {
            return Err(format!(
                "records up to the event time {} are scored already, so a switch from {} on would not be the same in a \
                 replay: give a later time, or none to switch with the next epoch",
                seen.readable(),
                from.readable()
            ));
        }
        Ok(())
    }

    /// Tells the workers, and the thread of the shadow.
    fn publish(&self, mut state: MutexGuard<'_, State>) {
        let shadow =
            state.routes.last().and_then(|(_, route)| route.shadow.as_ref()).map(|shadow| shadow.version.clone());
        let threshold = state.rollout.as_ref().and_then(|running| running.settings.checks.alert_threshold);
        match shadow {
            None => self.shadow.end(),
            Some(version) if self.shadow.runs(version.index, threshold) => {}
            Some(version) => {
                if let Some(loaded) = self.taken(&mut state, version.index) {
                    let column = self.fixed.models.first().score_column();
                    self.shadow.begin(version, loaded, column, threshold);
                }
            }
        }
        drop(state);
        self.generation.fetch_add(1, Ordering::Release);
    }
}

impl Controlled for Live {
    fn resolve(&self, change: &Value) -> Result<Value, String> {
        self.find_out(change)
    }

    fn effective_from(&self, change: &Value) -> Option<EventTime> {
        change::from_event_time(change)
    }

    fn prepare(&self, id: &str, change: &Value) -> Result<(), String> {
        let change = Change::read(change)?;
        self.check_time(&change)?;
        let missing = {
            let mut state = lock(&self.state);
            let index = change.model().and_then(|which| state.index_of(which));
            let version = match change.model() {
                Some(Which::Version(version)) => Some(version.clone()),
                _ => None,
            };
            state.wanted.insert(id.to_owned(), version.clone());
            if index.is_some() || change.model().is_none() {
                state.prepared.insert(id.to_owned(), index);
                return Ok(());
            }
            version.ok_or("the program has fewer models than the change names")?
        };
        // The workers do not wait while it is loaded.
        let mut pace = None;
        if !self.fixed.source.starts_threads() {
            threads::step_back(Priority::Low);
            pace = Some(Pace::begin());
        }
        let (source, ready) = self.load(&missing, &mut || pace.iter_mut().for_each(Pace::rest))?;
        let mut state = lock(&self.state);
        if !state.wanted.contains_key(id) {
            return Err("it was given up meanwhile".to_owned());
        }
        state.versions.push(Some(Version { which: Which::Version(missing), source: Some(source) }));
        let index = state.versions.len() - 1;
        state.ready.insert(index, ready);
        state.prepared.insert(id.to_owned(), Some(index));
        Ok(())
    }

    fn apply(&self, entry: &ControlEntry) {
        let mut state = lock(&self.state);
        state.wanted.remove(&entry.id);
        let index = state.prepared.remove(&entry.id).flatten();
        let made = Change::read(&entry.change).and_then(|change| {
            // It was checked when the change was prepared; records have come since.
            if let Err(reason) = self.check_time(&change) {
                tracing::warn!(id = entry.id, reason, "a switch comes later than its event time");
            }
            state.make(entry, &change, index)
        });
        if let Err(reason) = made {
            tracing::error!(id = entry.id, reason, "a change that was prepared could not be made: this is a bug");
        }
        // A label of a record that was scored before says nothing of this canary and its baseline.
        if state.canary_since.is_some() && state.canary_after.is_none() {
            state.canary_after = Some(EventTime(self.seen.load(Ordering::Relaxed)));
        }
        self.publish(state);
    }

    fn forget(&self, id: &str) {
        let mut state = lock(&self.state);
        state.wanted.remove(id);
        state.prepared.remove(id);
        state.drop_unused();
        self.publish(state);
    }

    fn restore(&self, first: Epoch, log: &[ControlEntry]) -> Result<(), String> {
        let needed: Vec<(usize, VersionId)> = {
            let mut state = lock(&self.state);
            for entry in log {
                let change = Change::read(&entry.change)?;
                let index = change.model().map(|which| state.slot(which)).transpose()?;
                state.make(entry, &change, index)?;
            }
            // What later changes have replaced is not loaded, and need not be there any more.
            state.pass(first.0);
            let missing = |index: &usize| state.source(*index).is_none();
            let version = |index: usize| match state.which(index) {
                Some(Which::Version(id)) => Some((index, id)),
                _ => None,
            };
            state.used().into_iter().filter(missing).filter_map(version).collect()
        };
        for (index, id) in needed {
            let (source, ready) = self.load(&id, &mut || {}).map_err(|reason| format!("{id}: {reason}"))?;
            let mut state = lock(&self.state);
            if let Some(Some(version)) = state.versions.get_mut(index) {
                version.source = Some(source);
            }
            state.ready.insert(index, ready);
        }
        let mut state = lock(&self.state);
        state.name_again();
        state.drop_unused();
        self.publish(state);
        Ok(())
    }

    fn passed(&self, first: Epoch) {
        let mut state = lock(&self.state);
        // Checkpoints are removed after others are committed, so some more may still be there.
        state.forget_before(first.0.saturating_sub(self.fixed.retained + MARGIN));
        if let Some(kept) = self.fixed.kept.as_ref().filter(|_| state.has_needless) {
            match kept.retain(&state.needed()) {
                Ok(is_done) => state.has_needless = !is_done,
                Err(error) => {
                    state.has_needless = false;
                    tracing::warn!(%error, "copies of versions that are not needed any more could not be deleted");
                }
            }
        }
        if state.pass(first.0) {
            self.publish(state);
        }
    }

    fn report(&self) -> Option<String> {
        let seen = EventTime(self.seen.load(Ordering::Relaxed));
        lock(&self.state).report(seen, self.shadow.counts())
    }

    fn seen(&self, epoch: Epoch) -> Option<Vec<u8>> {
        lock(&self.state).seen(epoch.0, self.shadow.counts())
    }

    fn resume(&self, seen: &[Vec<u8>], leads: bool) {
        lock(&self.state).resume(seen, leads);
    }

    fn decide(&self, reports: &[String]) -> Option<Decision> {
        lock(&self.state).decide(reports)
    }

    fn status(&self) -> Value {
        lock(&self.state).status(self.shadow.status())
    }
}

#[cfg(test)]
mod tests;
