//! What labels say of the scores of a part, for the rollout.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::buckets::{bounds, bucket};
use crate::ranked::{Ranked, log_loss, spread};

/// Returns what of `all` was not there `earlier`.
pub(super) fn later(all: &BTreeMap<u32, u64>, earlier: &BTreeMap<u32, u64>) -> BTreeMap<u32, u64> {
    let count = |(bits, count): (&u32, &u64)| (*bits, count.saturating_sub(earlier.get(bits).copied().unwrap_or(0)));
    all.iter().map(count).filter(|(_, count)| *count > 0).collect()
}

/// Adds counts.
pub(super) fn add(own: &mut BTreeMap<u32, u64>, other: &BTreeMap<u32, u64>) {
    other.iter().for_each(|(bits, count)| *own.entry(*bits).or_default() += count);
}

/// Scores of records whose label has come. All of it adds up, in any order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::infer) struct LabelTally {
    /// Number of scores of positive and of negative records by their upper bits.
    positives: BTreeMap<u32, u64>,
    negatives: BTreeMap<u32, u64>,
    losses: f64,
    squares_of_losses: f64,
}

impl LabelTally {
    pub(super) fn add(&mut self, score: f64, truth: bool) {
        let scores = if truth { &mut self.positives } else { &mut self.negatives };
        *scores.entry(bucket(spread(score))).or_default() += 1;
        let loss = log_loss(score, truth);
        self.losses += loss;
        self.squares_of_losses += loss * loss;
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (own, other) in [(&mut self.positives, &other.positives), (&mut self.negatives, &other.negatives)] {
            add(own, other);
        }
        self.losses += other.losses;
        self.squares_of_losses += other.squares_of_losses;
    }

    pub(super) fn without(&self, earlier: &Self) -> Self {
        Self {
            positives: later(&self.positives, &earlier.positives),
            negatives: later(&self.negatives, &earlier.negatives),
            losses: self.losses - earlier.losses,
            squares_of_losses: self.squares_of_losses - earlier.squares_of_losses,
        }
    }

    fn counts(&self) -> (u64, u64) {
        (self.positives.values().sum(), self.negatives.values().sum())
    }

    pub(super) fn records(&self) -> u64 {
        let (positives, negatives) = self.counts();
        positives + negatives
    }

    /// Returns the mean loss of a record, and the square of its standard error.
    pub(super) fn log_loss(&self) -> Option<(f64, f64)> {
        let records = self.records() as f64;
        let mean = self.losses / records;
        let variance = (self.squares_of_losses / records - mean * mean).max(0.0);
        (records > 0.0).then_some((mean, variance / records))
    }

    /// Returns the area under the ROC curve, and the square of its standard error (Hanley and McNeil, Radiology 143, 1982).
    pub(super) fn roc_auc(&self) -> Option<(f64, f64)> {
        let points = |scores: &BTreeMap<u32, u64>| {
            scores.iter().map(|(bits, count)| (bounds(*bits).0, *count)).collect::<Vec<_>>()
        };
        let area = Ranked::of(&points(&self.positives), &points(&self.negatives)).roc_auc()?;
        let (positives, negatives) = self.counts();
        let (p, n) = (positives as f64, negatives as f64);
        let (of_positives, of_negatives) = (area / (2.0 - area), 2.0 * area * area / (1.0 + area));
        let square = area * area;
        let spread = area * (1.0 - area) + (p - 1.0) * (of_positives - square) + (n - 1.0) * (of_negatives - square);
        Some((area, spread.max(0.0) / (p * n)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_add_up_and_what_came_earlier_is_taken_away() {
        let of = |records: &[(f64, bool)]| {
            let mut labelled = LabelTally::default();
            records.iter().for_each(|(score, truth)| labelled.add(*score, *truth));
            labelled
        };
        let (first, second) = (of(&[(0.75, true), (0.25, false)]), of(&[(0.5, true), (0.5, false)]));
        let mut all = first.clone();
        all.merge(&second);
        assert_eq!((all.records(), all.roc_auc().map(|(area, _)| area)), (4, Some(0.875)));
        assert_eq!(all.without(&first).roc_auc().map(|(area, _)| area), Some(0.5));
        let (loss, error) = all.log_loss().unwrap();
        let [near, far] = [-0.75_f64.ln(), -0.5_f64.ln()];
        assert!((loss - f64::midpoint(near, far)).abs() < 1e-15);
        let deviation = (far - near) / 2.0;
        assert!((error - deviation * deviation / 4.0).abs() < 1e-15);
        assert_eq!((LabelTally::default().log_loss(), of(&[(0.5, true)]).roc_auc()), (None, None));
    }

    #[test]
    fn scores_of_a_confident_model_are_told_apart() {
        let mut labelled = LabelTally::default();
        for at in 0..100 {
            let at = f64::from(at);
            labelled.add(0.9999 + at * 1e-7, true);
            labelled.add(0.9982 + at * 1e-6, false);
        }
        assert_eq!(labelled.roc_auc().map(|(area, _)| area), Some(1.0));
    }

    /// By the formula: A = 0.75 of 100 and 200 records has a standard error of 0.0313 (Hanley and McNeil, table II has
    /// numbers of this size).
    #[test]
    fn the_error_of_an_area_is_that_of_hanley_and_mcneil() {
        let mut labelled = LabelTally::default();
        (0..100).for_each(|at| labelled.add(if at < 50 { 1.0 } else { 0.5 }, true));
        (0..200).for_each(|at| labelled.add(if at < 100 { 0.0 } else { 0.5 }, false));
        let (area, error) = labelled.roc_auc().unwrap();
        // Half of the positive ones are above all, and the others equal half of the negative ones, and are above the rest.
        assert!((area - 0.875).abs() < 1e-15);
        let (q1, q2) = (0.875 / 1.125, 2.0 * 0.765_625 / 1.875);
        let wanted = (0.875 * 0.125 + 99.0 * (q1 - 0.765_625) + 199.0 * (q2 - 0.765_625)) / 20_000.0;
        assert!((error - wanted).abs() < 1e-12);
    }
}
