//! What was seen of a canary or a shadow, in a checkpoint: a restart goes on with the step that it interrupts.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidemill_engine::{EventTime, threads};

use super::checks::Compared;
use super::rollout::Windows;
use super::route::{Assigned, ModelRole};
use super::state::State;
use super::tally::Part;

/// What a process has seen.
#[derive(Serialize, Deserialize)]
struct Seen {
    /// The epoch from which on canary and shadow are as they are, and what was seen since.
    step_since: u64,
    step: BTreeMap<ModelRole, Part>,
    shadow: Compared,
    /// The epoch that the canary began with, and what was seen since.
    canary_from: u64,
    whole: BTreeMap<ModelRole, Part>,
    keys: u64,
    /// Seconds since the canary began.
    seconds: f64,
    /// The latest event time that was seen when the canary began.
    canary_after: Option<EventTime>,
    /// The window of the process that decides; it has begun nowhere else.
    windows: Option<Windows>,
}

impl State {
    /// Returns what this process has seen of the records up to `epoch`, if there is something to decide. It forgets which
    /// of it came earlier. `shadow` is what the shadow of this run has scored: of any epoch, since it is not in their way.
    pub(super) fn seen(&mut self, epoch: u64, mut shadow: Compared) -> Option<Vec<u8>> {
        self.later.iter_mut().for_each(|later| *later = later.split_off(&(epoch + 1)));
        let (_, route) = self.routes.last()?;
        if self.rollout.is_none() && route.canary.is_none() {
            return None;
        }
        let canary = route.canary.as_ref().map(|canary| canary.version.index);
        let [whole, step] = [0, 1].map(|at| {
            let mut roles = self.tally[at].by_role(canary);
            for (role, later) in self.later[at].values().flat_map(|later| later.by_role(canary)) {
                roles.entry(role).and_modify(|part| *part = part.without(&later));
            }
            roles
        });
        shadow.add(&self.compared);
        let windows = self.rollout.as_ref().map(|running| running.windows.clone());
        let seen = Seen {
            step_since: self.step_since,
            step,
            shadow,
            canary_from: self.canary_from,
            whole,
            keys: canary.map_or(0, |canary| self.tally[0].reached(canary).1),
            seconds: self.canary_since.map_or(0.0, |since| threads::since(since).as_secs_f64()),
            canary_after: self.canary_after,
            windows: windows.filter(Windows::has_begun),
        };
        serde_json::to_vec(&seen).ok()
    }

    /// Goes on from what each process of the restored run had seen. Counts are added up in the process that `leads`.
    pub(super) fn resume(&mut self, all: &[Vec<u8>], leads: bool) {
        for bytes in all {
            match serde_json::from_slice(bytes) {
                Ok(seen) => self.resume_one(seen, leads),
                Err(error) => {
                    tracing::warn!(%error, "what was seen of a canary cannot be read: its step begins anew");
                }
            }
        }
    }

    fn resume_one(&mut self, seen: Seen, leads: bool) {
        let Some((_, route)) = self.routes.last() else { return };
        let canary = route.canary.as_ref().map(|canary| canary.version.index);
        let Some((_, primary)) = route.primaries().last() else { return };
        let primary = primary.index;
        let place = |role| Some(Assigned { version: if role == ModelRole::Canary { canary? } else { primary }, role });
        if seen.canary_from == self.canary_from {
            self.canary_after = self.canary_after.max(seen.canary_after);
            if leads {
                let earlier = Duration::try_from_secs_f64(seen.seconds).unwrap_or_default();
                let began = threads::now().checked_sub(earlier);
                self.canary_since = self.canary_since.map(|since| began.map_or(since, |began| began.min(since)));
                for (role, part) in &seen.whole {
                    let keys = if *role == ModelRole::Canary { seen.keys } else { 0 };
                    place(*role).into_iter().for_each(|at| self.tally[0].add_earlier(at, part, keys));
                }
            }
        }
        if seen.step_since == self.step_since && leads {
            for (role, part) in &seen.step {
                place(*role).into_iter().for_each(|at| self.tally[1].add_earlier(at, part, 0));
            }
            self.compared.add(&seen.shadow);
            if let (Some(running), Some(windows)) = (&mut self.rollout, seen.windows) {
                running.windows = windows;
            }
        }
    }
}
