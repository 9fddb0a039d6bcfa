//! A source that a test fills by hand: partitions of steps, read again from the committed position after a crash.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::program::{Driven, Stage};
use crate::error::{ConnectorError, ErrorKind};
use crate::record::Data;
use crate::source::{Batch, Next, Source, SourceContext, SourceReader};
use crate::time::EventTime;

/// When a reader looks for new steps.
const POLL: Duration = Duration::from_millis(1);

/// A source that a test fills by hand. Cheap to clone: one clone goes into the program, one stays with the test.
///
/// It has partitions (one, unless something is done in another), dealt out among the workers; the watermark is that of
/// its slowest partition that is not idle.
#[derive(Clone)]
pub struct TestSource<T> {
    script: Arc<Script<T>>,
    stage: Arc<Stage>,
}

/// What was done in each partition.
pub(super) struct Script<T>(Mutex<Steps<T>>);

struct Steps<T> {
    partitions: Vec<Vec<Step<T>>>,
    /// Per partition, how many steps are in a committed epoch.
    committed: Vec<usize>,
    ended: bool,
    crashed: bool,
}

#[derive(Clone)]
enum Step<T> {
    Record(EventTime, T),
    Watermark(EventTime),
    Idle,
    /// Nothing, but something to be committed.
    Mark,
}

impl<T> Script<T> {
    fn lock(&self) -> MutexGuard<'_, Steps<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, partition: usize, step: Step<T>) {
        let mut steps = self.lock();
        while steps.partitions.len() <= partition {
            steps.partitions.push(Vec::new());
            steps.committed.push(0);
        }
        steps.partitions[partition].push(step);
    }
}

impl<T: Data> Driven for Script<T> {
    fn mark(&self) {
        self.add(0, Step::Mark);
    }

    fn is_committed(&self) -> bool {
        let steps = self.lock();
        steps.partitions.iter().zip(&steps.committed).all(|(steps, committed)| *committed >= steps.len())
    }

    fn end(&self) {
        self.lock().ended = true;
    }

    fn set_crashed(&self, crashed: bool) {
        self.lock().crashed = crashed;
    }
}

impl<T: Data> TestSource<T> {
    pub(super) fn new(stage: Arc<Stage>) -> Self {
        let steps = Steps { partitions: vec![Vec::new()], committed: vec![0], ended: false, crashed: false };
        let script = Arc::new(Script(Mutex::new(steps)));
        stage.drive(Arc::clone(&script) as _);
        Self { script, stage }
    }

    /// A record comes in. If the watermark was moved just before, everything up to that is done first.
    ///
    /// # Panics
    /// When the job has stopped with an error.
    #[track_caller]
    pub fn push(&self, event_time: i64, data: T) {
        self.push_to(0, event_time, data);
    }

    /// A record comes in, in this partition.
    ///
    /// # Panics
    /// As [`push`](Self::push).
    #[track_caller]
    pub fn push_to(&self, partition: usize, event_time: i64, data: T) {
        self.stage.settle_if_time_moved();
        self.script.add(partition, Step::Record(EventTime(event_time), data));
    }

    /// The watermark moves on to here.
    pub fn watermark(&self, watermark: i64) {
        self.watermark_of(0, watermark);
    }

    /// The watermark of this partition moves on to here.
    pub fn watermark_of(&self, partition: usize, watermark: i64) {
        self.stage.time_moves();
        self.script.add(partition, Step::Watermark(EventTime(watermark)));
    }

    /// This partition is idle: until its next record or watermark the others do not wait for it.
    pub fn idle(&self, partition: usize) {
        self.stage.time_moves();
        self.script.add(partition, Step::Idle);
    }
}

/// Where reading stands in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    partition: usize,
    done: usize,
    watermark: EventTime,
    idle: bool,
}

impl<T: Data> Source for TestSource<T> {
    type Item = T;
    type Reader = TestReader<T>;

    fn open(&self, context: SourceContext) -> Result<Self::Reader, ConnectorError> {
        let mut restored: Vec<Place> = Vec::new();
        for bytes in &context.restored {
            let places: Vec<Place> = serde_json::from_slice(bytes).map_err(|e| {
                ConnectorError::caused(ErrorKind::Data, "the position in the checkpoint is not a test source's", e)
            })?;
            restored.extend(places);
        }
        let mut reader = TestReader {
            script: Arc::clone(&self.script),
            stage: Arc::clone(&self.stage),
            worker: context.worker,
            workers: context.workers,
            restored,
            places: Vec::new(),
        };
        // Now, not with the first read: an epoch may end before that, and its position has to know them.
        let partitions = self.script.lock().partitions.len();
        reader.take_up(partitions);
        Ok(reader)
    }
}

/// One worker's share of a [`TestSource`].
pub struct TestReader<T> {
    script: Arc<Script<T>>,
    stage: Arc<Stage>,
    worker: usize,
    workers: usize,
    restored: Vec<Place>,
    places: Vec<Place>,
}

impl<T> TestReader<T> {
    /// Takes up this worker's share of so many partitions, where the checkpoint says.
    fn take_up(&mut self, partitions: usize) {
        let known = self.places.len() * self.workers + self.worker;
        for partition in (known..partitions).step_by(self.workers) {
            let found = self.restored.iter().find(|place| place.partition == partition);
            let new = Place { partition, done: 0, watermark: EventTime::MIN, idle: false };
            self.places.push(found.copied().unwrap_or(new));
        }
    }
}

impl<T: Data> SourceReader for TestReader<T> {
    type Item = T;

    /// One step of time at most in a batch: its records came before it, the next ones after it.
    fn read(&mut self, batch: &mut Batch<T>) -> Result<Next, ConnectorError> {
        let script = Arc::clone(&self.script);
        let steps = script.lock();
        if steps.crashed {
            return Err(ConnectorError::new(ErrorKind::Unavailable, "the test crashed the job"));
        }
        self.take_up(steps.partitions.len());
        let mut more = false;
        'partitions: for place in &mut self.places {
            let left = steps.partitions[place.partition].get(place.done..).unwrap_or_default();
            for step in left.iter().take(Batch::<T>::LIMIT) {
                place.done += 1;
                place.idle = matches!(step, Step::Idle) || (place.idle && matches!(step, Step::Mark));
                match step {
                    Step::Record(event_time, data) => batch.push(*event_time, data.clone()),
                    Step::Watermark(watermark) => place.watermark = place.watermark.max(*watermark),
                    Step::Idle | Step::Mark => {}
                }
                if matches!(step, Step::Watermark(_) | Step::Idle) {
                    more = true;
                    break 'partitions;
                }
            }
        }
        match self.places.iter().filter(|place| !place.idle).map(|place| place.watermark).min() {
            Some(watermark) => batch.advance_watermark(watermark),
            None => batch.mark_idle(),
        }
        let all_done = self.places.iter().all(|place| place.done == steps.partitions[place.partition].len());
        Ok(match (steps.ended && all_done, more) {
            (true, _) => Next::Done,
            (false, true) => Next::Now,
            (false, false) => Next::After(POLL),
        })
    }

    fn position(&self) -> Result<Vec<u8>, ConnectorError> {
        serde_json::to_vec(&self.places)
            .map_err(|e| ConnectorError::caused(ErrorKind::Internal, "the position cannot be told", e))
    }

    fn committed(&mut self, position: &[u8]) {
        let places: Vec<Place> = serde_json::from_slice(position).unwrap_or_default();
        let mut steps = self.script.lock();
        for Place { partition, done, .. } in places {
            steps.committed[partition] = steps.committed[partition].max(done);
        }
        drop(steps);
        self.stage.notify();
    }
}
