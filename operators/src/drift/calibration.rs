//! Calibration: what share of the records with a score were positive.

use serde::{Deserialize, Serialize};

use super::DriftError;

/// A function from scores to probabilities that never falls: isotonic regression by pooling neighbours that are in the
/// wrong order (Ayer et al., Annals of Mathematical Statistics 26, 1955). Between two scores of the training data it is
/// linear, as in scikit-learn; outside of them it stays at the nearest one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Scores, ascending, and their probabilities, never descending.
    points: Vec<(f64, f64)>,
}

/// Neighbours with one probability.
struct Pool {
    from: f64,
    to: f64,
    records: f64,
    positive: f64,
}

impl Calibration {
    /// Fits a calibration to the scores and labels of reference data. Scores that are not finite are left out.
    /// # Errors
    /// [`DriftError::NothingToCalibrate`] if not both labels are there.
    pub fn fit(records: impl IntoIterator<Item = (f64, bool)>) -> Result<Self, DriftError> {
        let mut records: Vec<(f64, bool)> = records.into_iter().filter(|(score, _)| score.is_finite()).collect();
        if records.iter().all(|(_, label)| *label) || records.iter().all(|(_, label)| !label) {
            return Err(DriftError::NothingToCalibrate);
        }
        records.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let mut pools: Vec<Pool> = Vec::new();
        for equal in records.chunk_by(|a, b| a.0 == b.0) {
            let score = equal.iter().map(|(score, _)| *score).fold(f64::INFINITY, f64::min);
            let positive = equal.iter().filter(|(_, label)| *label).count() as f64;
            let mut pool = Pool { from: score, to: score, records: equal.len() as f64, positive };
            // Without a division, so that equal shares are equal.
            while let Some(before) =
                pools.pop_if(|before| before.positive * pool.records >= pool.positive * before.records)
            {
                pool.from = before.from;
                pool.records += before.records;
                pool.positive += before.positive;
            }
            pools.push(pool);
        }
        let ends =
            pools.iter().flat_map(|pool| [pool.from, pool.to].map(|score| (score, pool.positive / pool.records)));
        let mut points: Vec<(f64, f64)> = ends.collect();
        points.dedup();
        Ok(Self { points })
    }

    /// Returns the probability that a record with this score is positive. It is NaN if the score is.
    pub fn probability(&self, score: f64) -> f64 {
        let after = self.points.partition_point(|(at, _)| *at < score);
        match (after.checked_sub(1).and_then(|before| self.points.get(before)), self.points.get(after)) {
            _ if score.is_nan() => score,
            (Some((from, low)), Some((to, high))) => low + (high - low) * ((score - from) / (to - from)),
            (Some((_, probability)), None) | (None, Some((_, probability))) => *probability,
            (None, None) => f64::NAN,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_in_the_wrong_order_share_a_probability() {
        let labels =
            [(0.1, false), (0.2, true), (0.3, false), (0.4, false), (0.6, true), (0.9, true), (f64::NAN, true)];
        let calibration = Calibration::fit(labels).unwrap();
        let expected =
            [(0.0, 0.0), (0.1, 0.0), (0.2, 1.0 / 3.0), (0.3, 1.0 / 3.0), (0.5, 2.0 / 3.0), (0.6, 1.0), (7.0, 1.0)];
        for (score, probability) in expected {
            let value = calibration.probability(score);
            assert!((value - probability).abs() < 1e-12, "{score}: {value} {probability}");
        }
        assert!(calibration.probability(f64::NAN).is_nan());
        let stored: Calibration = serde_json::from_str(&serde_json::to_string(&calibration).unwrap()).unwrap();
        assert_eq!(stored, calibration);
    }

    #[test]
    fn equal_scores_are_one_point_and_one_label_is_not_enough() {
        let calibration = Calibration::fit([(0.5, true), (0.5, false), (0.5, true), (0.5, false)]).unwrap();
        assert_eq!((calibration.probability(0.1), calibration.probability(0.5)), (0.5, 0.5));
        assert_eq!(Calibration::fit([(0.5, true)]).unwrap_err(), DriftError::NothingToCalibrate);
    }
}
