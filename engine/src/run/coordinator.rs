//! One worker's end of the checkpoint protocol, which runs between two steps of timely.
//!
//! It carries closed epochs to the checkpoint thread, the thread's answers to the leader, the
//! leader's messages to the operators, and the output of committed epochs to the threads that publish it.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tidemill_state::{ControlEntry, Manifest, StateEntry};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::InputHandle;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Input;
use timely::dataflow::operators::generic::Operator;
use timely::worker::Worker;

use super::cluster;
use super::epoch_spans::EpochSpans;
use crate::alignment::Reach;
use crate::checkpoint::blobs::Blob;
use crate::checkpoint::leader::{Action, Chain, Leader};
use crate::checkpoint::protocol::{Message, Packet, ToLeader, ToWorker};
use crate::checkpoint::publishing::Publishing;
use crate::checkpoint::thread::{Answer, CheckpointThread, Command};
use crate::control::queue::{ChangeQueue, Tell};
use crate::control::request::{Order, Progress, Said};
use crate::epoch::StagedOutput;
use crate::error::JobError;
use crate::locks::lock;
use crate::threads;
use crate::time::Epoch;
use crate::worker::Shared;

/// The longest time that a worker parks, since signals and failures of other threads do not wake it.
const MAX_PARK: Duration = Duration::from_millis(20);

/// Time between two reports of operators that decide on changes by themselves.
const REPORT: Duration = Duration::from_millis(100);

/// Number of rows that are loaded between two steps while a restored state is not completely in memory: one or two
/// milliseconds.
const ROWS_PER_TURN: usize = 2048;

type Inbox = Rc<RefCell<VecDeque<Message>>>;
type PacketInput = InputHandle<u64, CapacityContainerBuilder<Vec<Packet>>>;

/// The part of each manifest that does not change: everything except epoch and files.
#[derive(Clone, Debug)]
pub(crate) struct ManifestHead {
    pub(crate) job: String,
    pub(crate) incarnation: u64,
    pub(crate) key_groups: u16,
    pub(crate) states: Vec<StateEntry>,
}

pub(crate) struct Coordinator {
    context: Shared,
    thread: CheckpointThread,
    head: ManifestHead,
    leader: Option<Leader>,
    input: Option<PacketInput>,
    /// Whether packets were sent that timely may still be buffering.
    unsent: bool,
    inbox: Inbox,
    /// The output of epochs that are not committed yet.
    staged: BTreeMap<Epoch, Vec<StagedOutput>>,
    publishing: Publishing,
    reported_exhausted: bool,
    reported_stop: bool,
    /// The progress of the sources of this process that was last reported to the other processes.
    reported_sources: Option<Option<Reach>>,
    reported_page: bool,
    /// When the operators that decide on changes by themselves were last asked what they have seen.
    reported_operators: Instant,
    ended: BTreeMap<Epoch, Instant>,
    /// When the epochs ended that this worker has not closed yet.
    closing: BTreeMap<Epoch, Instant>,
    /// Whether restored state is still being loaded.
    loading: bool,
    spans: EpochSpans,
}

impl Coordinator {
    /// Builds the message dataflow on this worker.
    pub(crate) fn new(
        worker: &mut Worker,
        context: &Shared,
        thread: CheckpointThread,
        head: ManifestHead,
        interval: Duration,
    ) -> Self {
        let inbox = Inbox::default();
        let delivered = Rc::clone(&inbox);
        let input = worker.dataflow_named::<u64, _, _>("checkpoints", |scope| {
            let (input, packets) = scope.new_input::<Vec<Packet>>();
            packets.sink(Exchange::new(|p: &Packet| u64::from(p.to)), "deliver", move |(input, _)| {
                input.for_each(|_, packets| delivered.borrow_mut().extend(packets.drain(..).map(|p| p.message)));
            });
            input
        });
        let leader = (context.worker == 0).then(|| {
            let changes = ChangeQueue::new(context.processes(), context.start.control.clone());
            let chains = context.start.chains(context.workers);
            Leader::new(chains, changes, interval, context.first_epoch, threads::now())
        });
        Self {
            context: Rc::clone(context),
            thread,
            head,
            leader,
            input: Some(input),
            unsent: false,
            inbox,
            staged: BTreeMap::new(),
            publishing: Publishing::new(
                context.worker as u32,
                context.start.restored_epoch(),
                context.process.progress.written.history.clone(),
            ),
            reported_exhausted: false,
            reported_stop: false,
            reported_sources: None,
            reported_page: false,
            reported_operators: threads::now(),
            ended: BTreeMap::new(),
            closing: BTreeMap::new(),
            loading: false,
            spans: EpochSpans::new(context.workers),
        }
    }

