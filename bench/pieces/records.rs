//! Records as the examples have them, made up.

use compact_str::{CompactString, format_compact};
use serde::{Deserialize, Serialize};

use crate::Numbers;

/// Milliseconds since the Unix epoch: the time of the first record.
const START: i64 = 1_767_225_600_000;

/// The reading of a machine: mostly numbers with six digits after the point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "they are signals of `iot_window`, and the label")]
pub struct Reading {
    pub machine_id: CompactString,
    pub ts: i64,
    pub accelerometer_1: f64,
    pub accelerometer_2: f64,
    pub current: f64,
    pub pressure: f64,
    pub temperature: f64,
    pub thermocouple: f64,
    pub voltage: f64,
    pub flow_rate: f64,
    pub anomaly: u8,
}

/// A transaction: mostly integers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "they are the fields of `fraud_velocity`")]
pub struct Transaction {
    pub tx_id: u64,
    pub ts: i64,
    pub card_id: u64,
    pub terminal_id: u64,
    pub amount: f64,
    pub is_fraud: u8,
}

/// Makes readings of 10,000 machines, the same ones each time.
#[must_use]
pub fn readings(count: u64) -> Vec<Reading> {
    let mut numbers = Numbers(3);
    // A tenth more or less.
    let mut signal = |about: f64| {
        let share = 0.9 + numbers.next(200_000) as f64 / 1e6;
        (about * share * 1e6).round() / 1e6
    };
    let reading = |index| Reading {
        machine_id: format_compact!("pump-{:05}", index % 10_000),
        ts: START + index as i64,
        accelerometer_1: signal(0.2),
        accelerometer_2: signal(0.27),
        current: signal(2.7),
        pressure: signal(0.1),
        temperature: signal(90.0),
        thermocouple: signal(26.0),
        voltage: signal(230.0),
        flow_rate: signal(122.0),
        anomaly: 0,
    };
    (0..count).map(reading).collect()
}

/// Makes transactions of 5,000 cards, a tenth of a second apart, the same ones each time.
#[must_use]
pub fn transactions(count: u64) -> Vec<Transaction> {
    let mut numbers = Numbers(4);
    let transaction = |tx_id| Transaction {
        tx_id,
        ts: START + 100 * tx_id as i64,
        card_id: numbers.next(5_000),
        terminal_id: numbers.next(10_000),
        amount: (100 + numbers.next(19_900)) as f64 / 100.0,
        is_fraud: 0,
    };
    (0..count).map(transaction).collect()
}

/// Returns lines of JSON.
///
/// # Errors
/// When a record cannot be serialised.
pub fn json_of<T: Serialize>(records: &[T]) -> Result<String, serde_json::Error> {
    let lines: Result<Vec<String>, _> = records.iter().map(serde_json::to_string).collect();
    Ok(lines?.join("\n") + "\n")
}

/// Returns lines of CSV without a header, and the number of columns.
///
/// # Errors
/// When a record cannot be serialised.
pub fn csv_of<T: Serialize>(records: &[T]) -> Result<(String, usize), crate::Failure> {
    let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
    records.iter().try_for_each(|record| writer.serialize(record))?;
    let text = String::from_utf8(writer.into_inner().map_err(|e| e.to_string())?)?;
    let width = text.lines().next().map_or(0, |line| line.split(',').count());
    Ok((text, width))
}
