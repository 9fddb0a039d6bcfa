//! What the scores of each part of the traffic were, while there is a canary.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::label_tally::{LabelTally, add, later};
use super::route::{Assigned, ModelRole};
use crate::buckets::{bounds, bucket};

/// Largest number of keys that are counted one by one.
const KEYS: usize = 1_000_000;

/// What was seen of a part. All of it adds up, in any order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::infer) struct Part {
    records: u64,
    /// Records without a score of this version: by the fallback, with the default, or dead letters.
    failed: u64,
    sum: f64,
    sum_of_squares: f64,
    /// Number of scores by their upper bits. It does not depend on the order or the number of workers.
    scores: BTreeMap<u32, u64>,
    /// Number of records by the upper bits of the seconds that the run took in which they were scored.
    times: BTreeMap<u32, u64>,
    /// What labels said of records, which they do later.
    labelled: LabelTally,
    /// Hashes of the keys; only of a canary, and only in its own process.
    #[serde(skip)]
    keys: BTreeSet<u32>,
    /// Number of keys before a restart, of which some may have come again.
    #[serde(skip)]
    earlier_keys: u64,
}

impl Part {
    /// Notes a record with its score, and how long the run took. A score that is no number is not part of the mean.
    pub(super) fn scored_as(&mut self, score: Option<f64>, took: Duration) {
        self.records += 1;
        *self.times.entry(bucket(took.as_secs_f64())).or_default() += 1;
        if let Some(score) = score.filter(|score| score.is_finite()) {
            self.sum += score;
            self.sum_of_squares += score * score;
            *self.scores.entry(bucket(score)).or_default() += 1;
        }
    }

    /// Notes a record that was not scored.
    pub(super) fn failed_once(&mut self) {
        self.records += 1;
        self.failed += 1;
    }

    /// Notes what a label said of a record with a score.
    pub(super) fn labelled_as(&mut self, score: f64, truth: bool) {
        self.labelled.add(score, truth);
    }

    pub(super) fn records(&self) -> u64 {
        self.records
    }

    pub(super) fn labelled(&self) -> &LabelTally {
        &self.labelled
    }

    pub(super) fn keys(&self) -> u64 {
        self.earlier_keys + self.keys.len() as u64
    }

    pub(super) fn scored(&self) -> u64 {
        self.scores.values().sum()
    }

    pub(super) fn failure_share(&self) -> Option<f64> {
        (self.records > 0).then(|| self.failed as f64 / self.records as f64)
    }

    pub(super) fn mean(&self) -> Option<f64> {
        let scored = self.scored();
        (scored > 0).then(|| self.sum / scored as f64)
    }

    /// Returns the standard deviation of the scores.
    pub(super) fn deviation(&self) -> Option<f64> {
        let mean = self.mean()?;
        Some((self.sum_of_squares / self.scored() as f64 - mean * mean).max(0.0).sqrt())
    }

    /// Returns the share of scores above a threshold, as exactly as scores are counted: to one part in 256.
    pub(super) fn share_above(&self, threshold: f64) -> Option<f64> {
        let scored = self.scored();
        let above: u64 = self.scores.range(bucket(threshold) + 1..).map(|(_, count)| count).sum();
        (scored > 0).then(|| above as f64 / scored as f64)
    }

    /// Returns the time, in seconds, in which 99 % of the records that were scored were, to one part in 256.
    pub(super) fn latency_p99(&self) -> Option<f64> {
        let all: u64 = self.times.values().sum();
        let mut left = all - all / 100;
        let slowest = |(_, count): &(&u32, &u64)| {
            left = left.saturating_sub(**count);
            left == 0
        };
        self.times.iter().find(slowest).map(|(bits, _)| bounds(*bits).0)
    }

    /// Returns the scores from the smallest to the largest: their upper bits, and how many there are.
    pub(super) fn in_order(&self) -> impl Iterator<Item = (u32, u64)> {
        self.scores.iter().map(|(bits, count)| (*bits, *count))
    }

