//! A job whose number of keys, open windows and operators can be chosen, for `cargo xtask bench scaling`: records of
//! random keys pass a chain of operators, are exchanged by key, and are counted in windows. The report says how many
//! windows there were and how many records were in them; of several processes, each reports its own.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use clap::Parser;
use tidemill::prelude::*;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Records of a key in a window, on average.
const PER_WINDOW: u64 = 10;

/// Counts records in windows.
#[derive(Parser)]
struct Args {
    /// Records, over all workers.
    #[arg(long, default_value_t = 2_000_000)]
    records: u64,
    /// Keys.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    keys: u64,
    /// Windows that a key has open at a time.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    open: u64,
    /// Operators between the source and the windows.
    #[arg(long, default_value_t = 1)]
    chain: usize,
    #[command(flatten)]
    job: JobArgs,
}

fn main() -> ExitCode {
    tidemill::cli::exit(run(&Args::parse()))
}

fn run(args: &Args) -> Result<(), JobError> {
    let Args { records, keys, open, chain, .. } = *args;
    // A record a millisecond. It is late by up to as many windows as are open.
    let length = keys * PER_WINDOW;
    let source = Generator::new(records, move |i| {
        let random = scattered(i);
        let time = (i + (open - 1) * length).saturating_sub((random >> 40) % open * length);
        (EventTime(time as i64), random % keys)
    })
    .max_out_of_orderness(millis((open - 1) * length));
    let (windows, counted) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let totals = (Arc::clone(&windows), Arc::clone(&counted));
    let started = Instant::now();
    Job::new("scaling_cost", args.job.clone()).run(move |flow| {
        let mut stream = flow.source("records", &source)?;
        for _ in 0..chain {
            stream = stream.map(std::hint::black_box);
        }
        let (windows, counted) = totals.clone();
        stream
            .key_by(|key| *key)
            .window("windows", Assigner::tumbling(millis(length)))
            .aggregate(counting())?
            .results
            .for_each("totals", move |result| {
                windows.fetch_add(1, Ordering::Relaxed);
                counted.fetch_add(result.data.value, Ordering::Relaxed);
            })
    })?;
    let [windows, counted] = [windows, counted].map(|total| total.load(Ordering::Relaxed));
    let seconds = started.elapsed().as_secs_f64();
    println!("{}", serde_json::json!({ "records": counted, "windows": windows, "seconds": seconds }));
    Ok(())
}

/// Returns a number that looks random (the finaliser of SplitMix64; Steele, Lea and Flood, 2014).
fn scattered(i: u64) -> u64 {
    let x = i.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
