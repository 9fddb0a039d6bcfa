//! Page-Hinkley: a sum of distances from the mean that goes too far from its extreme.

use serde::{Deserialize, Serialize};

use super::detection::{Detection, Direction, Level, Mean};
use crate::drift::DriftError;
use crate::drift::error::in_range;

/// Which changes [`PageHinkley`] looks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PageHinkleyMode {
    /// Values that become larger.
    Up,
    /// Values that become smaller.
    Down,
    /// Both.
    #[default]
    Both,
}

/// Settings of [`PageHinkley`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PageHinkleySettings {
    /// Nothing is reported before so many values; default 30.
    pub min_instances: u64,
    /// Change of the mean that is tolerated, in units of the values; default 0.005.
    pub delta: f64,
    /// How far the sum may be from its extreme, in units of the values; default 50.
    pub threshold: f64,
    /// What is left of the sum with each value, 0 to 1; default 0.9999.
    pub alpha: f64,
    /// Which changes are looked for; default both.
    pub mode: PageHinkleyMode,
}

impl Default for PageHinkleySettings {
    fn default() -> Self {
        Self { min_instances: 30, delta: 0.005, threshold: 50.0, alpha: 1.0 - 0.0001, mode: PageHinkleyMode::Both }
    }
}

/// The detector of Page, "Continuous inspection schemes", Biometrika 41, 1954, with forgetting, as in river 0.26.1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PageHinkley {
    settings: PageHinkleySettings,
    mean: Mean,
    increase: f64,
    decrease: f64,
    /// The least increase so far; `None` before the first value.
    least_increase: Option<f64>,
    largest_decrease: f64,
    drifted: bool,
}

impl Default for PageHinkley {
    fn default() -> Self {
        Self::empty(PageHinkleySettings::default())
    }
}

impl PageHinkley {
    /// Returns a detector that has seen nothing.
    /// # Errors
    /// [`DriftError::Setting`] if `threshold` or `delta` is not finite, or `alpha` is not between 0 and 1.
    pub fn new(settings: PageHinkleySettings) -> Result<Self, DriftError> {
        let PageHinkleySettings { min_instances: _, delta, threshold, alpha, mode: _ } = settings;
        in_range("delta", delta, delta.is_finite(), "finite")?;
        in_range("threshold", threshold, threshold.is_finite(), "finite")?;
        in_range("alpha", alpha, (0.0..=1.0).contains(&alpha), "from 0 to 1")?;
        Ok(Self::empty(settings))
    }

    fn empty(settings: PageHinkleySettings) -> Self {
        let mean = Mean::default();
        // −1 is where river starts.
        Self {
            settings,
            mean,
            increase: 0.0,
            decrease: 0.0,
            least_increase: None,
            largest_decrease: -1.0,
            drifted: false,
        }
    }

    /// Takes the next value, and returns whether the sum went too far.
    pub fn update(&mut self, value: f64) -> Option<Detection> {
        if !value.is_finite() {
            return None;
        }
        if self.drifted {
            *self = Self::empty(self.settings);
        }
        let PageHinkleySettings { min_instances, delta, threshold, alpha, mode } = self.settings;
        self.mean.update(value);
        let distance = value - self.mean.mean;
        self.increase = alpha * self.increase + distance - delta;
        self.decrease = alpha * self.decrease + distance + delta;
        let least = self.least_increase.map_or(self.increase, |least| least.min(self.increase));
        self.least_increase = Some(least);
        self.largest_decrease = self.largest_decrease.max(self.decrease);
        if self.mean.n < min_instances {
            return None;
        }
        let up = mode != PageHinkleyMode::Down && self.increase - least > threshold;
        let down = mode != PageHinkleyMode::Up && self.largest_decrease - self.decrease > threshold;
        self.drifted = up || down;
        let direction = if up { Direction::Up } else { Direction::Down };
        self.drifted.then_some(Detection { level: Level::Drift, direction })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fires(mode: PageHinkleyMode, values: impl Iterator<Item = f64>) -> Vec<(usize, Direction)> {
        let mut detector =
            PageHinkley::new(PageHinkleySettings { mode, threshold: 20.0, ..Default::default() }).unwrap();
        values.enumerate().filter_map(|(at, value)| Some((at, detector.update(value)?.direction))).collect()
    }

    #[test]
    fn each_mode_sees_its_direction() {
        use PageHinkleyMode::{Both, Down, Up};
        let step = |to: f64| (0..400).map(move |i| if i < 200 { 0.0 } else { to });
        let (up, down) = (fires(Both, step(1.0)), fires(Both, step(-1.0)));
        // The mean follows the values, so that it takes some more than 20 of them.
        assert!(matches!(up[..], [(220..226, Direction::Up), ..]), "{up:?}");
        assert!(matches!(down[..], [(220..226, Direction::Down), ..]), "{down:?}");
        assert_eq!((fires(Up, step(1.0))[0], fires(Down, step(-1.0))[0]), (up[0], down[0]));
        assert_eq!((fires(Down, step(1.0)), fires(Up, step(-1.0))), (vec![], vec![]));
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        let with = |threshold, alpha| PageHinkley::new(PageHinkleySettings { threshold, alpha, ..Default::default() });
        assert!(with(f64::NAN, 0.5).is_err() && with(50.0, 1.1).is_err() && with(50.0, 1.0).is_ok());
    }
}