    /// Adds another part, with its keys or without.
    pub(super) fn add(&mut self, other: &Self, with_keys: bool) {
        self.records += other.records;
        self.failed += other.failed;
        self.sum += other.sum;
        self.sum_of_squares += other.sum_of_squares;
        for (own, other) in [(&mut self.scores, &other.scores), (&mut self.times, &other.times)] {
            add(own, other);
        }
        self.labelled.merge(&other.labelled);
        if with_keys {
            let room = KEYS.saturating_sub(self.keys.len());
            self.keys.extend(other.keys.iter().take(room));
            self.earlier_keys += other.earlier_keys;
        }
    }

    /// Returns what came after `earlier`, without the keys.
    pub(super) fn without(&self, earlier: &Self) -> Self {
        Self {
            records: self.records.saturating_sub(earlier.records),
            failed: self.failed.saturating_sub(earlier.failed),
            sum: self.sum - earlier.sum,
            sum_of_squares: self.sum_of_squares - earlier.sum_of_squares,
            scores: later(&self.scores, &earlier.scores),
            times: later(&self.times, &earlier.times),
            labelled: self.labelled.without(&earlier.labelled),
            keys: BTreeSet::new(),
            earlier_keys: 0,
        }
    }
}

/// What was seen, by version and part.
#[derive(Clone, Debug, Default)]
pub(in crate::infer) struct Tally {
    parts: BTreeMap<(usize, ModelRole), Part>,
}

/// What was seen of a version, for the page and the API.
#[derive(Serialize)]
struct Shown {
    role: ModelRole,
    model: String,
    records: u64,
    failed: u64,
    mean: Option<f64>,
    deviation: Option<f64>,
    /// Time of a run in which 99 % of the records were scored.
    latency_p99_ms: Option<f64>,
    /// Number of records whose label has come, and what they came to.
    labelled: u64,
    log_loss: Option<f64>,
    roc_auc: Option<f64>,
    /// Number of keys; only of a canary.
    #[serde(skip_serializing_if = "Option::is_none")]
    keys: Option<u64>,
}

impl Tally {
    pub(in crate::infer) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    fn part(&mut self, at: Assigned) -> &mut Part {
        self.parts.entry((at.version, at.role)).or_default()
    }

    /// Notes a score, and how long the run took.
    pub(in crate::infer) fn scored(&mut self, at: Assigned, score: Option<f64>, took: Duration) {
        self.part(at).scored_as(score, took);
    }

    /// Notes a record that the version did not score.
    pub(in crate::infer) fn failed(&mut self, at: Assigned) {
        self.part(at).failed_once();
    }

    /// Notes what a label said of a record.
    pub(super) fn labelled(&mut self, at: Assigned, score: f64, truth: bool) {
        self.part(at).labelled_as(score, truth);
    }

    /// Notes the key of a record.
    pub(in crate::infer) fn key(&mut self, at: Assigned, hash: u32) {
        self.part(at).keys.insert(hash);
    }

    /// Adds another tally, with its keys or without.
    pub(super) fn add(&mut self, other: &Self, with_keys: bool) {
        other.parts.iter().for_each(|(at, part)| self.parts.entry(*at).or_default().add(part, with_keys));
    }

    /// Adds what was seen before a restart.
    pub(super) fn add_earlier(&mut self, at: Assigned, part: &Part, keys: u64) {
        let own = self.part(at);
        own.add(part, false);
        own.earlier_keys += keys;
    }

    /// Returns the number of records and of keys that a canary has reached.
    pub(super) fn reached(&self, canary: usize) -> (u64, u64) {
        let part = self.parts.get(&(canary, ModelRole::Canary));
        part.map_or((0, 0), |part| (part.records(), part.keys()))
    }

    pub(in crate::infer) fn clear(&mut self) {
        self.parts.clear();
    }

    /// Returns what was seen by role, without keys: of `canary` and of no other one, whose last batches may have come since.
    pub(super) fn by_role(&self, canary: Option<usize>) -> BTreeMap<ModelRole, Part> {
        let mut roles: BTreeMap<ModelRole, Part> = BTreeMap::new();
        let is_other = |version: usize, role: ModelRole| role == ModelRole::Canary && Some(version) != canary;
        for ((_, role), part) in self.parts.iter().filter(|((version, role), _)| !is_other(*version, *role)) {
            roles.entry(*role).or_default().add(part, false);
        }
        roles
    }

