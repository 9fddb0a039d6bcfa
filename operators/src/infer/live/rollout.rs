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
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::bucket::BUCKETS;
use super::route::ModelRole;
use super::tally::Part;

/// How a version is rolled out. In the control log it is complete, with the defaults of the time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Rollout {
    /// Records that the shadow scores before the first step; 0 for no shadow.
    pub(super) shadow_records: u64,
    /// The shares of the keys, 0 to 1, in ascending order. After the last one the version is promoted.
    pub(super) steps: Vec<f64>,
    /// Least length of a window, in event time.
    #[serde(with = "humantime_serde")]
    pub(super) interval: Duration,
    /// Least number of records of the canary and of the baseline in a window. With fewer it is inconclusive.
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

/// What a version has to keep to; what is absent is not checked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Checks {
    /// Largest share of records that the version does not score.
    pub(super) failure_share: Option<f64>,
    /// Largest quotient of the times of runs in which 99 % of the records were scored, the version's by the baseline's.
    pub(super) latency_p99: Option<f64>,
    /// Largest population stability index of its scores against those of the baseline, in tenths of the baseline.
    pub(super) score_psi: Option<f64>,
    /// Largest Jensen–Shannon distance of its scores to those of the baseline, in the same bins: from 0 to 0.8326.
    pub(super) score_js: Option<f64>,
    /// Largest difference of the means, in standard deviations of the baseline.
    pub(super) score_mean_shift: Option<f64>,
    /// A score above this is an alert.
    pub(super) alert_threshold: Option<f64>,
    /// Largest difference between the shares of alerts; with `alert_threshold`.
    pub(super) alert_share: Option<f64>,
    /// Largest share of records for which only one of shadow and primary version raises an alert; with `alert_threshold`.
    pub(super) disagreement: Option<f64>,
}

