//! A test of one keyed operator without a dataflow: the shell's core and its state, driven by steps.

use std::rc::Rc;
use std::sync::Arc;

use tidemill_state::{
    DEFAULT_KEY_GROUPS, Delta, KeyGroups, MemoryCheckpoint, StateEntry, WorkerState, WorkerStateConfig, hash_key,
};

use super::must::must;
use super::stage::by_clock;
use crate::checkpoint::unclaimed;
use crate::error::JobError;
use crate::keyed::{Core, KeyOf, KeyedLogic, Order, Parts, Reached, States};
use crate::metrics::Metrics;
use crate::record::{Arrival, DeadLetter, Record};
use crate::time::{EventTime, ProcessingTime};

/// A test that drives one keyed operator by hand, with the shell, state and timers that a job would use, but without
/// threads and files.
///
/// * Time: it only moves by [`watermark`](Self::watermark) and [`clock`](Self::clock).
/// * Order: as set by the operator's [`Order`]; results of different keys come worker by worker.
/// * Guarantee: [`output`](Self::output) is committed output: each result once, whatever crashed.
///
/// ```
/// use tidemill_engine::shell::{Context, KeyedLogic, LogicError, Order, ValueState};
/// use tidemill_engine::testing::LogicTest;
/// use tidemill_engine::Record;
///
/// struct Total(ValueState<u8, i64>);
/// impl KeyedLogic for Total {
///     type Key = u8;
///     type In = (u8, i64);
///     type Out = i64;
///     type Side = ();
///     fn on_record(&mut self, ctx: &mut Context<'_, u8, i64, ()>, record: Record<(u8, i64)>) -> Result<(), LogicError> {
///         let total = self.0.update(ctx, || 0, |total| { *total += record.data.1; *total })?;
///         ctx.emit(total);
///         Ok(())
///     }
/// }
///
/// let mut test = LogicTest::new(Order::EventTime, |r: &(u8, i64)| r.0, |states| Ok(Total(states.value("total")?)));
/// test.push(20, (1, 5));
/// test.push(10, (1, 3)); // came later, happened earlier
/// test.watermark(21);
/// assert_eq!(test.output(), [3, 8]);
/// test.crash(3); // and goes on with three workers
/// test.push(30, (1, 1));
/// test.finish();
/// assert_eq!(test.output(), [9]);
/// ```
pub struct LogicTest<L: KeyedLogic> {
    order: Order,
    key_of: KeyOf<L>,
    open: Open<L>,
    state_memory: Option<u64>,
    workers: Vec<TestWorker<L>>,
    at: Times,
    checkpoint: MemoryCheckpoint,
    /// The times at the checkpoint; `since` has the steps that were done since then.
    checkpoint_at: Times,
    since: Vec<Step<L::In>>,
    committed: Committed<L>,
    /// Whether the next checkpoint is whole, as a job's first one after a restore is.
    base_due: bool,
}

