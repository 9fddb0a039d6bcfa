//! The values of one numeric feature in one window: exact while there are few different ones, then counted in buckets.
//!
//! ```text
//! add ─▶ counted (see `recent`) ─ sort ─▶ different values with counts ─ more than `exact_values` ─▶ buckets (see `buckets`)
//! ```
//! The limit is on *different* values, not on values, so a feature with few of them (an hour, an amount in whole euros)
//! stays exact in a window of any size. Whether there are too many does not depend on the order of values or parts.

use std::borrow::Cow;

use serde::{Deserialize, Serialize, Serializer};

use super::DriftError;
use super::moments::Moments;
use super::recent::Recent;
use super::settled::{Settled, runs};
use super::stored::{Stored, counted, valid};

/// The distribution of one numeric feature in one window, or in the training data.
///
/// * Size: 16 bytes per different value, up to `exact_values` of them (16,384 by default); then 16 bytes per bucket, of
///   which usual data fill up to about 6,000. While it counts, it needs up to 768 KiB beside,
///   and 8 MiB if values have all exponents that floats have.
/// * Order: two distributions that were given the same values, in any order and any parts, are equal, and are the same
///   bytes when they are stored. All parts must have one `exact_values`; otherwise the least one counts.
/// * Cost: 2 ns per value where there are few different ones, 4 ns with thousands of them, and 8 ns in buckets.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Stored")]
pub struct Distribution {
    pub(super) exact_values: usize,
    pub(super) count: u64,
    pub(super) missing: u64,
    pub(super) infinite: u64,
    pub(super) moments: Moments,
    pub(super) settled: Settled,
    /// Values that are in `count`, and not yet in `moments` and `settled`.
    pub(super) recent: Recent,
}

impl Default for Distribution {
    fn default() -> Self {
        Self::with_exact_values(Self::EXACT_VALUES)
    }
}

impl PartialEq for Distribution {
    fn eq(&self, other: &Self) -> bool {
        let (left, right) = (self.settled(), other.settled());
        let Self { exact_values, count, missing, infinite, moments, settled, recent: _ } = &*left;
        (*exact_values, *count, *missing, *infinite) == (right.exact_values, right.count, right.missing, right.infinite)
            && (moments, settled) == (&right.moments, &right.settled)
    }
}

impl Distribution {
    /// Number of different values that are kept by default.
    pub const EXACT_VALUES: usize = 16_384;

    /// Returns an empty distribution that keeps up to so many different values. A baseline may keep more than a window.
    pub fn with_exact_values(exact_values: usize) -> Self {
        Self {
            exact_values,
            count: 0,
            missing: 0,
            infinite: 0,
            moments: Moments::default(),
            settled: Settled::Exact(Vec::new()),
            recent: Recent::default(),
        }
    }

    /// Counts finite values that are all there already.
    pub(super) fn of(values: Vec<f64>, exact_values: usize) -> Self {
        let count = values.len() as u64;
        // There is no -0.0, as in `extend`.
        let values = runs(&values.into_iter().map(|value| value + 0.0).collect::<Vec<_>>());
        let mut moments = Moments::default();
        moments.extend(&values);
        let mut settled = Settled::Exact(values);
        settled.fold_beyond(exact_values);
        Self { count, moments, settled, ..Self::with_exact_values(exact_values) }
    }

    /// Adds the value of a record. `None` and NaN are missing; infinities are counted, and are not part of any
    /// statistic, as in Evidently.
    pub fn add(&mut self, value: Option<f64>) {
        self.extend(&[value.unwrap_or(f64::NAN)]);
    }

    /// Adds values, of which NaN is missing. Most often all are finite.
    pub(super) fn extend(&mut self, values: &[f64]) {
        let Self { exact_values, count, missing, infinite, recent, .. } = self;
        if all_finite(values) {
            *count += values.len() as u64;
            recent.extend(values.iter().copied(), *exact_values);
            return;
        }
        let before = *missing + *infinite;
        values.iter().for_each(|value| {
            *missing += u64::from(value.is_nan());
            *infinite += u64::from(value.is_infinite());
        });
        *count += values.len() as u64 - (*missing + *infinite - before);
        recent.extend(values.iter().copied().filter(|value| value.is_finite()), *exact_values);
    }

