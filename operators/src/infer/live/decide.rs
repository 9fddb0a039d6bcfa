//! The decisions of a rollout: what comes next, from what all processes have seen.

use std::sync::Arc;

use serde_json::json;
use tidemill_engine::{Decision, EventTime, threads};

use super::bucket;
use super::change::{Change, Extra};
use super::checks::{Checked, Compared, of_shadow};
use super::rollout::{Promotion, Report, Verdict};
use super::route::{Canary, Placed};
use super::state::{State, shown};

impl State {
    /// Returns what this process has seen, if there is a rollout: `seen` is the latest event time.
    pub(super) fn report(&self, seen: EventTime, mut shadow: Compared) -> Option<String> {
        self.rollout.as_ref()?;
        let [whole, step] = &self.tally;
        let canary = self.routes.last().and_then(|(_, route)| Some(route.canary.as_ref()?.version.index));
        shadow.add(&self.compared);
        let report = Report {
            since: self.step_since,
            parts: step.by_role(canary),
            seen_ms: seen.0,
            shadow,
            reached: canary.map_or((0, 0), |canary| whole.reached(canary)),
        };
        serde_json::to_string(&report).ok()
    }

    /// Decides on the next step of the rollout, from the last reports of all processes.
    pub(super) fn decide(&mut self, reports: &[String]) -> Option<Decision> {
        let reports =
            reports.iter().map(|report| serde_json::from_str(report)).collect::<Result<Vec<Report>, _>>().ok()?;
        let all = Report::of_all(&reports, self.step_since)?;
        let route = self.routes.last().map(|(_, route)| Arc::clone(route))?;
        let since = self.canary_since;
        let model = self.which(self.rollout.as_ref()?.version)?;
        let name = shown(&model);
        let running = self.rollout.as_mut().filter(|running| !running.suspended)?;
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
            let Compared { scored, failed, .. } = all.shadow;
            let length = running.windows.length(&all)?;
            let checked = of_shadow(&settings.checks, settings.shadow_records, &all.shadow)?;
            let shown = Checked::shown(&checked);
            let numbers = format!("as a shadow it has scored {scored} records and failed on {failed}; {shown}");
            let has_failed = checked.iter().any(Checked::has_failed);
            running.windows.checked = checked;
            if has_failed {
                (Change::End(Extra::Shadow), format!("{name} is given up: {numbers}"))
            } else if length < settings.shadow_interval {
                return None;
            } else {
                (canary(0)?, format!("{name} begins as a canary: {numbers}"))
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
