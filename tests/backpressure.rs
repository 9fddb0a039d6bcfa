//! Proves that with a sink 100 times slower than the source the source waits and memory stays flat. The test is alone
//! in its file because it measures the memory of the whole process.

#![allow(clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tidemill::error::ConnectorError;
use tidemill::prelude::*;
use tidemill::sink::{Sink, SinkContext, SinkWriter, Staged, StagedToken};

const RECORDS: u64 = 60_000;
const RECORD_BYTES: usize = 8192;
const MAX_IN_FLIGHT: usize = 2000;
/// Time to write one record.
const WRITE: Duration = Duration::from_micros(80);

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Load {
    key: u64,
    payload: String,
}

fn load(index: u64) -> (EventTime, Load) {
    (EventTime(index as i64 * 50), Load { key: index % 100, payload: "x".repeat(RECORD_BYTES) })
}

/// A sink that needs [`WRITE`] for each record.
#[derive(Clone, Default)]
struct Slow(Arc<AtomicU64>);

struct SlowWriter {
    started: Instant,
    written: Arc<AtomicU64>,
}

impl Sink for Slow {
    type Item = Load;
    type Writer = SlowWriter;

    fn open(&self, _: SinkContext) -> Result<SlowWriter, ConnectorError> {
        Ok(SlowWriter { started: Instant::now(), written: Arc::clone(&self.0) })
    }

    fn recover(&self, _: &SinkContext, _: Vec<StagedToken>) -> Result<(), ConnectorError> {
        Ok(())
    }
}

impl SinkWriter for SlowWriter {
    type Item = Load;

    fn ready(&mut self) -> bool {
        let slots = self.started.elapsed().as_nanos() / WRITE.as_nanos();
        u128::from(self.written.load(Ordering::Relaxed)) < slots
    }

    fn write(&mut self, _: &Record<Load>) -> Result<(), ConnectorError> {
        self.written.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn stage(&mut self, _: tidemill::time::Epoch) -> Result<Option<Staged>, ConnectorError> {
        Ok(None)
    }
}

struct Pass;

impl KeyedLogic for Pass {
    type Key = u64;
    type In = Load;
    type Out = Load;
    type Side = ();

    fn on_record(&mut self, ctx: &mut Context<'_, u64, Load, ()>, record: Record<Load>) -> Result<(), LogicError> {
        ctx.emit(record.data);
        Ok(())
    }
}

fn build<S: Sink<Item = Load>>(flow: &Flow<'_>, sink: &S, order: Order) -> Result<(), JobError> {
    flow.source("loads", &Generator::new(RECORDS, load))?
        .key_by(|load| load.key)
        .process("pass", order, |_| Ok(Pass))?
        .results
        .sink("out", sink)
}

/// Returns the peak memory of this process in bytes.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux reports it");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("Linux reports it");
    let kib: u64 = line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number of KiB");
    kib * 1024
}

#[test]
fn memory_stays_flat_when_the_sink_is_slow() {
    let args = |folder: &tempfile::TempDir| JobArgs {
        settings: JobSettings {
            workers: 2,
            max_in_flight: MAX_IN_FLIGHT,
            checkpoint_dir: Some(folder.path().to_owned()),
            checkpoint_interval: Duration::from_millis(50),
            ..JobSettings::default()
        },
        log_level: "error".to_owned(),
        ..JobArgs::default()
    };
    let folder = tempfile::tempdir().expect("a scratch folder");
    let started = Instant::now();
    let fast = |flow: &Flow<'_>| build(flow, &NullSink::default(), Order::Arrival);
    Job::new("fast", args(&folder)).run(fast).expect("a good end");
    let fast = started.elapsed();

    for order in [Order::Arrival, Order::EventTime] {
        let (before, started, sink) = (peak(), Instant::now(), Slow::default());
        let folder = tempfile::tempdir().expect("a scratch folder");
        let slow = sink.clone();
        let report = Job::new("slow", args(&folder)).run(move |flow| build(flow, &slow, order)).expect("a good end");
        let took = started.elapsed();
        let grown = peak().saturating_sub(before);
        println!(
            "{order:?}: {:.0} times as long as without the sink, {} MiB more; all records are {} MiB",
            took.as_secs_f64() / fast.as_secs_f64(),
            grown >> 20,
            (RECORDS * RECORD_BYTES as u64) >> 20
        );
        assert_eq!(sink.0.load(Ordering::Relaxed), RECORDS);
        assert!(grown < RECORDS * RECORD_BYTES as u64 / 4, "{order:?}: {} MiB more", grown >> 20);
        assert_eq!(report.in_flight, 0, "what was charged was released");
        let queues: Vec<_> = ["loads", "pass", "out"].map(|name| report.operator(name).unwrap().queue()).into();
        assert_eq!(queues, [None, Some(0), Some(0)], "nothing waits at the end");
    }
}
