//! The job `iot`: three signals of a machine in tumbling windows of 10 s.

use std::io::Write;

use anyhow::Result;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use crate::lines::Key;

/// How far out of order readings may be, in ms.
pub const BOUND: i64 = 1_000;
/// Length of a window, in ms.
pub const LENGTH: i64 = 10_000;

/// A reading, parsed.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Reading {
    /// The machine.
    pub machine: Key,
    /// Event time, in ms.
    pub ts: i64,
    /// Temperature, vibration, pressure.
    pub values: [f64; 3],
}

#[derive(Deserialize)]
struct Line<'a> {
    machine_id: &'a str,
    ts: i64,
    temperature: f64,
    vibration: f64,
    pressure: f64,
}

impl Reading {
    /// Parses a line.
    ///
    /// # Errors
    /// When it is not a reading.
    pub fn parse(line: &[u8]) -> Result<Self> {
        let Line { machine_id, ts, temperature, vibration, pressure } = sonic_rs::from_slice(line)?;
        Ok(Self { machine: Key::of(machine_id)?, ts, values: [temperature, vibration, pressure] })
    }

    /// Returns the start of the reading's window.
    #[must_use]
    pub fn window(&self) -> i64 {
        self.ts - self.ts.rem_euclid(LENGTH)
    }
}

/// The statistics of a window.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Totals {
    count: u64,
    sums: [f64; 3],
    squares: [f64; 3],
    max: [f64; 3],
    min: [f64; 3],
}

impl Default for Totals {
    fn default() -> Self {
        Self { count: 0, sums: [0.0; 3], squares: [0.0; 3], max: [f64::MIN; 3], min: [f64::MAX; 3] }
    }
}

impl Totals {
    /// Adds a reading.
    pub fn add(&mut self, values: [f64; 3]) {
        self.count += 1;
        for (at, value) in values.into_iter().enumerate() {
            self.sums[at] += value;
            self.squares[at] += value * value;
            self.max[at] = self.max[at].max(value);
            self.min[at] = self.min[at].min(value);
        }
    }

    /// Writes the line of a window.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, machine: Key, window: i64, out: &mut impl Write) -> Result<()> {
        let mut id = [0; 8];
        let n = self.count as f64;
        let mean = self.sums.map(|sum| sum / n);
        let std = [0, 1, 2].map(|at: usize| (self.squares[at] / n - mean[at] * mean[at]).max(0.0).sqrt());
        let line = WindowLine {
            machine_id: machine.text(&mut id),
            window_start: window,
            n: self.count,
            temperature_mean: mean[0],
            temperature_std: std[0],
            temperature_max: self.max[0],
            temperature_min: self.min[0],
            vibration_mean: mean[1],
            vibration_std: std[1],
            vibration_max: self.max[1],
            vibration_min: self.min[1],
            pressure_mean: mean[2],
            pressure_std: std[2],
            pressure_max: self.max[2],
            pressure_min: self.min[2],
        };
        let mut bytes = sonic_rs::to_vec(&line)?;
        bytes.push(b'\n');
        Ok(out.write_all(&bytes)?)
    }
}

#[derive(Serialize)]
struct WindowLine<'a> {
    machine_id: &'a str,
    window_start: i64,
    n: u64,
    temperature_mean: f64,
    temperature_std: f64,
    temperature_max: f64,
    temperature_min: f64,
    vibration_mean: f64,
    vibration_std: f64,
    vibration_max: f64,
    vibration_min: f64,
    pressure_mean: f64,
    pressure_std: f64,
    pressure_max: f64,
    pressure_min: f64,
}

/// The open windows: few, each with all its machines, and closed as a whole.
#[derive(Default)]
pub struct Windows {
    open: Vec<(i64, FxHashMap<Key, Totals>)>,
    /// Time before which windows are closed.
    closed: Option<i64>,
    /// Number of readings that came after their window had been closed.
    pub late: u64,
}

impl Windows {
    /// Adds a reading to its window.
    pub fn add(&mut self, reading: &Reading) {
        let start = reading.window();
        if self.closed.is_some_and(|closed| start + LENGTH <= closed) {
            self.late += 1;
            return;
        }
        let at = self.open.iter().position(|(open, _)| *open == start).unwrap_or_else(|| {
            self.open.push((start, FxHashMap::default()));
            self.open.len() - 1
        });
        self.open[at].1.entry(reading.machine).or_default().add(reading.values);
    }

    /// Closes the windows that end at the watermark or before, and writes them.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn close(&mut self, watermark: i64, out: &mut impl Write) -> Result<()> {
        if self.closed.is_some_and(|closed| watermark < closed.saturating_add(LENGTH)) {
            return Ok(());
        }
        let mut at = 0;
        while let Some((start, _)) = self.open.get(at) {
            if start + LENGTH > watermark {
                at += 1;
                continue;
            }
            let (start, machines) = self.open.swap_remove(at);
            machines.iter().try_for_each(|(machine, totals)| totals.write(*machine, start, out))?;
        }
        self.closed = Some(watermark - watermark.rem_euclid(LENGTH));
        Ok(())
    }
}