    /// Carries on everything that is under way by one step. Returns how long the worker may park.
    pub(crate) fn turn(&mut self) -> Result<Duration, JobError> {
        self.ask_for_changes();
        self.hand_over_closed_epochs();
        self.take_answers()?;
        self.read_inbox()?;
        self.report_to_leader();
        self.acknowledge();
        self.report_sources();
        self.report_page();
        self.report_changes();
        self.lead();
        self.evict();
        self.push_out();
        if self.load_on()? {
            return Ok(Duration::ZERO);
        }
        let tick = self.leader.as_ref().and_then(|leader| leader.next_tick(threads::now()));
        Ok(tick.unwrap_or(MAX_PARK).min(MAX_PARK))
    }

    /// Loads some more rows of a large restored state. Returns whether there are others.
    fn load_on(&mut self) -> Result<bool, JobError> {
        let more = self.context.worker_state.borrow_mut().load_on(ROWS_PER_TURN)?;
        if std::mem::replace(&mut self.loading, more) && !more && self.context.times_the_start() {
            self.context.process.progress.start.log_loaded();
        }
        Ok(more)
    }

    /// Evicts state so that it stays within its memory, if need be by an epoch that ends early, and publishes whether it is
    /// full, which pauses the sources.
    fn evict(&mut self) {
        let mut worker_state = self.context.worker_state.borrow_mut();
        let running = self.context.epochs.borrow().running();
        let should_end = worker_state.evict(running.0);
        let state = self.context.state_use();
        state.bytes.store(worker_state.memory_used(), Ordering::Relaxed);
        state.full.store(worker_state.is_full(), Ordering::Relaxed);
        drop(worker_state);
        if should_end {
            self.send(0, ToLeader::Full(running));
        }
    }

    /// Returns whether the last epoch is committed and published here.
    pub(crate) fn is_finished(&self) -> bool {
        let finish = self.context.epochs.borrow().finish();
        finish.is_some_and(|finish| self.publishing.published() >= finish.last)
    }

    /// Reports to all other processes that this one has failed.
    pub(crate) fn report_failure(&mut self, reason: &str) {
        let process = self.context.process_of(self.context.worker);
        let others = (0..self.context.workers).filter(|worker| self.context.process_of(*worker) != process);
        for to in others.collect::<Vec<_>>() {
            self.send(to as u32, ToWorker::Failed { process, reason: reason.to_owned() });
        }
        self.push_out();
    }

    fn push_out(&mut self) {
        if std::mem::take(&mut self.unsent)
            && let Some(input) = &mut self.input
        {
            // Timely pushes packets out to other workers only when the time of the input advances.
            input.advance_to(input.time() + 1);
        }
    }

    /// Closes the input of the message dataflow, so that it ends.
    pub(crate) fn close(&mut self) {
        self.input = None;
    }

    fn hand_over_closed_epochs(&mut self) {
        for (epoch, mut contribution) in self.context.epochs.borrow_mut().take_complete() {
            if let Some(ended) = self.closing.remove(&epoch) {
                let (history, worker) = (&self.context.process.progress.written.history, self.context.worker as u32);
                let took = threads::since(ended);
                history.note(epoch, worker, |part| part.align = Some(took));
                self.spans.aligned(epoch, self.context.worker, took);
            }
            Blob::Published(self.publishing.published()).put("", &mut contribution.delta);
            for (sink, published) in self.publishing.ahead() {
                Blob::PublishedBySink(published).put(&sink, &mut contribution.delta);
            }
            let seen = self.context.process.control.seen(epoch, self.context.threads);
            seen.into_iter().for_each(|(operator, seen)| Blob::Seen(seen).put(&operator, &mut contribution.delta));
            let unpublished = self.publishing.unpublished();
            self.staged.insert(epoch, contribution.staged);
            let (delta, flushes) = (Box::new(contribution.delta), contribution.flushes);
            self.thread.send(Command::Write { epoch, delta, flushes, unpublished });
        }
    }

    fn take_answers(&mut self) -> Result<(), JobError> {
        self.publishing.take_answers().map_err(|error| self.failed(error))?;
        let answers: Vec<Answer> = self.thread.answers().collect();
        for answer in answers {
            match answer {
                Answer::Durable(durable) => self.send(0, ToLeader::Durable(durable)),
                Answer::Committed(epoch) => {
                    self.spans.committed(epoch);
                    if let Some(ended) = self.ended.remove(&epoch) {
                        let took = u64::try_from(threads::since(ended).as_micros()).unwrap_or(u64::MAX);
                        self.context.process.progress.checkpoint_time.record(took);
                    }
                    if let Some(action) = self.leader.as_mut().map(|leader| leader.committed(epoch)) {
                        self.act(action);
                    }
                }
                Answer::Failed(error) => return Err(self.failed(error)),
            }
        }
        Ok(())
    }

