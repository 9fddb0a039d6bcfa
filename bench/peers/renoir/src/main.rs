//! The job `iot` of the comparison in Renoir, with two threads a stage. It has no fault tolerance.
//!
//! Renoir aligns a key's windows to the first time that it sees and drops what lies before. So readings are put in order
//! first and grouped by machine and start of the window: the same windows as everywhere, closed up to 10 s later.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use clap::Parser;
use peers::args::{Output, report};
use peers::iot::{BOUND, LENGTH, Reading, Totals};
use peers::lines::Key;
use renoir::prelude::*;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A watermark visits every open key, so it is sent once in a second of event time: in this many records of a part.
const WATERMARK_EVERY: u64 = 5_000;

/// Runs the job in Renoir.
#[derive(Parser)]
struct Args {
    /// Folder with the input.
    #[arg(long)]
    data: PathBuf,
    /// Folder for the output.
    #[arg(long)]
    out: PathBuf,
}

/// The file of a replica. Renoir clones the closure that has it before the job starts, so it is created at its first line.
struct Lines {
    output: Output,
    replicas: Arc<AtomicUsize>,
    file: Option<BufWriter<File>>,
}

impl Clone for Lines {
    fn clone(&self) -> Self {
        Self { output: self.output.clone(), replicas: Arc::clone(&self.replicas), file: None }
    }
}

impl Lines {
    fn write(&mut self, machine: Key, start: i64, totals: &Totals) {
        let Self { output, replicas, file } = self;
        let create = || output.create(replicas.fetch_add(1, Ordering::Relaxed)).expect("windows can be written");
        let file = file.get_or_insert_with(create);
        totals.write(machine, start, file).expect("windows can be written");
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.file.as_mut().map_or(Ok(()), Write::flush).expect("windows can be written");
    }
}

fn main() -> anyhow::Result<()> {
    let Args { data, out } = Args::parse();
    let started = Instant::now();
    let context = StreamContext::new(RuntimeConfig::local(2)?);
    let records = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&records);
    let lines = move |replica: u64, _| -> Box<dyn Iterator<Item = String> + Send> {
        let Ok(file) = File::open(data.join(format!("iot.p{replica}.jsonl"))) else {
            return Box::new(std::iter::empty());
        };
        Box::new(BufReader::with_capacity(1 << 20, file).lines().map(|line| line.expect("lines are UTF-8")))
    };
    let watermark = {
        let (mut seen, mut newest) = (0_u64, i64::MIN);
        move |reading: &Reading, _: &i64| {
            seen += 1;
            newest = newest.max(reading.ts);
            counted.fetch_add(1, Ordering::Relaxed);
            seen.is_multiple_of(WATERMARK_EVERY).then_some(newest - BOUND - 1)
        }
    };
    let mut windows = Lines { output: Output { folder: out }, replicas: Arc::default(), file: None };
    context
        .stream_par_iter(lines)
        .map(|line| Reading::parse(line.as_bytes()).expect("lines are readings"))
        .add_timestamps(|reading| reading.ts, watermark)
        .reorder()
        .group_by(|reading| (reading.machine, reading.window()))
        .window(EventTimeWindow::tumbling(LENGTH))
        .fold(Totals::default(), |totals, reading| totals.add(reading.values))
        .unkey()
        .for_each(move |((machine, start), totals)| windows.write(machine, start, &totals));
    context.execute_blocking();
    report(records.load(Ordering::Relaxed), started);
    Ok(())
}
