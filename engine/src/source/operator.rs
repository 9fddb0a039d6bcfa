//! The source operator: it reads, stamps records with epoch and watermark, applies backpressure, and stores
//! positions at the end of each epoch.
//!
//! ```text
//! turn:  epoch ticked? ─▶ store the position, lower the capability to the next epoch
//!        job finishes? ─▶ store the position, drop the capability
//!        over budget, state full, or ahead of the slowest source? ─▶ try again a little later
//!        read ─▶ send the batch ─▶ lower the capability to its watermark
//! ```

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use timely::scheduling::{Activator, SyncActivator};

use super::future::FutureEvents;
use super::nature::Nature;
use super::reading::{Read, Reading, Turn, Typed};
use super::{Next, Source, SourceContext, Waker};
use crate::alignment::{Activity, SourceClock};
use crate::checkpoint::blobs::Blob;
use crate::crash;
use crate::epoch::SourceId;
use crate::error::JobError;
use crate::graph::{Flow, Packets, Port, Stream};
use crate::metrics::{self, Distribution, OperatorMetrics};
use crate::record::{DeadLetter, Record};
use crate::time::{Epoch, EventTime, Moment};
use crate::worker::Shared;

/// Time after which a source that backpressure has paused tries again.
const HOLD: Duration = Duration::from_micros(200);
/// Time after which a source that follows the watermark of the others reads it again.
const FOLLOW: Duration = Duration::from_millis(5);

impl<'s> Flow<'s> {
    /// Reads from `source`. `name` is unique in the job and names the source in checkpoints.
    ///
    /// # Errors
    /// When the name is taken, a duration stated by the source is not a whole number of milliseconds, or the
    /// source cannot be opened.
    pub fn source<S: Source>(&self, name: &str, source: &S) -> Result<Stream<'s, S::Item>, JobError> {
        operator(self, name, source)
    }
}

/// Builds the operator on this worker. What depends on the types of the program is in [`Typed`].
fn operator<'s, S: Source>(flow: &Flow<'s>, name: &str, source: &S) -> Result<Stream<'s, S::Item>, JobError> {
    let context = flow.claim_name(name)?;
    let nature = Nature::of(name, source)?;
    let metrics = context.process.metrics.operator(name, "source", context.worker);
    // The operator gets its address only after the source is open, since a builder must not be abandoned once begun.
    let wake: Arc<OnceLock<SyncActivator>> = Arc::default();
    let opened = source.open(source_context(name, &context, Arc::clone(&wake), Arc::clone(&metrics)));
    let reader = opened.map_err(|source| JobError::of_connector(name, source))?;
    let packets = build(flow, name, nature, Box::new(Typed::new(reader)), &wake, metrics);
    Ok(flow.stream(packets))
}

fn source_context(
    name: &str,
    context: &Shared,
    woken: Arc<OnceLock<SyncActivator>>,
    metrics: Arc<OperatorMetrics>,
) -> SourceContext {
    context.ends.borrow_mut().sources.insert(name.to_owned());
    SourceContext {
        name: name.to_owned(),
        worker: context.worker,
        workers: context.workers,
        restored: context.restored.positions(name).to_vec(),
        clock: context.process.clock.clone(),
        checkpoint_interval: context.checkpoint_interval,
        // An error means that the worker is gone: then there is nothing to wake.
        waker: Waker::new(move || _ = woken.get().map(SyncActivator::activate)),
        metrics,
    }
}

