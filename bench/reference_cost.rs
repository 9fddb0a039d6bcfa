//! Measures the cost of loading a reference file, for its first version and for one in which some rows have changed,
//! and how long events beside it wait meanwhile.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use serde::{Deserialize, Serialize};
use tidemill::prelude::*;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures loading and reloading of a reference file, with events beside it.
#[derive(Parser)]
struct Args {
    /// Rows of the file.
    #[arg(long, default_value_t = 1_000_000)]
    rows: u64,
    /// One of this number of rows changes.
    #[arg(long, default_value_t = 100)]
    changed: u64,
    /// Whether the rows go into a table, whose changes are emitted.
    #[arg(long)]
    table: bool,
    /// How long the run lasts, in seconds.
    #[arg(long, default_value_t = 15)]
    seconds: u64,
    /// Worker threads.
    #[arg(long, default_value_t = 2)]
    workers: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
struct Merchant {
    id: u64,
    city: String,
    category: u16,
    risk_per_million: u32,
}

/// Number of events per second beside the file. They are due in runs of 64, that is every 3 ms.
const PER_SECOND: u64 = 20_000;
/// Interval at which the file is checked for a new version.
const LOOK: Duration = Duration::from_millis(100);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    let folder = std::env::temp_dir().join(format!("reference-cost-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let result = measure(&args, &folder);
    fs::remove_dir_all(&folder)?;
    result
}

fn measure(args: &Args, folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let path = folder.join("merchants.csv");
    write(&path, args, 0)?;
    println!("{} rows, {} MB, {} workers", args.rows, fs::metadata(&path)?.len() / 1_000_000, args.workers);
    println!("{:>14} {:>10} {:>10} {:>12} {:>16}", "", "changes", "s", "peak MB", "events: max ms");
    run(args, folder, &path)
}

/// Runs the job, and replaces the file once its first version was emitted.
fn run(args: &Args, folder: &Path, path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let (emitted, slowest) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (count, wait, table) = (Arc::clone(&emitted), Arc::clone(&slowest), args.table);
    let file = ReferenceFile::new(path, |merchant: &Merchant| merchant.id).reload_every(LOOK);
    let file = file.as_of(|_| EventTime::MIN);
    let events = Generator::new(args.seconds * PER_SECOND, |n| (EventTime((n / 20) as i64), n)).rate(PER_SECOND as f64);
    let job_args = JobArgs {
        settings: JobSettings {
            workers: args.workers,
            checkpoint_dir: Some(folder.join("checkpoints")),
            ..JobSettings::default()
        },
        log_level: "warn".to_owned(),
        ..JobArgs::default()
    };
    let job = std::thread::spawn(move || {
        Job::new("reference_cost", job_args).run(move |flow| {
            let (count, wait, clock) = (Arc::clone(&count), Arc::clone(&wait), Clock::system());
            let rows = flow.reference("merchants", &file)?;
            if table {
                let changelog = Changelog::new(|(key, row)| Upsert { key, row });
                let emitted = rows.table("table", changelog)?.results.upserts("emitted")?;
                emitted
                    .inspect(move |_| _ = count.fetch_add(1, Ordering::Relaxed))
                    .sink("rows", &NullSink::default())?;
            } else {
                let emitted = rows.inspect(move |_| _ = count.fetch_add(1, Ordering::Relaxed));
                emitted.sink("rows", &NullSink::default())?;
            }
            let events = flow.source("events", &events)?.inspect(move |event| {
                _ = wait.fetch_max(clock.now().0 - event.arrival.0, Ordering::Relaxed);
            });
            events.sink("events-out", &NullSink::default())
        })
    });
    let report = |what: &str, changes: u64, time: Duration| {
        let slowest = slowest.swap(0, Ordering::Relaxed) as f64 / 1000.0;
        println!("{what:>14} {changes:>10} {:>10.2} {:>12} {slowest:>16.0}", time.as_secs_f64(), peak_mb());
    };
    let time = wait_for(&emitted, args.rows, &job);
    report("first version", args.rows, time);
    pause(Duration::from_secs(3));
    report("then nothing", 0, Duration::from_secs(3));
    write(path, args, 1)?;
    let changed = args.rows.div_ceil(args.changed);
    let time = wait_for(&emitted, args.rows + changed, &job);
    report("reloaded", changed, time);
    job.join().map_err(|_| "the job panicked")??;
    Ok(())
}

/// Writes a version of the file: first under another name, which is then renamed.
fn write(path: &Path, args: &Args, version: u64) -> std::io::Result<()> {
    let mut text = "id,city,category,risk_per_million\n".to_owned();
    for id in 0..args.rows {
        let version = if id % args.changed == 0 { version } else { 0 };
        let (city, category, risk) = (id % 5000, id % 700, (id * 7919 + version * 13) % 1_000_000);
        text += &format!("{id},City number {city},{category},{risk}\n");
    }
    let next = path.with_extension("next");
    fs::write(&next, text)?;
    fs::rename(next, path)
}

fn wait_for<T>(emitted: &AtomicU64, changes: u64, job: &std::thread::JoinHandle<T>) -> Duration {
    let since = Instant::now();
    while emitted.load(Ordering::Relaxed) < changes && !job.is_finished() {
        pause(Duration::from_millis(1));
    }
    since.elapsed()
}

fn pause(time: Duration) {
    let until = Instant::now() + time;
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        std::thread::park_timeout(left);
    }
}

/// Returns the peak memory of the process, in MB.
fn peak_mb() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) / 1000
}
