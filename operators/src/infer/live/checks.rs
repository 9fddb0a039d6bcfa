//! The checks of a rollout: what a version has to keep to, against the version that it is to replace.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::label_tally::LabelTally;
use super::tally::Part;

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
    /// Most by which its log loss may be above that of the baseline, where labels come.
    pub(super) log_loss: Option<f64>,
    /// Most by which its area under the ROC curve may be below that of the baseline, where labels come.
    pub(super) roc_auc: Option<f64>,
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
            log_loss: None,
            roc_auc: None,
        }
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

impl Checks {
    /// Checks the limits. Returns what is wrong with them.
    pub(super) fn check(&self) -> Result<(), String> {
        let Self { failure_share, latency_p99, score_psi, score_js, score_mean_shift, .. } = self;
        let limits = [failure_share, latency_p99, score_psi, score_js, score_mean_shift];
        let others = [&self.alert_share, &self.disagreement, &self.log_loss, &self.roc_auc];
        match limits.into_iter().chain(others).flatten().find(|limit| !(limit.is_finite() && **limit >= 0.0)) {
            Some(limit) => Err(format!("a limit of the checks is {limit}: it is a number from 0 on")),
            None => Ok(()),
        }
    }
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
fn compare(checks: &Checks, min_labels: u64, canary: &Part, baseline: &Part) -> Vec<Checked> {
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
    // With few labels nothing is known.
    let enough = [canary, baseline].iter().all(|part| part.labelled().records() >= min_labels);
    for (name, max, sign, measure) in [
        ("log_loss", checks.log_loss, 1.0, LabelTally::log_loss as fn(&LabelTally) -> Option<(f64, f64)>),
        ("roc_auc", checks.roc_auc, -1.0, LabelTally::roc_auc),
    ] {
        let both = measure(canary.labelled()).zip(measure(baseline.labelled())).filter(|_| enough);
        let chance = both.map_or(0.0, |((_, own), (_, other))| DEVIATIONS * (own + other).sqrt());
        add(name, both.map(|((own, _), (other, _))| sign * (own - other)), max, chance);
    }
    found
}

/// Returns the outcome of a window.
pub(super) fn outcome(checks: &Checks, min_records: u64, canary: &Part, baseline: &Part) -> (Outcome, Vec<Checked>) {
    let few = |part: &Part| part.records() < min_records;
    let checked = compare(checks, min_records, canary, baseline);
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
pub(super) fn of_shadow(checks: &Checks, min_records: u64, shadow: &Compared) -> Option<Vec<Checked>> {
    let Compared { scored, failed, disagreed } = *shadow;
    let all = scored + failed;
    if all < min_records {
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
    pub(super) fn add(&mut self, other: &Self) {
        self.scored += other.scored;
        self.failed += other.failed;
        self.disagreed += other.disagreed;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::infer::live::tally::made_up::{even, part};

    #[test]
    fn the_same_scores_pass_others_fail_and_few_are_inconclusive() {
        let checks = Checks::default();
        let of = |canary: &Part, baseline: &Part| outcome(&checks, 500, canary, baseline).0;
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
    fn labels_tell_a_worse_version_from_a_good_one_and_few_of_them_tell_nothing() {
        let checks = Checks { score_psi: None, log_loss: Some(0.0), roc_auc: Some(0.0), ..Checks::default() };
        // A tenth is positive; the scores of a good version are 0.9 and 0.1, and those of a bad one all the same.
        let of = |labels: u32, high: f64, low: f64| {
            let mut part = even(1_000, 0.0);
            (0..labels).for_each(|at| part.labelled_as(if at % 10 == 0 { high } else { low }, at % 10 == 0));
            part
        };
        let (good, bad) = (of(1_000, 0.9, 0.1), of(1_000, 0.2, 0.2));
        let outcome = |canary: &Part, baseline: &Part| outcome(&checks, 500, canary, baseline).0;
        assert_eq!(outcome(&good, &good), Outcome::Pass);
        assert_eq!(outcome(&good, &bad), Outcome::Pass, "a better one");
        let Outcome::Fail(reason) = outcome(&bad, &good) else { panic!("it is worse") };
        assert!(reason.starts_with("log_loss is 0.2"), "{reason}");
        assert_eq!(outcome(&of(499, 0.9, 0.1), &good), Outcome::Inconclusive);
        assert_eq!(outcome(&of(499, 0.2, 0.2), &good), Outcome::Inconclusive, "few labels");
        let by_area = Checks { log_loss: None, ..checks.clone() };
        let found = compare(&by_area, 1, &bad, &good);
        assert!(found.iter().any(|one| one.name == "roc_auc" && one.value == Some(0.5) && one.has_failed()));
    }

    #[test]
    fn shares_of_alerts_differ_by_chance_and_by_more() {
        let checks = Checks { alert_threshold: Some(0.5), ..Checks::default() };
        let alerts = |alerts: u32| part((0..500).map(|at| if at < alerts { 1.0 } else { 0.0 }));
        let failed = |own: u32, other: u32| {
            compare(&checks, 1, &alerts(own), &alerts(other))
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
        let of = |canary: u64, baseline: u64| outcome(&Checks::default(), 500, &taking(canary), &taking(baseline)).0;
        assert_eq!((of(2, 1), of(24, 20), of(20, 100)), (Outcome::Pass, Outcome::Pass, Outcome::Pass));
        let Outcome::Fail(reason) = of(30, 20) else { panic!("it is slower") };
        assert!(reason.starts_with("latency_p99 is 1.5"), "{reason}");
    }

    #[test]
    fn a_shadow_fails_by_the_records_that_it_does_not_score_and_by_those_it_sees_otherwise() {
        let checks = Checks { alert_threshold: Some(0.5), ..Checks::default() };
        let failed = |failed, disagreed| {
            let found = of_shadow(&checks, 1_000, &Compared { scored: 2_000 - failed, failed, disagreed }).unwrap();
            found.into_iter().find(Checked::has_failed).map(|one| one.name)
        };
        assert_eq!((failed(20, 40), failed(0, 60)), (None, None), "3 % of 2,000 may be 2 %");
        assert_eq!((failed(21, 0), failed(0, 80)), (Some("failure_share"), Some("disagreement")));
        let few = Compared { scored: 999, ..Compared::default() };
        assert_eq!(of_shadow(&checks, 1_000, &few), None);
        let blind = Checks::default();
        assert_eq!(
            of_shadow(&blind, 1_000, &Compared { scored: 1_000, ..few }).unwrap().len(),
            1,
            "no threshold, no alerts"
        );
    }
}