/// Builds the operator in timely. Returns its records.
fn build<'s>(
    flow: &Flow<'s>,
    name: &str,
    nature: Nature,
    reader: Box<dyn Reading>,
    wake: &OnceLock<SyncActivator>,
    metrics: Arc<OperatorMetrics>,
) -> Packets<'s> {
    let context = Rc::clone(flow.context());
    let watermark = context.restored.source_watermark(name).unwrap_or(EventTime::MIN);
    let max_ahead_ms = nature.max_ahead_ms.or(context.process.max_ahead_ms);
    let future = FutureEvents::new(nature.lead_ms, max_ahead_ms, &metrics);
    let clock = context.process.source_clocks.register(nature.reach(watermark));

    let mut node = flow.node(name);
    let (main, main_stream) = node.output();
    let (dead, dead_stream) = node.output();
    let activator = node.activator();
    let id = context.epochs.borrow_mut().join_source(node.activator());
    wake.get_or_init(|| node.sync_activator());
    activator.activate();

    node.build(Box::new(move |mut capabilities| {
        let start = Moment::new(context.first_epoch, watermark);
        let dead_cap = capabilities.pop();
        let main_cap = capabilities.pop();
        let mut ingest = Ingest {
            name: name.to_owned(),
            id,
            reader,
            at: start,
            furthest: context.restored.furthest(),
            has_read: false,
            reading: metrics.distribution("read_us"),
            state: State::Reading,
            main: Port::new(main, main_cap, start),
            dead: Port::new(dead, dead_cap, start),
            letters: Vec::new(),
            ended: VecDeque::new(),
            has_more: false,
            has_looked: false,
            held: None,
            next_look: None,
            nature,
            future,
            read: (EventTime::MIN, EventTime::MIN),
            clock,
            metrics,
            activator,
            context,
        };
        Box::new(move |_| {
            if !ingest.context.failed() {
                let mut turn = ingest.metrics.turn();
                let result = ingest.turn();
                ingest.context.guard(result);
                if ingest.has_read {
                    turn.record(&ingest.reading);
                }
                match ingest.held {
                    Some(Hold::Downstream) => turn.then(metrics::Activity::Backpressured),
                    // What comes after it is not to blame.
                    Some(Hold::Sources) | None => {}
                }
            }
            // Timely keeps the operator for that long, although its capabilities are gone.
            ingest.waits_for_commit()
        })
    }));
    flow.add_dead_letters(dead_stream);
    main_stream
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    /// Everything was handed out; epochs still tick until all sources are exhausted.
    Exhausted,
    /// The job stops before the end of its input. Records that were not read must not be late when they are read
    /// after the restore: the capabilities stay at the present watermark until every operator of every worker has
    /// closed the last epoch.
    Stopped,
    /// The capabilities are dropped; the last epoch may still have to be committed.
    Finished,
}

/// What keeps a source from reading.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hold {
    /// Backpressure: too many records are in flight, or keyed state is full.
    Downstream,
    /// Watermark alignment: it is ahead of the slowest source.
    Sources,
}

struct Ingest {
    name: String,
    id: SourceId,
    reader: Box<dyn Reading>,
    at: Moment,
    /// The latest watermark that the state of any operator had reached before the restore.
    furthest: EventTime,
    /// Whether it has read records in its last turn, and how long such turns take.
    has_read: bool,
    reading: Distribution,
    state: State,
    main: Port,
    dead: Port,
    letters: Vec<Record<DeadLetter>>,
    /// Positions at the ends of epochs that are not yet known to be committed.
    ended: VecDeque<(Epoch, Vec<u8>)>,
    /// Whether the reader's last answer was [`Next::Now`]: its reading is still under way.
    has_more: bool,
    /// Whether it has read for a last time, after all other sources had ended.
    has_looked: bool,
    /// What has kept it from reading in its last turn.
    held: Option<Hold>,
    /// The time for which it has last asked to be called again.
    next_look: Option<Instant>,
    nature: Nature,
    future: FutureEvents,
    /// The earliest and the latest event time of the last batch that had records.
    read: (EventTime, EventTime),
    clock: Arc<SourceClock>,
    metrics: Arc<OperatorMetrics>,
    activator: Activator,
    context: Shared,
}

