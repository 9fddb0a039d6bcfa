//! A job of the comparison in plain timely dataflow: what the runtime of Tidemill does when it is programmed by hand.
//! State is in hash maps, and there is no fault tolerance.
//!
//! Each worker reads its own parts of the input. The time of the dataflow is the watermark, which moves on in steps.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, anyhow, ensure};
use clap::Parser;
use peers::alerts::Alerts;
use peers::args::{Files, Job, report};
use peers::cards::{self, Card, Pending, Transaction};
use peers::iot::{self, Reading, Windows};
use peers::lines::{Key, Lines};
use rustc_hash::FxHashMap;
use std::io::Write;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::{Input, Operator, Probe};
use timely::dataflow::{InputHandle, ProbeHandle};
use timely::worker::Worker;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Least event time between two moves of the dataflow's time, in ms.
const STEP: i64 = 100;
/// How far an input may run ahead of the slowest worker, in ms of event time.
const AHEAD: u64 = 5_000;
const PARTS: usize = 2;

type Batches<T> = CapacityContainerBuilder<Vec<T>>;

/// Runs a job of the comparison in plain timely dataflow.
#[derive(Clone, Parser)]
struct Args {
    job: Job,
    #[arg(long, default_value_t = 2)]
    workers: usize,
    #[command(flatten)]
    files: Files,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let started = Instant::now();
    let config = timely::Config::process(args.workers);
    let run = move |worker: &mut Worker| match args.job {
        Job::Iot => iot(worker, &args.files),
        Job::Fraud | Job::FraudScore => fraud(worker, &args),
    };
    let guards = timely::execute(config, run).map_err(|e| anyhow!("{e}"))?;
    let records = guards.join().into_iter().map(|records| records.map_err(|e| anyhow!("{e}"))?).sum::<Result<u64>>()?;
    report(records, started);
    Ok(())
}

fn iot(worker: &mut Worker, files: &Files) -> Result<u64> {
    let (mut input, probe) = (InputHandle::new(), ProbeHandle::new());
    let mut out = files.output().create(worker.index())?;
    let mut windows = Windows::default();
    worker.dataflow::<u64, _, _>(|scope| {
        let by_machine = Exchange::new(|reading: &Reading| reading.machine.route());
        scope
            .input_from(&mut input)
            .unary_frontier::<Batches<()>, _, _, _>(by_machine, "windows", move |_, _| {
                move |(input, frontier), _output| {
                    input.for_each(|_, batch| batch.drain(..).for_each(|reading| windows.add(&reading)));
                    let watermark = frontier.frontier().first().map_or(i64::MAX, |time| *time as i64);
                    windows.close(watermark, &mut out).expect("windows can be written");
                    if watermark == i64::MAX {
                        out.flush().expect("windows can be written");
                        assert_eq!(windows.late, 0, "readings were late");
                    }
                }
            })
            .probe_with(&probe);
    });
    feed(worker, &parts(worker, files, "iot"), input, &probe, iot::BOUND, Reading::parse, |reading| reading.ts)
}

fn fraud(worker: &mut Worker, args: &Args) -> Result<u64> {
    let (mut input, probe) = (InputHandle::new(), ProbeHandle::new());
    let mut alerts = Alerts::open(&args.files.output(), worker.index(), args.files.load_model(args.job)?)?;
    let (mut cards, mut pending) = (FxHashMap::<Key, Card>::default(), Pending::default());
    let mut is_open = true;
    worker.dataflow::<u64, _, _>(|scope| {
        let by_card = Exchange::new(|transaction: &Transaction| transaction.card.route());
        scope
            .input_from(&mut input)
            // Not `for_each_stamp`, which may change the order of a card's transactions.
            .unary_frontier::<Batches<()>, _, _, _>(by_card, "cards", move |_, _| {
                move |(input, frontier), _output| {
                    input.for_each(|_, batch| batch.drain(..).for_each(|transaction| pending.push(transaction)));
                    let watermark = frontier.frontier().first().map_or(i64::MAX, |time| *time as i64);
                    let decide = |transaction: Transaction| {
                        let features = cards.entry(transaction.card).or_default().add(&transaction);
                        alerts.add(&transaction, &features)
                    };
                    pending.release(watermark, decide).expect("alerts can be scored and written");
                    if is_open && frontier.is_empty() {
                        is_open = false;
                        alerts.finish().expect("alerts can be scored and written");
                    }
                }
            })
            .probe_with(&probe);
    });
    feed(worker, &parts(worker, &args.files, "tx"), input, &probe, cards::BOUND, Transaction::parse, |tx| tx.ts)
}

/// Returns the parts of the input that this worker reads.
fn parts(worker: &Worker, files: &Files, name: &str) -> Vec<PathBuf> {
    let mine = (0..PARTS).filter(|part| part % worker.peers() == worker.index());
    mine.map(|part| files.input(&format!("{name}.p{part}"))).collect()
}

/// A part of the input that is being read.
struct Part {
    lines: Lines,
    /// Latest event time so far, and the end of time once the part has been read.
    newest: i64,
}

/// Reads the parts in turn, sends their records, and moves the time on with the watermark. Returns their number.
fn feed<R: Copy + 'static>(
    worker: &mut Worker,
    files: &[PathBuf],
    mut input: InputHandle<u64, Batches<R>>,
    probe: &ProbeHandle<u64>,
    bound: i64,
    parse: fn(&[u8]) -> Result<R>,
    time_of: fn(&R) -> i64,
) -> Result<u64> {
    let open = |path: &PathBuf| Ok(Part { lines: Lines::open(path)?, newest: i64::MIN });
    let mut parts: Vec<Part> = files.iter().map(open).collect::<Result<_>>()?;
    let (mut records, mut time) = (0, 0);
    loop {
        for Part { lines, newest } in parts.iter_mut().filter(|part| part.newest < i64::MAX) {
            let more = lines.chunk(|line| {
                let record = parse(line)?;
                records += 1;
                *newest = time_of(&record).max(*newest);
                input.send(record);
                Ok(())
            })?;
            if !more {
                *newest = i64::MAX;
            }
        }
        let newest = parts.iter().map(|part| part.newest).min().unwrap_or(i64::MAX);
        if newest == i64::MAX {
            break;
        }
        if newest - bound >= time + STEP {
            time = newest - bound;
            input.advance_to(time as u64);
        }
        worker.step();
        while probe.less_than(&(time as u64).saturating_sub(AHEAD)) {
            worker.step();
        }
    }
    drop(input);
    while !probe.done() {
        worker.step();
    }
    ensure!(records > 0 || files.is_empty(), "the input is empty");
    Ok(records)
}
