//! A rollout: a new version scores ever more keys, step by step, as long as its scores are like those of the version that it
//! is to replace.
//!
//! ```text
//! shadow ─▶ canary of 1 % ─▶ 5 % ─▶ 20 % ─▶ 50 % ─▶ promoted
//!   each step: windows of event time, in which the canary is compared with a baseline of as many keys
//!     pass ─▶ the next step  ·  fail, as often as failure_limit ─▶ rolled back  ·  too few records ─▶ it stays
//! ```
//! Decisions are made in one place, from what all processes have seen, and each is a change in the control log with the
//! numbers that it rests on. A replay follows the log, and does not decide anew.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::bucket::BUCKETS;
use super::checks::{Checked, Checks, Compared, Outcome, outcome};
use super::route::ModelRole;
use super::tally::Part;

/// How a version is rolled out. In the control log it is complete, with the defaults of the time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Rollout {
    /// Records that the shadow scores before the first step; 0 for no shadow.
    pub(super) shadow_records: u64,
    /// Least time of the shadow, in event time.
    #[serde(with = "humantime_serde")]
    pub(super) shadow_interval: Duration,
    /// The shares of the keys, 0 to 1, in ascending order. After the last one the version is promoted.
    pub(super) steps: Vec<f64>,
    /// Least length of a window, in event time.
    #[serde(with = "humantime_serde")]
    pub(super) interval: Duration,
    /// Least number of records of the canary and of the baseline in a window, and of those with labels if a check needs
    /// labels. With fewer it is inconclusive.
    pub(super) min_records: u64,
    /// Number of windows that fail until the version is rolled back.
    pub(super) failure_limit: u32,
    /// Number of inconclusive windows until the rollout says that it is held up. It goes on when there are records.
    pub(super) inconclusive_limit: u32,
    pub(super) promote: Promotion,
    /// Whether decisions are only shown, and not made.
    pub(super) dry_run: bool,
    pub(super) checks: Checks,
}

/// Who decides that the version replaces the primary one, after the last step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Promotion {
    Auto,
    Manual,
}

impl Default for Rollout {
    fn default() -> Self {
        Self {
            shadow_records: 1000,
            shadow_interval: Duration::from_secs(300),
            steps: vec![0.01, 0.05, 0.2, 0.5],
            interval: Duration::from_secs(60),
            min_records: 500,
            failure_limit: 1,
            inconclusive_limit: 10,
            promote: Promotion::Auto,
            dry_run: false,
            checks: Checks::default(),
        }
    }
}

impl Rollout {
    /// Checks the settings. Returns what is wrong with them.
    pub(super) fn check(&self) -> Result<(), String> {
        let share = |share: f64| share > 0.0 && share <= 0.5;
        if self.steps.is_empty() || !self.steps.iter().all(|step| share(*step)) {
            let why = "a baseline of as many keys has to be left";
            return Err(format!(
                "steps are {:?}: at least one share, each above 0 and at most 0.5, as {why}",
                self.steps
            ));
        }
        if !self.steps.is_sorted_by(|a, b| a < b) {
            return Err(format!("steps are {:?}: they have to grow", self.steps));
        }
        if self.min_records == 0 || self.failure_limit == 0 {
            return Err("min_records and failure_limit are at least 1".to_owned());
        }
        self.checks.check()
    }

    /// Returns the number of buckets of a step.
    pub(super) fn buckets(&self, step: usize) -> Option<u32> {
        self.steps.get(step).map(|share| (share * f64::from(BUCKETS)).round().max(1.0) as u32)
    }

    /// Returns the step whose share this is.
    pub(super) fn step_of(&self, buckets: u32) -> Option<usize> {
        (0..self.steps.len()).find(|step| self.buckets(*step) == Some(buckets))
    }
}

