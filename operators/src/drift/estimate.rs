//! How good a binary classifier probably is, from its scores alone.
//!
//! A record with the calibrated probability p is positive with that probability. So it counts as p true positives and 1
//! − p false ones if it is predicted positive, and so on (confidence-based performance estimation, NannyML's CBPE).
//! This holds as long as the calibration does: it sees that records become harder, not that the same records get other
//! labels.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Number of equal bins of scores from 0 to 1, for the area under the curve.
const BINS: f64 = 1000.0;
/// Probabilities are summed in this unit, as whole numbers: the sums do not depend on the order of the records. A
/// window has room for 2^32 records.
const UNIT: f64 = (1u64 << 32) as f64;

/// Records, and the sum of their probabilities in units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Part {
    records: u64,
    positive: u64,
}

impl Part {
    fn add(&mut self, other: Self) {
        let Self { records, positive } = other;
        self.records += records;
        self.positive += positive;
    }

    fn positive(self) -> f64 {
        self.positive as f64 / UNIT
    }

    fn negative(self) -> f64 {
        self.records as f64 - self.positive()
    }
}

/// The counters of one window, from which the quality of its predictions is estimated.
///
/// * Order: two windows that were given the same records, in any order and any parts, are equal, and are the same
///   bytes.
/// * Size: at most 1000 bins of three numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ExpectedQuality {
    predicted_positive: Part,
    predicted_negative: Part,
    without_score: u64,
    /// By thousandths of the score.
    by_score: BTreeMap<u16, Part>,
}

impl ExpectedQuality {
    /// Adds a record: its score, the probability by a [`Calibration`](super::Calibration) that it is positive, and
    /// whether it was predicted to be. A record is only counted if one of both numbers is NaN; they are moved to 0 or 1
    /// if they are outside.
    pub fn add(&mut self, score: f64, probability: f64, predicted_positive: bool) {
        if score.is_nan() || probability.is_nan() {
            self.without_score += 1;
            return;
        }
        let part = Part { records: 1, positive: (probability.clamp(0.0, 1.0) * UNIT).round() as u64 };
        let predicted = if predicted_positive { &mut self.predicted_positive } else { &mut self.predicted_negative };
        predicted.add(part);
        let bin = (score.clamp(0.0, 1.0) * BINS).min(BINS - 1.0) as u16;
        self.by_score.entry(bin).or_default().add(part);
    }

    /// Adds all records of another part.
    pub fn merge(&mut self, other: &Self) {
        let Self { predicted_positive, predicted_negative, without_score, by_score } = other;
        self.predicted_positive.add(*predicted_positive);
        self.predicted_negative.add(*predicted_negative);
        self.without_score += without_score;
        by_score.iter().for_each(|(bin, part)| self.by_score.entry(*bin).or_default().add(*part));
    }

    /// Returns the number of records with a score.
    pub fn records(&self) -> u64 {
        self.predicted_positive.records + self.predicted_negative.records
    }

    /// Returns the number of records without a score.
    pub fn without_score(&self) -> u64 {
        self.without_score
    }

    /// Returns the expected share of right predictions; `None` without records.
    pub fn accuracy(&self) -> Option<f64> {
        let right = self.predicted_positive.positive() + self.predicted_negative.negative();
        ratio(right, self.records() as f64)
    }

    /// Returns the expected share of positive records among those predicted positive; `None` if there are none.
    pub fn precision(&self) -> Option<f64> {
        ratio(self.predicted_positive.positive(), self.predicted_positive.records as f64)
    }

    /// Returns the expected share of those predicted positive among positive records; `None` if none is expected.
    pub fn recall(&self) -> Option<f64> {
        let positive = self.predicted_positive.positive();
        ratio(positive, positive + self.predicted_negative.positive())
    }

    /// Returns the expected area under the ROC curve: how often a positive record has a higher score than a negative
    /// one, where records in one thousandth count half. `None` if one of both kinds is not expected.
    pub fn roc_auc(&self) -> Option<f64> {
        let (mut below, mut area, mut positive) = (0.0, 0.0, 0.0);
        for part in self.by_score.values() {
            area += part.positive() * (below + part.negative() / 2.0);
            below += part.negative();
            positive += part.positive();
        }
        ratio(area, positive * below)
    }
}

fn ratio(part: f64, all: f64) -> Option<f64> {
    (all > 0.0).then(|| part / all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(records: &[(f64, f64)]) -> ExpectedQuality {
        let mut quality = ExpectedQuality::default();
        records.iter().for_each(|(score, probability)| quality.add(*score, *probability, *score >= 0.5));
        quality
    }

    fn close(value: Option<f64>, expected: f64) {
        assert!(value.is_some_and(|value| (value - expected).abs() < 1e-9), "{value:?} {expected}");
    }

    #[test]
    fn estimates_are_those_computed_by_hand() {
        let quality = of(&[(0.9, 0.8), (0.6, 0.7), (0.3, 0.4), (0.1, 0.0), (f64::NAN, 0.5)]);
        assert_eq!((quality.records(), quality.without_score()), (4, 1));
        close(quality.accuracy(), (0.8 + 0.7 + 0.6 + 1.0) / 4.0);
        close(quality.precision(), 1.5 / 2.0);
        close(quality.recall(), 1.5 / 1.9);
        // From the lowest score: 0 · ½ + 0.4 (1 + ½ 0.6) + 0.7 (1.6 + ½ 0.3) + 0.8 (1.9 + ½ 0.2)
        close(quality.roc_auc(), (0.4 * 1.3 + 0.7 * 1.75 + 0.8 * 2.0) / (1.9 * 2.1));
    }

    #[test]
    fn certain_scores_are_perfect_and_nothing_is_not_estimated() {
        let certain = of(&[(1.0, 1.0), (0.0, 0.0), (2.0, 7.0)]);
        close(certain.accuracy(), 1.0);
        close(certain.roc_auc(), 1.0);
        let nothing = of(&[]);
        assert_eq!(
            (nothing.accuracy(), nothing.precision(), nothing.recall(), nothing.roc_auc()),
            (None, None, None, None)
        );
        assert_eq!(of(&[(0.1, 0.0)]).recall(), None);
    }

    proptest! {
        #[test]
        fn order_and_parts_leave_no_trace(
            (records, shuffled) in prop::collection::vec((-0.1..1.1f64, 0.0..1.0f64), 0..200)
                .prop_flat_map(|records| (Just(records.clone()), Just(records).prop_shuffle())),
            cut in any::<prop::sample::Index>(),
        ) {
            let cut = cut.index(records.len() + 1);
            let (mut merged, whole) = (of(&shuffled[cut..]), of(&records));
            merged.merge(&of(&shuffled[..cut]));
            let standard = bincode::config::standard();
            let bytes = |quality: &ExpectedQuality| bincode::serde::encode_to_vec(quality, standard).unwrap();
            prop_assert_eq!(bytes(&merged), bytes(&whole));
            prop_assert_eq!(serde_json::to_string(&merged).unwrap(), serde_json::to_string(&whole).unwrap());
        }
    }
}