impl Ingest {
    fn turn(&mut self) -> Result<(), JobError> {
        self.held = None;
        self.has_read = false;
        if !self.context.epochs.borrow().has_started() {
            return Ok(());
        }
        self.report_committed();
        if self.state == State::Finished {
            return Ok(());
        }
        self.follow_epochs()?;
        if self.state == State::Exhausted {
            // Other sources may go on for long: the watermark must not wait for this one, which sends nothing any
            // more.
            self.follow_watermark(Activity::Done, None);
        }
        if self.state != State::Reading {
            return Ok(());
        }
        self.held = self.hold();
        if self.held.is_some() {
            self.look_again(HOLD);
            return Ok(());
        }
        let read = self.read()?;
        let (next, promised) = (read.next, read.promised);
        let activity = match (next, read.idle) {
            (Next::Done, _) => Activity::Done,
            (_, true) => Activity::Idle,
            (_, false) => Activity::Active,
        };
        if !read.idle {
            crash::point("mid-epoch", self.at.epoch, self.context.worker);
        }
        match next {
            Next::Now => self.activator.activate(),
            Next::After(wait) => self.look_again(wait),
            Next::Accompany(wait) => {
                self.context.epochs.borrow_mut().exhausted(self.id);
                let is_over = self.context.epochs.borrow().finish().is_some();
                self.look_again(if is_over { Duration::ZERO } else { wait });
            }
            Next::Done => {
                self.state = State::Exhausted;
                self.context.epochs.borrow_mut().done(self.id);
            }
        }
        self.has_more = next == Next::Now;
        self.follow_watermark(activity, promised);
        Ok(())
    }

    /// Closes the epochs that the checkpoint clock has ended, and finishes when the job is over.
    fn follow_epochs(&mut self) -> Result<(), JobError> {
        let (running, finish) = {
            let epochs = self.context.epochs.borrow();
            (epochs.running(), epochs.finish())
        };
        while self.at.epoch < running {
            self.close(self.at.epoch)?;
            self.at.epoch = self.at.epoch.next();
            self.lower(Some(self.at));
        }
        let Some(finish) = finish else { return Ok(()) };
        if finish.drain && self.state == State::Reading && self.is_read_on()? {
            return Ok(());
        }
        if self.at.epoch == finish.last {
            self.close(self.at.epoch)?;
            self.at.epoch = self.at.epoch.next();
            self.lower(Some(self.at));
            self.clock.set(self.nature.reach(EventTime::MAX), Activity::Done);
            self.state = State::Stopped;
        }
        if finish.drain || self.context.process.progress.committed_epoch.load(Ordering::Relaxed) >= finish.last.0 {
            self.lower(None);
            self.state = State::Finished;
        }
        Ok(())
    }

    /// Has a source that accompanies the others, which have ended, read what is there now, and complete a reading that is
    /// under way. Returns whether it still does.
    fn is_read_on(&mut self) -> Result<bool, JobError> {
        if !self.has_more && !self.has_looked {
            self.has_looked = true;
            self.has_more = self.read()?.next == Next::Now;
            if self.has_more {
                self.activator.activate();
            }
        }
        Ok(self.has_more)
    }

    /// Stores the position and the watermark of the source at the end of `epoch`.
    fn close(&mut self, epoch: Epoch) -> Result<(), JobError> {
        let position = self.reader.position().map_err(|e| JobError::of_connector(&self.name, e))?;
        let watermark = self.at.watermark;
        self.ended.push_back((epoch, position.clone()));
        self.context.epochs.borrow_mut().close(epoch, |contribution| {
            Blob::SourcePosition(position).put(&self.name, &mut contribution.delta);
            Blob::SourceWatermark(watermark).put(&self.name, &mut contribution.delta);
            Ok(())
        })
    }

    /// Returns whether the source has finished and its reader has not heard of the commit of the last epoch: a reader that
    /// acknowledges what it has read does so then.
    fn waits_for_commit(&self) -> bool {
        self.state == State::Finished && !self.ended.is_empty() && !self.context.failed()
    }

    /// Reports to the reader the newest of its epochs that has been committed since the last call.
    fn report_committed(&mut self) {
        let committed = self.context.process.progress.committed_epoch.load(Ordering::Relaxed);
        let mut newest = None;
        while self.ended.front().is_some_and(|(epoch, _)| epoch.0 <= committed) {
            newest = self.ended.pop_front();
        }
        if let Some((_, position)) = newest {
            self.reader.committed(&position);
        }
    }

    fn look_again(&mut self, wait: Duration) {
        self.context.look_again(&mut self.next_look, &self.activator, wait);
    }

