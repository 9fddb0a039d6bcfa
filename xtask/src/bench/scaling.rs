//! How the cost of a record grows with workers, processes, keys, open windows and operators in a chain. Each run is
//! checked: every record has to be in a window, and each window there once.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use testkit::free_addresses;
use wait4::Wait4;

use super::measure::median;
use crate::{measurement, root, tools::build_measurement};

mod plot;

const RECORDS: u64 = 2_000_000;

/// A row of points that differ in one number.
struct Series {
    /// The flag of `scaling_cost` that differs.
    flag: &'static str,
    /// What is on the axis.
    axis: &'static str,
    values: &'static [u64],
    /// The other flags.
    fixed: &'static [&'static str],
}

const SERIES: [Series; 3] = [
    Series { flag: "keys", axis: "keys", values: &[1_000, 10_000, 100_000, 1_000_000, 10_000_000], fixed: &[] },
    Series {
        flag: "open",
        axis: "windows of a key that are open at a time",
        values: &[1, 4, 16, 64, 256],
        fixed: &["--keys", "1000"],
    },
    Series { flag: "chain", axis: "operators in a chain", values: &[1, 2, 5, 10, 20, 50], fixed: &[] },
];

/// Processes and workers of each.
const SHAPES: [(usize, usize); 4] = [(1, 1), (1, 2), (2, 1), (2, 2)];

/// What a run took.
struct Taken {
    /// Nanoseconds of processor time a record, of all processes and of their whole time.
    cpu_ns: f64,
    records_per_second: f64,
    windows: u64,
}

pub fn run(runs: usize, file: Option<&Path>) -> Result<()> {
    build_measurement("scaling_cost")?;
    println!("\n{RECORDS} records made as they are read, medians of {runs} runs, no checkpoints");
    println!("{:<42} {:>12} {:>20} {:>14} {:>10}", "", "", "CPU ns a record", "records/s", "windows");
    let mut rows = Vec::new();
    for series in &SERIES {
        for value in series.values {
            let (flag, value) = (format!("--{}", series.flag), value.to_string());
            let flags = [series.fixed, &[flag.as_str(), value.as_str()]].concat();
            rows.push(row(series.axis, &value, median_of(runs, &flags, (1, 1))?));
        }
    }
    for (processes, workers) in SHAPES {
        let name = format!("{processes} × {workers}");
        rows.push(row("processes × workers of each", &name, median_of(runs, &[], (processes, workers))?));
    }
    let folder = root().join("docs/images");
    for series in &SERIES {
        let points = rows.iter().filter(|row| row["axis"] == series.axis);
        let points = points.map(|row| Some((row["value"].as_str()?.parse().ok()?, row["cpu_ns_a_record"].as_f64()?)));
        let points: Vec<(f64, f64)> = points.collect::<Option<_>>().context("a row has no number")?;
        plot::write(&image(&folder, series), series.axis, &points)?;
    }
    println!("\nplots: {}", folder.join("scaling-*.svg").display());
    if let Some(path) = file {
        fs::write(path, serde_json::to_string_pretty(&rows)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn image(folder: &Path, series: &Series) -> PathBuf {
    folder.join(format!("scaling-{}.svg", series.flag))
}

fn row(axis: &str, value: &str, taken: Taken) -> Value {
    let Taken { cpu_ns, records_per_second, windows } = taken;
    println!("{axis:<42} {value:>12} {cpu_ns:>20.0} {records_per_second:>14.0} {windows:>10}");
    json!({
        "axis": axis, "value": value, "cpu_ns_a_record": cpu_ns, "records_per_second": records_per_second,
        "windows": windows,
    })
}

fn median_of(runs: usize, flags: &[&str], shape: (usize, usize)) -> Result<Taken> {
    let taken: Vec<Taken> = (0..runs).map(|_| once(flags, shape)).collect::<Result<_>>()?;
    let windows = taken.first().context("there are no runs")?.windows;
    ensure!(taken.iter().all(|taken| taken.windows == windows), "{flags:?}: runs differ in their number of windows");
    let of = |number: fn(&Taken) -> f64| median(taken.iter().map(number).collect());
    Ok(Taken { cpu_ns: of(|t| t.cpu_ns), records_per_second: of(|t| t.records_per_second), windows })
}

/// Runs the job once in `processes` processes.
fn once(flags: &[&str], (processes, workers): (usize, usize)) -> Result<Taken> {
    let hosts = free_addresses::<2>()?.map(|address| address.to_string()).join(",");
    let (started, records) = (Instant::now(), RECORDS.to_string());
    let start = |process: usize| {
        let mut command: Command = measurement("scaling_cost")?;
        command.args(["--records", &records, "--workers", &workers.to_string(), "--log-level", "error"]).args(flags);
        if processes > 1 {
            command.args(["--hosts", &hosts, "--process", &process.to_string()]);
        }
        command.stdout(Stdio::piped()).spawn().context("cannot start scaling_cost")
    };
    let children = (0..processes).map(start).collect::<Result<Vec<_>>>()?;
    let (mut counted, mut windows, mut cpu) = (0, 0, 0.0);
    for mut child in children {
        let stdout = child.stdout.take().context("its output is piped")?;
        let ended = child.wait4()?;
        ensure!(ended.status.success(), "scaling_cost {flags:?}: {}", ended.status);
        let report: Value = serde_json::from_reader(stdout).context("scaling_cost printed no report")?;
        counted += report["records"].as_u64().context("the report has no records")?;
        windows += report["windows"].as_u64().context("the report has no windows")?;
        cpu += (ended.rusage.utime + ended.rusage.stime).as_secs_f64();
    }
    ensure!(counted == RECORDS, "scaling_cost {flags:?}: {counted} records are in windows, of {RECORDS}");
    let cpu_ns = cpu * 1e9 / RECORDS as f64;
    Ok(Taken { cpu_ns, records_per_second: RECORDS as f64 / started.elapsed().as_secs_f64(), windows })
}
