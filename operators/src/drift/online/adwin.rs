//! ADWIN: a window that drops its oldest values as soon as its parts differ too much.

use serde::{Deserialize, Serialize};

use super::detection::{Detection, Direction, Level};
use crate::drift::DriftError;
use crate::drift::error::in_range;

/// Settings of [`Adwin`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdwinSettings {
    /// Bound on the probability of a false alarm at a check, above 0 and below 1; default 0.002.
    pub delta: f64,
    /// The window is checked once in so many values; default 32.
    pub clock: u64,
    /// Number of buckets of one size before two are merged; default 5.
    pub max_buckets: usize,
    /// Least number of values on each side of a cut; default 5.
    pub min_window_length: u64,
    /// The window is not checked before it has more than so many values; default 10.
    pub grace_period: u64,
}

impl Default for AdwinSettings {
    fn default() -> Self {
        Self { delta: 0.002, clock: 32, max_buckets: 5, min_window_length: 5, grace_period: 10 }
    }
}

/// The sum of 2^i values that came one after the other, and the sum of their squared distances from their mean.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Bucket {
    total: f64,
    variance: f64,
}

/// A cut of the window into an older and a newer part.
struct Cut {
    n_older: f64,
    older_total: f64,
    newer_total: f64,
}

/// The detector of Bifet and Gavaldà, "Learning from time-changing data with adaptive windowing", SIAM 2007, in the
/// form of river 0.26.1 (BSD 3-clause), of which this is a port: rows of buckets as in Babcock et al., PODS 2003.
///
/// * State: at most `max_buckets` + 1 buckets for each power of two up to the number of values in the window.
/// * All operations are in river's order, so that it fires at the same values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Adwin {
    settings: AdwinSettings,
    /// By size, the smallest first; within a row the oldest first. There is at least one row.
    rows: Vec<Vec<Bucket>>,
    width: f64,
    total: f64,
    variance: f64,
    ticks: u64,
    drifted: bool,
}

impl Default for Adwin {
    fn default() -> Self {
        Self::empty(AdwinSettings::default())
    }
}

impl Adwin {
    /// Returns a detector that has seen nothing.
    /// # Errors
    /// [`DriftError::Setting`] if `delta` is not a probability, or `clock` or `max_buckets` is 0.
    pub fn new(settings: AdwinSettings) -> Result<Self, DriftError> {
        let AdwinSettings { delta, clock, max_buckets, min_window_length: _, grace_period: _ } = settings;
        in_range("delta", delta, delta > 0.0 && delta < 1.0, "above 0 and below 1")?;
        in_range("clock", clock as f64, clock > 0, "at least 1")?;
        in_range("max_buckets", max_buckets as f64, max_buckets > 0, "at least 1")?;
        Ok(Self::empty(settings))
    }

    fn empty(settings: AdwinSettings) -> Self {
        Self { settings, rows: vec![Vec::new()], width: 0.0, total: 0.0, variance: 0.0, ticks: 0, drifted: false }
    }

    /// Returns the number of values in the window.
    pub fn width(&self) -> u64 {
        self.width as u64
    }

    /// Returns the mean of the values in the window; 0 if there are none.
    pub fn mean(&self) -> f64 {
        if self.width > 0.0 { self.total / self.width } else { 0.0 }
    }

    /// Takes the next value, and returns whether the window had to be cut.
    pub fn update(&mut self, value: f64) -> Option<Detection> {
        if !value.is_finite() {
            return None;
        }
        if self.drifted {
            *self = Self::empty(self.settings);
        }
        self.insert(value);
        self.ticks += 1;
        let due = self.ticks.is_multiple_of(self.settings.clock) && self.width > self.settings.grace_period as f64;
        let mut found = None;
        while due && let Some(direction) = self.drifting_to() {
            found = Some(Detection { level: Level::Drift, direction });
            self.drop_oldest();
        }
        self.drifted = found.is_some();
        found
    }

    fn insert(&mut self, value: f64) {
        self.width += 1.0;
        if self.width > 1.0 {
            let distance = value - self.total / (self.width - 1.0);
            self.variance += (self.width - 1.0) * distance * distance / self.width;
        }
        self.total += value;
        let mut added = Some(Bucket { total: value, variance: 0.0 });
        let mut size = 1.0;
        for row in 0.. {
            let Some(bucket) = added.take() else { return };
            if row == self.rows.len() {
                self.rows.push(Vec::with_capacity(self.settings.max_buckets + 1));
            }
            let buckets = &mut self.rows[row];
            buckets.push(bucket);
            if let [first, second, ..] = buckets[..]
                && buckets.len() > self.settings.max_buckets
            {
                added = Some(merged(first, second, size));
                buckets.drain(..2);
            }
            size *= 2.0;
        }
    }