    fn hold(&self) -> Option<Hold> {
        let process = &self.context.process;
        // The slowest source never waits for the others: pending records can only leave when it goes on.
        let least = process.source_clocks.goes_on_until();
        let own = self.nature.reach(self.at.watermark).watermark;
        let ahead_ms = least.map_or(0, |least| own.ms_since(least));
        let too_far = process.max_drift_ms.is_some_and(|drift| ahead_ms > drift);
        let ahead = ahead_ms > 0 && (too_far || process.pending.load(Ordering::Relaxed) >= process.max_pending);
        let full = process.progress.state.iter().any(|state| state.full.load(Ordering::Relaxed));
        let downstream = full || process.budget.is_spent();
        downstream.then_some(Hold::Downstream).or_else(|| ahead.then_some(Hold::Sources))
    }

    /// Reads, and sends what was read.
    fn read(&mut self) -> Result<Read, JobError> {
        let process = &self.context.process;
        let now = process.clock.now();
        let latest = self.future.latest(&process.clock);
        let turn = Turn {
            now,
            began: process.progress.began.get().map_or(now, |(_, began)| *began),
            latest,
            reached: self.at.watermark.max(self.furthest),
            watermark: self.at.watermark,
        };
        let mut read = self.reader.read(turn).map_err(|e| JobError::of_connector(&self.name, e))?;
        // A reader that does not use `admit` may promise a watermark from records that were not handed out.
        read.promised = read.promised.map(|promised| promised.min(latest));
        self.future.refuse(std::mem::take(&mut read.too_far_ahead), now, &self.name, &mut read.dead_letters);
        let records = read.records.len() as u64;
        self.has_read = records > 0;
        self.metrics.records_in.add(records);
        self.metrics.records_out.add(records);
        self.metrics.count_late(read.late, records);
        self.read = read.span.unwrap_or(self.read);
        self.main.send_packet(std::mem::take(&mut read.records));
        for letter in read.dead_letters.drain(..) {
            self.metrics.count_dead_letter(&letter.reason);
            self.context.show_dead_letter(&letter);
            self.letters.push(Record { event_time: self.at.watermark, arrival: now, data: letter });
        }
        self.dead.send(&mut self.letters);
        Ok(read)
    }

    /// Advances the watermark: by the reader's promise, or along with the other sources while this one is idle.
    fn follow_watermark(&mut self, activity: Activity, promised: Option<EventTime>) {
        let mut watermark = self.at.watermark.max(promised.unwrap_or(EventTime::MIN));
        if watermark > self.at.watermark {
            // The first step is measured from the first event, not from `EventTime::MIN`; nor from a bit later, where an idle
            // source has followed others that had no watermark either, with its lead.
            let has_none = self.at.watermark < EventTime(i64::MIN / 2);
            let from = if has_none { self.read.0 } else { self.at.watermark };
            self.metrics.moved(from, watermark, self.read.1);
            self.future.remark(&self.context, &self.name, watermark, self.read.1);
        }
        self.clock.set(self.nature.reach(watermark), activity);
        let clocks = &self.context.process.source_clocks;
        let others = match activity {
            Activity::Active => None,
            Activity::Idle => clocks.followed_within(self.nature.out_of_orderness_ms),
            // No record will come from it any more, so its out-of-orderness does not matter.
            Activity::Done => clocks.followed_within(0),
        };
        watermark = watermark.max(others.map_or(EventTime::MIN, |others| others.plus_ms(self.nature.lead_ms)));
        if watermark > self.at.watermark {
            if activity == Activity::Active {
                self.context.epochs.borrow().wake_done();
            }
            self.at.watermark = watermark;
            self.clock.set(self.nature.reach(watermark), activity);
            self.metrics.watermark.set(watermark.0);
            self.lower(Some(self.at));
        }
        if activity != Activity::Active {
            // A follower has to poll: nothing wakes it when sources of other workers have advanced, or when it is idle.
            self.look_again(FOLLOW);
        }
    }

    fn lower(&mut self, moment: Option<Moment>) {
        self.main.lower(moment);
        self.dead.lower(moment);
    }
}
