//! Which version scores a record, from an epoch on: a function of its event time and of the bucket of its key.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidemill_engine::EventTime;

use crate::infer::backend::ModelInfo;
use crate::infer::models::Models;
use crate::infer::takes::Takes;

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
    pub(in crate::infer) takes: Arc<Takes>,
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
    pub(in crate::infer::live) switches: Vec<EventTime>,
    pub(in crate::infer::live) versions: Vec<Placed>,
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
            takes: Arc::new(Takes::of(&**model)),
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

    /// Returns what a version takes.
    pub(in crate::infer) fn takes(&self, version: usize) -> Option<&Arc<Takes>> {
        self.all().find(|placed| placed.index == version).map(|placed| &placed.takes)
    }

    /// Returns the name of a version.
    pub(in crate::infer) fn info(&self, version: usize) -> Option<&Arc<ModelInfo>> {
        self.all().find(|placed| placed.index == version).map(|placed| &placed.info)
    }
}