    /// Notes that `error` ends the job.
    fn failed(&mut self, error: JobError) -> JobError {
        self.context.process.progress.checkpoints.count_failed(&error);
        self.spans.failed(&error);
        error
    }

    fn read_inbox(&mut self) -> Result<(), JobError> {
        let messages: Vec<Message> = self.inbox.borrow_mut().drain(..).collect();
        let context = Rc::clone(&self.context);
        let progress = &context.process.progress;
        for message in messages {
            let message = match message {
                Message::ToWorker(message) => message,
                Message::ToLeader(ToLeader::Control(Said::Seen { process, operator, report })) => {
                    let (processes, now_ms) = (self.context.processes(), context.process.clock.processing_time().0);
                    context.process.control.hear(processes, (process, &operator, report), now_ms);
                    continue;
                }
                Message::ToLeader(message) => {
                    if let Some(leader) = &mut self.leader {
                        leader.hear(message, threads::now());
                    }
                    continue;
                }
            };
            match message {
                ToWorker::Tick(epoch) => {
                    if progress.began.set((threads::now(), self.context.process.clock.now())).is_ok() {
                        progress.start.log_begin(self.context.start.restored_epoch());
                    }
                    progress.running_epoch.store(epoch.0, Ordering::Relaxed);
                    if epoch > self.context.first_epoch {
                        self.note_end(Epoch(epoch.0 - 1));
                    }
                    let by_state = self.context.worker_state.borrow().memory_by_state();
                    *lock(&self.context.state_use().by_state) = by_state;
                    self.context.epochs.borrow_mut().tick(epoch);
                }
                ToWorker::Leader { incarnation } => {
                    progress.leader.set(incarnation);
                    self.spans.begin_run(incarnation);
                }
                ToWorker::Finish(finish) => {
                    self.note_end(finish.last);
                    progress.finishing.store(true, Ordering::Relaxed);
                    self.context.epochs.borrow_mut().finish_at(finish);
                }
                ToWorker::Committed(epoch) => {
                    progress.committed_epoch.store(epoch.0, Ordering::Relaxed);
                    progress.written.history.committed(epoch, self.context.process.clock.processing_time());
                    if self.context.times_the_start() {
                        progress.checkpoints.count_committed();
                        progress.start.log_first_commit(epoch);
                    }
                    self.context.epochs.borrow().committed(epoch);
                    if self.context.times_the_start() {
                        self.context.process.control.passed(epoch.next());
                    }
                    self.publishing.publish(epoch, self.staged.remove(&epoch).unwrap_or_default())?;
                }
                ToWorker::Failed { process, reason } => return Err(cluster::failed_there(process, &reason)),
                ToWorker::Sources { process, least } => self.context.process.source_clocks.hear(process, least),
                ToWorker::Page { process, address } => self.context.process.pages.hear(process, address),
                ToWorker::Control(order) => self.follow(order),
                ToWorker::Acknowledge { records } => self.context.process.budget.release(records as usize),
            }
        }
        Ok(())
    }

    /// Records that `epoch` has ended.
    fn note_end(&mut self, epoch: Epoch) {
        let process = &self.context.process;
        process.progress.written.history.begin(epoch, process.clock.processing_time());
        self.closing.insert(epoch, threads::now());
    }

    fn report_to_leader(&mut self) {
        if !self.reported_exhausted && self.context.epochs.borrow().all_exhausted() {
            self.reported_exhausted = true;
            self.send(0, ToLeader::Exhausted { worker: self.context.worker as u32 });
        }
        if !self.reported_stop && self.context.process.stop.load(Ordering::Relaxed) {
            self.reported_stop = true;
            self.send(0, ToLeader::Stop);
        }
        let wanted = &self.context.process.checkpoint_wanted;
        // Read first, because it is nearly never set and all workers look at it.
        if wanted.load(Ordering::Relaxed) && wanted.swap(false, Ordering::Relaxed) {
            self.send(0, ToLeader::Checkpoint);
        }
    }

    fn acknowledge(&mut self) {
        let threads = self.context.threads;
        let counts: Vec<usize> = self.context.acknowledge.borrow_mut().iter_mut().map(std::mem::take).collect();
        for (process, records) in counts.into_iter().enumerate().filter(|(_, records)| *records > 0) {
            self.send((process * threads) as u32, ToWorker::Acknowledge { records: records as u64 });
        }
    }

