//! The features of the example `iot_window`. Readings come in order of time, so a reading of the next window closes the
//! last one of its machine.

use anyhow::Result;
use rustc_hash::FxHashMap;
use serde::Deserialize;

const LENGTH: i64 = 10_000;
const SIGNALS: usize = 8;
/// Number of features: mean, standard deviation, maximum and minimum of each signal.
pub const WIDTH: usize = 4 * SIGNALS;

#[derive(Deserialize)]
struct Reading<'a> {
    machine_id: &'a str,
    ts: i64,
    accelerometer_1: f64,
    accelerometer_2: f64,
    current: f64,
    pressure: f64,
    temperature: f64,
    thermocouple: f64,
    voltage: f64,
    flow_rate: f64,
}

impl Reading<'_> {
    fn signals(&self) -> [f64; SIGNALS] {
        let Self { accelerometer_1, accelerometer_2, current, pressure, .. } = *self;
        let Self { temperature, thermocouple, voltage, flow_rate, .. } = *self;
        [accelerometer_1, accelerometer_2, current, pressure, temperature, thermocouple, voltage, flow_rate]
    }
}

/// The open window of a machine.
struct Window {
    start: i64,
    count: f64,
    sums: [f64; SIGNALS],
    squares: [f64; SIGNALS],
    max: [f64; SIGNALS],
    min: [f64; SIGNALS],
}

impl Window {
    fn at(start: i64) -> Self {
        let (max, min) = ([f64::MIN; SIGNALS], [f64::MAX; SIGNALS]);
        Self { start, count: 0.0, sums: [0.0; SIGNALS], squares: [0.0; SIGNALS], max, min }
    }

    fn add(&mut self, signals: [f64; SIGNALS]) {
        self.count += 1.0;
        for (at, value) in signals.into_iter().enumerate() {
            self.sums[at] += value;
            self.squares[at] += value * value;
            self.max[at] = self.max[at].max(value);
            self.min[at] = self.min[at].min(value);
        }
    }

    fn features(&self) -> [f64; WIDTH] {
        let mut features = [0.0; WIDTH];
        for (at, of_signal) in features.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            let mean = self.sums[at] / self.count;
            let variance = self.squares[at] / self.count - mean * mean;
            *of_signal = [mean, variance.max(0.0).sqrt(), self.max[at], self.min[at]];
        }
        features
    }
}

/// The state: the open window of each machine.
#[derive(Default)]
pub struct Job {
    machines: FxHashMap<Box<str>, Window>,
}

impl Job {
    /// Adds a line. Passes the features of a window that it closes to `score`.
    ///
    /// # Errors
    /// When it is not a reading, or `score` fails.
    pub fn add(&mut self, line: &[u8], score: impl FnOnce(&[f64]) -> Result<()>) -> Result<()> {
        let reading: Reading<'_> = sonic_rs::from_slice(line)?;
        let start = reading.ts - reading.ts.rem_euclid(LENGTH);
        let Some(window) = self.machines.get_mut(reading.machine_id) else {
            let mut window = Window::at(start);
            window.add(reading.signals());
            self.machines.insert(reading.machine_id.into(), window);
            return Ok(());
        };
        if window.start != start {
            score(&window.features())?;
            *window = Window::at(start);
        }
        window.add(reading.signals());
        Ok(())
    }

    /// Passes the features of the windows that are open at the end to `score`.
    ///
    /// # Errors
    /// When `score` fails.
    pub fn finish(&self, mut score: impl FnMut(&[f64]) -> Result<()>) -> Result<()> {
        self.machines.values().try_for_each(|window| score(&window.features()))
    }
}
