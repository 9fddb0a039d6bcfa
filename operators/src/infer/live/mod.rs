//! Models that change while the job runs: which version scores which record is a function of the control log, the epoch, the
//! event time and the key of the record.
//!
//! ```text
//! change.rs: what can be asked for ─▶ mod.rs: loaded beside the workers, warmed up, then applied for an epoch
//!   ─▶ route.rs: the versions from that epoch on, by event time and by bucket.rs: the bucket of the key
//!   ─▶ each worker takes the route of a batch's epoch, and its ladder the version that was opened for it
//! rollout.rs: the decisions of a rollout, step by step  ·  tally.rs: what the scores of canary and baseline were
//! shadow.rs: a version beside, whose scores are only compared  ·  kept.rs: copies of versions beside the checkpoints
//! ```

pub(super) mod bucket;
mod change;
mod kept;
mod rollout;
pub(super) mod route;
mod shadow;
mod tally;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use serde_json::{Value, json};
use tidemill_engine::locks::lock;
use tidemill_engine::{ControlEntry, Controlled, Decision, Epoch, EventTime, threads, with_causes};

use self::change::{Change, Extra, Which, Wish, buckets};
pub(super) use self::kept::Kept;
use self::rollout::{Promotion, Report, Rollout, Verdict, Windows};
pub use self::route::ModelRole;
use self::route::{Canary, Placed, Route};
pub(super) use self::shadow::Copied;
use self::shadow::ShadowThread;
pub(super) use self::tally::Tally;
use super::backend::{ModelInfo, ModelSource};
use super::ladder::Rungs;
use super::loaded::Loaded;
use super::models::Models;
use super::size::made_up;
use super::versions::{VersionId, VersionSource};
use super::work::Work;

/// Number of epochs for which a version is kept after the last checkpoint that needs it should be gone.
const MARGIN: u64 = 16;

/// What the operator is, which does not change.
pub(super) struct Fixed {
    pub(super) models: Models,
    pub(super) source: Arc<dyn VersionSource>,
    pub(super) rungs: Rungs,
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

struct State {
    /// All versions by their index; none where nothing uses it any more.
    versions: Vec<Option<Version>>,
    /// The route from each epoch on, in ascending order of epochs.
    routes: Vec<(u64, Arc<Route>)>,
    /// The primary version before each switch; none where versions took turns in event time.
    before: Vec<Option<Which>>,
    /// The changes that are being prepared or are prepared, and the version that each brings.
    wanted: BTreeMap<String, Option<VersionId>>,
    /// The index of the version of each change that is prepared.
    prepared: BTreeMap<String, Option<usize>>,
    /// Backends that were opened for the ladders.
    ready: BTreeMap<usize, Vec<Loaded>>,
    /// What was seen since the canary began, and since its share was last changed.
    tally: [Tally; 2],
    /// The epoch from which on canary and shadow are as they are, and when this process heard of the canary.
    step_since: u64,
    canary_since: Option<Instant>,
    rollout: Option<Running>,
    /// The versions that each epoch of the log and those after it have to do with.
    named: Vec<(u64, BTreeSet<VersionId>)>,
    /// Whether there may be copies of versions that no checkpoint needs any more.
    has_needless: bool,
}

/// A rollout that has not ended.
struct Running {
    id: String,
    /// The index of the version that is rolled out.
    version: usize,
    settings: Rollout,
    suspended: bool,
    windows: Windows,
    /// The last decision, in the process that decides.
    decided: Option<Change>,
}

struct Version {
    which: Which,
    /// None while a log is followed, of which only the last versions are loaded.
    source: Option<Arc<dyn ModelSource>>,
}

impl Live {
    /// Creates the versions that the program names.
    pub(super) fn new(fixed: Fixed) -> Self {
        let program = fixed.models.versions().enumerate();
        let versions = program
            .map(|(at, source)| Some(Version { which: Which::Program(at), source: Some(Arc::clone(source)) }))
            .collect();
        let state = State {
            versions,
            routes: vec![(0, Arc::new(Route::of(&fixed.models)))],
            before: Vec::new(),
            wanted: BTreeMap::new(),
            prepared: BTreeMap::new(),
            ready: BTreeMap::new(),
            tally: Default::default(),
            step_since: 0,
            canary_since: None,
            rollout: None,
            named: Vec::new(),
            has_needless: false,
        };
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
        Some(Loaded::closed(state.source(version)?, self.fixed.rungs.exact_rows))
    }

