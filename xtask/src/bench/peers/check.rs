//! Compares what a program wrote with what `bench/peers/oracle.py` says it has to write.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use super::programs::Job;

const SIGNALS: [&str; 3] = ["temperature", "vibration", "pressure"];
const FEATURES: [&str; 8] = ["amount", "count_5m", "sum_5m", "count_1h", "sum_1h", "since", "hour of the day", "ratio"];
/// Machine, start, count, and four statistics of each signal.
const COLUMNS: usize = 3 + 4 * SIGNALS.len();

/// The number of a machine and the start of a window.
type WindowOf = (u64, i64);

/// What the programs have to write for an input.
pub struct Expected {
    windows: HashMap<WindowOf, [f64; COLUMNS]>,
    records: f64,
    sums: Vec<f64>,
    /// The transactions that the rule hits, and those whose ratio is at its limit but for rounding.
    rule: HashSet<u64>,
    at_the_limit: HashSet<u64>,
    /// The transactions that the model hits.
    model: HashSet<u64>,
}

impl Expected {
    /// Reads what the oracle wrote beside the input.
    pub fn read(data: &Path) -> Result<Self> {
        let text = fs::read(data.join("expected.json")).context("the oracle's file is not there")?;
        let found: Value = serde_json::from_slice(&text)?;
        let ids = |name: &str| numbers(&found[name], Value::as_u64).map(|ids| ids.into_iter().collect());
        let bytes = fs::read(data.join("windows.f64"))?;
        let values: Vec<f64> = bytes.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
        let (rows, _) = values.as_chunks::<COLUMNS>();
        Ok(Self {
            windows: rows.iter().map(|row| ((row[0] as u64, row[1] as i64), *row)).collect(),
            records: found["records"].as_f64().context("the oracle's file has no number of records")?,
            sums: numbers(&found["sums"], Value::as_f64)?,
            rule: ids("rule")?,
            at_the_limit: ids("at_the_limit")?,
            model: ids("model")?,
        })
    }

    /// Returns what is wrong with the output in a folder.
    pub fn faults(&self, job: Job, folder: &Path) -> Result<Vec<String>> {
        let mut files = Vec::new();
        outputs(folder, &mut files)?;
        let mut faults = Faults::default();
        match job {
            Job::Iot => self.check_windows(&files, &mut faults)?,
            Job::Fraud | Job::FraudScore => {
                let sums = self.check_sums(&files, &mut faults)?;
                self.check_alerts(job, &files, sums, &mut faults)?;
            }
        }
        Ok(faults.0)
    }

    fn check_windows(&self, files: &[PathBuf], faults: &mut Faults) -> Result<()> {
        let mut seen = HashSet::new();
        for line in lines(files, "part-") {
            let line = line?;
            let window = window_of(&line).with_context(|| format!("no window: {line}"))?;
            let Some(expected) = self.windows.get(&window) else {
                faults.add("a window that does not exist", format_args!("{line}"));
                continue;
            };
            if !seen.insert(window) {
                faults.add("a window twice", format_args!("{line}"));
            }
            if let Some(wrong) = wrong_statistic(&line, expected) {
                faults.add("a window's values", format_args!("{wrong} of {line}"));
            }
        }
        if seen.len() < self.windows.len() {
            faults.add("windows missing", format_args!("{}", self.windows.len() - seen.len()));
        }
        Ok(())
    }

    /// Compares the sums of the features. Returns the number of alerts that the program counted.
    fn check_sums(&self, files: &[PathBuf], faults: &mut Faults) -> Result<u64> {
        let (mut records, mut alerts, mut sums) = (0.0, 0, vec![0.0; self.sums.len()]);
        for line in lines(files, "sums-") {
            let found = line?;
            records += found["records"].as_f64().context("the sums have no records")?;
            alerts += found["alerts"].as_u64().context("the sums have no alerts")?;
            for (all, own) in sums.iter_mut().zip(numbers(&found["sums"], Value::as_f64)?) {
                *all += own;
            }
        }
        if records != self.records {
            faults.add("the number of transactions", format_args!("{records} for {}", self.records));
        }
        for (at, (found, expected)) in sums.iter().zip(&self.sums).enumerate() {
            if !is_near(*found, *expected, 1e-9 * expected.abs()) {
                let weighted = if at < FEATURES.len() { "" } else { ", weighted" };
                let name = FEATURES[at % FEATURES.len()];
                faults.add("a feature's sum", format_args!("{name}{weighted}: {found} for {expected}"));
            }
        }
        Ok(alerts)
    }

