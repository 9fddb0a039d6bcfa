//! Measures the cost of a record in windows of one hour: tumbling, and sliding every second. Runs of both take turns,
//! so that their ratio is right on a machine that does other things as well.
//!
//! A sliding window has a result per key and second, so the ratio depends on how many records share one. The aim is a
//! ratio of at most two where records outnumber results. The cost of the results by themselves shows in tumbling
//! windows of a second, which have as many results.

use std::fs;
use std::time::{Duration, Instant};

use clap::Parser;
use tidemill::prelude::*;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SECOND_MS: i64 = 1_000;

/// Compares the cost of a record in tumbling and in sliding windows.
#[derive(Parser)]
struct Args {
    /// Records of each run.
    #[arg(long, default_value_t = 4_000_000)]
    count: u64,
    /// Keys.
    #[arg(long, default_value_t = 10)]
    keys: u64,
    /// Runs of each; the median counts.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// How many records of a key share a second, one line each.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 10, 100, 1_000], value_parser = clap::value_parser!(u64).range(1..))]
    rates: Vec<u64>,
}

fn main() -> Result<(), JobError> {
    let Args { count, keys, runs, rates } = Args::parse();
    println!(
        "{count} records, {keys} keys, one worker, no checkpoints, ns of processor time per record; medians of {runs}"
    );
    println!("{:>52} {:>20} {:>16}", "tumbling", "sliding 1 h by 1 s", "ratio to");
    println!(
        "{:>21} {:>10} {:>10} {:>8} {:>20} {:>8} {:>7}",
        "records per key and s", "no window", "1 h", "1 s", "", "1 h", "1 s"
    );
    for per_second in rates {
        let mut times = [const { Vec::new() }; 4];
        for _ in 0..runs.max(1) {
            let [hour, second] = [hours(1), secs(1)].map(|size| Some(Assigner::tumbling(size)));
            let windows = [None, hour, second, Some(Assigner::sliding(hours(1), secs(1)))];
            for (times, assigner) in times.iter_mut().zip(windows) {
                times.push(run(count, keys, per_second, assigner)?.as_nanos() as f64 / count as f64);
            }
        }
        let [without, hour, second, sliding] = times.map(median);
        let (to_hour, to_second) = (sliding / hour, sliding / second);
        println!(
            "{per_second:>21} {without:>10.0} {hour:>10.0} {second:>8.0} {sliding:>20.0} {to_hour:>8.2} {to_second:>7.2}"
        );
    }
    Ok(())
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Returns the processor time of a run, from the first record to the last.
fn run(count: u64, keys: u64, per_second: u64, assigner: Option<Assigner>) -> Result<Duration, JobError> {
    // Record i is of key i % keys, and keys * per_second of them share a second.
    let source = Generator::new(count, move |i| {
        let time = i * SECOND_MS as u64 / (keys * per_second);
        (EventTime(time as i64), (i % keys, i as f64))
    });
    let before = processor_time();
    let args = JobArgs { log_level: "warn".to_owned(), ..JobArgs::default() };
    Job::new("window_cost", args).run(move |flow| {
        let records = flow.source("records", &source)?;
        let Some(assigner) = assigner else { return records.sink("none", &NullSink::default()) };
        records
            .key_by(|record| record.0)
            .window("windows", assigner)
            .aggregate(stats_of(|record: &(u64, f64)| record.1))?
            .results
            .sink("none", &NullSink::default())
    })?;
    Ok(processor_time().saturating_sub(before))
}

/// Returns the processor time of this process so far, which Linux reports in hundredths of a second. On other systems,
/// returns the time that has passed.
fn processor_time() -> Duration {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    let start = START.get_or_init(Instant::now);
    let ticks = fs::read_to_string("/proc/self/stat").ok().and_then(|stat| {
        // The name, in brackets, may have spaces in it; user and system time are the 12th and 13th field after it.
        let fields = stat.rsplit(')').next()?.split_ascii_whitespace().skip(11).take(2);
        fields.map(|ticks| ticks.parse::<u64>().ok()).sum::<Option<u64>>()
    });
    ticks.map_or_else(|| start.elapsed(), |ticks| Duration::from_millis(ticks * 10))
}