    /// Returns whether a version is still used.
    pub(super) fn has(&self, version: usize) -> bool {
        lock(&self.state).source(version).is_some()
    }

    /// Hears of the latest event time of a batch.
    pub(super) fn saw(&self, latest: EventTime) {
        self.seen.fetch_max(latest.0, Ordering::Relaxed);
    }

    /// Adds what was seen of a batch.
    pub(super) fn add(&self, tally: &Tally) {
        let [whole, step] = &mut lock(&self.state).tally;
        whole.add(tally, true);
        step.add(tally, false);
    }

    /// Has the shadow version score rows that the primary one has scored.
    pub(super) fn compare(&self, copied: Copied) {
        self.shadow.offer(copied);
    }

    /// Resolves a reference with the source.
    fn find(&self, wanted: &super::wanted::ModelRef) -> Result<Which, String> {
        self.fixed.source.resolve(wanted).map(Which::Version).map_err(|error| with_causes(&error))
    }

    /// Loads a version, checks that it can stand in for the first one, and opens a backend for each ladder.
    fn load(&self, id: &VersionId) -> Result<(Arc<dyn ModelSource>, Vec<Loaded>), String> {
        let kept = self.fixed.kept.as_ref();
        let source = match (self.fixed.source.load(id), kept.and_then(|kept| kept.find(id))) {
            (Ok(source), _) => {
                if let (Some(kept), Some(folder)) = (kept, self.fixed.source.folder(id)) {
                    let failed = |error| format!("{id} cannot be copied beside the checkpoints: {error}");
                    kept.keep(id, &folder).map_err(failed)?;
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
        let ready = self.open(&source)?;
        Ok((source, ready))
    }

    /// Opens a backend for each ladder, and one for a shadow, and runs each with one row and with as many as a batch may
    /// have.
    fn open(&self, source: &Arc<dyn ModelSource>) -> Result<Vec<Loaded>, String> {
        let open = |_| {
            let mut loaded = Loaded::closed(source, self.fixed.rungs.exact_rows);
            loaded.open().map_err(|error| with_causes(&error))?;
            // A server needs no warm-up, and it may reject made-up values.
            for rows in [1, self.fixed.max_rows].into_iter().filter(|_| !source.blocks()) {
                let inputs: Vec<_> = source.inputs().iter().map(|spec| made_up(spec, rows)).collect();
                let mut outputs = Work::outputs_of(&**source);
                loaded
                    .run(rows, &inputs, &mut outputs)
                    .map_err(|error| format!("{} does not score {rows} made-up rows: {error}", source.info()))?;
            }
            Ok(loaded)
        };
        let mut opened: Vec<Loaded> = (0..=self.fixed.ladders).map(open).collect::<Result<_, String>>()?;
        if let (Some(rows), Some(first), false) = (self.fixed.rungs.exact_rows, opened.first_mut(), source.blocks())
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

    /// Makes the route after a change.
    fn make(
        &self,
        state: &mut State,
        entry: &ControlEntry,
        change: &Change,
        index: Option<usize>,
    ) -> Result<(), String> {
        let epoch = entry.epoch.unwrap_or(0);
        let Some((_, last)) = state.routes.last().cloned() else { return Ok(()) };
        let placed = index.and_then(|index| state.placed(index));
        let route = last.after(change, placed)?;
        if matches!(change, Change::Switch { .. }) {
            let only = last.only_primary().and_then(|placed| state.which(placed.index));
            state.before.push(only);
        }
        if route.canary != last.canary {
            let is_other = |a: &Canary, b: &Canary| a.version != b.version || a.seed != b.seed;
            let begins = match (&route.canary, &last.canary) {
                (Some(now), Some(then)) => is_other(now, then),
                (now, _) => now.is_some(),
            };
            if begins {
                state.tally[0] = Tally::default();
                state.canary_since = Some(threads::now());
            }
        }
        if (&route.canary, &route.shadow) != (&last.canary, &last.shadow) {
            state.tally[1] = Tally::default();
            state.step_since = epoch;
        }
        state.roll_on(&entry.id, change, index);
        state.name(epoch, &route);
        match state.routes.last_mut().filter(|(from, _)| *from == epoch) {
            Some((_, same_epoch)) => *same_epoch = Arc::new(route),
            None => state.routes.push((epoch, Arc::new(route))),
        }
        Ok(())
    }

    /// Tells the workers, and the thread of the shadow.
    fn publish(&self, mut state: MutexGuard<'_, State>) {
        let shadow =
            state.routes.last().and_then(|(_, route)| route.shadow.as_ref()).map(|shadow| shadow.version.clone());
        match shadow {
            None => self.shadow.end(),
            Some(version) if self.shadow.runs(version.index) => {}
            Some(version) => {
                if let Some(loaded) = self.taken(&mut state, version.index) {
                    self.shadow.begin(version, loaded, self.fixed.models.first().score_column());
                }
            }
        }
        drop(state);
        self.generation.fetch_add(1, Ordering::Release);
    }
}

impl State {
    fn index_of(&self, which: &Which) -> Option<usize> {
        self.versions.iter().position(|version| version.as_ref().is_some_and(|version| version.which == *which))
    }

    fn source(&self, index: usize) -> Option<&Arc<dyn ModelSource>> {
        self.versions.get(index)?.as_ref()?.source.as_ref()
    }

    fn which(&self, index: usize) -> Option<Which> {
        Some(self.versions.get(index)?.as_ref()?.which.clone())
    }

    fn placed(&self, index: usize) -> Option<Placed> {
        let version = self.versions.get(index)?.as_ref()?;
        let info = match (&version.source, &version.which) {
            (Some(source), _) => source.info().clone(),
            (None, which) => ModelInfo::new(shown(which), String::new()),
        };
        Some(Placed { index, info: Arc::new(info) })
    }

    fn shown(&self, index: usize) -> String {
        self.placed(index).map_or_else(String::new, |placed| placed.info.to_string())
    }

    /// Returns the versions that a route, the rollout or a prepared change names.
    fn used(&self) -> BTreeSet<usize> {
        let routed = self.routes.iter().flat_map(|(_, route)| route.all().map(|placed| placed.index));
        let rolled_out = self.rollout.iter().map(|rollout| rollout.version);
        routed.chain(self.prepared.values().flatten().copied()).chain(rolled_out).collect()
    }

    /// Drops the versions that no route and no prepared change names. Those of the program stay: they say what others must
    /// fit.
    fn drop_unused(&mut self) {
        let used = self.used();
        for (index, version) in self.versions.iter_mut().enumerate() {
            let is_programs = matches!(version, Some(Version { which: Which::Program(_), .. }));
            if version.is_some() && !is_programs && !used.contains(&index) {
                *version = None;
                self.ready.remove(&index);
            }
        }
    }
}

impl Controlled for Live {
    fn resolve(&self, change: &Value) -> Result<Value, String> {
        let (route, before) = {
            let state = lock(&self.state);
            (state.routes.last().map(|(_, route)| Arc::clone(route)), state.before.last().cloned())
        };
        let which = |placed: &Placed| lock(&self.state).which(placed.index);
        let canary = route.as_ref().and_then(|route| route.canary.as_ref()).and_then(|canary| which(&canary.version));
        let switch = |model: Which| Change::Switch { model, from_event_time: None };
        let change = match Wish::read(change)? {
            Wish::Switch { model, from_event_time } => Change::Switch { model: self.find(&model)?, from_event_time },
            Wish::Canary { .. } if !self.fixed.has_keys => {
                return Err("the operator does not know the keys of its records: use infer_by_key".to_owned());
            }
            Wish::Canary { model, share, seed } => {
                let found = self.find(&model)?;
                // Its own for each version, so that not always the same keys are tried on.
                let own = || match &found {
                    Which::Version(id) => id.to_string(),
                    Which::Program(at) => at.to_string(),
                };
                let seed = seed.unwrap_or_else(own);
                Change::Canary { model: found, buckets: buckets("share", share)?, seed }
            }
            Wish::Shadow { model, sample } => {
                Change::Shadow { model: self.find(&model)?, buckets: buckets("sample", sample)? }
            }
            Wish::Rollout { .. } if !self.fixed.has_keys => {
                return Err("the operator does not know the keys of its records: use infer_by_key".to_owned());
            }
            Wish::Rollout { model, settings } => {
                settings.check()?;
                Change::Rollout { model: self.find(&model)?, settings }
            }
            Wish::Suspend(suspended) => {
                lock(&self.state).rollout.as_ref().ok_or("there is no rollout")?;
                Change::Suspend(suspended)
            }
            Wish::Decided { rollout, change } => {
                let state = lock(&self.state);
                let running = state.rollout.as_ref().filter(|running| running.id == rollout && !running.suspended);
                // Whoever asks for a decision that was not made here would pass by all checks.
                let is_decided = running.is_some_and(|running| running.decided.as_ref() == Some(&change));
                if !is_decided {
                    return Err(format!("the rollout {rollout} has ended, was suspended, or has not decided this"));
                }
                change
            }
            Wish::Promote {} => switch(canary.ok_or("there is no canary to promote")?),
            Wish::RollBack {} if canary.is_some() => Change::End(Extra::Canary),
            Wish::RollBack {} if lock(&self.state).rollout.is_some() => {
                let shadowed = route.as_ref().is_some_and(|route| route.shadow.is_some());
                Change::End(if shadowed { Extra::Shadow } else { Extra::Rollout })
            }
            Wish::RollBack {} => match before {
                Some(Some(before)) => switch(before),
                Some(None) => {
                    return Err("versions took turns in event time before: name the one to switch to".to_owned());
                }
                None => return Err("there is no canary, and no version before this one".to_owned()),
            },
            Wish::End(extra) => {
                let has = route.as_ref().is_some_and(|route| match extra {
                    Extra::Canary => route.canary.is_some(),
                    Extra::Shadow => route.shadow.is_some(),
                    Extra::Rollout => lock(&self.state).rollout.is_some(),
                });
                if !has {
                    return Err(format!("there is no {extra:?} to end").to_lowercase());
                }
                Change::End(extra)
            }
        };
        self.check_time(&change)?;
        Ok(change.value())
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
        let (source, ready) = self.load(&missing)?;
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
            self.make(&mut state, entry, &change, index)
        });
        if let Err(reason) = made {
            tracing::error!(id = entry.id, reason, "a change that was prepared could not be made: this is a bug");
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
                self.make(&mut state, entry, &change, index)?;
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
            let (source, ready) = self.load(&id).map_err(|reason| format!("{id}: {reason}"))?;
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
        let state = lock(&self.state);
        state.rollout.as_ref()?;
        let [whole, step] = &state.tally;
        let canary = state.routes.last().and_then(|(_, route)| Some(route.canary.as_ref()?.version.index));
        let report = Report {
            since: state.step_since,
            parts: step.by_role(canary),
            seen_ms: self.seen.load(Ordering::Relaxed),
            shadow: self.shadow.counts(),
            reached: canary.map_or((0, 0), |canary| whole.reached(canary)),
        };
        serde_json::to_string(&report).ok()
    }

    fn decide(&self, reports: &[String]) -> Option<Decision> {
        let reports =
            reports.iter().map(|report| serde_json::from_str(report)).collect::<Result<Vec<Report>, _>>().ok()?;
        let mut state = lock(&self.state);
        let all = Report::of_all(&reports, state.step_since)?;
        let route = state.routes.last().map(|(_, route)| Arc::clone(route))?;
        let since = state.canary_since;
        let model = state.which(state.rollout.as_ref()?.version)?;
        let name = shown(&model);
        let running = state.rollout.as_mut().filter(|running| !running.suspended)?;
        let settings = running.settings.clone();
        let canary = |step: usize| {
            Some(Change::Canary { model: model.clone(), buckets: settings.buckets(step)?, seed: running.id.clone() })
        };
        let is_ours = |placed: &Placed| placed.index == running.version;
        let tried = route.canary.as_ref().filter(|canary| is_ours(&canary.version));
        let shadowed = route.shadow.as_ref().filter(|shadow| is_ours(&shadow.version));
        let (change, reason) = if let Some(Canary { buckets, .. }) = tried {
            let step = settings.step_of(*buckets).unwrap_or(0);
            let next = canary(step + 1);
            match running.windows.look(&settings, &all) {
                Verdict::Wait => return None,
                Verdict::RollBack(numbers) => {
                    let (records, keys) = all.reached;
                    let seconds = since.map_or(0.0, |since| threads::since(since).as_secs_f64());
                    let reason = format!(
                        "{name} is rolled back: {numbers}; it has reached {records} records of {keys} keys in {seconds:.1} s"
                    );
                    (Change::End(Extra::Canary), reason)
                }
                Verdict::Next(numbers) => match next {
                    Some(next) => {
                        (next, format!("step {} of {} has passed: {numbers}", step + 1, settings.steps.len()))
                    }
                    None if settings.promote == Promotion::Manual => {
                        running.windows.said =
                            Some(format!("all steps have passed, it waits to be promoted: {numbers}"));
                        return None;
                    }
                    None => {
                        let change = Change::Switch { model: model.clone(), from_event_time: None };
                        (change, format!("{name} is promoted: {numbers}"))
                    }
                },
            }
        } else if shadowed.is_some() {
            let (scored, failed) = all.shadow;
            if scored + failed < settings.shadow_records {
                return None;
            }
            let share = failed as f64 / (scored + failed) as f64;
            let numbers = format!("as a shadow it has scored {scored} records and failed on {failed}");
            match settings.checks.failure_share.filter(|max| share > *max) {
                Some(max) => (Change::End(Extra::Shadow), format!("{name} is given up: {numbers}, at most {max}")),
                None => (canary(0)?, format!("{name} begins as a canary: {numbers}")),
            }
        } else if settings.shadow_records > 0 {
            let buckets = bucket::BUCKETS;
            (Change::Shadow { model: model.clone(), buckets }, format!("{name} begins as a shadow"))
        } else {
            (canary(0)?, format!("{name} begins as a canary"))
        };
        if settings.dry_run {
            running.windows.said = Some(format!("a dry run, so nothing is done: {reason}"));
            return None;
        }
        running.windows.said = Some(reason.clone());
        running.decided = Some(change.clone());
        let rollout = running.id.clone();
        // Whoever decides the same again, after a restart, gives it the same name.
        let id = format!("{rollout}/{}/{}", all.since, what(&change));
        let change = json!({ "decided": { "rollout": rollout, "change": change.value() } });
        Some(Decision { id, change, reason })
    }

    fn status(&self) -> Value {
        let state = lock(&self.state);
        let Some((epoch, route)) = state.routes.last() else { return Value::Null };
        let named = |info: &ModelInfo| json!({ "name": info.name, "version": info.version, "hash": info.hash });
        let primaries: Vec<Value> = route
            .primaries()
            .map(|(from, placed)| {
                let mut shown = named(&placed.info);
                if let Some(from) = from {
                    shown["from_event_time"] = from.readable().into();
                }
                shown
            })
            .collect();
        let share = |buckets: u32| f64::from(buckets) / f64::from(bucket::BUCKETS);
        let canary = route.canary.as_ref().map(|canary| {
            let mut shown = named(&canary.version.info);
            shown["share"] = share(canary.buckets).into();
            shown["seed"] = (&*canary.seed).into();
            shown
        });
        let shadow = route.shadow.as_ref().map(|shadow| {
            let mut shown = named(&shadow.version.info);
            shown["sample"] = share(shadow.buckets).into();
            shown
        });
        let versions = state.versions.iter().flatten().filter_map(|version| version.source.as_ref()).map(|source| {
            let mut shown = named(source.info());
            shown["engine"] = source.engine().into();
            shown
        });
        json!({
            "epoch": epoch,
            "primary": primaries,
            "canary": canary,
            "shadow": shadow,
            "versions": versions.collect::<Vec<_>>(),
            "roles": state.tally[0].status(|version| state.shown(version)),
            "roles_of_step": state.tally[1].status(|version| state.shown(version)),
            "compared": self.shadow.status(),
            "rollout": state.rollout.as_ref().map(|running| json!({
                "id": running.id,
                "model": state.shown(running.version),
                "step": route.canary.as_ref().and_then(|canary| running.settings.step_of(canary.buckets)),
                "settings": running.settings,
                "suspended": running.suspended,
                "checks": running.windows.checked,
                "said": running.windows.said,
            })),
        })
    }
}

impl State {
    /// Follows a rollout: it begins, is suspended, or ends with what has become of its version.
    fn roll_on(&mut self, id: &str, change: &Change, index: Option<usize>) {
        match (change, index) {
            (Change::Rollout { settings, .. }, Some(version)) => {
                let (settings, windows) = (settings.clone(), Windows::default());
                self.rollout =
                    Some(Running { id: id.to_owned(), version, settings, suspended: false, windows, decided: None });
            }
            (Change::Suspend(suspended), _) => {
                if let Some(running) = &mut self.rollout {
                    running.suspended = *suspended;
                }
            }
            (Change::Switch { from_event_time: None, .. } | Change::End(Extra::Canary | Extra::Rollout), _) => {
                self.rollout = None;
            }
            // The shadow of a rollout that goes on as a canary has not ended it.
            (Change::End(Extra::Shadow), _) => {
                let tried = self.routes.last().is_some_and(|(_, route)| route.canary.is_some());
                self.rollout.take_if(|_| !tried);
            }
            // Another canary replaces that of the rollout.
            (Change::Canary { .. }, Some(index)) => drop(self.rollout.take_if(|running| running.version != index)),
            _ => {}
        }
    }

    /// Notes the versions of the route from an epoch on.
    fn name(&mut self, epoch: u64, route: &Route) {
        let which = |index: usize| self.versions.get(index)?.as_ref().map(|version| version.which.clone());
        let rolled_out = self.rollout.iter().map(|rollout| rollout.version);
        let routed = route.all().map(|placed| placed.index).chain(rolled_out).filter_map(which);
        let ids = routed.chain(self.before.last().cloned().flatten()).filter_map(|which| match which {
            Which::Version(id) => Some(id),
            Which::Program(_) => None,
        });
        let ids = ids.collect();
        self.named.push((epoch, ids));
    }

    /// Forgets which versions were named before the checkpoint of epoch `oldest`, which no restart needs.
    fn forget_before(&mut self, oldest: u64) {
        let passed = self.named.iter().rposition(|(from, _)| *from <= oldest).unwrap_or(0);
        self.named.drain(..passed);
        self.has_needless |= passed > 0;
    }

    /// Returns the versions that a restart may need, and those that are being loaded.
    fn needed(&self) -> BTreeSet<VersionId> {
        self.named.iter().flat_map(|(_, ids)| ids).chain(self.wanted.values().flatten()).cloned().collect()
    }

    /// Returns the index of a version, which need not be loaded.
    fn slot(&mut self, which: &Which) -> Result<usize, String> {
        if let Some(index) = self.index_of(which) {
            return Ok(index);
        }
        if let Which::Program(_) = which {
            return Err("the program has fewer models now than when the control log was written".to_owned());
        }
        self.versions.push(Some(Version { which: which.clone(), source: None }));
        Ok(self.versions.len() - 1)
    }

    /// Names the versions in the routes after the models that were loaded for them.
    fn name_again(&mut self) {
        let named: Vec<(u64, Route)> =
            self.routes.iter().map(|(epoch, route)| (*epoch, route.renamed(|index| self.placed(index)))).collect();
        self.routes = named.into_iter().map(|(epoch, route)| (epoch, Arc::new(route))).collect();
    }

    /// Forgets the routes that no record of epoch `first` or later has. Returns whether there were any.
    fn pass(&mut self, first: u64) -> bool {
        let passed = self.routes.iter().rposition(|(from, _)| *from <= first).unwrap_or(0);
        if passed == 0 {
            return false;
        }
        self.routes.drain(..passed);
        self.drop_unused();
        true
    }
}

/// Returns a word for a change.
fn what(change: &Change) -> String {
    match change {
        Change::Switch { .. } => "promote".to_owned(),
        Change::Canary { buckets, .. } => format!("canary-{buckets}"),
        Change::Shadow { .. } => "shadow".to_owned(),
        Change::End(_) => "end".to_owned(),
        Change::Rollout { .. } => "rollout".to_owned(),
        Change::Suspend(_) => "suspend".to_owned(),
    }
}

fn shown(which: &Which) -> String {
    match which {
        Which::Program(at) => format!("model {at} of the program"),
        Which::Version(id) => id.to_string(),
    }
}

#[cfg(test)]
mod tests;
