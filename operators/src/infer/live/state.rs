//! The versions of an operator and the routes of its records, as the changes of the control log make them, one after the
//! other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use tidemill_engine::{ControlEntry, EventTime, threads};

use super::change::{Change, Extra, Which};
use super::checks::Compared;
use super::rollout::{Rollout, Windows};
use super::route::{Canary, Placed, Route, Shadow};
use super::tally::Tally;
use crate::infer::backend::{ModelInfo, ModelSource};
use crate::infer::loaded::Loaded;
use crate::infer::models::Models;
use crate::infer::takes::Takes;
use crate::infer::versions::VersionId;

pub(super) struct State {
    /// All versions by their index; none where nothing uses it any more.
    pub(super) versions: Vec<Option<Version>>,
    /// The route from each epoch on, in ascending order of epochs.
    pub(super) routes: Vec<(u64, Arc<Route>)>,
    /// The primary version before each switch; none where versions took turns in event time.
    pub(super) before: Vec<Option<Which>>,
    /// The changes that are being prepared or are prepared, and the version that each brings.
    pub(super) wanted: BTreeMap<String, Option<VersionId>>,
    /// The index of the version of each change that is prepared.
    pub(super) prepared: BTreeMap<String, Option<usize>>,
    /// Backends that were opened for the ladders.
    pub(super) ready: BTreeMap<usize, Vec<Loaded>>,
    /// What was seen since the canary began, and since its share was last changed.
    pub(super) tally: [Tally; 2],
    /// What of each is of epochs that no checkpoint of this process has yet.
    pub(super) later: [BTreeMap<u64, Tally>; 2],
    /// What the shadow has scored before a restart.
    pub(super) compared: Compared,
    /// The epoch from which on canary and shadow are as they are, the one from which on there is this canary, and when
    /// this process heard of it.
    pub(super) step_since: u64,
    pub(super) canary_from: u64,
    pub(super) canary_since: Option<Instant>,
    /// The latest event time that was seen when the canary began.
    pub(super) canary_after: Option<EventTime>,
    pub(super) rollout: Option<Running>,
    /// The versions that each epoch of the log and those after it have to do with.
    pub(super) named: Vec<(u64, BTreeSet<VersionId>)>,
    /// Whether there may be copies of versions that no checkpoint needs any more.
    pub(super) has_needless: bool,
}

/// A rollout that has not ended.
pub(super) struct Running {
    pub(super) id: String,
    /// The index of the version that is rolled out.
    pub(super) version: usize,
    pub(super) settings: Rollout,
    pub(super) suspended: bool,
    pub(super) windows: Windows,
    /// The last decision, in the process that decides.
    pub(super) decided: Option<Change>,
}

pub(super) struct Version {
    pub(super) which: Which,
    /// None while a log is followed, of which only the last versions are loaded.
    pub(super) source: Option<Arc<dyn ModelSource>>,
}

impl State {
    /// Returns the state of a program that was not changed.
    pub(super) fn new(models: &Models) -> Self {
        let program = models.versions().enumerate();
        let versions = program
            .map(|(at, source)| Some(Version { which: Which::Program(at), source: Some(Arc::clone(source)) }))
            .collect();
        Self {
            versions,
            routes: vec![(0, Arc::new(Route::of(models)))],
            before: Vec::new(),
            wanted: BTreeMap::new(),
            prepared: BTreeMap::new(),
            ready: BTreeMap::new(),
            tally: Default::default(),
            later: Default::default(),
            compared: Compared::default(),
            step_since: 0,
            canary_from: 0,
            canary_since: None,
            canary_after: None,
            rollout: None,
            named: Vec::new(),
            has_needless: false,
        }
    }

    /// Makes the route after a change.
    pub(super) fn make(&mut self, entry: &ControlEntry, change: &Change, index: Option<usize>) -> Result<(), String> {
        let epoch = entry.epoch.unwrap_or(0);
        let Some((_, last)) = self.routes.last().cloned() else { return Ok(()) };
        let placed = index.and_then(|index| self.placed(index));
        let route = last.after(change, placed)?;
        if matches!(change, Change::Switch { .. }) {
            let only = last.only_primary().and_then(|placed| self.which(placed.index));
            self.before.push(only);
        }
        if route.canary != last.canary {
            let is_other = |a: &Canary, b: &Canary| a.version != b.version || a.seed != b.seed;
            let begins = match (&route.canary, &last.canary) {
                (Some(now), Some(then)) => is_other(now, then),
                (now, _) => now.is_some(),
            };
            if begins {
                self.tally[0] = Tally::default();
                self.later[0].clear();
                self.canary_from = epoch;
                self.canary_since = Some(threads::now());
                self.canary_after = None;
            }
        }
        if (&route.canary, &route.shadow) != (&last.canary, &last.shadow) {
            self.tally[1] = Tally::default();
            self.later[1].clear();
            self.compared = Compared::default();
            self.step_since = epoch;
        }
        self.roll_on(&entry.id, change, index);
        self.name(epoch, &route);
        match self.routes.last_mut().filter(|(from, _)| *from == epoch) {
            Some((_, same_epoch)) => *same_epoch = Arc::new(route),
            None => self.routes.push((epoch, Arc::new(route))),
        }
        Ok(())
    }

