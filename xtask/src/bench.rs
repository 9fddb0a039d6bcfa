//! The examples against a plain loop without an engine: medians, all in one call.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::bench_nexmark::{self, NexmarkArgs};
use crate::{bench_infer, bench_kafka, build_examples, cache, check, example, root, setup};

#[derive(clap::Args)]
pub struct Args {
    /// What: the examples on files and simulated input, on Kafka, the inference operator alone, or the Nexmark queries.
    #[arg(value_enum, default_value_t = What::Engine)]
    what: What,
    /// Runs of each row; the median counts.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Writes the table to this file, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    nexmark: NexmarkArgs,
}

const RECORDS: u64 = 1_000_000;
const LATENCY_SECONDS: u64 = 10;
const CHECKPOINTS: [(&str, Option<&str>); 3] = [("off", None), ("1 s", Some("1s")), ("100 ms", Some("100ms"))];

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum What {
    Engine,
    Kafka,
    Infer,
    Nexmark,
}

pub fn run(args: &Args) -> Result<()> {
    if args.runs == 0 {
        bail!("--runs is 0: nothing would be measured");
    }
    if args.nexmark.are_given() && args.what != What::Nexmark {
        bail!("--events and --workers are for `bench nexmark`: the others have their own");
    }
    if args.what == What::Kafka {
        return bench_kafka::run(args.runs, args.json.as_deref());
    }
    if args.what == What::Nexmark {
        build_examples()?;
        return bench_nexmark::run(&args.nexmark, args.runs, args.json.as_deref());
    }
    setup::run()?;
    build_examples()?;
    if args.what == What::Infer {
        return bench_infer::run(args.runs, args.json.as_deref());
    }
    let folder = cache("bench");
    std::fs::create_dir_all(&folder)?;
    let mut rows = Vec::new();
    let fraud = input(&folder, "fraud_velocity", &["--count", &RECORDS.to_string()])?;
    let iot = input(&folder, "iot_window", &["--machines", "10000", "--seconds", &(RECORDS / 10_000).to_string()])?;
    println!("\n{RECORDS} records from a CSV file, medians of {} runs, no output written", args.runs);
    println!("{:<16} {:<22} {:>12} {:>22}", "", "", "records/s", "of the limit's cores");
    throughput(args, &folder, "fraud_velocity", ("fraud", "96"), &fraud, &mut rows)?;
    throughput(args, &folder, "iot_window", ("iot", "512"), &iot, &mut rows)?;
    println!("\nfraud_velocity, open loop, 2 workers, from the first record on: ms from arrival to prediction");
    println!("{:<16} {:<22} {:>12} {:>10} {:>10}", "tx/s", "checkpoints", "p50", "p99", "p99.9");
    for rate in [25_000, 50_000, 100_000] {
        for (name, interval) in CHECKPOINTS {
            rows.push(latency(args, &folder, rate, name, interval)?);
        }
    }
    if let Some(path) = &args.json {
        std::fs::write(path, serde_json::to_string_pretty(&rows)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// An example's input as a file.
pub fn input(folder: &Path, name: &str, size: &[&str]) -> Result<PathBuf> {
    let path = folder.join(format!("{name}.csv"));
    check(example(name)?.args(size).arg("--write-input").arg(&path))?;
    Ok(path)
}

fn with_runtime(command: &mut Command) -> &mut Command {
    let library = std::env::var_os("ORT_DYLIB_PATH").unwrap_or_else(|| cache("onnxruntime/libonnxruntime.so").into());
    command.env("ORT_DYLIB_PATH", library).stderr(Stdio::inherit())
}

pub fn output(command: &mut Command) -> Result<Value> {
    let output = with_runtime(command).output()?;
    if !output.status.success() {
        bail!("{command:?} failed: {}", output.status);
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// One run of an example; a checkpoint folder is its own and removed after.
pub fn job(folder: &Path, name: &str, arguments: &[&str], interval: Option<&str>) -> Result<Value> {
    let checkpoints = folder.join("checkpoints");
    drop(std::fs::remove_dir_all(&checkpoints));
    let mut command = example(name)?;
    command.args(["--log-level", "warn", "--report"]).args(arguments);
    if let Some(interval) = interval {
        command.arg("--checkpoint-dir").arg(&checkpoints).args(["--checkpoint-interval", interval]);
    }
    let report = output(&mut command);
    drop(std::fs::remove_dir_all(&checkpoints));
    report
}

fn throughput(
    args: &Args,
    folder: &Path,
    name: &str,
    (which, batch): (&str, &str),
    input: &Path,
    rows: &mut Vec<Value>,
) -> Result<()> {
    let input_text = input.to_string_lossy().into_owned();
    let model = root().join(format!("models/{name}.onnx"));
    let mut limit = example("limit")?;
    limit.args([which, "--input", &input_text, "--batch", batch, "--model"]).arg(&model);
    // Row by row in turn, so that a slow minute of the machine meets them all.
    let mut speeds: BTreeMap<(usize, Row), Vec<f64>> = BTreeMap::new();
    for _ in 0..args.runs {
        for cores in [1, 2] {
            speeds.entry((cores, Row::Limit)).or_default().push(limit_speed(&mut limit, cores)?);
            for (at, (_, interval)) in CHECKPOINTS.iter().enumerate() {
                let arguments = ["--workers", &cores.to_string(), "--input", &input_text, "--max-batch-size", batch];
                let report = job(folder, name, &arguments, *interval)?;
                let ms = report["elapsed_ms"].as_f64().context("a report says how long it took")?;
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
        let of_limit = speed / medians.get(&(*cores, Row::Limit)).context("the limit was measured")?;
        println!("{name:<16} {text:<22} {speed:>12.0} {of_limit:>22.2}");
        rows.push(json!({
            "example": name, "row": text, "cores": cores, "checkpoints": checkpoints,
            "records_per_second": speed, "of_limit_on_as_many_cores": of_limit, "runs": args.runs,
        }));
    }
    Ok(())
}

/// A row of the table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Row {
    Limit,
    /// Tidemill, with the checkpoints at this place of the list.
    Job(usize),
}

/// Records a second of this many plain loops at once: cores share caches and memory, so two are not twice as fast.
fn limit_speed(limit: &mut Command, cores: usize) -> Result<f64> {
    with_runtime(limit).stdout(Stdio::piped());
    let running: Vec<Child> = (0..cores).map(|_| limit.spawn()).collect::<Result<_, _>>()?;
    let mut speed = 0.0;
    for run in running {
        let output = run.wait_with_output()?;
        let told: Value = serde_json::from_slice(&output.stdout).context("the limit ended with an error")?;
        speed += RECORDS as f64 / told["seconds"].as_f64().context("the limit says how long it took")?;
    }
    Ok(speed)
}

fn latency(args: &Args, folder: &Path, rate: u64, name: &str, interval: Option<&str>) -> Result<Value> {
    let mut percentiles: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for _ in 0..args.runs {
        let (count, rate) = ((rate * LATENCY_SECONDS).to_string(), rate.to_string());
        let report = job(folder, "fraud_velocity", &["--workers", "2", "--count", &count, "--rate", &rate], interval)?;
        let operators = report["operators"].as_array().context("a report has operators")?;
        let sink =
            operators.iter().find(|operator| operator["name"] == "predictions").context("a sink of predictions")?;
        for percentile in ["p50", "p99", "p999"] {
            let us = sink["distributions"]["latency_us"][percentile].as_f64().context("a latency")?;
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
