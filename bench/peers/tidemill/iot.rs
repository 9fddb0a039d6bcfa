//! The job `iot` of the comparison: windows of 10 s over three signals of each machine, a JSON line per window.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use tidemill::prelude::*;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Aggregates three signals of machines in windows of 10 s.
#[derive(Clone, Debug, Parser)]
struct Args {
    /// Readings, a .jsonl file.
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Folder for the windows.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    job: JobArgs,
}

/// A line of the input.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Reading {
    machine_id: CompactString,
    ts: i64,
    temperature: f64,
    vibration: f64,
    pressure: f64,
}

/// A line of the output.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Line {
    machine_id: CompactString,
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

fn main() -> ExitCode {
    tidemill::cli::exit(run(&Args::parse()))
}

fn run(args: &Args) -> Result<(), JobError> {
    let readings =
        FileSource::new([&args.input], |reading: &Reading| EventTime(reading.ts)).max_out_of_orderness(secs(1));
    let out = args.out.clone();
    let started = Instant::now();
    let snapshot = Job::new("peer_iot", args.job.clone()).run(move |flow| {
        let temperature = stats_of(|reading: &Reading| reading.temperature);
        let vibration = stats_of(|reading: &Reading| reading.vibration);
        let pressure = stats_of(|reading: &Reading| reading.pressure);
        flow.source("readings", &readings)?
            .key_by(|reading| reading.machine_id.clone())
            .window("windows", Assigner::tumbling(secs(10)))
            .aggregate(((temperature, vibration), pressure))?
            .results
            .map(line)
            .sink("out", &FileSink::json_lines(&out))
    })?;
    let seconds = started.elapsed().as_secs_f64();
    let sources = snapshot.operators.iter().filter(|operator| operator.kind == "source");
    let records: u64 = sources.filter_map(|source| source.counters.get("records_out")).sum();
    println!("{}", serde_json::json!({ "records": records, "seconds": seconds }));
    Ok(())
}

fn line(Windowed { key, window, value, .. }: Windowed<CompactString, ((Stats, Stats), Stats)>) -> Line {
    let ((t, v), p) = value;
    Line {
        machine_id: key,
        window_start: window.start.0,
        n: t.count(),
        temperature_mean: t.mean(),
        temperature_std: t.std(),
        temperature_max: t.max(),
        temperature_min: t.min(),
        vibration_mean: v.mean(),
        vibration_std: v.std(),
        vibration_max: v.max(),
        vibration_min: v.min(),
        pressure_mean: p.mean(),
        pressure_std: p.std(),
        pressure_max: p.max(),
        pressure_min: p.min(),
    }
}
