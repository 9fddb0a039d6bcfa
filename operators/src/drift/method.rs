//! The statistics of drift, and which one is used if none is asked for.

use serde::{Deserialize, Serialize};

/// Up to so many different numbers are compared like categories.
pub(super) const FEW: usize = 5;

/// A statistic of a reference against a window. The names are those of Evidently, spelled out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Method {
    /// Population stability index: Σ (p − q) ln(p / q). 0 or more.
    Psi,
    /// p-value of the two-sample test of the largest distance of the two distribution functions.
    KolmogorovSmirnov,
    /// Square root of the Jensen-Shannon divergence, natural logarithm: 0 to √ln 2 ≈ 0.83. Divide by √ln 2 for base 2.
    JensenShannon,
    /// Area between the two distribution functions, in standard deviations of the reference.
    Wasserstein,
    /// p-value of Pearson's one-sample test, where the shares of the reference count as exact. It is 0 as soon as the
    /// window has a value that the reference does not have, and fires sooner than a two-sample test.
    ChiSquare,
    /// p-value of the two-sample test of the share of records that do not have the smallest value; for two values.
    Z,
    /// Kullback-Leibler divergence of the reference from the window: Σ p ln(p / q), with natural logarithm.
    KullbackLeibler,
    /// Hellinger distance: √(1 − Σ √(p q)), 0 to 1.
    Hellinger,
}

impl Method {
    /// Returns the threshold of Evidently: 0.05 for p-values, 0.1 for distances.
    pub fn default_threshold(self) -> f64 {
        if self.is_p_value() { 0.05 } else { 0.1 }
    }

    /// Returns whether the value is a p-value, which is *small* if there is drift.
    pub fn is_p_value(self) -> bool {
        matches!(self, Self::KolmogorovSmirnov | Self::ChiSquare | Self::Z)
    }

    /// Returns whether a threshold can be learned: not for p-values, but for the distance of Kolmogorov and Smirnov.
    pub(super) fn is_learnable(self) -> bool {
        !matches!(self, Self::ChiSquare | Self::Z)
    }

    /// Returns whether a value is drift, by the comparison of Evidently: ≥ for distances, ≤ for Kolmogorov-Smirnov, <
    /// for the two other p-values. NaN is no drift.
    pub fn is_drift(self, value: f64, threshold: f64) -> bool {
        match self {
            Self::KolmogorovSmirnov => value <= threshold,
            Self::ChiSquare | Self::Z => value < threshold,
            _ => value >= threshold,
        }
    }

    /// Returns the method that Evidently uses for numbers, if the reference has `rows` of them, and reference and
    /// window have `distinct` different values together.
    pub fn for_numbers(rows: u64, distinct: usize) -> Self {
        match (rows <= 1000, distinct) {
            (true, 0..=2) => Self::Z,
            (true, ..=FEW) => Self::ChiSquare,
            (true, _) => Self::KolmogorovSmirnov,
            (false, ..=FEW) => Self::JensenShannon,
            (false, _) => Self::Wasserstein,
        }
    }

    /// Returns the method that Evidently uses for categories. See [`Method::for_numbers`].
    pub fn for_categories(rows: u64, distinct: usize) -> Self {
        match (rows <= 1000, distinct) {
            (true, 0..=2) => Self::Z,
            (true, _) => Self::ChiSquare,
            (false, _) => Self::JensenShannon,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Method::*;
    use super::*;

    #[test]
    fn methods_are_chosen_as_in_the_table_of_evidently() {
        let numbers = |rows| [2, 3, 5, 6].map(|distinct| Method::for_numbers(rows, distinct));
        assert_eq!(numbers(1000), [Z, ChiSquare, ChiSquare, KolmogorovSmirnov]);
        assert_eq!(numbers(1001), [JensenShannon, JensenShannon, JensenShannon, Wasserstein]);
        let categories = |rows| [2, 3].map(|distinct| Method::for_categories(rows, distinct));
        assert_eq!((categories(1000), categories(1001)), ([Z, ChiSquare], [JensenShannon, JensenShannon]));
    }

    #[test]
    fn thresholds_include_their_value_as_in_evidently() {
        assert!(KolmogorovSmirnov.is_drift(0.05, 0.05) && Psi.is_drift(0.1, 0.1));
        assert!(!ChiSquare.is_drift(0.05, 0.05) && !Z.is_drift(0.05, 0.05) && !Psi.is_drift(0.09, 0.1));
        assert!([Psi, Z].iter().all(|method| !method.is_drift(f64::NAN, 0.1)));
        assert_eq!(serde_json::to_string(&KolmogorovSmirnov).unwrap(), "\"kolmogorov_smirnov\"");
    }
}