    pub(super) fn index_of(&self, which: &Which) -> Option<usize> {
        self.versions.iter().position(|version| version.as_ref().is_some_and(|version| version.which == *which))
    }

    pub(super) fn source(&self, index: usize) -> Option<&Arc<dyn ModelSource>> {
        self.versions.get(index)?.as_ref()?.source.as_ref()
    }

    pub(super) fn which(&self, index: usize) -> Option<Which> {
        Some(self.versions.get(index)?.as_ref()?.which.clone())
    }

    pub(super) fn placed(&self, index: usize) -> Option<Placed> {
        let version = self.versions.get(index)?.as_ref()?;
        let info = match (&version.source, &version.which) {
            (Some(source), _) => source.info().clone(),
            (None, which) => ModelInfo::new(shown(which), String::new()),
        };
        let takes = version.source.as_ref().map(|source| Takes::of(&**source)).unwrap_or_default();
        Some(Placed { index, info: Arc::new(info), takes: Arc::new(takes) })
    }

    pub(super) fn shown(&self, index: usize) -> String {
        self.placed(index).map_or_else(String::new, |placed| placed.info.to_string())
    }

    /// Returns the versions that a route, the rollout or a prepared change names.
    pub(super) fn used(&self) -> BTreeSet<usize> {
        let routed = self.routes.iter().flat_map(|(_, route)| route.all().map(|placed| placed.index));
        let rolled_out = self.rollout.iter().map(|rollout| rollout.version);
        routed.chain(self.prepared.values().flatten().copied()).chain(rolled_out).collect()
    }

    /// Drops the versions that no route and no prepared change names. Those of the program stay: they say what others must
    /// fit.
    pub(super) fn drop_unused(&mut self) {
        let used = self.used();
        for (index, version) in self.versions.iter_mut().enumerate() {
            let is_programs = matches!(version, Some(Version { which: Which::Program(_), .. }));
            if version.is_some() && !is_programs && !used.contains(&index) {
                *version = None;
                self.ready.remove(&index);
            }
        }
    }

