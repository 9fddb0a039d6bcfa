//! The values of a feature that were added since it was last asked: counted, and sorted only then.
//!
//! ```text
//! add ─▶ waiting ─ 16,384 ─▶ small whole numbers only (whole.rs): counted in an array ─┐
//!                        └──▶ others ─────────────────────────────────────────────────┤
//!   ┌──────────────────────────────────────────────────────────────────────────────────┘
//!   └▶ ByValue: values, found by a hash table ─ more than `exact_values` ─▶ ByBucket: pages of counters
//! ```
//! Features take turns with each batch, and between two turns of one the others push its counters out of the processor's
//! caches: values wait so that they are brought in again for thousands at a time.

use super::by_bucket::ByBucket;
use super::by_value::{BLOCK, ByValue};
use super::moments::Moments;
use super::settled::{Settled, runs};
use super::sort::sorted;
use super::whole::whole_counts;

/// Least number of values that are counted at a time.
const WAITING: usize = 16_384;

/// Values that are not sorted yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Recent {
    waiting: Vec<f64>,
    counts: Counts,
}

#[derive(Clone, Debug, Default)]
enum Counts {
    #[default]
    Nothing,
    ByValue(ByValue),
    ByBucket(Box<ByBucket>),
}

impl Recent {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && matches!(self.counts, Counts::Nothing)
    }

    /// Adds finite values. More different ones than `exact_values` are counted by bucket.
    #[inline]
    pub(super) fn extend(&mut self, values: impl Iterator<Item = f64>, exact_values: usize) {
        // There is no -0.0: it is equal to 0.0, and must be the same bytes.
        self.waiting.extend(values.map(|value| value + 0.0));
        if self.waiting.len() >= WAITING {
            self.count(exact_values);
        }
    }

    /// Counts the values that wait.
    #[cold]
    pub(super) fn count(&mut self, exact_values: usize) {
        let Self { waiting, counts } = self;
        if matches!(counts, Counts::Nothing) && !waiting.is_empty() {
            *counts = Counts::ByValue(ByValue::default());
        }
        if let Some(small) = whole_counts(waiting) {
            counts.add_counts(small, exact_values);
            waiting.clear();
            return;
        }
        let mut rest = waiting.as_slice();
        while let Counts::ByValue(by_value) = counts
            && !rest.is_empty()
        {
            let block;
            (block, rest) = rest.split_at(rest.len().min(BLOCK));
            by_value.add_block(block);
            counts.fold_beyond(exact_values);
        }
        if let Counts::ByBucket(by_bucket) = counts {
            by_bucket.add_all(rest);
        }
        waiting.clear();
    }

    /// Returns all of them sorted, and adds them to the moments.
    pub(super) fn settled(&self, moments: &mut Moments) -> Settled {
        let Self { waiting, counts } = self;
        let waiting = runs(waiting);
        moments.extend(&waiting);
        let mut all = match counts {
            Counts::Nothing => return Settled::Exact(waiting),
            Counts::ByValue(counts) => {
                let values = sorted(counts.values(), |(value, _)| *value);
                moments.extend(&values);
                Settled::Exact(values)
            }
            Counts::ByBucket(counts) => Settled::Folded(counts.folded(moments)),
        };
        all.add(&Settled::Exact(waiting));
        all
    }
}

impl Counts {
    /// Counts some values, each with its number of times.
    fn add_counts(&mut self, values: impl Iterator<Item = (f64, u64)>, exact_values: usize) {
        for (value, times) in values {
            match self {
                Self::Nothing => {}
                Self::ByValue(by_value) => by_value.add_times(value, times),
                Self::ByBucket(by_bucket) => by_bucket.add_times(value, times),
            }
        }
        self.fold_beyond(exact_values);
    }

    fn fold_beyond(&mut self, exact_values: usize) {
        if let Self::ByValue(by_value) = self
            && by_value.values().len() > exact_values.min(ByValue::MOST)
        {
            *self = Self::ByBucket(Box::new(ByBucket::of(by_value.values())));
        }
    }
}
