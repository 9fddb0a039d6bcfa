//! A source that a test fills by hand: it has partitions of steps, and is read again from the committed position
//! after a crash.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::stage::{Driven, Stage, crash};
use crate::error::{ConnectorError, ErrorKind};
use crate::locks::lock;
use crate::record::Data;
use crate::source::{Batch, Next, Source, SourceContext, SourceReader};
use crate::time::{EventTime, in_ms};

/// A source that a test fills by hand. Cheap to clone: one clone goes into the program, one stays with the test.
///
/// It has partitions (one, unless another one is used), which are distributed among the workers; the watermark is
/// that of its slowest partition that is not idle.
#[derive(Clone)]
pub struct TestSource<T> {
    script: Arc<Script<T>>,
    stage: Arc<Stage>,
}

/// The steps that were done in each partition.
pub(super) struct Script<T>(Mutex<Steps<T>>);

struct Steps<T> {
    partitions: Vec<Vec<Step<T>>>,
    /// For each partition, the number of steps that are in a committed epoch.
    committed: Vec<usize>,
    ended: bool,
    crashed: bool,
    /// Whether no program has it any more.
    removed: bool,
}

#[derive(Clone)]
enum Step<T> {
    Record(EventTime, T),
    Watermark(EventTime),
    Idle,
    /// A step without effect, which can be committed.
    Mark,
}

impl<T> Script<T> {
    fn lock(&self) -> MutexGuard<'_, Steps<T>> {
        lock(&self.0)
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
        steps.removed
            || steps.partitions.iter().zip(&steps.committed).all(|(steps, committed)| *committed >= steps.len())
    }

    fn end(&self) {
        self.lock().ended = true;
    }

    fn set_crashed(&self, crashed: bool) {
        self.lock().crashed = crashed;
    }

    /// Swaps neighbours only, so that any two records that were swapped are no further apart than `within`.
    fn reorder(&self, within: Duration, chance: &mut ChaCha8Rng) {
        let within_ms = in_ms(within);
        const ROUNDS: usize = 8;
        if within_ms <= 0 {
            return;
        }
        for steps in &mut self.lock().partitions {
            let len = steps.len();
            for at in (0..ROUNDS).flat_map(|_| 1..len) {
                if let (Step::Record(a, _), Step::Record(b, _)) = (&steps[at - 1], &steps[at])
                    && a.0.abs_diff(b.0) <= within_ms.unsigned_abs()
                    && chance.random()
                {
                    steps.swap(at - 1, at);
                }
            }
        }
    }
}

impl<T: Data> TestSource<T> {
    pub(super) fn new(stage: Arc<Stage>) -> Self {
        let steps =
            Steps { partitions: vec![Vec::new()], committed: vec![0], ended: false, crashed: false, removed: false };
        let script = Arc::new(Script(Mutex::new(steps)));
        stage.drive(Arc::clone(&script) as _);
        Self { script, stage }
    }

    /// Pushes a record. If the watermark or the clock was moved before, or a partition was marked as idle, waits
    /// first until everything up to then is committed.
    ///
    /// # Panics
    /// When the job has stopped with an error.
    #[track_caller]
    pub fn push(&self, event_time: impl Into<EventTime>, data: T) {
        self.push_to(0, event_time, data);
    }

    /// Pushes a record into this partition, as [`push`](Self::push) does.
    ///
    /// # Panics
    /// As [`push`](Self::push).
    #[track_caller]
    pub fn push_to(&self, partition: usize, event_time: impl Into<EventTime>, data: T) {
        self.stage.settle_if_time_moved();
        self.script.add(partition, Step::Record(event_time.into(), data));
    }

    /// Advances the watermark of the first partition to `watermark`. An earlier time is ignored.
    pub fn watermark(&self, watermark: impl Into<EventTime>) {
        self.watermark_of(0, watermark);
    }

    /// Advances the watermark of this partition to `watermark`. An earlier time is ignored.
    pub fn watermark_of(&self, partition: usize, watermark: impl Into<EventTime>) {
        self.stage.time_moves();
        self.script.add(partition, Step::Watermark(watermark.into()));
    }

    /// Advances the watermark past everything that was pushed so far, in all partitions. In event-time order an
    /// operator handles records only then: before, they are pending in a checkpoint, and have no effect on the
    /// operator's state.
    pub fn pass(&self) {
        let (partitions, latest) = {
            let steps = self.script.lock();
            let times = steps.partitions.iter().flatten().filter_map(|step| match step {
                Step::Record(event_time, _) => Some(*event_time),
                Step::Watermark(_) | Step::Idle | Step::Mark => None,
            });
            (steps.partitions.len(), times.max())
        };
        let Some(latest) = latest else { return };
        (0..partitions).for_each(|partition| self.watermark_of(partition, latest.plus_ms(1).0));
    }

