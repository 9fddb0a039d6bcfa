//! Benchmarks of the examples against a plain loop without an engine, which shares no code with it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::measure::{input, job, job_of, median, turn, with_runtime};
use super::peers::setup;
use crate::{cache, root};

const RECORDS: u64 = 1_000_000;
const LATENCY_SECONDS: u64 = 10;
/// The examples that are measured.
pub const EXAMPLES: [&str; 2] = ["fraud_velocity", "iot_window"];
const CHECKPOINTS: [(&str, Option<&str>); 3] = [("off", None), ("1 s", Some("1s")), ("100 ms", Some("100ms"))];

/// `against` is a folder with the examples of another build: its jobs take turns with the jobs of this build, and
/// latencies, which take ten seconds each, are left out.
pub fn run(runs: usize, against: Option<&Path>, json: Option<&Path>) -> Result<()> {
    let folder = cache("bench");
    std::fs::create_dir_all(&folder)?;
    setup::build_peers()?;
    let mut rows = Vec::new();
    let fraud = input(&folder, "fraud_velocity", &["--count", &RECORDS.to_string()])?;
    let iot = input(&folder, "iot_window", &["--machines", "10000", "--seconds", &(RECORDS / 10_000).to_string()])?;
    println!("\n{RECORDS} records from a file of JSON lines, medians of {} runs, no output written", runs);
    println!("{:<16} {:<22} {:>12} {:>22} {:>20}", "", "", "records/s", "of the limit's cores", "time of the other's");
    throughput(runs, &folder, against, "fraud_velocity", ("fraud", "96"), &fraud, &mut rows)?;
    throughput(runs, &folder, against, "iot_window", ("iot", "512"), &iot, &mut rows)?;
    if against.is_none() {
        println!("\nfraud_velocity, open loop, 2 workers, from the first record on: ms from arrival to prediction");
        println!("{:<16} {:<22} {:>12} {:>10} {:>10}", "tx/s", "checkpoints", "p50", "p99", "p99.9");
        for rate in [25_000, 50_000, 100_000] {
            for (name, interval) in CHECKPOINTS {
                rows.push(latency(runs, &folder, rate, name, interval)?);
            }
        }
    }
    if let Some(path) = json {
        std::fs::write(path, serde_json::to_string_pretty(&rows)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn throughput(
    runs: usize,
    folder: &Path,
    against: Option<&Path>,
    name: &str,
    (which, batch): (&str, &str),
    input: &Path,
    rows: &mut Vec<Value>,
) -> Result<()> {
    let input_text = input.to_string_lossy().into_owned();
    let model = root().join(format!("models/{name}.onnx"));
    let mut limit = setup::peer("limit");
    limit.args([which, "--input", &input_text, "--batch", batch, "--model"]).arg(&model);
    // Rows take turns, so that a slow minute of the machine affects all of them.
    let mut speeds: BTreeMap<(usize, Row), Vec<f64>> = BTreeMap::new();
    // The elapsed time of a job, divided by that of the other build's job beside it.
    let mut ratios: BTreeMap<(usize, Row), Vec<f64>> = BTreeMap::new();
    for run in 0..runs {
        for cores in [1, 2] {
            speeds.entry((cores, Row::Limit)).or_default().push(limit_speed(&mut limit, cores)?);
            for (at, (_, interval)) in CHECKPOINTS.iter().enumerate() {
                let arguments = ["--workers", &cores.to_string(), "--input", &input_text, "--max-batch-size", batch];
                let this = || elapsed_ms(&job(folder, name, &arguments, *interval)?);
                let ms = match against.map(|programs| programs.join(name)) {
                    None => this()?,
                    Some(program) => {
                        let other = || elapsed_ms(&job_of(Command::new(&program), folder, &arguments, *interval)?);
                        let (ms, other_ms) = turn(run, this, other)?;
                        ratios.entry((cores, Row::Job(at))).or_default().push(ms / other_ms);
                        ms
                    }
                };
                speeds.entry((cores, Row::Job(at))).or_default().push(RECORDS as f64 / ms * 1000.0);
            }
        }
    }
    let medians: BTreeMap<_, _> = speeds.into_iter().map(|(row, speeds)| (row, median(speeds))).collect();
    for ((cores, row), speed) in &medians {
        let (text, checkpoints) = match row {
            Row::Limit if *cores == 1 => ("the limit".to_owned(), None),
            Row::Limit => (format!("the limit, {cores} at once"), None),
            Row::Job(at) => (format!("{cores} workers, {}", CHECKPOINTS[*at].0), Some(CHECKPOINTS[*at].0)),
        };
        let of_limit = speed / medians.get(&(*cores, Row::Limit)).context("the limit was not measured")?;
        let of_other = ratios.remove(&(*cores, *row)).map(median);
        let shown = of_other.map_or_else(String::new, |ratio| format!("{ratio:.3}"));
        println!("{name:<16} {text:<22} {speed:>12.0} {of_limit:>22.2} {shown:>20}");
        rows.push(json!({
            "example": name, "row": text, "cores": cores, "checkpoints": checkpoints,
            "records_per_second": speed, "of_limit_on_as_many_cores": of_limit, "time_of_the_others": of_other, "runs": runs,
        }));
    }
    Ok(())
}

fn elapsed_ms(report: &Value) -> Result<f64> {
    report["elapsed_ms"].as_f64().context("the report has no elapsed_ms")
}

/// A row of the table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Row {
    Limit,
    /// Tidemill, with the checkpoint setting at this index of the list.
    Job(usize),
}

/// Returns the records per second of `cores` plain loops at the same time. Cores share caches and memory, so two are
/// not twice as fast as one.
fn limit_speed(limit: &mut Command, cores: usize) -> Result<f64> {
    with_runtime(limit).stdout(Stdio::piped());
    let running: Vec<Child> = (0..cores).map(|_| limit.spawn()).collect::<Result<_, _>>()?;
    let mut speed = 0.0;
    for run in running {
        let output = run.wait_with_output()?;
        let report: Value = serde_json::from_slice(&output.stdout).context("the output of the limit is not JSON")?;
        speed += RECORDS as f64 / report["seconds"].as_f64().context("the output of the limit has no seconds")?;
    }
    Ok(speed)
}

fn latency(runs: usize, folder: &Path, rate: u64, name: &str, interval: Option<&str>) -> Result<Value> {
    let mut percentiles: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for _ in 0..runs {
        let (count, rate) = ((rate * LATENCY_SECONDS).to_string(), rate.to_string());
        let report = job(folder, "fraud_velocity", &["--workers", "2", "--count", &count, "--rate", &rate], interval)?;
        let operators = report["operators"].as_array().context("the report has no operators")?;
        let sink = operators
            .iter()
            .find(|operator| operator["name"] == "predictions")
            .context("the report has no sink \"predictions\"")?;
        for percentile in ["p50", "p99", "p999"] {
            let us = sink["distributions"]["latency_us"][percentile]
                .as_f64()
                .context("the report has no latency of the predictions")?;
            percentiles.entry(percentile).or_default().push(us / 1000.0);
        }
    }
    let of = |percentile: &str| median(percentiles.get(percentile).cloned().unwrap_or_default());
    let (p50, p99, p999) = (of("p50"), of("p99"), of("p999"));
    println!("{rate:<16} {name:<22} {p50:>12.2} {p99:>10.2} {p999:>10.2}");
    Ok(
        json!({ "example": "fraud_velocity", "rate": rate, "checkpoints": name, "p50_ms": p50, "p99_ms": p99, "p999_ms": p999 }),
    )
}
