//! Batches that never fill are closed in time, even on a worker that is never idle.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tidemill::prelude::*;
use tidemill::source::{Batch, Next, Source as RecordSource, SourceContext, SourceReader};
use tidemill::{error::ConnectorError, time::EventTime};

use crate::fake::{Act, Fake, Item, args, item, settings, threads};

/// A source that has records at every read, until the job has at_first a result or 20 s have passed.
#[derive(Clone)]
struct Busy {
    out: Arc<AtomicU64>,
    since: Instant,
    next: u64,
}

impl RecordSource for Busy {
    type Item = Item;
    type Reader = Self;

    fn open(&self, _: SourceContext) -> Result<Self, ConnectorError> {
        Ok(self.clone())
    }
}

impl SourceReader for Busy {
    type Item = Item;

    fn read(&mut self, batch: &mut Batch<Item>) -> Result<Next, ConnectorError> {
        if self.out.load(Ordering::Relaxed) > 0 || self.since.elapsed() > Duration::from_secs(20) {
            return Ok(Next::Done);
        }
        for _ in 0..2 {
            batch.push(EventTime(self.next as i64), item(self.next, Act::Score));
            self.next += 1;
        }
        batch.advance_watermark(EventTime(self.next as i64));
        Ok(Next::Now)
    }

    fn position(&self) -> Result<Vec<u8>, ConnectorError> {
        Ok(self.next.to_le_bytes().to_vec())
    }
}

/// Returns the number of records read when the first result was at_first, and when the source ended.
fn first_result(job: JobArgs, settings: InferSettings) -> (u64, u64) {
    let _others_may_run = crate::ALONE.read().unwrap_or_else(std::sync::PoisonError::into_inner);
    let (out, read) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let first = Arc::new(AtomicU64::new(0));
    let (seen, counted, at_first) = (Arc::clone(&out), Arc::clone(&read), Arc::clone(&first));
    Job::new("busy", job)
        .run(move |flow| {
            let source = Busy { out: Arc::clone(&seen), since: Instant::now(), next: 0 };
            let (seen, counted, read, at_first) =
                (Arc::clone(&seen), Arc::clone(&counted), Arc::clone(&counted), Arc::clone(&at_first));
            flow.source("items", &source)?
                .inspect(move |_| _ = counted.fetch_add(1, Ordering::Relaxed))
                .infer("score", &Fake::new("model", 0.0, &[]), &settings, |item: &Item| &item.wish)?
                .inspect(move |_| {
                    if seen.fetch_add(1, Ordering::Relaxed) == 0 {
                        at_first.store(read.load(Ordering::Relaxed), Ordering::Relaxed);
                    }
                })
                .sink("out", &NullSink::default())
        })
        .unwrap();
    assert_eq!(out.load(Ordering::Relaxed), read.load(Ordering::Relaxed), "nothing is lost");
    (first.load(Ordering::Relaxed), read.load(Ordering::Relaxed))
}

/// A batch size larger than the number of records in a few epochs.
const LARGE: usize = 1 << 20;

/// Returns settings with which batches neither fill nor reach their maximum delay.
fn never_full(pool: Option<PoolSettings>, max_watermark_delay: Option<Duration>) -> InferSettings {
    InferSettings { max_delay: Duration::from_secs(3600), max_watermark_delay, ..settings(LARGE, pool) }
}

#[test]
fn an_epoch_never_waits_for_a_batch_to_fill() {
    for pool in [None, threads(1, true)] {
        let folder = tempfile::tempdir().unwrap();
        let job = JobArgs {
            settings: JobSettings {
                checkpoint_dir: Some(folder.path().to_owned()),
                checkpoint_interval: Duration::from_millis(50),
                ..args(1).settings
            },
            ..args(1)
        };
        let (first, read) = first_result(job, never_full(pool, None));
        // The first result comes after more than one read, but long before the batch is full or the source ends.
        assert!(first > 2 && first < LARGE as u64, "{first} of {read}");
    }
}

#[test]
fn a_watermark_waits_no_longer_than_it_is_allowed_to() {
    for pool in [None, threads(1, true)] {
        let (first, read) = first_result(args(1), never_full(pool, Some(Duration::ZERO)));
        assert!(first > 0 && first < LARGE as u64, "{first} of {read}");
    }
}
