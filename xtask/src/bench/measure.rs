//! Runs of the examples, and their medians.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, bail};
use serde_json::Value;

use crate::{cache, check, example, root};

/// Writes an example's input to a file. Returns its path.
pub fn input(folder: &Path, name: &str, size: &[&str]) -> Result<PathBuf> {
    let path = folder.join(format!("{name}.jsonl"));
    check(example(name)?.args(size).arg("--write-input").arg(&path))?;
    Ok(path)
}

/// Sets the path of ONNX Runtime for a command, by default where `cargo xtask setup` puts it.
pub fn with_runtime(command: &mut Command) -> &mut Command {
    let library = std::env::var_os("ORT_DYLIB_PATH").unwrap_or_else(|| cache("onnxruntime/libonnxruntime.so").into());
    command.env("ORT_DYLIB_PATH", library).stderr(Stdio::inherit())
}

/// Runs a command and returns the JSON that it prints.
pub fn output(command: &mut Command) -> Result<Value> {
    let output = with_runtime(command).output()?;
    if !output.status.success() {
        bail!("{command:?} failed: {}", output.status);
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Runs both sides of a comparison. The side that goes first changes from run to run, for what runs first may find a colder
/// or a warmer machine.
pub fn turn<T>(run: usize, one: impl Fn() -> Result<T>, other: impl Fn() -> Result<T>) -> Result<(T, T)> {
    if run.is_multiple_of(2) {
        return Ok((one()?, other()?));
    }
    let second = other()?;
    Ok((one()?, second))
}

/// Returns the smallest and the largest value.
pub fn spread(values: &[f64]) -> (f64, f64) {
    values.iter().fold((f64::INFINITY, 0.0), |(least, most), value| (value.min(least), value.max(most)))
}

/// Shows ratios: the median, and the smallest and the largest one.
pub fn shown(ratios: &[f64]) -> String {
    let (least, most) = spread(ratios);
    format!("{:.3} ({least:.3} to {most:.3})", median(ratios.to_vec()))
}

/// Returns the median. For an even number of values it is the upper one of the two in the middle.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Runs an example once and returns its report. A checkpoint folder is used by this run only, and removed after it.
pub fn job(folder: &Path, name: &str, arguments: &[&str], interval: Option<&str>) -> Result<Value> {
    job_of(example(name)?, folder, arguments, interval)
}

/// Runs a job's program once, as [`job`] does.
pub fn job_of(mut program: Command, folder: &Path, arguments: &[&str], interval: Option<&str>) -> Result<Value> {
    let checkpoints = folder.join("checkpoints");
    drop(std::fs::remove_dir_all(&checkpoints));
    program.current_dir(root()).args(["--log-level", "warn", "--report"]).args(arguments);
    if let Some(interval) = interval {
        program.arg("--checkpoint-dir").arg(&checkpoints).args(["--checkpoint-interval", interval]);
    }
    let report = output(&mut program);
    drop(std::fs::remove_dir_all(&checkpoints));
    report
}
