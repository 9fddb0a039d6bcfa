//! Measures state that is larger than its memory limit against the same state without a limit: elapsed time and processor
//! time of one job with a value, a list and a rolling aggregate per key, for skewed and for uniform keys.
//!
//! ```text
//! whole    no limit: nothing is written into RocksDB before the end
//! part     a tenth of the memory that the whole state took. Runs take turns; both must give the same checksum
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tidemill::prelude::*;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures a job whose state is larger than its memory limit.
#[derive(Parser)]
struct Args {
    /// Pairs of runs; the medians of their ratios count.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Number of keys.
    #[arg(long, default_value_t = 200_000)]
    keys: usize,
    /// Number of records.
    #[arg(long, default_value_t = 1_000_000)]
    records: usize,
    /// The limit: the memory of all state, divided by this.
    #[arg(long, default_value_t = 10)]
    part: u64,
    /// Time between epochs.
    #[arg(long, default_value = "100ms")]
    interval: humantime::Duration,
    /// Runs only this: "zipf" or "uniform".
    #[arg(long)]
    only: Option<String>,
}

struct Profile {
    count: ValueState<u64, u64>,
    last: ListState<u64, u64>,
    recent: Rolling<u64>,
}

impl KeyedLogic for Profile {
    type Key = u64;
    type In = (u64, u64);
    type Out = u64;
    type Side = ();

    fn on_record(&mut self, ctx: &mut Context<'_, u64, u64, ()>, record: Record<(u64, u64)>) -> Result<(), LogicError> {
        let (key, value) = record.data;
        let count = self.count.update(
            ctx,
            || 0,
            |count| {
                *count += 1;
                *count
            },
        )?;
        let oldest = self.last.with(ctx, |last| {
            last.push_back(value);
            if last.len() > 10 { last.pop_front() } else { last.front().copied() }
        })?;
        let recent = self.recent.add(ctx, 1.0, |rolled| rolled.windows[0].count)?;
        let parts = [key, count, oldest.unwrap_or(0), recent];
        ctx.emit(parts.iter().fold(0_u64, |sum, n| sum.wrapping_mul(31).wrapping_add(*n)));
        Ok(())
    }

    fn tie_break(record: &(u64, u64)) -> u64 {
        record.1
    }
}

fn main() -> Result<(), JobError> {
    let args = Args::parse();
    let Args { keys, records, .. } = args;
    println!("{records} records, {keys} keys, one worker, epochs of {}; medians of {} pairs", args.interval, args.runs);
    println!(
        "{:<10} {:>12} {:>12} {:>16} {:>16}",
        "keys", "state MiB", "limit MiB", "elapsed: times", "processor: times"
    );
    for (name, exponent) in [("zipf", 1.1), ("uniform", 0.0)] {
        if args.only.as_ref().is_some_and(|only| only != name) {
            continue;
        }
        let drawn = draw(keys, records, exponent);
        let (mut elapsed, mut processor, mut bytes) = (Vec::new(), Vec::new(), 0);
        for _ in 0..args.runs.max(1) {
            let whole = run(&drawn, None, *args.interval)?;
            let part = run(&drawn, Some(whole.bytes / args.part), *args.interval)?;
            assert_eq!(whole.checksum, part.checksum, "other answers with less memory");
            println!(
                "{name:<10} whole {:.2} s, {:.2} s of processors; part {:.2} s, {:.2} s",
                whole.elapsed, whole.processor, part.elapsed, part.processor
            );
            elapsed.push(part.elapsed / whole.elapsed);
            processor.push(part.processor / whole.processor);
            bytes = whole.bytes;
        }
        let (all, limit) = (bytes >> 20, (bytes / args.part) >> 20);
        println!("{name:<10} {all:>12} {limit:>12} {:>16.1} {:>16.1}", median(elapsed), median(processor));
    }
    Ok(())
}

/// Draws a key for each record: the probability of the key of rank n is proportional to 1 / n to the power of `exponent`.
/// Ranks are mixed, so that keys which occur often are not neighbours.
fn draw(keys: usize, records: usize, exponent: f64) -> Arc<Vec<u64>> {
    let mut sum = 0.0;
    let upto: Vec<f64> = (1..=keys)
        .map(|rank| {
            sum += (rank as f64).powf(-exponent);
            sum
        })
        .collect();
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let mut key = || {
        let at = random.random::<f64>() * sum;
        (upto.partition_point(|upto| *upto <= at) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    };
    Arc::new((0..records).map(|_| key()).collect())
}

struct Run {
    checksum: u64,
    bytes: u64,
    elapsed: f64,
    processor: f64,
}

fn run(keys: &Arc<Vec<u64>>, state_memory: Option<u64>, interval: Duration) -> Result<Run, JobError> {
    let (drawn, sums) = (Arc::clone(keys), CollectSink::default());
    let sink = sums.clone();
    let settings = JobSettings { state_memory, checkpoint_interval: interval, ..JobSettings::default() };
    let args = JobArgs { settings, log_level: "error".to_owned(), ..JobArgs::default() };
    let seen = move |index: u64| (EventTime((index / 10) as i64), (drawn[index as usize], index));
    let source = Generator::new(keys.len() as u64, seen);
    let (started, before) = (Instant::now(), processor_seconds());
    let report = Job::new("memory_cost", args).run(move |flow| {
        flow.source("seen", &source)?
            .key_by(|seen| seen.0)
            .process("profile", Order::EventTime, |states| {
                let recent = Rolling::open(states, "recent", &[secs(5)])?;
                Ok(Profile { count: states.value("count")?, last: states.list("last")?, recent })
            })?
            .results
            .sink("sums", &sink)
    })?;
    let (elapsed, processor) = (started.elapsed().as_secs_f64(), processor_seconds() - before);
    let checksum = sums.data().into_iter().fold(0, u64::wrapping_add);
    Ok(Run { checksum, bytes: report.state_bytes, elapsed, processor })
}

/// Returns the processor time of this process, user and system, all threads.
fn processor_seconds() -> f64 {
    /// The kernel's unit for times in this file, on every machine that Linux supports today.
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let ticks = after_name.split(' ').skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum::<f64>();
    ticks / TICKS_PER_SECOND
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