/// What a process has seen since the last change of the canary or the shadow.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Report {
    /// The epoch of that change.
    pub(super) since: u64,
    pub(super) parts: BTreeMap<ModelRole, Part>,
    /// Latest event time, in milliseconds since the Unix epoch.
    pub(super) seen_ms: i64,
    pub(super) shadow: Compared,
    /// Records and keys that the canary has reached since it began.
    pub(super) reached: (u64, u64),
}

impl Report {
    /// Adds up the reports of all processes about the same step; `None` while one is missing.
    pub(super) fn of_all(reports: &[Self], since: u64) -> Option<Self> {
        let mut all = Self { since, seen_ms: i64::MIN, ..Self::default() };
        for report in reports {
            if report.since != since {
                return None;
            }
            for (role, part) in &report.parts {
                all.parts.entry(*role).or_default().add(part, false);
            }
            all.seen_ms = all.seen_ms.max(report.seen_ms);
            all.shadow.add(&report.shadow);
            all.reached = (all.reached.0 + report.reached.0, all.reached.1 + report.reached.1);
        }
        Some(all)
    }

    pub(super) fn part(&self, role: ModelRole) -> Part {
        self.parts.get(&role).cloned().unwrap_or_default()
    }
}

/// A window of a step that is not over.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Windows {
    /// The step, by the epoch that it began with.
    pub(super) since: u64,
    /// What was seen when the window began.
    begun: Option<Report>,
    failed: u32,
    inconclusive: u32,
    /// The last comparison.
    #[serde(skip)]
    pub(super) checked: Vec<Checked>,
    /// What the last window came to.
    pub(super) said: Option<String>,
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Verdict {
    Wait,
    Next(String),
    RollBack(String),
}

impl Windows {
    pub(super) fn has_begun(&self) -> bool {
        self.begun.is_some()
    }

    /// Returns the length of the window in event time, which begins with the first record of a step; `all` is what was seen
    /// since the step began.
    pub(super) fn length(&mut self, all: &Report) -> Option<Duration> {
        if all.seen_ms == i64::MIN {
            // No record has come yet.
            return None;
        }
        if self.since != all.since || self.begun.is_none() {
            *self = Self {
                since: all.since,
                begun: Some(Report { parts: BTreeMap::new(), ..all.clone() }),
                ..Self::default()
            };
        }
        let began = self.begun.as_ref()?.seen_ms;
        Some(Duration::from_millis(u64::try_from(all.seen_ms.saturating_sub(began)).unwrap_or(0)))
    }

