//! Values that are sorted, with their counts.

use super::folded::{Folded, union};
use super::sort::sorted;

/// Values with their counts, from the smallest to the largest.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Settled {
    /// Different values.
    Exact(Vec<(f64, u64)>),
    /// Buckets of values.
    Folded(Folded),
}

/// Returns finite values with their counts.
pub(super) fn runs(values: &[f64]) -> Vec<(f64, u64)> {
    let values = sorted(values, |value| *value);
    let runs = values.chunk_by(|a, b| a == b);
    runs.filter_map(|run| Some((*run.first()?, run.len() as u64))).collect()
}

impl Settled {
    pub(super) fn add(&mut self, other: &Self) {
        match (&mut *self, other) {
            (_, Self::Exact(added)) if added.is_empty() => {}
            (Self::Exact(values), Self::Exact(added)) => *values = union(values, added),
            (Self::Folded(folded), Self::Folded(added)) => folded.merge(added),
            (Self::Folded(folded), Self::Exact(added)) => folded.merge_exact(added),
            (Self::Exact(values), Self::Folded(folded)) => {
                let mut folded = folded.clone();
                folded.merge_exact(values);
                *self = Self::Folded(folded);
            }
        }
    }

    pub(super) fn fold_beyond(&mut self, exact_values: usize) {
        if let Self::Exact(values) = self
            && values.len() > exact_values
        {
            *self = Self::Folded(Folded::of(values));
        }
    }
}
