//! Benchmarks of the inference operator on the shipped models, against ONNX Runtime alone in full batches: runs take
//! turns, and medians are reported. Also reports where the time of a whole job goes.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::measure::{self, median, output};
use crate::{cache, measurement};

/// The models, each with the number of records of a run, and of a run of single records.
const MODELS: [(&str, &str, &str); 2] = [("fraud", "800000", "100000"), ("iot", "60000", "4000")];

const ROWS: [(&str, &[&str]); 8] = [
    ("batches of one", &["--max-batch-size", "1"]),
    ("batches of 16", &["--max-batch-size", "16"]),
    ("batches of 64", &["--max-batch-size", "64"]),
    ("batches of 256", &["--max-batch-size", "256"]),
    ("batches of 1024", &["--max-batch-size", "1024"]),
    ("calibrated", &["--max-batch-size", "auto:1024"]),
    ("p99 of 2 ms", &["--max-batch-size", "auto:1024", "--latency-target", "2ms"]),
    ("calibrated, a thread", &["--max-batch-size", "auto:1024", "--inference-threads", "1"]),
];

pub fn run(runs: usize, json: Option<&Path>) -> Result<()> {
    let mut rows = Vec::new();
    for (model, count, few) in MODELS {
        // The batch size that the calibration chooses here is used for the limit, too.
        let chosen = job(model, few, ROWS[5].1)?;
        let best = chosen["batch_size"].as_u64().context("the calibration has no batch_size")?.to_string();
        let mut speeds: Vec<Vec<Value>> = vec![Vec::new(); ROWS.len() + 1];
        for _ in 0..runs {
            speeds[0].push(job(model, count, &["--alone", &best])?);
            for (at, (name, arguments)) in ROWS.iter().enumerate() {
                let count = if *name == "batches of one" { few } else { count };
                speeds[at + 1].push(job(model, count, arguments)?);
            }
        }
        let costs = |report: &Value| report["details"]["calibration"][0]["measured"].clone();
        println!("\n{model}: measured at the start: {}", costs(&chosen));
        println!(
            "{:<22} {:>6} {:>11} {:>9} {:>9}   ns a record: gathered, encoded, queued, ONNX Runtime, decoded",
            "", "size", "records/s", "of limit", "p99 us"
        );
        let speed = |runs: &[Value]| {
            let of = |report: &Value| report["records"].as_f64().zip(report["seconds"].as_f64()).map(|(n, s)| n / s);
            median(runs.iter().filter_map(of).collect())
        };
        let limit = speed(&speeds[0]);
        let names = std::iter::once("ONNX Runtime alone").chain(ROWS.iter().map(|(name, _)| *name));
        for (name, runs) in names.zip(&speeds) {
            let (speed, report) = (speed(runs), runs.last().context("there was no run")?);
            let records = report["records"].as_f64().unwrap_or(1.0);
            let parts = ["gather_ns", "encode_ns", "queue_ns", "model_ns", "decode_ns"]
                .map(|name| report["counters"][name].as_f64().unwrap_or(0.0))
                .map(|ns| format!("{:.0}", ns / records));
            let p99 = median(runs.iter().filter_map(|report| report["p99_us"].as_f64()).chain([0.0]).collect());
            println!(
                "{name:<22} {:>6} {speed:>11.0} {:>9.2} {p99:>9.0}   {}",
                report["batch_size"],
                speed / limit,
                parts.join(", ")
            );
            rows.push(json!({
                "model": model, "row": name, "batch_size": report["batch_size"], "records_per_second": speed,
                "of_limit": speed / limit, "p99_us": p99, "runs": runs.len(), "last": report,
            }));
        }
    }
    rows.extend(layout(runs)?);
    if let Some(path) = json {
        std::fs::write(path, serde_json::to_string_pretty(&rows)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn job(model: &str, count: &str, arguments: &[&str]) -> Result<Value> {
    output(measurement("infer_cost")?.arg(model).args(["--count", count]).args(arguments))
}

/// Measures where the time of `fraud_velocity` goes, including state, with one worker, in nanoseconds per transaction.
fn layout(runs: usize) -> Result<Vec<Value>> {
    const COUNT: u64 = 600_000;
    let folder = cache("bench");
    std::fs::create_dir_all(&folder)?;
    let input = measure::input(&folder, "fraud_velocity", &["--count", &COUNT.to_string()])?;
    let input = input.to_string_lossy();
    println!(
        "\nfraud_velocity, {COUNT} transactions from a file of JSON lines, one worker, epochs of 1 s: ns of the worker a transaction"
    );
    let columns = ["sources", "state", "encode", "model", "decode", "batching", "output", "the rest"];
    println!("{:<16} {}", "", columns.map(|column| format!("{column:>9}")).join(""));
    let mut rows = Vec::new();
    for batch in ["1", "96", "1024"] {
        let mut layouts: Vec<Vec<f64>> = vec![Vec::new(); columns.len()];
        for _ in 0..runs {
            let report =
                measure::job(&folder, "fraud_velocity", &["--input", &input, "--max-batch-size", batch], Some("1s"))?;
            for (all, part) in layouts.iter_mut().zip(parts(&report)?) {
                all.push(part / COUNT as f64);
            }
        }
        let layout = layouts.into_iter().map(median).collect::<Vec<_>>();
        let shown = layout.iter().map(|ns| format!("{ns:>9.0}")).collect::<String>();
        println!("{:<16} {shown}", format!("batches of {batch}"));
        rows.push(json!({ "model": "fraud_velocity", "row": "layout", "batch_size": batch, "columns": columns, "ns": layout, "runs": runs }));
    }
    Ok(rows)
}

/// Returns the parts of one run's time, in the order of the columns. Operators count the time in which they were busy;
/// the rest is timely dataflow, the sealing of epochs, and waiting.
fn parts(report: &Value) -> Result<[f64; 8]> {
    let operators = report["operators"].as_array().context("the report has no operators")?;
    let count = |operator: &Value, counter: &str| operator["counters"][counter].as_f64().unwrap_or(0.0);
    let busy = |kinds: &[&str]| -> f64 {
        let of_kind = |operator: &&Value| operator["kind"].as_str().is_some_and(|kind| kinds.contains(&kind));
        operators.iter().filter(of_kind).map(|operator| count(operator, "busy_ns")).sum()
    };
    let score = operators
        .iter()
        .find(|operator| operator["kind"] == "batch")
        .context("the report has no operator of the kind \"batch\"")?;
    let [encode, model, decode] = ["encode_ns", "model_ns", "decode_ns"].map(|counter| count(score, counter));
    let batching = busy(&["batch"]) - encode - model - decode;
    let (sources, state, output) = (busy(&["source"]), busy(&["keyed"]), busy(&["map", "filter", "sink"]));
    let all = report["elapsed_ms"].as_f64().context("the report has no elapsed_ms")? * 1e6;
    let rest = all - sources - state - busy(&["batch"]) - output;
    Ok([sources, state, encode, model, decode, batching, output, rest])
}
