//! Which version scores a record, from an epoch on: a function of its event time and of the bucket of its key.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidemill_engine::EventTime;

use super::change::{Change, Extra};
use crate::infer::backend::ModelInfo;
use crate::infer::models::Models;

/// The part that a version has in scoring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ModelRole {
    /// The version for all records that no other part has.
    #[default]
    Primary,
    /// A version that is tried on a share of the keys.
    Canary,
    /// The primary version on as many other keys as the canary has, to compare like with like.
    Baseline,
}

/// A version in a route: its index among all versions of the operator, and what its scores are named after.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::infer) struct Placed {
    pub(in crate::infer) index: usize,
    pub(in crate::infer) info: Arc<ModelInfo>,
}

/// The version that is tried on a share of the keys.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::infer) struct Canary {
    pub(in crate::infer) version: Placed,
    pub(in crate::infer) buckets: u32,
    pub(in crate::infer) seed: Arc<str>,
}

/// The version whose scores are only compared.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::infer) struct Shadow {
    pub(in crate::infer) version: Placed,
    pub(in crate::infer) buckets: u32,
}

/// Which version scores which record.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::infer) struct Route {
    /// The event time at which each version but the first takes over, in ascending order.
    switches: Vec<EventTime>,
    versions: Vec<Placed>,
    pub(in crate::infer) canary: Option<Canary>,
    pub(in crate::infer) shadow: Option<Shadow>,
}

/// The version of a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::infer) struct Assigned {
    /// The index of the version.
    pub(in crate::infer) version: usize,
    pub(in crate::infer) role: ModelRole,
}

impl Route {
    /// Returns the route of a program that was not changed: its versions take turns in event time.
    pub(in crate::infer) fn of(models: &Models) -> Self {
        let placed = |(index, model): (usize, &Arc<dyn crate::infer::backend::ModelSource>)| Placed {
            index,
            info: Arc::new(model.info().clone()),
        };
        Self {
            switches: models.switches().to_vec(),
            versions: models.versions().enumerate().map(placed).collect(),
            canary: None,
            shadow: None,
        }
    }

    /// Returns the version of all records, if it is the same for all.
    #[inline]
    pub(in crate::infer) fn only(&self) -> Option<Assigned> {
        let is_only = self.switches.is_empty() && self.canary.is_none();
        let only = self.versions.first().filter(|_| is_only);
        only.map(|version| Assigned { version: version.index, role: ModelRole::Primary })
    }

    /// Returns the version of a record. `bucket` is called if there is a canary, with its seed.
    #[inline]
    pub(in crate::infer) fn assign(&self, at: EventTime, bucket: impl FnOnce(&str) -> u32) -> Assigned {
        let mut role = ModelRole::Primary;
        if let Some(Canary { version, buckets, seed }) = &self.canary {
            let bucket = bucket(seed);
            if bucket < *buckets {
                return Assigned { version: version.index, role: ModelRole::Canary };
            }
            if bucket < buckets.saturating_mul(2) {
                role = ModelRole::Baseline;
            }
        }
        Assigned { version: self.primary_at(at).map_or(0, |placed| placed.index), role }
    }

    fn primary_at(&self, at: EventTime) -> Option<&Placed> {
        self.versions.get(self.switches.partition_point(|from| *from <= at))
    }

    /// Returns the primary version, if it is the same for all event times.
    pub(in crate::infer) fn only_primary(&self) -> Option<&Placed> {
        self.versions.first().filter(|_| self.switches.is_empty())
    }

    /// Returns the same route, in which versions are placed as `placed` says.
    pub(in crate::infer::live) fn renamed(&self, placed: impl Fn(usize) -> Option<Placed>) -> Self {
        let mut route = self.clone();
        let canary = route.canary.iter_mut().map(|canary| &mut canary.version);
        let shadow = route.shadow.iter_mut().map(|shadow| &mut shadow.version);
        for version in route.versions.iter_mut().chain(canary).chain(shadow) {
            if let Some(placed) = placed(version.index) {
                *version = placed;
            }
        }
        route
    }

    /// Returns the primary versions in the order of event time, each with the time at which it takes over.
    pub(in crate::infer) fn primaries(&self) -> impl Iterator<Item = (Option<EventTime>, &Placed)> {
        std::iter::once(None).chain(self.switches.iter().copied().map(Some)).zip(&self.versions)
    }

    /// Returns all versions.
    pub(in crate::infer) fn all(&self) -> impl Iterator<Item = &Placed> {
        let canary = self.canary.iter().map(|canary| &canary.version);
        self.versions.iter().chain(canary).chain(self.shadow.iter().map(|shadow| &shadow.version))
    }

    /// Returns the name of a version.
    pub(in crate::infer) fn info(&self, version: usize) -> Option<&Arc<ModelInfo>> {
        self.all().find(|placed| placed.index == version).map(|placed| &placed.info)
    }

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
    use crate::infer::live::change::Which;

    fn placed(index: usize) -> Placed {
        Placed { index, info: Arc::new(ModelInfo::new(format!("v{index}"), "0")) }
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