    /// Follows a rollout: it begins, is suspended, or ends with what has become of its version.
    pub(super) fn roll_on(&mut self, id: &str, change: &Change, index: Option<usize>) {
        match (change, index) {
            (Change::Rollout { settings, .. }, Some(version)) => {
                let (settings, windows) = ((**settings).clone(), Windows::default());
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
    pub(super) fn name(&mut self, epoch: u64, route: &Route) {
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
    pub(super) fn forget_before(&mut self, oldest: u64) {
        let passed = self.named.iter().rposition(|(from, _)| *from <= oldest).unwrap_or(0);
        self.named.drain(..passed);
        self.has_needless |= passed > 0;
    }

    /// Returns the versions that a restart may need, and those that are being loaded.
    pub(super) fn needed(&self) -> BTreeSet<VersionId> {
        self.named.iter().flat_map(|(_, ids)| ids).chain(self.wanted.values().flatten()).cloned().collect()
    }

    /// Returns the index of a version, which need not be loaded.
    pub(super) fn slot(&mut self, which: &Which) -> Result<usize, String> {
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
    pub(super) fn name_again(&mut self) {
        let named: Vec<(u64, Route)> =
            self.routes.iter().map(|(epoch, route)| (*epoch, route.renamed(|index| self.placed(index)))).collect();
        self.routes = named.into_iter().map(|(epoch, route)| (epoch, Arc::new(route))).collect();
    }

    /// Forgets the routes that no record of epoch `first` or later has. Returns whether there were any.
    pub(super) fn pass(&mut self, first: u64) -> bool {
        let passed = self.routes.iter().rposition(|(from, _)| *from <= first).unwrap_or(0);
        if passed == 0 {
            return false;
        }
        self.routes.drain(..passed);
        self.drop_unused();
        true
    }
}

/// Names a version for people to read.
pub(super) fn shown(which: &Which) -> String {
    match which {
        Which::Program(at) => format!("model {at} of the program"),
        Which::Version(id) => id.to_string(),
    }
}

impl Route {
    /// Returns the route after a change. `placed` is the version that the change brings.
    pub(in crate::infer::live) fn after(&self, change: &Change, placed: Option<Placed>) -> Result<Self, String> {
        let mut route = self.clone();
        match (change, placed) {
            (Change::Switch { from_event_time: None, .. }, Some(version)) => {
                // The canary has become the primary version, or is not needed any more.
                route.canary = route.canary.filter(|canary| canary.version.index != version.index);
                route.shadow = route.shadow.filter(|shadow| shadow.version.index != version.index);
                (route.switches, route.versions) = (Vec::new(), vec![version]);
            }
            (Change::Switch { from_event_time: Some(from), .. }, Some(version)) => {
                match route.switches.binary_search(from) {
                    Ok(at) => route.versions[at + 1] = version,
                    Err(at) => {
                        route.switches.insert(at, *from);
                        route.versions.insert(at + 1, version);
                    }
                }
            }
            (Change::Canary { buckets, seed, .. }, Some(version)) => {
                // What scores for some keys need not be compared for all.
                route.shadow = route.shadow.filter(|shadow| shadow.version.index != version.index);
                route.canary = Some(Canary { version, buckets: *buckets, seed: seed.as_str().into() });
            }
            (Change::Shadow { buckets, .. }, Some(version)) => {
                route.shadow = Some(Shadow { version, buckets: *buckets });
            }
            // A rollout changes something by its decisions.
            (Change::Rollout { .. } | Change::Suspend(_) | Change::End(Extra::Rollout), _) => {}
            (Change::End(Extra::Canary), _) => route.canary = None,
            (Change::End(Extra::Shadow), _) => route.shadow = None,
            (change, None) => return Err(format!("the version of the change {} is not there", change.value())),
        }
        Ok(route)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::infer::live::route::ModelRole;

    fn placed(index: usize) -> Placed {
        Placed { index, info: Arc::new(ModelInfo::new(format!("v{index}"), "0")), takes: Arc::default() }
    }

    fn route() -> Route {
        Route { switches: Vec::new(), versions: vec![placed(0)], canary: None, shadow: None }
    }

    fn switch(from: Option<i64>) -> Change {
        Change::Switch { model: Which::Program(0), from_event_time: from.map(EventTime) }
    }

    fn versions(route: &Route, times: &[i64]) -> Vec<usize> {
        times.iter().map(|at| route.assign(EventTime(*at), |_| unreachable!("there is no canary")).version).collect()
    }

    #[test]
    fn switches_take_turns_in_event_time_and_one_at_once_ends_them() {
        let later = route().after(&switch(Some(2_000)), Some(placed(2))).unwrap();
        let both = later.after(&switch(Some(1_000)), Some(placed(1))).unwrap();
        assert_eq!(versions(&both, &[0, 999, 1_000, 1_999, 2_000]), [0, 0, 1, 1, 2]);
        let replaced = both.after(&switch(Some(1_000)), Some(placed(3))).unwrap();
        assert_eq!(versions(&replaced, &[0, 1_000, 2_000]), [0, 3, 2]);
        let at_once = replaced.after(&switch(None), Some(placed(4))).unwrap();
        assert_eq!((versions(&at_once, &[0, 5_000]), at_once.only().is_some()), (vec![4, 4], true));
    }

    #[test]
    fn a_canary_has_its_keys_a_baseline_as_many_and_growing_takes_none_away() {
        let canary = |buckets| Change::Canary { model: Which::Program(0), buckets, seed: "s".to_owned() };
        let role = |route: &Route, bucket: u32| route.assign(EventTime(0), |_| bucket).role;
        let small = route().after(&canary(100), Some(placed(1))).unwrap();
        let large = small.after(&canary(500), Some(placed(1))).unwrap();
        let counts = |route: &Route| {
            let of = |wanted: ModelRole| (0..10_000).filter(|bucket| role(route, *bucket) == wanted).count();
            [of(ModelRole::Canary), of(ModelRole::Baseline), of(ModelRole::Primary)]
        };
        assert_eq!((counts(&small), counts(&large)), ([100, 100, 9_800], [500, 500, 9_000]));
        let stays = |bucket: &u32| role(&large, *bucket) == ModelRole::Canary;
        assert!((0..10_000).filter(|bucket| role(&small, *bucket) == ModelRole::Canary).all(|bucket| stays(&bucket)));
        let promoted = large.after(&switch(None), Some(placed(1))).unwrap();
        assert!(promoted.canary.is_none() && promoted.only().unwrap().version == 1);
        assert!(large.after(&Change::End(Extra::Canary), None).unwrap() == route());
    }
}