impl Default for Rollout {
    fn default() -> Self {
        Self {
            shadow_records: 1000,
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

impl Default for Checks {
    fn default() -> Self {
        Self {
            failure_share: Some(0.01),
            latency_p99: Some(1.25),
            score_psi: Some(0.2),
            score_js: None,
            score_mean_shift: None,
            alert_threshold: None,
            alert_share: Some(0.02),
            disagreement: Some(0.02),
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
        let Checks { failure_share, latency_p99, score_psi, score_js, score_mean_shift, .. } = &self.checks;
        let limits = [failure_share, latency_p99, score_psi, score_js, score_mean_shift];
        let of_alerts = [&self.checks.alert_share, &self.checks.disagreement];
        match limits.into_iter().chain(of_alerts).flatten().find(|limit| !(limit.is_finite() && **limit >= 0.0)) {
            Some(limit) => Err(format!("a limit of the checks is {limit}: it is a number from 0 on")),
            None => Ok(()),
        }
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

/// What was found in a window.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Outcome {
    Pass,
    Fail(String),
    /// Too few records.
    Inconclusive,
}

/// The value of a check, with its limit. Without a value, as that of scores that are no numbers, nothing is known.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Checked {
    pub(super) name: &'static str,
    pub(super) value: Option<f64>,
    pub(super) max: f64,
    /// How far above the limit a value may be by chance.
    #[serde(skip)]
    chance: f64,
}

impl Checked {
    /// Returns a check, if there is a limit.
    fn of(name: &'static str, value: Option<f64>, max: Option<f64>, chance: f64) -> Option<Self> {
        max.map(|max| Self { name, value, max, chance })
    }

    /// Shows checks for people to read.
    pub(super) fn shown(all: &[Self]) -> String {
        all.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }

    pub(super) fn has_failed(&self) -> bool {
        self.value.is_some_and(|value| value > self.max + self.chance)
    }
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, value, max, .. } = self;
        match value {
            Some(value) => write!(f, "{name} is {value:.4}, at most {max}"),
            None => write!(f, "{name} is not known, at most {max}"),
        }
    }
}

/// Compares a canary with its baseline.
pub(super) fn compare(checks: &Checks, canary: &Part, baseline: &Part) -> Vec<Checked> {
    let mut found = Vec::new();
    let mut add = |name, value, max, chance| found.extend(Checked::of(name, value, max, chance));
    add("failure_share", canary.failure_share(), checks.failure_share, 0.0);
    add("latency_p99", slower(baseline, canary), checks.latency_p99, 0.0);
    let bins = bins(baseline, canary);
    add("score_psi", bins.as_deref().map(psi), checks.score_psi, 0.0);
    add("score_js", bins.as_deref().map(jensen_shannon), checks.score_js, 0.0);
    let shift = || {
        let difference = (canary.mean()? - baseline.mean()?).abs();
        // Of scores that are all the same, any difference is one.
        Some(if difference == 0.0 { 0.0 } else { difference / baseline.deviation()? })
    };
    add("score_mean_shift", shift(), checks.score_mean_shift, 0.0);
    if let Some(threshold) = checks.alert_threshold {
        let shares = || Some((canary.share_above(threshold)?, baseline.share_above(threshold)?));
        let (difference, chance) = match shares() {
            Some((own, other)) => {
                let (count, others) = (canary.scored() as f64, baseline.scored() as f64);
                let all = (own * count + other * others) / (count + others);
                (Some((own - other).abs()), by_chance(all, 1.0 / count + 1.0 / others))
            }
            None => (None, 0.0),
        };
        add("alert_share", difference, checks.alert_share, chance);
    }
    found
}

/// Returns the outcome of a window.
pub(super) fn outcome(rollout: &Rollout, canary: &Part, baseline: &Part) -> (Outcome, Vec<Checked>) {
    let few = |part: &Part| part.records() < rollout.min_records;
    let checked = compare(&rollout.checks, canary, baseline);
    // A version that fails to score needs no baseline to be bad.
    let (canary_is_few, baseline_is_few) = (few(canary), few(baseline));
    if canary_is_few {
        return (Outcome::Inconclusive, checked);
    }
    let failed = |one: &&Checked| one.has_failed() && (!baseline_is_few || one.name == "failure_share");
    match checked.iter().find(failed) {
        Some(failed) => (Outcome::Fail(failed.to_string()), checked),
        None if baseline_is_few || checked.iter().any(|one| one.value.is_none()) => (Outcome::Inconclusive, checked),
        None => (Outcome::Pass, checked),
    }
}

/// Checks what a shadow has done: `None` while it has scored too few records.
pub(super) fn of_shadow(rollout: &Rollout, shadow: &Compared) -> Option<Vec<Checked>> {
    let Compared { scored, failed, disagreed } = *shadow;
    let (all, checks) = (scored + failed, &rollout.checks);
    if all < rollout.shadow_records {
        return None;
    }
    let share = |part: u64, of: u64| (of > 0).then(|| part as f64 / of as f64);
    let mut found = Vec::new();
    let mut add = |name, value, max, chance| found.extend(Checked::of(name, value, max, chance));
    add("failure_share", share(failed, all), checks.failure_share, 0.0);
    if checks.alert_threshold.is_some() {
        let value = share(disagreed, scored);
        let chance = value.map_or(0.0, |value| by_chance(value, 1.0 / scored as f64));
        add("disagreement", value, checks.disagreement, chance);
    }
    Some(found)
}

/// Returns by how much a share may be off by chance; `per` is 1 divided by the number of records, added up over both sides.
fn by_chance(share: f64, per: f64) -> f64 {
    DEVIATIONS * (share * (1.0 - share) * per).sqrt()
}

/// Number of standard errors by which shares of alerts may differ by chance: they are looked at many times.
const DEVIATIONS: f64 = 4.0;
/// Number of bins.
const BINS: u64 = 10;

/// Difference of two times, in seconds, that is too small to matter: less than a system's own unrest.
const UNREST: f64 = 5e-3;

/// Returns the quotient of the times in which 99 % of the records were scored, or 1 where they differ by nothing that matters.
fn slower(reference: &Part, other: &Part) -> Option<f64> {
    let (before, now) = (reference.latency_p99()?, other.latency_p99()?);
    let quotient = now / before.max(f64::MIN_POSITIVE);
    Some(if now - before < UNREST { quotient.min(1.0) } else { quotient })
}

/// Returns the shares of the scores of two parts in bins that each have a tenth of the scores of `reference`, as far as
/// scores differ. A bin without scores counts as one with half a score.
fn bins(reference: &Part, other: &Part) -> Option<Vec<(f64, f64)>> {
    let (all, others) = (reference.scored(), other.scored());
    if all == 0 || others == 0 {
        return None;
    }
    let mut rest = other.in_order().peekable();
    let (mut bins, mut bin, mut before) = (Vec::new(), (0, 0), 0);
    for (order, count) in reference.in_order() {
        while let Some((_, count)) = rest.next_if(|(at, _)| *at <= order) {
            bin.1 += count;
        }
        bin.0 += count;
        if (before + bin.0) * BINS >= (before * BINS / all + 1) * all {
            before += bin.0;
            bins.push(std::mem::take(&mut bin));
        }
    }
    // What is above the largest score of the reference is a bin of its own, so that new scores show.
    let above: u64 = rest.map(|(_, count)| count).sum();
    if above > 0 {
        bins.push((0, above));
    }
    let share = |count: u64, all: u64| (count as f64).max(0.5) / all as f64;
    Some(bins.iter().map(|(p, q)| (share(*p, all), share(*q, others))).collect())
}

/// Returns the population stability index: Σ (p − q) ln (p / q).
fn psi(bins: &[(f64, f64)]) -> f64 {
    bins.iter().map(|(p, q)| (p - q) * (p / q).ln()).sum()
}

/// Returns the Jensen–Shannon distance with the natural logarithm: √((KL(p‖m) + KL(q‖m)) / 2), m = (p + q) / 2.
fn jensen_shannon(bins: &[(f64, f64)]) -> f64 {
    let divergence = |(p, q): &(f64, f64)| {
        let middle = f64::midpoint(*p, *q);
        p * (p / middle).ln() + q * (q / middle).ln()
    };
    (bins.iter().map(divergence).sum::<f64>() / 2.0).max(0.0).sqrt()
}

/// What came out of the comparison with a shadow, in numbers of records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Compared {
    /// Those that both have scored.
    pub(super) scored: u64,
    pub(super) failed: u64,
    /// Those for which only one of them raises an alert.
    pub(super) disagreed: u64,
}

impl Compared {
    fn add(&mut self, other: &Self) {
        self.scored += other.scored;
        self.failed += other.failed;
        self.disagreed += other.disagreed;
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
#[derive(Clone, Debug, Default)]
pub(super) struct Windows {
    /// The step, by the epoch that it began with.
    pub(super) since: u64,
    /// What was seen when the window began.
    begun: Option<Report>,
    failed: u32,
    inconclusive: u32,
    /// The last comparison.
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
    /// Looks at a step: `all` is what was seen since it began.
    pub(super) fn look(&mut self, rollout: &Rollout, all: &Report) -> Verdict {
        if all.seen_ms == i64::MIN {
            // No record has come yet.
            return Verdict::Wait;
        }
        if self.since != all.since || self.begun.is_none() {
            *self = Self {
                since: all.since,
                begun: Some(Report { parts: BTreeMap::new(), ..all.clone() }),
                ..Self::default()
            };
        }
        let Some(begun) = &self.begun else { return Verdict::Wait };
        let of_window = |role| all.part(role).without(&begun.part(role));
        let (canary, baseline) = (of_window(ModelRole::Canary), of_window(ModelRole::Baseline));
        let length = u64::try_from(all.seen_ms.saturating_sub(begun.seen_ms)).unwrap_or(0);
        let is_over = u128::from(length) >= rollout.interval.as_millis();
        let (outcome, checked) = outcome(rollout, &canary, &baseline);
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

    fn part(scores: impl IntoIterator<Item = f64>) -> Part {
        let mut part = Part::default();
        scores.into_iter().for_each(|score| part.scored_as(Some(score), Duration::from_millis(2)));
        part
    }

    /// Even scores from 0 to 1, moved by `by`.
    fn even(count: u32, by: f64) -> Part {
        part((0..count).map(|at| f64::from(at) / f64::from(count) + by))
    }

    fn report(since: u64, seen_ms: i64, canary: Part, baseline: Part) -> Report {
        let parts = [(ModelRole::Canary, canary), (ModelRole::Baseline, baseline)].into();
        Report { since, parts, seen_ms, ..Report::default() }
    }

    #[test]
    fn the_same_scores_pass_others_fail_and_few_are_inconclusive() {
        let rollout = Rollout::default();
        let of = |canary: &Part, baseline: &Part| outcome(&rollout, canary, baseline).0;
        assert_eq!(of(&even(2_000, 0.0), &even(1_900, 0.0)), Outcome::Pass);
        assert_eq!(of(&even(400, 0.0), &even(2_000, 0.0)), Outcome::Inconclusive);
        assert_eq!(of(&even(2_000, 0.0), &even(400, 0.0)), Outcome::Inconclusive);
        let Outcome::Fail(reason) = of(&even(2_000, 0.4), &even(2_000, 0.0)) else { panic!("it is worse") };
        assert!(reason.starts_with("score_psi is"), "{reason}");
        let mut failing = even(2_000, 0.0);
        (0..30).for_each(|_| failing.failed_once());
        let unknown = part((0..1_000).map(|_| f64::NAN));
        assert_eq!(of(&unknown, &even(2_000, 0.0)), Outcome::Inconclusive, "nothing is known of its scores");
        let Outcome::Fail(reason) = of(&failing, &even(10, 0.0)) else { panic!("it fails") };
        assert!(reason.starts_with("failure_share is 0.0148"), "{reason}");
    }

    /// Computed by hand: ten equal bins of 0 to 1 against scores that are all in the upper half, a fifth in each bin.
    #[test]
    fn the_index_is_that_of_tenths() {
        let index = |other: &Part| psi(&bins(&even(10_000, 0.0), other).unwrap());
        let upper = part((0..10_000).map(|at| 0.5 + f64::from(at) / 20_000.0));
        let found = index(&upper);
        // The empty bins count as half a score each.
        let wanted = 5.0 * (0.1 - 0.2) * 0.5_f64.ln() + 5.0 * (0.1 - 0.5e-4) * (0.1_f64 / 0.5e-4).ln();
        assert!((found - wanted).abs() < 0.05 * wanted, "{found}, {wanted}");
        assert!(index(&even(10_000, 0.0)) < 1e-3);
        assert_eq!(bins(&Part::default(), &even(10, 0.0)), None);
        // Half of the one lies where all of the other does: KL(p‖m) = ½ ln 2 + ½ ln ⅔, KL(q‖m) = ln 4/3.
        let wanted = ((0.5 * 2.0_f64.ln() + 0.5 * (2.0_f64 / 3.0).ln() + (4.0_f64 / 3.0).ln()) / 2.0).sqrt();
        let found = jensen_shannon(&bins(&even(10_000, 0.0), &upper).unwrap());
        assert!((found - wanted).abs() < 0.01, "{found}, {wanted}");
        assert!(jensen_shannon(&[(1.0, 0.5e-9), (0.5e-9, 1.0)]) < 2.0_f64.ln().sqrt());
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
    fn shares_of_alerts_differ_by_chance_and_by_more() {
        let checks = Checks { alert_threshold: Some(0.5), ..Checks::default() };
        let alerts = |alerts: u32| part((0..500).map(|at| if at < alerts { 1.0 } else { 0.0 }));
        let failed = |own: u32, other: u32| {
            compare(&checks, &alerts(own), &alerts(other))
                .iter()
                .any(|one| one.name == "alert_share" && one.has_failed())
        };
        assert!(!failed(25, 38), "2.6 % more of 500 is chance");
        assert!(failed(25, 80) && failed(80, 25));
    }

    #[test]
    fn a_version_that_is_slower_fails_unless_the_difference_is_nothing() {
        let taking = |ms: u64| {
            let mut part = Part::default();
            (0..1_000).for_each(|at| part.scored_as(Some(f64::from(at)), Duration::from_millis(ms)));
            part
        };
        let of = |canary: u64, baseline: u64| outcome(&Rollout::default(), &taking(canary), &taking(baseline)).0;
        assert_eq!((of(2, 1), of(24, 20), of(20, 100)), (Outcome::Pass, Outcome::Pass, Outcome::Pass));
        let Outcome::Fail(reason) = of(30, 20) else { panic!("it is slower") };
        assert!(reason.starts_with("latency_p99 is 1.5"), "{reason}");
    }

    #[test]
    fn a_shadow_fails_by_the_records_that_it_does_not_score_and_by_those_it_sees_otherwise() {
        let checks = Checks { alert_threshold: Some(0.5), ..Checks::default() };
        let rollout = Rollout { checks, ..Rollout::default() };
        let failed = |failed, disagreed| {
            let found = of_shadow(&rollout, &Compared { scored: 2_000 - failed, failed, disagreed }).unwrap();
            found.into_iter().find(Checked::has_failed).map(|one| one.name)
        };
        assert_eq!((failed(20, 40), failed(0, 60)), (None, None), "3 % of 2,000 may be 2 %");
        assert_eq!((failed(21, 0), failed(0, 80)), (Some("failure_share"), Some("disagreement")));
        let few = Compared { scored: 999, ..Compared::default() };
        assert_eq!(of_shadow(&rollout, &few), None);
        let blind = Rollout::default();
        assert_eq!(of_shadow(&blind, &Compared { scored: 1_000, ..few }).unwrap().len(), 1, "no threshold, no alerts");
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