    /// Returns where the values go, if the window can be cut so that both parts differ too much.
    fn drifting_to(&self) -> Option<Direction> {
        let least = self.settings.min_window_length as f64;
        self.cuts().find_map(|Cut { n_older, older_total, newer_total }| {
            let n_newer = self.width - n_older;
            let (before, after) = (older_total / n_older, newer_total / n_newer);
            let differs = n_newer >= least && n_older >= least && (before - after).abs() > self.bound(n_older, n_newer);
            differs.then(|| Direction::of(before, after))
        })
    }

    /// Returns all cuts between two buckets, the oldest first.
    fn cuts(&self) -> impl Iterator<Item = Cut> {
        let sizes = (0..self.rows.len()).map(|row| 2f64.powi(row as i32));
        let buckets =
            sizes.zip(&self.rows).rev().flat_map(|(size, row)| row.iter().map(move |bucket| (size, bucket.total)));
        // The newer total is what is left when buckets are subtracted one by one, as in river: another sum may round
        // differently.
        let mut parts = (0.0, 0.0, self.total);
        let cuts = buckets.map(move |(size, total)| {
            parts = (parts.0 + size, parts.1 + total, parts.2 - total);
            Cut { n_older: parts.0, older_total: parts.1, newer_total: parts.2 }
        });
        // After the last bucket, there is no newer part.
        let all: usize = self.rows.iter().map(Vec::len).sum();
        cuts.take(all.saturating_sub(1))
    }

    /// Returns how far the means of both parts of a cut may be apart.
    fn bound(&self, n_older: f64, n_newer: f64) -> f64 {
        let log = libm::log(2.0 * libm::log(self.width) / self.settings.delta);
        let least = self.settings.min_window_length as f64;
        let inverse = 1.0 / (n_older - least + 1.0) + 1.0 / (n_newer - least + 1.0);
        (2.0 * inverse * (self.variance / self.width) * log).sqrt() + 2.0 / 3.0 * log * inverse
    }

    fn drop_oldest(&mut self) {
        let size = 2f64.powi(self.rows.len() as i32 - 1);
        let Some(row) = self.rows.last_mut().filter(|row| !row.is_empty()) else { return };
        let Bucket { total, variance } = row.remove(0);
        self.width -= size;
        self.total -= total;
        let (mean, of_rest) = (total / size, self.total / self.width);
        let between = size * self.width * (mean - of_rest) * (mean - of_rest) / (size + self.width);
        self.variance -= variance + between;
        while self.rows.len() > 1 && self.rows.last().is_some_and(Vec::is_empty) {
            self.rows.pop();
        }
    }
}

fn merged(first: Bucket, second: Bucket, size: f64) -> Bucket {
    let (mean, of_second) = (first.total / size, second.total / size);
    let between = size * 0.5 * (mean - of_second) * (mean - of_second);
    Bucket { total: first.total + second.total, variance: first.variance + second.variance + between }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns where a detector fires.
    fn fires(mut detector: Adwin, values: impl Iterator<Item = f64>) -> Vec<(usize, Direction)> {
        let found = values.enumerate().filter_map(|(at, value)| Some((at, detector.update(value)?.direction)));
        found.collect()
    }

    #[test]
    fn a_step_is_found_once_and_with_its_direction() {
        let step = |i: u32| if i < 1000 { 0.2 } else { 0.8 } + (f64::from(i * 7919 % 100) - 50.0) / 500.0;
        assert_eq!(fires(Adwin::default(), (0..2000).map(step)), [(1023, Direction::Up)]);
        assert_eq!(fires(Adwin::default(), (0..2000).map(|i| -step(i))), [(1023, Direction::Down)]);
        assert_eq!(fires(Adwin::default(), (0..1000).map(step)), []);
    }

    #[test]
    fn the_window_knows_its_mean_and_keeps_few_buckets() {
        let mut detector = Adwin::default();
        (0..10_000).for_each(|i| assert_eq!(detector.update(f64::from(i % 2)), None));
        assert_eq!((detector.width(), detector.mean()), (10_000, 0.5));
        assert!(detector.rows.iter().map(Vec::len).sum::<usize>() <= 6 * 14);
        // The sum of squared distances of 10,000 values from 1/2.
        assert!((detector.variance - 2500.0).abs() < 1e-6, "{}", detector.variance);
    }

    #[test]
    fn one_bucket_of_a_size_is_enough() {
        let settings = AdwinSettings { max_buckets: 1, clock: 1, min_window_length: 0, ..AdwinSettings::default() };
        let found = fires(Adwin::new(settings).unwrap(), (0..3000).map(|i| f64::from(u8::from(i >= 1500))));
        assert!(found.len() == 1 && (1500..1600).contains(&found[0].0), "{found:?}");
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        for settings in [
            AdwinSettings { delta: 0.0, ..Default::default() },
            AdwinSettings { delta: f64::NAN, ..Default::default() },
            AdwinSettings { clock: 0, ..Default::default() },
            AdwinSettings { max_buckets: 0, ..Default::default() },
        ] {
            assert!(Adwin::new(settings).is_err(), "{settings:?}");
        }
    }
}