    fn check_alerts(&self, job: Job, files: &[PathBuf], counted: u64, faults: &mut Faults) -> Result<()> {
        let (mut seen, mut written) = (HashSet::new(), 0);
        for line in lines(files, "part-") {
            let id = line?["tx_id"].as_u64().context("an alert has no tx_id")?;
            written += 1;
            if !seen.insert(id) {
                faults.add("an alert twice", format_args!("{id}"));
            }
        }
        if written != counted {
            faults.add("the number of alerts", format_args!("{written} written, {counted} counted"));
        }
        let expected = if job == Job::Fraud { &self.rule } else { &self.model };
        let differing: HashSet<u64> = expected.symmetric_difference(&seen).copied().collect();
        // In the last bit of a score engines may differ, because they add up in another order.
        let is_right = match job {
            Job::FraudScore => differing.len() <= expected.len() / 1000,
            _ => differing.is_subset(&self.at_the_limit),
        };
        if !is_right {
            faults.add("the alerts", format_args!("{} of {} differ", differing.len(), expected.len()));
        }
        Ok(())
    }
}

/// The kinds of faults, each with the first one of it.
#[derive(Default)]
struct Faults(Vec<String>);

impl Faults {
    fn add(&mut self, kind: &str, which: std::fmt::Arguments<'_>) {
        if !self.0.iter().any(|fault| fault.starts_with(kind)) {
            self.0.push(format!("{kind}: {which}"));
        }
    }
}

fn window_of(line: &Value) -> Option<WindowOf> {
    let machine = line["machine_id"].as_str()?.strip_prefix('m')?.parse().ok()?;
    Some((machine, line["window_start"].as_i64()?))
}

/// Returns the name of the first value that differs.
fn wrong_statistic(line: &Value, expected: &[f64; COLUMNS]) -> Option<String> {
    if line["n"].as_f64() != Some(expected[2]) {
        return Some("n".to_owned());
    }
    let (statistics, _) = expected[3..].as_chunks::<4>();
    SIGNALS.iter().zip(statistics).find_map(|(signal, [mean, std, max, min])| {
        let value = |name: &str| line[format!("{signal}_{name}")].as_f64().unwrap_or(f64::NAN);
        // A variance is a difference of two squares, so that its error is one of the squares.
        let square = mean * mean;
        let found = [
            ("mean", is_near(value("mean"), *mean, 1e-12 * mean.abs())),
            ("std", is_near(value("std") * value("std"), std * std, 1e-12 * square)),
            ("max", value("max") == *max),
            ("min", value("min") == *min),
        ];
        found.iter().find(|(_, is_right)| !is_right).map(|(name, _)| format!("{signal}_{name}"))
    })
}

fn is_near(found: f64, expected: f64, by: f64) -> bool {
    (found - expected).abs() <= by
}

fn numbers<T>(list: &Value, each: fn(&Value) -> Option<T>) -> Result<Vec<T>> {
    let list = list.as_array().context("a list is missing")?;
    list.iter().map(|value| each(value).context("a list has something else than numbers")).collect()
}

/// Adds all files below a folder that are output. Without checkpoints Flink leaves its last files hidden; they count,
/// too, because that is all that is known of them.
fn outputs(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() && !name.starts_with("checkpoints") && name != "recovery" {
            outputs(&path, found)?;
        } else if path.is_file() {
            found.push(path);
        }
    }
    Ok(())
}

/// Returns the lines of the files whose names begin like this, but for a dot.
fn lines<'a>(files: &'a [PathBuf], prefix: &'a str) -> impl Iterator<Item = Result<Value>> + 'a {
    let named = move |path: &&PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.trim_start_matches('.').starts_with(prefix)
    };
    files.iter().filter(named).flat_map(|path| {
        let (file, failed) = match File::open(path) {
            Ok(file) => (Some(file), None),
            Err(error) => (None, Some(Err(error.into()))),
        };
        let lines = file.into_iter().flat_map(|file| BufReader::new(file).lines());
        failed.into_iter().chain(lines.map(|line| Ok(serde_json::from_str(&line?)?)))
    })
}

#[cfg(test)]
mod tests;
