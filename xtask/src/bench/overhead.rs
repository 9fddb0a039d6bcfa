//! What it costs a job to be watched: by a page with a tail and a scrape each second, and by a thousand clients that
//! connect and say nothing. Runs with and without take turns, and the ratios of neighbours are reported.

mod watcher;

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use testkit::free_address;
use wait4::Wait4;

use self::watcher::{Watch, Watched};
use super::measure::{input, median, shown, spread, turn, with_runtime};
use crate::{build_examples, cache, example};

const EXAMPLE: &str = "fraud_velocity";
/// Records of a run at full load: some seconds of work, so that there are some scrapes.
const RECORDS: u64 = 2_000_000;
/// The rate of the runs that measure latency, which leaves processors idle, and their length.
const RATE: u64 = 25_000;
const SECONDS: u64 = 10;
/// Number of silent clients.
const CROWD: usize = 1000;

/// What one run took.
pub(super) struct Taken {
    pub(super) elapsed_s: f64,
    /// Processor time, user and system.
    pub(super) cpu_s: f64,
    pub(super) p99_ms: f64,
    watched: Watched,
}

pub fn run(runs: usize, file: Option<&Path>) -> Result<()> {
    build_examples()?;
    let folder = cache("bench");
    std::fs::create_dir_all(&folder)?;
    let path = input(&folder, EXAMPLE, &["--count", &RECORDS.to_string()])?;
    let mut rows = Vec::new();
    let (path, count, rate) = (path.to_string_lossy().into_owned(), (RATE * SECONDS).to_string(), RATE.to_string());
    println!("\n{EXAMPLE}, {runs} pairs of runs that take turns; ratios of neighbours: median (smallest to largest)");
    println!("full load ({RECORDS} records of a file), a page with a tail and a scrape each second, against no server");
    for workers in ["1", "2"] {
        let job = ["--input", &path, "--workers", workers];
        rows.push(compare(runs, &format!("{workers} workers"), &job, None, Watch::Page)?);
    }
    println!("{RATE} tx/s for {SECONDS} s, {CROWD} silent clients and a scrape each 100 ms, against the scrapes alone");
    let job = ["--count", &count, "--rate", &rate, "--workers", "1"];
    rows.push(compare(runs, "1 worker", &job, Some(Watch::Scrapes), Watch::Crowd(CROWD))?);
    if let Some(file) = file {
        std::fs::write(file, serde_json::to_string_pretty(&rows)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// Compares a job that is watched as `with` says with the same one that is watched as `without` says.
fn compare(runs: usize, name: &str, job: &[&str], without: Option<Watch>, with: Watch) -> Result<Value> {
    let pair = |run| turn(run, || once(job, without), || once(job, Some(with)));
    let pairs = (0..runs).map(pair).collect::<Result<Vec<_>>>()?;
    let ratios = |of: fn(&Taken) -> f64| -> Vec<f64> { pairs.iter().map(|(plain, it)| of(it) / of(plain)).collect() };
    let noise = |of: fn(&Taken) -> f64| {
        let plain: Vec<f64> = pairs.iter().map(|(plain, _)| of(plain)).collect();
        spread(&plain).1 / spread(&plain).0
    };
    let [elapsed, cpu, p99] = [ratios(|t| t.elapsed_s), ratios(|t| t.cpu_s), ratios(|t| t.p99_ms)];
    let scrapes: Vec<f64> = pairs.iter().flat_map(|(_, it)| it.watched.scrapes_ms.iter().copied()).collect();
    let (_, slowest) = spread(&scrapes);
    println!(
        "{name:<10} time {}   processor time {}   p99 {}   /metrics median {:.1} ms, slowest {slowest:.1} ms of {}   events {}",
        shown(&elapsed),
        shown(&cpu),
        shown(&p99),
        median(scrapes.clone()),
        scrapes.len(),
        pairs.iter().map(|(_, it)| it.watched.events).sum::<usize>(),
    );
    println!(
        "{:<10} without: time {:.2} s, processor time {:.2} s, p99 {:.1} ms; largest of the smallest: time {:.2}, processor time {:.2}, p99 {:.2}",
        "",
        median(pairs.iter().map(|(plain, _)| plain.elapsed_s).collect()),
        median(pairs.iter().map(|(plain, _)| plain.cpu_s).collect()),
        median(pairs.iter().map(|(plain, _)| plain.p99_ms).collect()),
        noise(|t| t.elapsed_s),
        noise(|t| t.cpu_s),
        noise(|t| t.p99_ms),
    );
    Ok(json!({
        "job": name, "runs": runs, "time": elapsed, "processor_time": cpu, "p99": p99, "metrics_ms": scrapes,
    }))
}

/// Runs the job once.
pub(super) fn once(job: &[&str], watch: Option<Watch>) -> Result<Taken> {
    let mut command = example(EXAMPLE)?;
    command.args(["--log-level", "warn", "--report"]).args(job).stdout(Stdio::piped());
    let address = free_address();
    if watch.is_some() {
        command.args(["--http", &address.to_string()]);
    }
    let mut child = with_runtime(&mut command).spawn().context("cannot start the job")?;
    let watching = watch.map(|watch| watcher::start(address.port(), watch)).transpose()?;
    let mut stdout = child.stdout.take().context("its output is piped")?;
    let mut text = String::new();
    std::io::Read::read_to_string(&mut stdout, &mut text)?;
    let ended = child.wait4()?;
    let watched = watching.map(watcher::Watching::end).unwrap_or_default();
    ensure!(ended.status.success(), "{command:?} failed: {}", ended.status);
    if watch.is_some() && watched.scrapes_ms.is_empty() {
        bail!("{command:?} was not watched: it has answered no scrape");
    }
    if watch == Some(Watch::Page) && watched.events == 0 {
        bail!("{command:?} was not watched: its page has got no event");
    }
    let report: Value = serde_json::from_str(&text).context("the job printed no report")?;
    let operators = report["operators"].as_array().context("the report has no operators")?;
    let sink = operators.iter().find(|operator| operator["name"] == "predictions");
    let p99 = sink.and_then(|sink| sink["distributions"]["latency_us"]["p99"].as_f64());
    let elapsed = report["elapsed_ms"].as_f64().context("the report has no elapsed_ms")?;
    Ok(Taken {
        elapsed_s: Duration::from_secs_f64(elapsed / 1e3).as_secs_f64(),
        cpu_s: (ended.rusage.utime + ended.rusage.stime).as_secs_f64(),
        p99_ms: p99.context("the report has no latency of the predictions")? / 1e3,
        watched,
    })
}
