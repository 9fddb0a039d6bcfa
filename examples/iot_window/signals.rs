//! The readings of a machine, and their aggregates over a window.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use tidemill::features;
use tidemill::prelude::*;

/// A line of the input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    pub machine_id: CompactString,
    /// Event time, ms since the Unix epoch.
    pub ts: i64,
    /// Acceleration, in g.
    pub accelerometer_1: f64,
    /// Acceleration, in g.
    pub accelerometer_2: f64,
    /// Current of the motor, in A.
    pub current: f64,
    /// Pressure after the pump, in bar.
    pub pressure: f64,
    /// Temperature of the engine, in °C.
    pub temperature: f64,
    /// Temperature of the fluid, in °C.
    pub thermocouple: f64,
    /// Voltage of the motor, in V.
    pub voltage: f64,
    /// Flow rate of the fluid, in l/min.
    pub flow_rate: f64,
    /// The label that people assigned later; it is not a feature.
    pub anomaly: u8,
}

impl Reading {
    pub fn event_time(&self) -> EventTime {
        EventTime(self.ts)
    }

    /// Returns the signals, in the order of the features.
    fn signals(&self) -> [f64; 8] {
        let Self {
            accelerometer_1,
            accelerometer_2,
            current,
            pressure,
            temperature,
            thermocouple,
            voltage,
            flow_rate,
            ..
        } = *self;
        [accelerometer_1, accelerometer_2, current, pressure, temperature, thermocouple, voltage, flow_rate]
    }
}

features! {
    /// The features of a window: for each signal its mean, population standard deviation, maximum, minimum.
    pub struct WindowFeatures {
        accelerometer_1_mean, accelerometer_1_std, accelerometer_1_max, accelerometer_1_min,
        accelerometer_2_mean, accelerometer_2_std, accelerometer_2_max, accelerometer_2_min,
        current_mean, current_std, current_max, current_min,
        pressure_mean, pressure_std, pressure_max, pressure_min,
        temperature_mean, temperature_std, temperature_max, temperature_min,
        thermocouple_mean, thermocouple_std, thermocouple_max, thermocouple_min,
        voltage_mean, voltage_std, voltage_max, voltage_min,
        flow_rate_mean, flow_rate_std, flow_rate_max, flow_rate_min,
    }
}

/// The result of one window of a machine. It is large, and an operator moves a record several times: streams of it have
/// it in a box.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Summary {
    pub count: u64,
    pub signals: WindowFeatures,
    /// Whether any reading is labeled as an anomaly; for training only.
    #[serde(skip)]
    pub anomaly: u8,
}

/// The accumulator of a window.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Gathered {
    signals: StatsArray<8>,
    anomaly: u8,
}

/// Aggregates the eight signals of a machine.
pub struct Signals;

impl Aggregate for Signals {
    type In = Reading;
    type Accumulator = Gathered;
    type Out = Box<Summary>;

    fn empty(&self) -> Gathered {
        Gathered::default()
    }

    fn add(&self, gathered: &mut Gathered, reading: &Reading) {
        gathered.signals.add(&reading.signals());
        gathered.anomaly |= reading.anomaly;
    }

    fn merge(&self, into: &mut Gathered, other: &Gathered) {
        into.signals.merge(&other.signals);
        into.anomaly |= other.anomaly;
    }

    fn finish(&self, gathered: &Gathered) -> Box<Summary> {
        let Gathered { signals, anomaly } = gathered;
        let each = signals.all().into_iter();
        let values = each.flat_map(|stats| [stats.mean(), stats.std(), stats.max(), stats.min()]);
        let signals_of = WindowFeatures::from_values(values);
        Box::new(Summary { count: signals.count(), signals: signals_of, anomaly: *anomaly })
    }
}
