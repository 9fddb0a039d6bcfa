//! A rate-controlled generator. It is an open loop: records that are taken late are counted as such, not hidden.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidemill_engine::source::{Batch, Next, Source, SourceContext, SourceReader};
use tidemill_engine::{Arrival, ConnectorError, Data, ErrorKind, EventTime};

use crate::position::{self, Position};
use crate::splits::{Splits, SplitsPosition};

/// Number of records in a split.
const PIECE: u64 = 64;

type Make<T> = Box<dyn FnMut(u64) -> (EventTime, T)>;

/// A source that makes record `i` of `0..count` by a pure function of `i`, so that a restore makes the same records.
///
/// * Time: at a rate, record `i` is due `i / rate` after the job began, and counts as arrived then, also
///   when the job is too slow to take it then. After a restore the next record is due at once.
/// * Order: event times must not fall with `i` by more than the out-of-orderness.
#[derive(Clone)]
pub struct Generator<T> {
    start: Arc<dyn Fn() -> Make<T> + Send + Sync>,
    count: u64,
    per_second: Option<f64>,
    max_out_of_orderness: Duration,
}

impl<T: Data> Generator<T> {
    /// Returns a generator that makes `count` records with `make`, as fast as they are taken.
    pub fn new(count: u64, make: impl Fn(u64) -> (EventTime, T) + Send + Sync + 'static) -> Self {
        let make = Arc::new(make);
        Self::per_worker(count, move || {
            let make = Arc::clone(&make);
            move |index| make(index)
        })
    }

    /// Returns a generator as [`new`](Self::new) does, in which `start` creates a separate maker for each worker. The
    /// maker may keep state that makes the next record cheap, as long as record `i` stays a function of `i`. A worker
    /// asks for ever higher `i`, in runs.
    pub fn per_worker<M: FnMut(u64) -> (EventTime, T) + 'static>(
        count: u64,
        start: impl Fn() -> M + Send + Sync + 'static,
    ) -> Self {
        let start = Arc::new(move || Box::new(start()) as Make<T>);
        Self { start, count, per_second: None, max_out_of_orderness: Duration::ZERO }
    }

    /// Sets the rate in records per second, over all workers; it must be more than 0. Default, and with `None`: records
    /// are made as fast as they are taken.
    #[must_use]
    pub fn rate(mut self, per_second: impl Into<Option<f64>>) -> Self {
        self.per_second = per_second.into();
        self
    }

    /// Sets how far a record may be behind the latest event time without being late, in whole milliseconds. Default: 0.
    #[must_use]
    pub fn max_out_of_orderness(mut self, bound: Duration) -> Self {
        self.max_out_of_orderness = bound;
        self
    }
}

/// The part of a worker's share that a checkpoint stores.
#[derive(Serialize, Deserialize)]
struct Share {
    done: SplitsPosition,
}

impl Position for Share {
    const VERSION: u8 = 1;
    const OF: &'static str = "a generator's";
}

impl<T: Data> Source for Generator<T> {
    type Item = T;
    type Reader = GeneratorReader<T>;

    fn max_out_of_orderness(&self) -> Duration {
        self.max_out_of_orderness
    }

    fn open(&self, context: SourceContext) -> Result<Self::Reader, ConnectorError> {
        if let Some(rate) = self.per_second.filter(|rate| !(rate.is_finite() && *rate > 0.0)) {
            let message = format!("its rate is {rate} records per second: give a number above 0, or none");
            return Err(ConnectorError::new(ErrorKind::Invalid, message));
        }
        let restored: Vec<Share> =
            context.restored.iter().map(|bytes| position::decode(bytes)).collect::<Result<_, _>>()?;
        let splits = Splits::new(context.worker, context.workers, restored.iter().map(|share| &share.done));
        let workers = context.workers as u64;
        let first = splits.next() / workers * workers * PIECE;
        Ok(GeneratorReader { generator: self.clone(), make: (self.start)(), first, splits })
    }
}

/// The reader of one worker's share of a generator.
pub struct GeneratorReader<T> {
    generator: Generator<T>,
    make: Make<T>,
    splits: Splits,
    /// The index of the record that is due when this run starts.
    first: u64,
}

impl<T: Data> GeneratorReader<T> {
    /// Returns when record `index` is due; without a rate this is now.
    fn due(&self, index: u64, batch: &Batch<T>) -> Arrival {
        self.generator.per_second.map_or(batch.now(), |rate| {
            let micros = index.saturating_sub(self.first) as f64 * 1e6 / rate;
            Arrival(batch.began().0 + micros as u64)
        })
    }
}

impl<T: Data> SourceReader for GeneratorReader<T> {
    type Item = T;

