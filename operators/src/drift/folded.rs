//! Values that are counted in buckets.

use serde::{Deserialize, Serialize};

use super::distinct::Distinct;
use crate::buckets::{bounds_within, bucket};

/// Values of which only the buckets are known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Folded {
    pub(super) buckets: Vec<(u32, u64)>,
    pub(super) min: f64,
    pub(super) max: f64,
    pub(super) distinct: Distinct,
}

impl Folded {
    /// Folds values that are sorted.
    pub(super) fn of(values: &[(f64, u64)]) -> Self {
        let nothing =
            Self { buckets: Vec::new(), min: f64::INFINITY, max: f64::NEG_INFINITY, distinct: Distinct::default() };
        let mut folded = nothing;
        folded.merge_exact(values);
        folded
    }

    pub(super) fn merge_exact(&mut self, values: &[(f64, u64)]) {
        let (Some(first), Some(last)) = (values.first(), values.last()) else { return };
        (self.min, self.max) = (self.min.min(first.0), self.max.max(last.0));
        self.distinct.merge(&Distinct::of(values.iter().map(|(value, _)| *value)));
        self.buckets = union(&self.buckets, &in_buckets(values));
    }

    pub(super) fn merge(&mut self, other: &Self) {
        let Self { buckets, min, max, distinct } = other;
        (self.min, self.max) = (self.min.min(*min), self.max.max(*max));
        self.distinct.merge(distinct);
        self.buckets = union(&self.buckets, buckets);
    }

    /// Returns each bucket as if all its values were in its middle.
    pub(super) fn middles(buckets: &[(u32, u64)], min: f64, max: f64) -> Vec<(f64, u64)> {
        let middle = |bucket: u32| {
            let (low, high) = bounds_within(bucket, min, max);
            low / 2.0 + high / 2.0
        };
        buckets.iter().map(|(bucket, count)| (middle(*bucket), *count)).collect()
    }
}

/// Returns the counts of the buckets of sorted values.
pub(super) fn in_buckets(values: &[(f64, u64)]) -> Vec<(u32, u64)> {
    let runs = values.chunk_by(|a, b| bucket(a.0) == bucket(b.0));
    runs.filter_map(|run| Some((bucket(run.first()?.0), run.iter().map(|(_, count)| count).sum()))).collect()
}

/// Returns the counts of two sorted lists in one.
pub(super) fn union<K: Copy + PartialOrd>(left: &[(K, u64)], right: &[(K, u64)]) -> Vec<(K, u64)> {
    let mut all = Vec::with_capacity(left.len() + right.len());
    let (mut left, mut right) = (left.iter().peekable(), right.iter().peekable());
    while let (Some((a, of_a)), Some((b, of_b))) = (left.peek(), right.peek()) {
        let (takes_left, takes_right) = (a <= b, b <= a);
        let key = if takes_left { *a } else { *b };
        all.push((key, if takes_left { *of_a } else { 0 } + if takes_right { *of_b } else { 0 }));
        left.next_if(|_| takes_left);
        right.next_if(|_| takes_right);
    }
    all.extend(left.chain(right));
    all
}
