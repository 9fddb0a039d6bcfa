//! How a distribution is stored. What is read is checked: a baseline may have been edited.

use serde::{Deserialize, Serialize};

use super::DriftError;
use super::folded::Folded;
use super::moments::Moments;

/// A distribution on disk. Its values are sorted, so that equal distributions are the same bytes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Stored {
    pub(super) exact_values: usize,
    pub(super) missing: u64,
    pub(super) infinite: u64,
    pub(super) moments: Moments,
    /// Different values with their counts; empty if the values are folded.
    pub(super) values: Vec<(f64, u64)>,
    pub(super) folded: Option<Folded>,
}

pub(super) fn valid(is_valid: bool, what: &'static str) -> Result<(), DriftError> {
    if is_valid { Ok(()) } else { Err(DriftError::Damaged { what }) }
}

/// Returns the sum of counts whose keys ascend.
pub(super) fn counted<K: PartialOrd>(counts: &[(K, u64)]) -> Result<u64, DriftError> {
    valid(counts.is_sorted_by(|a, b| a.0 < b.0), "the values are not sorted")?;
    valid(counts.iter().all(|(_, count)| *count > 0), "a count is zero")?;
    let sum = counts.iter().try_fold(0u64, |sum, (_, count)| sum.checked_add(*count));
    sum.ok_or(DriftError::Damaged { what: "the counts are too large" })
}