/// The function that opens the logic on a worker.
type Open<L> = Box<dyn Fn(&mut States<'_, <L as KeyedLogic>::Key>) -> Result<L, JobError>>;

#[derive(Clone, Copy)]
struct Times {
    watermark: EventTime,
    now: Arrival,
}

#[derive(Clone)]
enum Step<D> {
    Records(Vec<(EventTime, D)>),
    Watermark(EventTime),
    Clock(Arrival),
}

struct TestWorker<L: KeyedLogic> {
    worker_state: WorkerState,
    core: Core<L>,
}

struct Committed<L: KeyedLogic> {
    out: Vec<Record<L::Out>>,
    side: Vec<Record<L::Side>>,
    dead: Vec<DeadLetter>,
}

impl<L: KeyedLogic> LogicTest<L> {
    const NAME: &'static str = "logic";

    /// Makes a test and opens the logic on one worker. The arguments are those of
    /// [`KeyedStream::process`](crate::KeyedStream::process) and `key_by`. The clock starts at 0.
    ///
    /// # Panics
    /// When the logic's state cannot be opened.
    #[track_caller]
    pub fn new(
        order: Order,
        key: impl Fn(&L::In) -> L::Key + 'static,
        open: impl Fn(&mut States<'_, L::Key>) -> Result<L, JobError> + 'static,
    ) -> Self {
        let start = Times { watermark: EventTime::MIN, now: Arrival(0) };
        let mut test = Self {
            order,
            key_of: Rc::new(key),
            open: Box::new(open),
            state_memory: None,
            workers: Vec::new(),
            at: start,
            checkpoint: MemoryCheckpoint::default(),
            checkpoint_at: start,
            since: Vec::new(),
            committed: Committed { out: Vec::new(), side: Vec::new(), dead: Vec::new() },
            base_due: false,
        };
        must(test.restore(1));
        test
    }

    /// Sets the maximum size, in bytes, of the state that each worker keeps in memory, from the next restore on; the
    /// rest is evicted to RocksDB.
    pub fn state_memory(&mut self, bytes: Option<u64>) {
        self.state_memory = bytes;
    }

    /// Pushes a record into the operator.
    ///
    /// # Panics
    /// When the logic stops the job.
    #[track_caller]
    pub fn push(&mut self, event_time: impl Into<EventTime>, data: L::In) {
        self.step(Step::Records(vec![(event_time.into(), data)]));
    }

    /// Pushes records into the operator in one batch, as a source's records come.
    ///
    /// # Panics
    /// As [`push`](Self::push).
    #[track_caller]
    pub fn push_all(&mut self, records: impl IntoIterator<Item = (EventTime, L::In)>) {
        self.step(Step::Records(records.into_iter().collect()));
    }

    /// Advances the watermark to `watermark`. An earlier time is ignored.
    ///
    /// # Panics
    /// As [`push`](Self::push).
    #[track_caller]
    pub fn watermark(&mut self, watermark: impl Into<EventTime>) {
        self.step(Step::Watermark(watermark.into()));
    }

    /// Moves the clock to `to`. An earlier time is ignored.
    ///
    /// # Panics
    /// As [`push`](Self::push).
    #[track_caller]
    pub fn clock(&mut self, to: ProcessingTime) {
        self.step(Step::Clock(by_clock(to)));
    }

    /// Ends the input: the watermark advances to the end of time, as at the end of a bounded input.
    ///
    /// # Panics
    /// As [`push`](Self::push).
    #[track_caller]
    pub fn finish(&mut self) {
        self.watermark(i64::MAX);
    }

    /// Commits everything that was done so far.
    ///
    /// # Panics
    /// When state cannot be written.
    #[track_caller]
    pub fn checkpoint(&mut self) {
        must(self.try_checkpoint());
    }

    /// Loses everything since the last checkpoint, restores that with this many workers, and repeats the steps
    /// that were done since. The results are the same as without the crash, unless the logic keeps something
    /// outside its state.
    ///
    /// # Panics
    /// When the checkpoint cannot be restored.
    #[track_caller]
    pub fn crash(&mut self, workers: usize) {
        must(self.restore(workers));
        let since = std::mem::take(&mut self.since);
        must(self.replay(since));
    }

    /// Crashes as [`crash`](Self::crash) does, and goes on with another version of the logic, which repeats the
    /// steps since the last checkpoint. `open` is what the program now passes to
    /// [`KeyedStream::process`](crate::KeyedStream::process).
    ///
    /// # Errors
    /// Those that stop a job whose checkpoint does not fit the new logic. The old logic is gone then.
    pub fn upgrade<M>(
        self,
        workers: usize,
        open: impl Fn(&mut States<'_, L::Key>) -> Result<M, JobError> + 'static,
    ) -> Result<LogicTest<M>, JobError>
    where
        M: KeyedLogic<Key = L::Key, In = L::In, Out = L::Out, Side = L::Side>,
    {
        let Self { order, key_of, state_memory, checkpoint, checkpoint_at, since, committed, .. } = self;
        let Committed { out, side, dead } = committed;
        let mut test = LogicTest {
            order,
            key_of,
            open: Box::new(open),
            state_memory,
            workers: Vec::new(),
            at: checkpoint_at,
            checkpoint,
            checkpoint_at,
            since: Vec::new(),
            committed: Committed { out, side, dead },
            base_due: false,
        };
        test.restore(workers)?;
        test.replay(since)?;
        Ok(test)
    }

    /// Commits, and returns the results since the last call.
    ///
    /// # Panics
    /// As [`checkpoint`](Self::checkpoint).
    #[track_caller]
    pub fn output(&mut self) -> Vec<L::Out> {
        self.records().into_iter().map(|record| record.data).collect()
    }

    /// Commits, and returns the results since the last call with their times.
    ///
    /// # Panics
    /// As [`checkpoint`](Self::checkpoint).
    #[track_caller]
    pub fn records(&mut self) -> Vec<Record<L::Out>> {
        self.checkpoint();
        std::mem::take(&mut self.committed.out)
    }

    /// Commits, and returns the side output since the last call.
    ///
    /// # Panics
    /// As [`checkpoint`](Self::checkpoint).
    #[track_caller]
    pub fn side(&mut self) -> Vec<L::Side> {
        self.checkpoint();
        std::mem::take(&mut self.committed.side).into_iter().map(|record| record.data).collect()
    }

    /// Commits, and returns the dead letters since the last call.
    ///
    /// # Panics
    /// As [`checkpoint`](Self::checkpoint).
    #[track_caller]
    pub fn dead_letters(&mut self) -> Vec<DeadLetter> {
        self.checkpoint();
        std::mem::take(&mut self.committed.dead)
    }

    /// Commits, and returns the bytes of keys and lists that state has in memory, without timers and pending
    /// records. It is 0 if the logic has removed all state that it will not need again.
    ///
    /// # Panics
    /// As [`checkpoint`](Self::checkpoint).
    #[track_caller]
    pub fn state_bytes(&mut self) -> u64 {
        self.checkpoint();
        self.workers.iter().map(|worker| worker.worker_state.memory_used()).sum()
    }

    #[track_caller]
    fn step(&mut self, step: Step<L::In>) {
        must(self.replay([step]));
    }

    /// Does these steps, and keeps them until the next checkpoint.
    fn replay(&mut self, steps: impl IntoIterator<Item = Step<L::In>>) -> Result<(), JobError> {
        steps.into_iter().try_for_each(|step| {
            self.since.push(step.clone());
            self.try_step(step)
        })
    }

    fn try_step(&mut self, step: Step<L::In>) -> Result<(), JobError> {
        match step {
            Step::Records(records) => {
                let key_groups = KeyGroups::new(DEFAULT_KEY_GROUPS);
                let mut batches: Vec<Vec<Record<L::In>>> = self.workers.iter().map(|_| Vec::new()).collect();
                for (event_time, data) in records {
                    let group = key_groups.of_hash(hash_key(&(self.key_of)(&data)));
                    let owner = key_groups.worker_of(group, self.workers.len());
                    batches[owner].push(Record { event_time, arrival: self.at.now, data });
                }
                for (worker, batch) in self.workers.iter_mut().zip(batches) {
                    worker.core.take(batch)?;
                }
            }
            Step::Watermark(watermark) if watermark > self.at.watermark => {
                self.at.watermark = watermark;
                self.workers.iter_mut().try_for_each(|worker| worker.core.pass(watermark))?;
            }
            Step::Clock(now) => self.at.now = self.at.now.max(now),
            Step::Watermark(_) => {}
        }
        for TestWorker { core, .. } in &mut self.workers {
            core.now = self.at.now;
            core.fire_timers(core.lateness)?;
            core.fire_processing_timers()?;
        }
        Ok(())
    }

    fn try_checkpoint(&mut self) -> Result<(), JobError> {
        let epoch = self.checkpoint.epoch() + 1;
        let (watermark, now_ms) = (self.at.watermark.0, (self.at.now.0 / 1000) as i64);
        let mut deltas = Vec::new();
        let mut states: Vec<StateEntry> = Vec::new();
        for (index, TestWorker { worker_state, core }) in self.workers.iter_mut().enumerate() {
            let mut delta = Delta::new(epoch, index as u32);
            core.states().begin_seal(epoch, watermark, now_ms)?;
            core.states().seal_on(usize::MAX, &mut delta)?;
            let delta = Arc::new(delta);
            worker_state.db().push(Arc::clone(&delta))?;
            worker_state.db().apply_pending()?;
            worker_state.evict(0);
            deltas.push(delta);
            states = worker_state.states();
            self.committed.out.append(&mut core.buffers.out);
            self.committed.side.append(&mut core.buffers.side);
            self.committed.dead.extend(core.buffers.dead.drain(..).map(|record| record.data));
        }
        self.checkpoint.commit(epoch, states, deltas);
        if std::mem::take(&mut self.base_due) {
            let bases = self.workers.iter().map(|worker| Ok(Arc::new(worker.worker_state.whole()?)));
            self.checkpoint.rebase(bases.collect::<Result<Vec<_>, JobError>>()?);
        }
        self.checkpoint_at = self.at;
        self.since.clear();
        Ok(())
    }

    fn restore(&mut self, workers: usize) -> Result<(), JobError> {
        let workers = workers.max(1);
        self.at = self.checkpoint_at;
        self.workers = (0..workers).map(|worker| self.open_worker(worker, workers)).collect::<Result<_, _>>()?;
        self.base_due = self.checkpoint.epoch() > 0;
        Ok(())
    }

    fn open_worker(&self, worker: usize, workers: usize) -> Result<TestWorker<L>, JobError> {
        let config = WorkerStateConfig {
            dir: None,
            key_groups: KeyGroups::new(DEFAULT_KEY_GROUPS),
            worker,
            workers,
            memory_limit_bytes: self.state_memory,
            durable: true,
        };
        let mut worker_state = WorkerState::in_memory(config, &self.checkpoint)?;
        let parts = Parts::open(&mut worker_state, Self::NAME, self.order, &self.key_of, &self.open)?;
        unclaimed::all_claimed(&worker_state.unclaimed(), Vec::new())?;
        let metrics = Metrics::default().operator(Self::NAME, "keyed", worker);
        let key_of = Rc::clone(&self.key_of);
        // All workers have the same watermark.
        let start = (self.at.watermark, Reached::nothing(KeyGroups::new(DEFAULT_KEY_GROUPS)));
        let mut core = Core::new(Self::NAME, key_of, parts, start, self.at.now, metrics);
        let restored = core.restored_keys()?;
        core.bring_back(&restored)?;
        Ok(TestWorker { worker_state, core })
    }
}