    /// Looks at a step: `all` is what was seen since it began.
    pub(super) fn look(&mut self, rollout: &Rollout, all: &Report) -> Verdict {
        let Some(length) = self.length(all) else { return Verdict::Wait };
        let Some(begun) = &self.begun else { return Verdict::Wait };
        let of_window = |role| all.part(role).without(&begun.part(role));
        let (canary, baseline) = (of_window(ModelRole::Canary), of_window(ModelRole::Baseline));
        let is_over = length >= rollout.interval;
        let (outcome, checked) = outcome(&rollout.checks, rollout.min_records, &canary, &baseline);
        let shown = Checked::shown(&checked);
        let numbers = format!("{} records against {}; {shown}", canary.records(), baseline.records());
        self.checked = checked;
        let verdict = match outcome {
            // A version that is bad is not kept until the window is over.
            Outcome::Fail(_) if self.failed + 1 >= rollout.failure_limit => Verdict::RollBack(numbers),
            _ if !is_over => return Verdict::Wait,
            Outcome::Fail(_) => {
                self.failed += 1;
                self.said = Some(format!("failed, {} of {}: {}", self.failed, rollout.failure_limit, numbers));
                Verdict::Wait
            }
            Outcome::Pass => Verdict::Next(numbers),
            Outcome::Inconclusive => {
                self.inconclusive += 1;
                let held = self.inconclusive >= rollout.inconclusive_limit;
                let text = format!("inconclusive, {} times: {numbers}", self.inconclusive);
                if held && self.inconclusive == rollout.inconclusive_limit {
                    tracing::warn!(text, "a rollout is held up: too few records");
                }
                self.said = Some(text);
                // The records of this window count in the next one.
                self.begun = Some(Report { seen_ms: all.seen_ms, ..begun.clone() });
                return Verdict::Wait;
            }
        };
        self.begun = Some(all.clone());
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::infer::live::tally::made_up::even;

    fn report(since: u64, seen_ms: i64, canary: Part, baseline: Part) -> Report {
        let parts = [(ModelRole::Canary, canary), (ModelRole::Baseline, baseline)].into();
        Report { since, parts, seen_ms, ..Report::default() }
    }

    #[test]
    fn a_step_passes_when_its_window_is_over_and_a_bad_version_does_not_wait_for_that() {
        let rollout = Rollout::default();
        let mut windows = Windows::default();
        assert_eq!(windows.look(&rollout, &report(5, 1_000, Part::default(), Part::default())), Verdict::Wait);
        let good = |seen| report(5, seen, even(1_000, 0.0), even(1_000, 0.0));
        assert_eq!(windows.look(&rollout, &good(50_000)), Verdict::Wait, "the window is not over");
        let Verdict::Next(numbers) = windows.look(&rollout, &good(61_000)) else { panic!("it passes") };
        assert!(numbers.starts_with("1000 records against 1000; failure_share is 0.0000, at most 0.01"), "{numbers}");
        let bad = report(9, 62_000, even(1_000, 0.5), even(1_000, 0.0));
        assert_eq!(windows.look(&rollout, &report(9, 61_500, Part::default(), Part::default())), Verdict::Wait);
        assert!(matches!(windows.look(&rollout, &bad), Verdict::RollBack(_)));
    }

    #[test]
    fn the_window_of_a_step_begins_with_its_first_record() {
        let mut windows = Windows::default();
        let mut length = |since, seen| windows.length(&report(since, seen, Part::default(), Part::default()));
        assert_eq!(length(5, i64::MIN), None);
        assert_eq!(length(5, 1_000), Some(Duration::ZERO));
        assert_eq!(length(5, 301_000), Some(Rollout::default().shadow_interval));
        assert_eq!(length(7, 302_000), Some(Duration::ZERO), "another step");
    }

    #[test]
    fn few_records_hold_a_step_and_count_until_there_are_enough() {
        let rollout = Rollout { inconclusive_limit: 2, ..Rollout::default() };
        let mut windows = Windows::default();
        let at = |seen, count| report(5, seen, even(count, 0.0), even(count, 0.0));
        assert_eq!(windows.look(&rollout, &at(0, 0)), Verdict::Wait);
        for round in 1..=3 {
            assert_eq!(windows.look(&rollout, &at(round * 60_000, round as u32 * 100)), Verdict::Wait);
            assert!(windows.said.as_ref().unwrap().starts_with(&format!("inconclusive, {round} times")));
        }
        assert!(matches!(windows.look(&rollout, &at(240_000, 600)), Verdict::Next(_)));
    }

    #[test]
    fn settings_that_cannot_work_are_refused() {
        assert_eq!(Rollout::default().check(), Ok(()));
        let with = |steps: &[f64]| Rollout { steps: steps.to_vec(), ..Rollout::default() }.check().unwrap_err();
        for (steps, why) in [(&[][..], "at least one"), (&[0.6], "at most 0.5"), (&[0.2, 0.1], "have to grow")] {
            assert!(with(steps).contains(why), "{steps:?}");
        }
        let none = Rollout { min_records: 0, ..Rollout::default() };
        assert!(none.check().unwrap_err().contains("at least 1"));
        let nan = Checks { score_psi: Some(f64::NAN), ..Checks::default() };
        assert!(Rollout { checks: nan, ..Rollout::default() }.check().unwrap_err().contains("from 0 on"));
        assert_eq!(Rollout::default().step_of(500), Some(1));
    }
}