    /// Adds all values of another part.
    pub fn merge(&mut self, other: &Self) {
        self.settle();
        let other = other.settled();
        let Self { exact_values, count, missing, infinite, moments, settled, recent: _ } = &*other;
        self.exact_values = self.exact_values.min(*exact_values);
        self.count += count;
        self.missing += missing;
        self.infinite += infinite;
        self.moments.merge(moments);
        self.settled.add(settled);
        self.settled.fold_beyond(self.exact_values);
    }

    /// Returns the number of finite values.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Returns the number of records without a value, or with NaN.
    pub fn missing(&self) -> u64 {
        self.missing
    }

    /// Returns the number of infinite values.
    pub fn infinite(&self) -> u64 {
        self.infinite
    }

    /// Returns whether all values are known, not only their buckets.
    pub fn is_exact(&self) -> bool {
        matches!(self.settled().settled, Settled::Exact(_))
    }

    /// Returns the mean of the finite values, rounded once; `None` if there are none.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.settled().moments.mean(self.count))
    }

    /// Returns the population standard deviation of the finite values; `None` if there are none.
    pub fn deviation(&self) -> Option<f64> {
        (self.count > 0).then(|| self.settled().moments.deviation(self.count))
    }

    /// Returns the smallest and the largest finite value; `None` if there are none.
    pub fn range(&self) -> Option<(f64, f64)> {
        match &self.settled().settled {
            Settled::Exact(values) => Some((values.first()?.0, values.last()?.0)),
            Settled::Folded(folded) => Some((folded.min, folded.max)),
        }
    }

    /// Returns the distribution without recent values.
    pub(super) fn settled(&self) -> Cow<'_, Self> {
        let Self { exact_values, count, missing, infinite, moments, settled, recent } = self;
        if recent.is_empty() {
            return Cow::Borrowed(self);
        }
        let mut moments = moments.clone();
        let mut all = recent.settled(&mut moments);
        all.add(settled);
        all.fold_beyond(*exact_values);
        let (exact_values, count, missing, infinite) = (*exact_values, *count, *missing, *infinite);
        Cow::Owned(Self { exact_values, count, missing, infinite, moments, settled: all, recent: Recent::default() })
    }

    /// Sorts in the values that came last. It is not needed, but makes what follows faster: otherwise each question and
    /// comparison does it anew, on a copy.
    pub fn settle(&mut self) {
        self.recent.count(self.exact_values);
        if let Cow::Owned(settled) = self.settled() {
            *self = settled;
        }
    }
}

/// Returns whether all values are finite, four at a time: the product with zero is zero, and otherwise NaN.
fn all_finite(values: &[f64]) -> bool {
    let (fours, rest) = values.as_chunks::<4>();
    let add = |sums: [f64; 4], four: &[f64; 4]| std::array::from_fn(|at| sums[at] + four[at] * 0.0);
    let sums: [f64; 4] = fours.iter().fold([0.0; 4], add);
    sums.iter().chain(rest).all(|value| value.is_finite())
}

impl Serialize for Distribution {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let distribution = self.settled().into_owned();
        let Self { exact_values, count: _, missing, infinite, moments, settled, recent: _ } = distribution;
        let (values, folded) = match settled {
            Settled::Exact(values) => (values, None),
            Settled::Folded(folded) => (Vec::new(), Some(folded)),
        };
        Stored { exact_values, missing, infinite, moments, values, folded }.serialize(serializer)
    }
}

impl TryFrom<Stored> for Distribution {
    type Error = DriftError;

    fn try_from(stored: Stored) -> Result<Self, DriftError> {
        let Stored { exact_values, missing, infinite, moments, values, folded } = stored;
        let (count, settled) = match folded {
            None => {
                valid(values.iter().all(|(value, _)| value.is_finite()), "a value is not finite")?;
                valid(values.len() <= exact_values, "there are more values than `exact_values`")?;
                (counted(&values)?, Settled::Exact(values))
            }
            Some(folded) => {
                valid(values.is_empty(), "there are both values and buckets")?;
                let is_range = folded.min.is_finite() && folded.max.is_finite() && folded.min <= folded.max;
                valid(is_range, "`min` and `max` are no range")?;
                (counted(&folded.buckets)?, Settled::Folded(folded))
            }
        };
        Ok(Self { exact_values, count, missing, infinite, moments, settled, recent: Recent::default() })
    }
}

#[cfg(test)]
mod tests;
