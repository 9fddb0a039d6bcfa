//! How well scores tell positive records from negative ones: pure functions of both counts by score.
//!
//! Formulas are those of scikit-learn 1.5.2 (`log_loss`, `roc_auc_score`, `average_precision_score`).

/// The numbers of records with a score, from the highest score to the lowest.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Ranked {
    /// Positive and negative records of each score.
    steps: Vec<(u64, u64)>,
}

impl Ranked {
    /// Ranks records by their score. Both lists are sorted by score, ascending.
    pub(crate) fn of(positives: &[(f64, u64)], negatives: &[(f64, u64)]) -> Self {
        let (mut positives, mut negatives) = (positives.iter().rev().peekable(), negatives.iter().rev().peekable());
        let mut steps = Vec::new();
        loop {
            let highest = match (positives.peek(), negatives.peek()) {
                (Some((a, _)), Some((b, _))) => a.max(*b),
                (Some((one, _)), None) | (None, Some((one, _))) => *one,
                (None, None) => return Self { steps },
            };
            let positive = positives.next_if(|(score, _)| *score == highest).map_or(0, |(_, count)| *count);
            let negative = negatives.next_if(|(score, _)| *score == highest).map_or(0, |(_, count)| *count);
            steps.push((positive, negative));
        }
    }

    /// Returns the numbers of positive and negative records.
    fn totals(&self) -> (u64, u64) {
        self.steps.iter().fold((0, 0), |(p, n), (positive, negative)| (p + positive, n + negative))
    }

    /// Returns the area under the ROC curve: how often a positive record has a higher score than a negative one; of
    /// equal scores half count. `None` if there is only one kind.
    pub(crate) fn roc_auc(&self) -> Option<f64> {
        let (positives, negatives) = self.totals();
        if positives == 0 || negatives == 0 {
            return None;
        }
        let (mut above, mut twice) = (0_u128, 0_u128);
        for (positive, negative) in &self.steps {
            twice += u128::from(*negative) * (2 * above + u128::from(*positive));
            above += u128::from(*positive);
        }
        Some(twice as f64 / 2.0 / (positives as f64 * negatives as f64))
    }

    /// Returns the average precision: the precision at each score, weighted by the positive records that it adds.
    /// `None` if no record is positive.
    pub(crate) fn average_precision(&self) -> Option<f64> {
        let (positives, _) = self.totals();
        let (mut found, mut all, mut sum) = (0, 0, 0.0);
        for (positive, negative) in &self.steps {
            found += positive;
            all += positive + negative;
            sum += *positive as f64 * (found as f64 / all as f64);
        }
        (positives > 0).then(|| sum / positives as f64)
    }

    /// Returns the share of positive records among the `k` with the highest scores, or among all if there are fewer. Of
    /// equal scores at the end each record counts in part.
    pub(crate) fn precision_at(&self, k: u64) -> Option<f64> {
        let (mut left, mut found) = (k, 0.0);
        for (positive, negative) in &self.steps {
            let all = positive + negative;
            let taken = all.min(left);
            found += *positive as f64 * (taken as f64 / all as f64);
            left -= taken;
            if left == 0 {
                break;
            }
        }
        (k > left).then(|| found / (k - left) as f64)
    }
}

/// Returns a number that orders scores as they are, and is as fine near 1 as near 0, where floats are dense: scores of a
/// confident model lie close to both.
pub(crate) fn spread(score: f64) -> f64 {
    if score <= 0.5 {
        score
    } else if score < 1.0 {
        // From 2 on; a float below 1 is at least 2^-53 away from it.
        1.0 / (1.0 - score)
    } else {
        // Beyond these, and finite for each score of 32 bits.
        score * 2.0_f64.powi(64)
    }
}