    /// Returns what was seen of each part, with the names of the versions.
    pub(super) fn status(&self, name: impl Fn(usize) -> String) -> Value {
        let shown = self.parts.iter().map(|((version, role), part)| Shown {
            role: *role,
            model: name(*version),
            records: part.records,
            failed: part.failed,
            mean: part.mean(),
            deviation: part.deviation(),
            latency_p99_ms: part.latency_p99().map(|seconds| seconds * 1e3),
            labelled: part.labelled.records(),
            log_loss: part.labelled.log_loss().map(|(value, _)| value),
            roc_auc: part.labelled.roc_auc().map(|(value, _)| value),
            keys: (*role == ModelRole::Canary).then(|| part.keys()),
        });
        serde_json::to_value(shown.collect::<Vec<_>>()).unwrap_or_default()
    }
}

/// Parts with scores, for the tests of what is done with them.
#[cfg(test)]
pub(super) mod made_up {
    use super::*;

    pub(in crate::infer::live) fn part(scores: impl IntoIterator<Item = f64>) -> Part {
        let mut part = Part::default();
        scores.into_iter().for_each(|score| part.scored_as(Some(score), Duration::from_millis(2)));
        part
    }

    /// Even scores from 0 to 1, moved by `by`.
    pub(in crate::infer::live) fn even(count: u32, by: f64) -> Part {
        part((0..count).map(|at| f64::from(at) / f64::from(count) + by))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_add_up_and_what_is_no_number_counts_as_a_record_only() {
        let canary = Assigned { version: 1, role: ModelRole::Canary };
        let (mut whole, mut batch) = (Tally::default(), Tally::default());
        for (key, score) in [(7, 0.25), (8, 0.75), (7, f64::NAN)] {
            batch.scored(canary, Some(score), Duration::ZERO);
            batch.key(canary, key);
        }
        batch.failed(canary);
        whole.add(&batch, true);
        let first = whole.by_role(Some(1))[&ModelRole::Canary].clone();
        batch.clear();
        batch.scored(canary, Some(0.5), Duration::ZERO);
        whole.add(&batch, true);
        assert!(whole.by_role(Some(2)).is_empty(), "another one is the canary now");
        let part = &whole.by_role(Some(1))[&ModelRole::Canary];
        assert_eq!((whole.reached(1), part.keys(), part.mean()), ((5, 2), 0, Some(0.5)));
        assert_eq!((part.failure_share(), part.share_above(0.5)), (Some(0.2), Some(1.0 / 3.0)));
        assert_eq!(part.without(&first), batch.by_role(Some(1))[&ModelRole::Canary]);
        assert_eq!(whole.status(|version| format!("v{version}"))[0]["model"], "v1");
    }

    #[test]
    fn scores_are_counted_in_their_order() {
        let mut part = Part::default();
        let scores = [-2.0, -1.0, -0.0, 0.0, 1e-300, 0.25, 1.0, 3e9];
        scores.iter().for_each(|score| part.scored_as(Some(*score), Duration::ZERO));
        assert!(scores.windows(2).all(|pair| bucket(pair[0]) <= bucket(pair[1])));
        assert_eq!(part.in_order().map(|(_, count)| count).sum::<u64>(), 8);
        assert!(bucket(1.0) < bucket(1.004) && bucket(1.0) == bucket(1.003));
    }

    #[test]
    fn the_time_of_99_of_100_records_is_that_of_their_runs() {
        let mut part = Part::default();
        assert_eq!(part.latency_p99(), None);
        let took = |part: &mut Part, ms: u64, count: u32| {
            (0..count).for_each(|_| part.scored_as(None, Duration::from_millis(ms)));
        };
        took(&mut part, 8, 990);
        let first = part.clone();
        took(&mut part, 64, 10);
        let near = |found: Option<f64>, wanted: f64| (found.unwrap() / wanted - 1.0).abs() < 1.0 / 256.0;
        assert!(near(part.latency_p99(), 0.008), "{:?}", part.latency_p99());
        took(&mut part, 64, 1);
        assert!(near(part.latency_p99(), 0.064) && near(part.without(&first).latency_p99(), 0.064));
        assert_eq!(part.without(&first).records(), 11);
    }
}
