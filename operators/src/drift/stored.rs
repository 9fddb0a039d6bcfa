//! How a distribution is stored. What is read is checked: a baseline may have been edited.

use serde::{Deserialize, Serialize};

use super::DriftError;
use super::moments::Moments;
use super::values::{Distribution, Folded, Settled};

/// A distribution on disk. Its values are sorted, so that equal distributions are the same bytes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Stored {
    exact_values: usize,
    missing: u64,
    infinite: u64,
    moments: Moments,
    /// Different values with their counts; empty if the values are folded.
    values: Vec<(f64, u64)>,
    folded: Option<Folded>,
}

impl From<Distribution> for Stored {
    fn from(mut distribution: Distribution) -> Self {
        distribution.settle();
        let Distribution { exact_values, count: _, missing, infinite, moments, settled, recent: _ } = distribution;
        let (values, folded) = match settled {
            Settled::Exact(values) => (values, None),
            Settled::Folded(folded) => (Vec::new(), Some(folded)),
        };
        Self { exact_values, missing, infinite, moments, values, folded }
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
        Ok(Self { exact_values, count, missing, infinite, moments, settled, recent: Vec::new() })
    }
}

fn valid(is_valid: bool, what: &'static str) -> Result<(), DriftError> {
    if is_valid { Ok(()) } else { Err(DriftError::Damaged { what }) }
}

/// Returns the sum of counts whose keys ascend.
fn counted<K: PartialOrd>(counts: &[(K, u64)]) -> Result<u64, DriftError> {
    valid(counts.is_sorted_by(|a, b| a.0 < b.0), "the values are not sorted")?;
    valid(counts.iter().all(|(_, count)| *count > 0), "a count is zero")?;
    let sum = counts.iter().try_fold(0u64, |sum, (_, count)| sum.checked_add(*count));
    sum.ok_or(DriftError::Damaged { what: "the counts are too large" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_distribution_is_refused() {
        let mut distribution = Distribution::with_exact_values(3);
        [2.0, 1.0, 2.0].iter().for_each(|value| distribution.add(Some(*value)));
        let stored = serde_json::to_string(&distribution).unwrap();
        assert!(stored.contains("\"values\":[[1.0,1],[2.0,2]]"), "{stored}");
        assert_eq!(serde_json::from_str::<Distribution>(&stored).unwrap(), distribution);
        for (damaged, what) in [
            ("[[2.0,2],[1.0,1]]", "not sorted"),
            ("[[1.0,0],[2.0,2]]", "a count is zero"),
            ("[[1.0,18446744073709551615],[2.0,2]]", "too large"),
            ("[[1.0,1],[2.0,2],[3.0,1],[4.0,1]]", "more values than"),
        ] {
            let edited = stored.replace("[[1.0,1],[2.0,2]]", damaged);
            let error = serde_json::from_str::<Distribution>(&edited).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
        [3.0, 4.0].iter().for_each(|value| distribution.add(Some(*value)));
        let folded = serde_json::to_string(&distribution).unwrap();
        assert_eq!(serde_json::from_str::<Distribution>(&folded).unwrap(), distribution);
        let error = serde_json::from_str::<Distribution>(&folded.replace("\"max\":4.0", "\"max\":0.5")).unwrap_err();
        assert!(error.to_string().contains("no range"), "{error}");
    }
}