    /// Declares that the next program does not have this source: the test does not wait for it any more.
    pub fn remove(&self) {
        self.script.lock().removed = true;
    }

    /// Marks this partition as idle: until its next record or watermark, the watermark does not wait for it.
    pub fn idle(&self, partition: usize) {
        self.stage.time_moves();
        self.script.add(partition, Step::Idle);
    }
}

/// The position of reading in a partition.
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
        // Before the first `read`, since an epoch may end before anything is read in it.
        reader.discover(self.script.lock().partitions.len());
        Ok(reader)
    }
}

/// The reader of one worker's share of a [`TestSource`].
pub struct TestReader<T> {
    script: Arc<Script<T>>,
    stage: Arc<Stage>,
    worker: usize,
    workers: usize,
    restored: Vec<Place>,
    places: Vec<Place>,
}

impl<T> TestReader<T> {
    /// Adds the partitions of this worker, when there are `partitions` in all.
    fn discover(&mut self, partitions: usize) {
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

    /// A batch has at most one step of time: its records come before that step, the next ones after it.
    fn read(&mut self, batch: &mut Batch<T>) -> Result<Next, ConnectorError> {
        let script = Arc::clone(&self.script);
        let steps = script.lock();
        if steps.crashed {
            return Err(crash());
        }
        self.discover(steps.partitions.len());
        let mut more = false;
        'partitions: for place in &mut self.places {
            let left = steps.partitions[place.partition].get(place.done..).unwrap_or_default();
            let arrived = self.stage.arrived(left.len());
            for step in left.iter().take(arrived.min(Batch::<T>::LIMIT)) {
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
            (false, false) => Next::After(self.stage.gap()),
        })
    }

    fn position(&self) -> Result<Vec<u8>, ConnectorError> {
        serde_json::to_vec(&self.places)
            .map_err(|e| ConnectorError::caused(ErrorKind::Internal, "the position cannot be encoded", e))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Simulation;

    /// An epoch may end, and the job crash, before a restored reader has read anything.
    #[test]
    fn a_restored_reader_knows_where_it_is_before_it_reads() {
        let sim = Simulation::new(0);
        let source = sim.source::<u8>();
        (0..3).for_each(|partition| source.push_to(partition, 0, 1));
        let place = |partition| Place { partition, done: 1, watermark: EventTime(7), idle: false };
        let encoded = |places: &[Place]| serde_json::to_vec(places).unwrap();
        let mut context = SourceContext::without_job("numbers", 0, 2, sim.clock());
        context.restored = vec![encoded(&[place(1)]), encoded(&[place(0), place(2)])];
        let reader = source.open(context).unwrap();
        assert_eq!(reader.position().unwrap(), encoded(&[place(0), place(2)]));
    }

    /// A source whose readers must have heard of all that is restored, and of all its input at the end.
    struct Heard(TestSource<u8>);

    impl Source for Heard {
        type Item = u8;
        type Reader = TestReader<u8>;

        fn open(&self, context: SourceContext) -> Result<Self::Reader, ConnectorError> {
            let restored: Vec<Place> = context
                .restored
                .iter()
                .flat_map(|bytes| serde_json::from_slice::<Vec<Place>>(bytes).unwrap())
                .collect();
            let heard = self.0.script.lock().committed.clone();
            for place in restored {
                assert_eq!(heard[place.partition], place.done, "of partition {}", place.partition);
            }
            self.0.open(context)
        }
    }

    /// A source that acknowledges what is committed would otherwise leave its last epoch unacknowledged at each stop, and
    /// at the end of the input.
    #[test]
    fn a_reader_hears_of_the_commit_of_the_last_epoch() {
        Simulation::check(100, |sim| {
            sim.settings().crashes = 0;
            let (numbers, out) = (sim.source::<u8>(), sim.sink::<u8>());
            (0..60).for_each(|n| numbers.push_to(usize::from(n) % 3, 0, n));
            let (from, to) = (numbers.clone(), out.clone());
            sim.run(move |flow| flow.source("numbers", &Heard(from.clone()))?.sink("out", &to));
            assert!(numbers.script.is_committed(), "{:?}", numbers.script.lock().committed);
        });
    }
}
