//! What a statistic is compared with: a number, or what chunks of the training data have learned.
//!
//! As NannyML's `StandardDeviationThreshold`: the statistic of each chunk of the reference against the whole reference;
//! their mean and three (population) standard deviations are the threshold, and what is *above* it is drift. There is no
//! lower threshold: to be nearer to the training data than its own chunks is no drift.

use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::DriftError;

/// Number of standard deviations above the mean.
const DEVIATIONS: f64 = 3.0;
/// Least number of chunks that say how far a statistic strays.
const LEAST_CHUNKS: usize = 2;
const LEARNED: &str = "learned";

/// What a statistic is compared with. As data it is `null`, a number or `"learned"`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Threshold {
    /// The threshold of Evidently: [`Method::default_threshold`](super::Method::default_threshold).
    #[default]
    Default,
    /// This number.
    At(f64),
    /// Mean and three standard deviations of the statistic of chunks of the training data, of which the baseline has at
    /// least two. It is for distances: that of Kolmogorov and Smirnov is compared instead of their p-value, and chi-square
    /// and Z are refused. Without a method it is the distance that Evidently would use for more than 1,000 rows.
    Learned,
}

impl From<f64> for Threshold {
    fn from(threshold: f64) -> Self {
        Self::At(threshold)
    }
}

impl Serialize for Threshold {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Default => serializer.serialize_none(),
            Self::At(threshold) => serializer.serialize_f64(*threshold),
            Self::Learned => serializer.serialize_str(LEARNED),
        }
    }
}

impl<'de> Deserialize<'de> for Threshold {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Written)
    }
}

struct Written;

impl Visitor<'_> for Written {
    type Value = Threshold;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "a threshold: a number, \"{LEARNED}\", or null for that of the method")
    }

    fn visit_unit<E: Error>(self) -> Result<Threshold, E> {
        Ok(Threshold::Default)
    }

    fn visit_f64<E: Error>(self, threshold: f64) -> Result<Threshold, E> {
        Ok(Threshold::At(threshold))
    }

    fn visit_u64<E: Error>(self, threshold: u64) -> Result<Threshold, E> {
        Ok(Threshold::At(threshold as f64))
    }

    fn visit_i64<E: Error>(self, threshold: i64) -> Result<Threshold, E> {
        Ok(Threshold::At(threshold as f64))
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<Threshold, E> {
        if word == LEARNED {
            Ok(Threshold::Learned)
        } else {
            Err(E::invalid_value(serde::de::Unexpected::Str(word), &self))
        }
    }
}

/// Returns the threshold that the statistics of chunks have learned.
///
/// # Errors
/// [`DriftError::FewChunks`] if there are fewer than two.
pub(super) fn learned(statistics: &[f64]) -> Result<f64, DriftError> {
    if statistics.len() < LEAST_CHUNKS {
        return Err(DriftError::FewChunks { chunks: statistics.len() });
    }
    let count = statistics.len() as f64;
    let mean = statistics.iter().sum::<f64>() / count;
    let variance = statistics.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
    Ok(mean + DEVIATIONS * variance.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_is_written_as_a_number_a_word_or_nothing() {
        for (text, threshold) in
            [("null", Threshold::Default), ("0.25", Threshold::At(0.25)), ("\"learned\"", Threshold::Learned)]
        {
            assert_eq!(serde_json::from_str::<Threshold>(text).unwrap(), threshold);
            assert_eq!(serde_json::to_string(&threshold).unwrap(), text);
        }
        assert_eq!(serde_json::from_str::<Threshold>("1").unwrap(), 1.0.into());
        for wrong in ["\"learnt\"", "true", "[]", "{}"] {
            let error = serde_json::from_str::<Threshold>(wrong).unwrap_err().to_string();
            assert!(error.contains("a threshold: a number, \"learned\", or null"), "{error}");
        }
    }

    #[test]
    fn it_is_the_mean_and_three_population_deviations() {
        // numpy: np.mean(range(10)) + 3 * np.std(range(10))
        let statistics: Vec<f64> = (0..10).map(f64::from).collect();
        assert!((learned(&statistics).unwrap() - 13.116_843_969_807_043).abs() < 1e-14);
        assert_eq!(learned(&[0.0; 10]), Ok(0.0), "nothing strays");
        assert_eq!(learned(&[]), Err(DriftError::FewChunks { chunks: 0 }));
        assert_eq!(learned(&[0.5]), Err(DriftError::FewChunks { chunks: 1 }));
    }
}
