//! What is asked for becomes a change that means the same at any time.

use std::sync::Arc;

use serde_json::Value;
use tidemill_engine::locks::lock;
use tidemill_engine::with_causes;

use super::Live;
use super::change::{Change, Extra, Which, Wish, buckets};
use super::route::Placed;
use crate::infer::wanted::ModelRef;

impl Live {
    /// Finds out what a wish means now.
    pub(super) fn find_out(&self, change: &Value) -> Result<Value, String> {
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
                Change::Rollout { model: self.find(&model)?, settings: Box::new(settings) }
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

    /// Resolves a reference with the source.
    fn find(&self, wanted: &ModelRef) -> Result<Which, String> {
        self.fixed.source.resolve(wanted).map(Which::Version).map_err(|error| with_causes(&error))
    }
}
