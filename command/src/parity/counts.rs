//! What was found of one feature in the rows of one model version, under Chronon's names (`CompareMetrics.scala`).

use std::collections::BTreeMap;

use super::cell::{Cell, Compared, compare, numbers, smape_term};

/// The counts of a feature. `total` is the sum of `identical`, `close`, `both_null`, `left_null`, `right_null` and `mismatch`;
/// left is what was served.
#[derive(Debug, Default)]
pub struct FeatureCounts {
    pub total: u64,
    pub identical: u64,
    pub close: u64,
    pub both_null: u64,
    pub left_null: u64,
    pub right_null: u64,
    pub mismatch: u64,
    /// Mismatches of two kinds of values, as (text, number).
    pub kinds: BTreeMap<(&'static str, &'static str), u64>,
    /// Rows where both are numbers.
    pub numbers: u64,
    smape_sum: f64,
    /// Differences that are not 0, which are few: the other numbers need no memory.
    differences: Vec<f64>,
    /// The first rows that differ.
    pub first: Vec<DifferingRow>,
}

/// A row in which a feature differs.
#[derive(Debug)]
pub struct DifferingRow {
    pub key: String,
    pub left: Cell,
    pub right: Cell,
}

/// How values are compared, and how many of the differing ones are kept.
#[derive(Clone, Copy, Debug)]
pub struct Strictness {
    pub tolerance: f64,
    pub rows: usize,
}

impl FeatureCounts {
    /// Counts a row; nothing if neither side has the feature there.
    pub fn add(&mut self, key: &str, left: &Cell, right: &Cell, strictness: Strictness) {
        let Some(compared) = compare(left, right, strictness.tolerance) else { return };
        self.total += 1;
        match compared {
            Compared::Identical => self.identical += 1,
            Compared::Close => self.close += 1,
            Compared::BothNull => self.both_null += 1,
            Compared::LeftNull => self.left_null += 1,
            Compared::RightNull => self.right_null += 1,
            Compared::Mismatch => self.mismatch += 1,
        }
        if let Some((a, b)) = numbers(left, right) {
            self.numbers += 1;
            self.smape_sum += smape_term(a, b);
            if a != b {
                self.differences.push(a - b);
            }
        } else if compared == Compared::Mismatch && left.kind() != right.kind() {
            *self.kinds.entry((left.kind(), right.kind())).or_default() += 1;
        }
        let differs = matches!(compared, Compared::Mismatch | Compared::LeftNull | Compared::RightNull);
        if differs && self.first.len() < strictness.rows {
            self.first.push(DifferingRow { key: key.to_owned(), left: left.clone(), right: right.clone() });
        }
    }

    /// Returns the number of rows in which training and serving do not agree.
    pub fn differing(&self) -> u64 {
        self.mismatch + self.left_null + self.right_null
    }

    /// Returns the symmetric mean absolute percentage error, from 0 to 2, over the rows where both are numbers.
    pub fn smape(&self) -> Option<f64> {
        (self.numbers > 0).then(|| self.smape_sum / self.numbers as f64)
    }

    /// Sorts the differences, for [`quantile`](Self::quantile).
    pub fn finish(&mut self) {
        self.differences.sort_by(f64::total_cmp);
    }

    /// Returns a quantile of left minus right by the nearest rank, so that it is a difference that a row has.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let last = self.numbers.checked_sub(1)?;
        let rank = ((share * self.numbers as f64).ceil() as u64).saturating_sub(1).min(last) as usize;
        let below = self.differences.partition_point(|difference| *difference < 0.0);
        let zeros = self.numbers as usize - self.differences.len();
        if rank < below {
            self.differences.get(rank).copied()
        } else if rank < below + zeros {
            Some(0.0)
        } else {
            self.differences.get(rank - zeros).copied()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(rows: &[(f64, f64)]) -> FeatureCounts {
        let mut counts = FeatureCounts::default();
        for (at, (left, right)) in rows.iter().enumerate() {
            let strictness = Strictness { tolerance: 0.0, rows: 2 };
            counts.add(&at.to_string(), &Cell::number(*left), &Cell::number(*right), strictness);
        }
        counts.finish();
        counts
    }

    #[test]
    fn quantiles_are_those_of_all_differences_also_of_those_that_are_0() {
        let mut rows = vec![(0.0, 0.0); 90];
        rows.extend((0..5).map(|n| (f64::from(n), 10.0)));
        rows.extend((0..5).map(|n| (f64::from(n), -10.0)));
        let counts = counts(&rows);
        let mut all: Vec<f64> = rows.iter().map(|(left, right)| left - right).collect();
        all.sort_by(f64::total_cmp);
        for share in [0.0, 0.01, 0.05, 0.06, 0.5, 0.95, 0.951, 0.99, 1.0] {
            let rank = ((share * 100.0_f64).ceil() as usize).saturating_sub(1);
            assert_eq!(counts.quantile(share), Some(all[rank]), "{share}");
        }
        assert_eq!((counts.total, counts.identical, counts.mismatch), (100, 90, 10));
        let keys: Vec<&str> = counts.first.iter().map(|row| row.key.as_str()).collect();
        assert_eq!(keys, ["90", "91"]);
    }

    #[test]
    fn without_numbers_there_is_no_smape_and_a_text_for_a_number_is_named() {
        let mut counts = FeatureCounts::default();
        let strictness = Strictness { tolerance: 0.5, rows: 1 };
        counts.add("1", &Cell::text("DE"), &Cell::number(3.0), strictness);
        counts.add("2", &Cell::text("DE"), &Cell::text("FR"), strictness);
        counts.add("3", &Cell::Absent, &Cell::Absent, strictness);
        counts.add("4", &Cell::Null, &Cell::Null, strictness);
        assert_eq!((counts.total, counts.mismatch, counts.both_null, counts.first.len()), (3, 2, 1, 1));
        assert_eq!(counts.kinds, BTreeMap::from([(("text", "number"), 1)]));
        assert_eq!((counts.smape(), counts.quantile(0.5)), (None, None));
    }
}