/// Returns what the score of a record costs: −ln of the probability that it gives to what came true. A probability is at
/// least the distance of 1 to the next float, as in scikit-learn, so that one wrong certainty is not infinitely bad.
pub(crate) fn log_loss(score: f64, is_positive: bool) -> f64 {
    let probability = score.clamp(f64::EPSILON, 1.0 - f64::EPSILON);
    -(if is_positive { probability } else { 1.0 - probability }).ln()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Computed by scikit-learn 1.5.2 for y = [0, 0, 1, 1, 0, 1], p = [0.1, 0.4, 0.35, 0.8, 0.4, 0.4].
    #[test]
    fn values_are_those_of_scikit_learn() {
        let ranked = Ranked::of(&[(0.35, 1), (0.4, 1), (0.8, 1)], &[(0.1, 1), (0.4, 2)]);
        assert_eq!(ranked.roc_auc(), Some(6.0 / 9.0));
        let expected = (1.0 + 2.0 / 4.0 + 3.0 / 5.0) / 3.0;
        assert!((ranked.average_precision().unwrap() - expected).abs() < 1e-15);
        let losses = [(0.1, false), (0.4, false), (0.35, true), (0.8, true), (0.4, false), (0.4, true)];
        let mean = losses.iter().map(|(score, truth)| log_loss(*score, *truth)).sum::<f64>() / 6.0;
        assert!((mean - 0.552_711_361_812_808_4).abs() < 1e-15, "{mean}");
        assert!((log_loss(0.0, true) - 36.043_653_389_117_15).abs() < 1e-12);
        assert!((log_loss(1.0, true) - f64::EPSILON).abs() < 1e-30);
    }

    #[test]
    fn scores_are_spread_in_their_order() {
        let near_one = 1.0 - f64::EPSILON / 2.0;
        let scores = [-3.0, 0.0, 1e-300, 0.25, 0.5, 0.5_f64.next_up(), 0.75, 0.998, 0.9985, near_one, 1.0, 1.5, 3e38];
        assert!(scores.windows(2).all(|pair| spread(pair[0]) < spread(pair[1])), "{:?}", scores.map(spread));
        assert!(scores.iter().all(|score| spread(*score).is_finite()));
    }

    #[test]
    fn precision_at_k_shares_out_what_is_equal() {
        let ranked = Ranked::of(&[(0.35, 1), (0.4, 1), (0.8, 1)], &[(0.1, 1), (0.4, 2)]);
        assert_eq!(ranked.precision_at(1), Some(1.0));
        assert_eq!(ranked.precision_at(2), Some((1.0 + 1.0 / 3.0) / 2.0));
        assert_eq!((ranked.precision_at(4), ranked.precision_at(100)), (Some(0.5), Some(0.5)));
        assert_eq!((ranked.precision_at(0), Ranked::default().precision_at(5)), (None, None));
        let only = Ranked::of(&[(0.5, 3)], &[]);
        assert_eq!(
            (only.roc_auc(), only.average_precision(), Ranked::default().average_precision()),
            (None, Some(1.0), None)
        );
    }

    proptest! {
        /// Against all pairs of records.
        #[test]
        fn the_area_is_the_share_of_pairs_in_order(records in prop::collection::vec((0_u8..6, any::<bool>()), 2..60)) {
            let of = |wanted: bool| {
                let mut counts = std::collections::BTreeMap::new();
                records.iter().filter(|(_, truth)| *truth == wanted).for_each(|(score, _)| *counts.entry(*score).or_insert(0_u64) += 1);
                counts.into_iter().map(|(score, count)| (f64::from(score), count)).collect::<Vec<_>>()
            };
            let pairs = records.iter().filter(|(_, truth)| *truth).flat_map(|(p, _)| {
                records.iter().filter(|(_, truth)| !*truth).map(move |(n, _)| match p.cmp(n) {
                    std::cmp::Ordering::Greater => 1.0,
                    std::cmp::Ordering::Equal => 0.5,
                    std::cmp::Ordering::Less => 0.0,
                })
            });
            let (sum, count) = pairs.fold((0.0, 0), |(sum, count), pair| (sum + pair, count + 1));
            let found = Ranked::of(&of(true), &of(false)).roc_auc();
            prop_assert_eq!(found.is_some(), count > 0);
            prop_assert!(found.is_none_or(|found| (found - sum / f64::from(count)).abs() < 1e-12));
        }
    }
}