    fn read(&mut self, batch: &mut Batch<T>) -> Result<Next, ConnectorError> {
        let now = batch.now();
        while batch.records().len() < Batch::<T>::LIMIT {
            let first = self.splits.next() * PIECE;
            let end = (first + PIECE).min(self.generator.count);
            if first >= end {
                return Ok(Next::Done);
            }
            // A piece is emitted when its last record is due; each record counts as arrived when it was due itself.
            let last_due = self.due(end - 1, batch);
            if last_due > now {
                return Ok(Next::After(Duration::from_micros(last_due.0 - now.0)));
            }
            let mut latest = EventTime::MIN;
            for index in first..end {
                let (event_time, record) = (self.make)(index);
                latest = latest.max(event_time);
                batch.push_arrived(event_time, self.due(index, batch), record);
            }
            batch.advance_watermark(latest - self.generator.max_out_of_orderness);
            self.splits.advance();
        }
        Ok(Next::Now)
    }

    fn position(&self) -> Result<Vec<u8>, ConnectorError> {
        position::encode(&Share { done: self.splits.position() })
    }
}

#[cfg(test)]
mod tests {
    use tidemill_engine::Clock;

    use super::*;

    fn try_open(
        generator: &Generator<u64>,
        worker: usize,
        workers: usize,
        restored: Vec<Vec<u8>>,
        clock: &Clock,
    ) -> Result<GeneratorReader<u64>, ConnectorError> {
        let mut context = SourceContext::without_job("g", worker, workers, clock.clone());
        context.restored = restored;
        generator.open(context)
    }

    fn open(
        generator: &Generator<u64>,
        worker: usize,
        workers: usize,
        restored: Vec<Vec<u8>>,
        clock: &Clock,
    ) -> GeneratorReader<u64> {
        try_open(generator, worker, workers, restored, clock).unwrap()
    }

    #[test]
    fn an_invalid_rate_is_refused_with_its_value() {
        let generator = Generator::new(1, |i| (EventTime(0), i));
        assert!(try_open(&generator.clone().rate(None), 0, 1, Vec::new(), &Clock::manual(Arrival(0))).is_ok());
        for rate in [0.0, -3.0, f64::NAN, f64::INFINITY] {
            let error =
                try_open(&generator.clone().rate(rate), 0, 1, Vec::new(), &Clock::manual(Arrival(0))).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.to_string().contains(&format!("its rate is {rate} records per second")), "{error}");
        }
    }

    #[test]
    fn records_come_when_they_are_due_and_count_from_then() {
        let clock = Clock::manual(Arrival(1_000_000));
        let generator = Generator::new(1000, |i| (EventTime(i as i64), i)).rate(64_000.0);
        let mut reader = open(&generator, 0, 1, Vec::new(), &clock);
        let mut batch = Batch::new(clock.now());
        assert!(matches!(reader.read(&mut batch).unwrap(), Next::After(_)));
        assert!(batch.records().is_empty());
        clock.set(Arrival(1_000_000 + 1_000_000));
        batch.reset(clock.now());
        assert_eq!(reader.read(&mut batch).unwrap(), Next::Done);
        assert_eq!(batch.records().len(), 1000);
        assert_eq!(batch.records()[640].arrival, Arrival(1_000_000 + 10_000), "not when it was read");
    }

    #[test]
    fn a_restore_with_other_workers_generates_the_rest() {
        let clock = Clock::manual(Arrival(0));
        let generator = Generator::new(1000, |i| (EventTime(i as i64), i));
        let mut seen: Vec<u64> = Vec::new();
        let read = |reader: &mut GeneratorReader<u64>, seen: &mut Vec<u64>| {
            let mut batch = Batch::new(clock.now());
            let next = reader.read(&mut batch).unwrap();
            seen.extend(batch.records().iter().map(|record| record.data));
            next
        };
        let mut two: Vec<_> = (0..2).map(|w| open(&generator, w, 2, Vec::new(), &clock)).collect();
        read(&mut two[0], &mut seen);
        let positions: Vec<_> = two.iter().map(|reader| reader.position().unwrap()).collect();
        for worker in 0..3 {
            let mut reader = open(&generator, worker, 3, positions.clone(), &clock);
            while read(&mut reader, &mut seen) != Next::Done {}
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn each_worker_has_a_maker_of_its_own_that_is_asked_for_ever_higher_records() {
        let clock = Clock::manual(Arrival(0));
        let generator = Generator::per_worker(1000, || {
            let (mut before, mut calls) = (None, 0);
            move |index: u64| {
                assert!(before.replace(index) < Some(index));
                calls += 1;
                (EventTime(0), calls)
            }
        });
        for worker in 0..3 {
            let mut reader = open(&generator, worker, 3, Vec::new(), &clock);
            let mut batch = Batch::new(clock.now());
            while reader.read(&mut batch).unwrap() != Next::Done {}
            let calls: Vec<u64> = batch.records().iter().map(|record| record.data).collect();
            assert_eq!(calls, (1..=calls.len() as u64).collect::<Vec<_>>());
        }
    }
}
