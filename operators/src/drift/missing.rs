//! The share of records without a value. It is a statistic of its own: the others do not see that a feature goes
//! missing.

use serde::{Deserialize, Serialize};

use super::categories::Categories;
use super::special;
use super::values::Distribution;

/// The shares of records without a value in a reference and in a window. Infinite numbers are no values, as in
/// Evidently.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MissingShare {
    /// Share in the reference, 0 to 1.
    pub reference: f64,
    /// Share in the window, 0 to 1.
    pub window: f64,
    /// The difference of both shares, without its sign.
    pub value: f64,
    /// What it was compared with.
    pub threshold: f64,
    /// Whether the value is at least the threshold.
    pub drifted: bool,
    /// p-value of the two-sided test of two shares, with pooled variance. It is no part of `drifted`: in large windows
    /// each difference is significant.
    pub p_value: f64,
    /// Number of records in the reference.
    pub n_reference: u64,
    /// Number of records in the window.
    pub n: u64,
}

impl MissingShare {
    /// Threshold that fits most features: five of a hundred records.
    pub const THRESHOLD: f64 = 0.05;

    /// Compares the records without a number.
    pub fn of_values(reference: &Distribution, window: &Distribution, threshold: f64) -> Self {
        let of = |side: &Distribution| {
            let without = side.missing() + side.infinite();
            (without, side.count() + without)
        };
        Self::of(of(reference), of(window), threshold)
    }

    /// Compares the records without a category.
    pub fn of_categories(reference: &Categories, window: &Categories, threshold: f64) -> Self {
        let of = |side: &Categories| (side.missing(), side.count() + side.missing());
        Self::of(of(reference), of(window), threshold)
    }

    /// Says that there is drift if fewer of the records of the window than `least` have a value.
    pub(super) fn with_least(self, least: Option<&f64>) -> Self {
        let drifted = self.drifted || least.is_some_and(|least| self.n > 0 && 1.0 - self.window < *least);
        Self { drifted, ..self }
    }

    fn of((a, n_reference): (u64, u64), (b, n): (u64, u64), threshold: f64) -> Self {
        let share = |part: u64, all: u64| if all > 0 { part as f64 / all as f64 } else { 0.0 };
        let (reference, window, pooled) = (share(a, n_reference), share(b, n), share(a + b, n_reference + n));
        let value = (window - reference).abs();
        let variance = pooled * (1.0 - pooled) * (1.0 / n_reference as f64 + 1.0 / n as f64);
        let p_value =
            if value > 0.0 && variance.is_finite() { special::normal_two_sided(value / variance.sqrt()) } else { 1.0 };
        Self { reference, window, value, threshold, drifted: value >= threshold, p_value, n_reference, n }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: usize, missing: usize, infinite: usize) -> Distribution {
        let mut distribution = Distribution::default();
        (0..values).for_each(|i| distribution.add(Some(i as f64)));
        (0..missing).for_each(|_| distribution.add(None));
        (0..infinite).for_each(|_| distribution.add(Some(f64::INFINITY)));
        distribution
    }

    #[test]
    fn a_feature_that_goes_missing_drifts() {
        let share = MissingShare::of_values(&of(95, 5, 0), &of(80, 15, 5), 0.1);
        assert_eq!((share.reference, share.window, share.n_reference, share.n), (0.05, 0.2, 100, 100));
        assert!(share.drifted && (share.value - 0.15).abs() < 1e-15);
        // 2 (1 - Φ(0.15 / √(0.125 · 0.875 · 0.02)))
        assert!((share.p_value - 0.0013406411172294427).abs() < 1e-12, "{}", share.p_value);
        assert!(!MissingShare::of_values(&of(95, 5, 0), &of(80, 15, 5), 0.2).drifted);
    }

    #[test]
    fn equal_shares_and_empty_sides_do_not_drift() {
        for (reference, window) in [(of(9, 1, 0), of(18, 2, 0)), (of(5, 0, 0), of(0, 0, 0)), (of(0, 3, 0), of(0, 4, 0))]
        {
            let share = MissingShare::of_values(&reference, &window, 0.05);
            assert_eq!((share.value, share.p_value, share.drifted), (0.0, 1.0, false));
        }
        let (mut present, mut absent) = (Categories::default(), Categories::default());
        present.add(Some(super::super::Category::Known(0)));
        absent.add(None);
        assert!(MissingShare::of_categories(&present, &absent, 0.5).drifted);
    }
}
