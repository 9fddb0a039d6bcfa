//! DDM: an error rate that rises above its best.

use serde::{Deserialize, Serialize};

use super::detection::{Detection, Direction, Level, Mean};
use crate::drift::DriftError;
use crate::drift::error::in_range;

/// Settings of [`Ddm`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DdmSettings {
    /// Nothing is reported up to so many values; default 30.
    pub warm_start: u64,
    /// Number of standard deviations above the best error rate that is a warning; default 2.
    pub warning_threshold: f64,
    /// Number of standard deviations above the best error rate that is a drift; default 3.
    pub drift_threshold: f64,
}

impl Default for DdmSettings {
    fn default() -> Self {
        Self { warm_start: 30, warning_threshold: 2.0, drift_threshold: 3.0 }
    }
}

/// The detector of Gama, Medas, Castillo and Rodrigues, "Learning with drift detection", SBIA 2004, as in river 0.26.1.
///
/// Values are errors: 1 for a wrong prediction, 0 for a right one. It reports each value while the error rate is above
/// its warning threshold, and once that it is above its drift threshold. It only sees errors that become more frequent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ddm {
    settings: DdmSettings,
    errors: Mean,
    /// The error rate and its standard deviation where their sum was least.
    best: Option<(f64, f64)>,
    drifted: bool,
}

impl Default for Ddm {
    fn default() -> Self {
        Self::empty(DdmSettings::default())
    }
}

impl Ddm {
    /// Returns a detector that has seen nothing.
    /// # Errors
    /// [`DriftError::Setting`] if a threshold is not finite.
    pub fn new(settings: DdmSettings) -> Result<Self, DriftError> {
        let DdmSettings { warm_start: _, warning_threshold, drift_threshold } = settings;
        in_range("warning_threshold", warning_threshold, warning_threshold.is_finite(), "finite")?;
        in_range("drift_threshold", drift_threshold, drift_threshold.is_finite(), "finite")?;
        Ok(Self::empty(settings))
    }

    fn empty(settings: DdmSettings) -> Self {
        Self { settings, errors: Mean::default(), best: None, drifted: false }
    }

    /// Takes the next value, 0 to 1, and returns whether the error rate is too high. It ignores a value outside of this
    /// range.
    pub fn update(&mut self, value: f64) -> Option<Detection> {
        if !(0.0..=1.0).contains(&value) {
            return None;
        }
        if self.drifted {
            *self = Self::empty(self.settings);
        }
        self.errors.update(value);
        let (rate, n) = (self.errors.mean, self.errors.n);
        // Rounding may bring a rate slightly above 1.
        let deviation = (rate * (1.0 - rate) / n as f64).max(0.0).sqrt();
        if n <= self.settings.warm_start {
            return None;
        }
        let (least_rate, least_deviation) = match self.best {
            Some((rate_before, before)) if rate + deviation > rate_before + before => (rate_before, before),
            _ => (rate, deviation),
        };
        self.best = Some((least_rate, least_deviation));
        let is_above = |deviations: f64| rate + deviation > least_rate + deviations * least_deviation;
        self.drifted = is_above(self.settings.drift_threshold);
        let level = if self.drifted {
            Level::Drift
        } else if is_above(self.settings.warning_threshold) {
            Level::Warning
        } else {
            return None;
        };
        Some(Detection { level, direction: Direction::Up })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_errors_are_a_warning_and_then_a_drift() {
        let mut detector = Ddm::default();
        let errors = (0..1000).map(|i| f64::from(u8::from(if i < 500 { i % 10 == 0 } else { i % 2 == 0 })));
        let found: Vec<(usize, Level)> =
            errors.enumerate().filter_map(|(at, error)| Some((at, detector.update(error)?.level))).collect();
        let first = |level| found.iter().find(|(at, found)| *found == level && *at >= 500).map(|(at, _)| *at).unwrap();
        assert!(first(Level::Warning) < first(Level::Drift) && first(Level::Drift) < 600, "{found:?}");
    }

    #[test]
    fn fewer_errors_are_no_drift_and_other_values_are_ignored() {
        let mut detector = Ddm::default();
        let errors = (0..1000).map(|i| f64::from(u8::from(if i < 500 { i % 2 == 0 } else { i % 10 == 0 })));
        assert_eq!(
            errors.filter_map(|error| detector.update(error)).filter(|found| found.level == Level::Drift).count(),
            0
        );
        let before = detector.clone();
        assert_eq!((detector.update(1.5), detector.update(-0.1), detector.update(f64::NAN)), (None, None, None));
        assert_eq!(detector, before);
        assert!(Ddm::new(DdmSettings { drift_threshold: f64::NAN, ..Default::default() }).is_err());
    }
}
