//! KSWIN: the newest values of a window against some of its older ones.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::detection::{Detection, Direction, Level};
use crate::drift::DriftError;
use crate::drift::error::in_range;
use crate::drift::hash::Random;
use crate::drift::{smirnov, steps};

/// The distance of two distribution functions must be above this, whatever its p-value, as in river.
const LEAST_DISTANCE: f64 = 0.1;

/// Settings of [`Kswin`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KswinSettings {
    /// p-value up to which both samples are different, 0 to 1; default 0.005. There is a test for each value, so that
    /// there is a false alarm in some hundred values.
    pub alpha: f64,
    /// Number of values in the window; default 100.
    pub window_size: usize,
    /// Number of values in each sample, at most half a window; default 30.
    pub stat_size: usize,
    /// Where the random numbers start; default 0.
    pub seed: u64,
}

impl Default for KswinSettings {
    fn default() -> Self {
        Self { alpha: 0.005, window_size: 100, stat_size: 30, seed: 0 }
    }
}

/// The detector of Raab, Heusinger and Schleif, "Reactive soft prototype computing for concept drift streams",
/// Neurocomputing 2020, as in river 0.26.1: the newest `stat_size` values of the window, and as many drawn from the
/// older ones without repetition, by the two-sample test of Kolmogorov and Smirnov.
///
/// * Its random numbers are part of its state, so a replay fires at the same values. They are not those of Python, so
///   it does not fire at exactly the values at which river's does.
/// * Cost: microseconds per value, once the window is full.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kswin {
    settings: KswinSettings,
    random: Random,
    /// The oldest first.
    window: VecDeque<f64>,
}

impl Default for Kswin {
    fn default() -> Self {
        Self::empty(KswinSettings::default())
    }
}

impl Kswin {
    /// Returns a detector that has seen nothing.
    /// # Errors
    /// [`DriftError::Setting`] if `alpha` is no probability, or a window has not two samples.
    pub fn new(settings: KswinSettings) -> Result<Self, DriftError> {
        let KswinSettings { alpha, window_size, stat_size, seed: _ } = settings;
        in_range("alpha", alpha, (0.0..=1.0).contains(&alpha), "from 0 to 1")?;
        in_range("stat_size", stat_size as f64, stat_size > 0, "at least 1")?;
        in_range("window_size", window_size as f64, window_size / 2 >= stat_size, "at least twice stat_size")?;
        Ok(Self::empty(settings))
    }

    fn empty(settings: KswinSettings) -> Self {
        Self { settings, random: Random::new(settings.seed), window: VecDeque::new() }
    }

    /// Takes the next value, and returns whether the newest values are different. Then the window starts anew.
    pub fn update(&mut self, value: f64) -> Option<Detection> {
        if !value.is_finite() {
            return None;
        }
        let KswinSettings { alpha, window_size, stat_size, seed: _ } = self.settings;
        if self.window.len() >= window_size {
            self.window.pop_front();
        }
        self.window.push_back(value + 0.0);
        if self.window.len() < window_size {
            return None;
        }
        let older = window_size.saturating_sub(stat_size);
        let drawn = self.drawn(older, stat_size);
        let newest: Vec<f64> = self.window.iter().skip(older).copied().collect();
        let (n, m) = (drawn.len() as u64, newest.len() as u64);
        let largest = steps::between(&counted(&drawn), &counted(&newest)).largest;
        let differs = smirnov::p_value(n, m, largest) <= alpha && largest as f64 > LEAST_DISTANCE * (n * m) as f64;
        differs.then(|| {
            let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
            let direction = Direction::of(mean(&drawn), mean(&newest));
            // River keeps the newest values, and empties the window with the next value: that is the same.
            self.window.clear();
            Detection { level: Level::Drift, direction }
        })
    }

    /// Returns some of the first values of the window, each at most once.
    fn drawn(&mut self, of_first: usize, count: usize) -> Vec<f64> {
        let mut first: Vec<f64> = self.window.iter().take(of_first).copied().collect();
        let count = count.min(first.len());
        for at in 0..count {
            let other = at + self.random.below(first.len() - at);
            first.swap(at, other);
        }
        first.truncate(count);
        first
    }
}

/// Returns the different values, sorted, with their counts.
fn counted(values: &[f64]) -> Vec<(f64, u64)> {
    let mut values = values.to_vec();
    values.sort_unstable_by(f64::total_cmp);
    values.chunk_by(|a, b| a == b).filter_map(|run| Some((*run.first()?, run.len() as u64))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Evenly spread numbers without a pattern in windows of 100.
    fn noise(i: u32) -> f64 {
        f64::from(i.wrapping_mul(2_654_435_769) >> 8) / f64::from(1 << 24)
    }

    fn fires(settings: KswinSettings, values: impl Iterator<Item = f64>) -> Vec<(usize, Direction)> {
        let mut detector = Kswin::new(settings).unwrap();
        values.enumerate().filter_map(|(at, value)| Some((at, detector.update(value)?.direction))).collect()
    }

    #[test]
    fn a_step_is_found_soon_and_quiet_values_are_left_alone() {
        let strict = KswinSettings { alpha: 1e-4, ..KswinSettings::default() };
        for seed in 0..20 {
            let settings = KswinSettings { seed, ..strict };
            let step = (0..1000).map(|i| noise(i) + if i < 500 { 0.0 } else { 1.0 });
            let found = fires(settings, step);
            assert!(matches!(found[..], [(505..530, Direction::Up)]), "seed {seed}: {found:?}");
            assert_eq!(fires(settings, (0..1000).map(|_| 7.0)), []);
        }
    }

    #[test]
    fn it_replays_and_its_seed_matters() {
        let values = || (0..3000).map(|i| noise(i * i));
        let with = |seed| fires(KswinSettings { seed, alpha: 0.05, ..Default::default() }, values());
        assert!(!with(1).is_empty());
        assert_eq!(with(1), with(1));
        assert_ne!(with(1), with(2));
    }

    #[test]
    fn values_are_drawn_once_and_from_all_older_ones() {
        let mut detector = Kswin::default();
        (0..99).for_each(|i| assert_eq!(detector.update(f64::from(i)), None));
        let mut times = [0; 70];
        for _ in 0..700 {
            let drawn = detector.drawn(70, 30);
            assert_eq!(counted(&drawn).len(), 30);
            drawn.iter().for_each(|value| times[*value as usize] += 1);
        }
        assert!(times.iter().all(|times| (240..360).contains(times)), "{times:?}");
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        let with = |window_size, stat_size| Kswin::new(KswinSettings { window_size, stat_size, ..Default::default() });
        assert!(with(59, 30).is_err() && with(60, 30).is_ok() && with(60, 0).is_err());
        assert!(Kswin::new(KswinSettings { alpha: 2.0, ..Default::default() }).is_err());
    }
}
