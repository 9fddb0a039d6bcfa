//! Benchmark of the engines that run ensembles of trees: ONNX Runtime and the one of our own, on the shipped models.

use std::path::Path;

use anyhow::{Context, Result};

use super::measure::output;
use crate::measurement;

pub fn run(json: Option<&Path>) -> Result<()> {
    let found = output(&mut measurement("tree_cost")?)?;
    let rows = found.as_array().context("the measurement has no rows")?;
    let number = |row: &serde_json::Value, name: &str| row[name].as_f64().unwrap_or(f64::NAN);
    println!("{:<24} {:>6} {:>16} {:>10} {:>7}", "us a row", "batch", "ONNX Runtime", "trees", "ratio");
    for row in rows {
        let model = row["model"].as_str().unwrap_or_default();
        if let Some(batch) = row["batch_size"].as_u64() {
            let (onnx, trees) = (number(row, "onnx_runtime_ns") / 1000.0, number(row, "trees_ns") / 1000.0);
            println!("{model:<24} {batch:>6} {onnx:>16.2} {trees:>10.2} {:>7.1}", onnx / trees);
        } else {
            let (onnx, trees) = (number(row, "onnx_runtime_load_ms"), number(row, "trees_load_ms"));
            println!("{model:<24} {:>6} {:>13.0} ms {trees:>7.1} ms {:>7.1}", "load", onnx, onnx / trees);
        }
    }
    if let Some(path) = json {
        std::fs::write(path, serde_json::to_string_pretty(&found)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