    /// Reports the progress of the sources of this process to the other processes, so that no source runs ahead.
    fn report_sources(&mut self) {
        let (threads, process) = (self.context.threads, self.context.process_of(self.context.worker));
        if !self.context.worker.is_multiple_of(threads) || threads == self.context.workers {
            return;
        }
        let least = self.context.process.source_clocks.least_active_here();
        if self.reported_sources != Some(least) {
            self.reported_sources = Some(least);
            let others = (0..self.context.processes()).filter(|other| *other != process);
            others.for_each(|other| self.send((other * threads) as u32, ToWorker::Sources { process, least }));
        }
    }

    /// Tells the other processes once where this one serves HTTP, so that each can show the whole job.
    fn report_page(&mut self) {
        let (threads, process) = (self.context.threads, self.context.process_of(self.context.worker));
        if self.reported_page || !self.context.worker.is_multiple_of(threads) || threads == self.context.workers {
            return;
        }
        if let Some(address) = self.context.process.pages.own() {
            self.reported_page = true;
            let others = (0..self.context.processes()).filter(|other| *other != process);
            others.for_each(|other| self.send((other * threads) as u32, ToWorker::Page { process, address }));
        }
    }

    /// Returns the index of this worker's process.
    fn process(&self) -> usize {
        self.context.process_of(self.context.worker)
    }

    /// Does what the leader has decided about a change of an operator.
    fn follow(&mut self, order: Order) {
        let (control, process) = (&self.context.process.control, self.process());
        match order {
            Order::Resolve(request) => control.resolve(process, request),
            Order::Prepare(request) => control.prepare(process, request),
            Order::Apply(request, epoch) => {
                control.apply(&request, epoch);
                let said = Said::Progress { process, id: request.id, progress: Progress::Applied };
                self.send(0, ToLeader::Control(said));
            }
            Order::Known { id, epoch } => control.known(&id, epoch),
            Order::Refused { request, reason } => control.refuse(&request, &reason),
        }
    }

    /// Brings the leader what records ask for, before it hears that their epoch is durable here: then its manifest has
    /// the request, which nobody reads again.
    fn ask_for_changes(&mut self) {
        let asked = std::mem::take(&mut *lock(&self.context.asked));
        asked.into_iter().for_each(|request| self.send(0, ToLeader::Control(Said::Asked(request))));
    }

    /// Brings the leader what this process has to say about changes of operators.
    fn report_changes(&mut self) {
        if self.context.times_the_start() && threads::since(self.reported_operators) >= REPORT {
            self.reported_operators = threads::now();
            for (operator, report) in self.context.process.control.reports() {
                let process = self.process();
                self.send(0, ToLeader::Control(Said::Seen { process, operator, report }));
            }
        }
        for said in self.context.process.control.take_mail() {
            self.send(0, ToLeader::Control(said));
        }
    }

    fn lead(&mut self) {
        while let Some(action) = self.leader.as_mut().and_then(|leader| leader.decide(threads::now())) {
            self.act(action);
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Broadcast(message) => {
                if let ToWorker::Tick(epoch) = message {
                    self.spans.begin(epoch);
                }
                match &message {
                    ToWorker::Tick(epoch) if *epoch > self.context.first_epoch => {
                        self.ended.insert(Epoch(epoch.0 - 1), threads::now());
                    }
                    ToWorker::Finish(finish) => drop(self.ended.insert(finish.last, threads::now())),
                    _ => {}
                }
                let first = message == ToWorker::Tick(self.context.first_epoch);
                for worker in 0..self.context.workers as u32 {
                    if first {
                        self.send(worker, ToWorker::Leader { incarnation: self.head.incarnation });
                    }
                    self.send(worker, message.clone());
                }
            }
            Action::Tell(Tell { only_leading, order }) => {
                let processes = if only_leading { 1 } else { self.context.processes() };
                for process in 0..processes {
                    self.send((process * self.context.threads) as u32, ToWorker::Control(order.clone()));
                }
            }
            Action::Commit { epoch, drained, chains, control } => {
                let manifest = self.manifest(epoch, drained, chains, control);
                self.thread.send(Command::Commit(Box::new(manifest)));
            }
        }
    }

    fn manifest(&self, epoch: Epoch, drained: bool, chains: Vec<Chain>, control: Vec<ControlEntry>) -> Manifest {
        let ManifestHead { job, incarnation, key_groups, states } = self.head.clone();
        let workers = chains.into_iter().map(|Chain(files)| files).collect();
        Manifest {
            format_version: Manifest::FORMAT_VERSION,
            job,
            epoch: epoch.0,
            incarnation,
            created_ms: self.context.process.clock.processing_time().0,
            key_groups,
            states,
            workers,
            finished: drained,
            control,
        }
    }

    fn send(&mut self, to: u32, message: impl Into<Message>) {
        if let Some(input) = &mut self.input {
            input.send(Packet { to, message: message.into() });
            self.unsent = true;
        }
    }
}
