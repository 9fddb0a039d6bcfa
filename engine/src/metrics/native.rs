//! Native histograms of Prometheus: buckets that grow by a constant factor, of which only those with values are there.
//!
//! They are made of the precise counts of a [`Distribution`](super::Distribution) when somebody asks for them, so that
//! they cost nothing before. The definition is that of
//! <https://prometheus.io/docs/specs/native_histograms/>.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

/// A bound is the one before times 2^(2^-3), which is 1.09: as Prometheus' own clients do by default.
pub(super) const SCHEMA: i32 = 3;
/// Number of buckets in a doubling.
const PER_DOUBLING: f64 = (1 << SCHEMA) as f64;

/// A native histogram, without its sum.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Native {
    /// Number of values that are 0.
    pub(super) zeros: u64,
    /// Number of values by bucket. Bucket `i` has those above 2^((i-1)/8) and up to 2^(i/8).
    pub(super) buckets: BTreeMap<i32, u64>,
}

/// Buckets without one missing between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// Number of empty buckets between the last span and this; of the first one, the index of its first bucket.
    pub(super) offset: i32,
    pub(super) counts: Vec<u64>,
}

impl Native {
    /// Makes one of values whose unit is a `per`th of a base unit.
    pub(super) fn of(precise: &Histogram<u64>, per: f64) -> Self {
        let mut native = Self::default();
        for step in precise.iter_recorded() {
            let value = precise.median_equivalent(step.value_iterated_to());
            match value {
                0 => native.zeros += step.count_at_value(),
                _ => *native.buckets.entry(bucket(value as f64 / per)).or_default() += step.count_at_value(),
            }
        }
        native
    }

    /// Adds another one.
    pub(super) fn merge(&mut self, other: &Self) {
        self.zeros += other.zeros;
        other.buckets.iter().for_each(|(bucket, count)| *self.buckets.entry(*bucket).or_default() += count);
    }

    /// Returns the number of values.
    pub(super) fn count(&self) -> u64 {
        self.zeros + self.buckets.values().sum::<u64>()
    }

    /// Returns the buckets as they are sent.
    pub(super) fn spans(&self) -> Vec<Span> {
        let mut spans: Vec<Span> = Vec::new();
        let mut end = 0;
        for (bucket, count) in &self.buckets {
            match spans.last_mut() {
                Some(span) if *bucket == end => span.counts.push(*count),
                _ => spans.push(Span { offset: bucket - end, counts: vec![*count] }),
            }
            end = bucket + 1;
        }
        spans
    }
}

/// Returns the bucket of a value above 0.
fn bucket(value: f64) -> i32 {
    (value.log2() * PER_DOUBLING).ceil() as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn native(values: &[u64], per: f64) -> Native {
        let mut precise = Histogram::new_with_bounds(1, 3_600_000_000, 3).unwrap();
        values.iter().for_each(|value| precise.saturating_record(*value));
        Native::of(&precise, per)
    }

    #[test]
    fn a_value_is_in_the_bucket_whose_bound_it_does_not_exceed() {
        let of = |value| native(&[value], 1.0).buckets.into_keys().collect::<Vec<_>>();
        // 2^(8/8) = 2, 2^(9/8) = 2.18, 2^(12/8) = 2.83, 2^(13/8) = 3.08.
        assert_eq!((of(1), of(2), of(3), of(4)), (vec![0], vec![8], vec![13], vec![16]));
        let many: Vec<u64> = (0..10_000).collect();
        let all = native(&many, 1e6);
        assert_eq!((all.zeros, all.count()), (1, 10_000));
        for (bucket, count) in &all.buckets {
            let bound = |bucket: i32| (f64::from(bucket) / PER_DOUBLING).exp2() * 1e6;
            let expected = bound(*bucket).min(9999.0).floor() - bound(bucket - 1).floor();
            // A precise count is itself of values that differ by a thousandth.
            assert!((*count as f64 - expected).abs() <= 2.0 + expected * 0.02, "{bucket}: {count}, {expected}");
        }
    }

    #[test]
    fn spans_leave_empty_buckets_out() {
        let native = Native { zeros: 1, buckets: [(-3, 5), (-2, 6), (4, 1), (5, 2)].into() };
        let span = |offset, counts: &[u64]| Span { offset, counts: counts.to_vec() };
        assert_eq!(native.spans(), [span(-3, &[5, 6]), span(5, &[1, 2])]);
        assert_eq!(native.count(), 15);
    }

    #[test]
    fn workers_add_up() {
        let mut both = native(&[0, 5, 70], 1e6);
        both.merge(&native(&[5, 5_000_000], 1e6));
        assert_eq!(both, native(&[0, 5, 70, 5, 5_000_000], 1e6));
    }
}
