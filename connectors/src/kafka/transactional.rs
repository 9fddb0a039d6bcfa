//! The exactly-once writer: the worker's side, which never waits, and a thread that talks to Kafka.
//!
//! ```text
//! worker      write ─▶ chunk ──┐ stage: the epoch's chunks are its token ─▶ delta
//! thread                       └▶ transaction 0: epoch e … marker e ── waits ──── commit ─▶ epoch e+2 …
//!                                 transaction 1:              epoch e+1 … marker e+1 ── waits ──── commit ─▶
//! checkpoint                                                        publish(e) ─▲   publish(e+1) ─▲
//! ```
//! Two transactions take turns: with one, each epoch would also take the time to commit and to open the next
//! transaction.
//!
//! Order: a worker's messages of one key are in the topic in the order in which they were written. All messages of
//! epoch e are sent before the first of e+1. When e has to be sent again, the messages that were sent of e+1 are
//! aborted, and sent again after it.
//!
//! At the end of a job the writer is dropped before the last epoch is published: the thread lives until no handle is
//! left that could ask it to publish.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, never, select};
use rdkafka::error::KafkaError;
use tidemill_engine::sink::Staged;
use tidemill_engine::threads;
use tidemill_engine::{ConnectorError, Epoch, ErrorKind, crash};

use super::outgoing::Outgoing;
use super::session::{Identity, Published, Session, TURNS};
use super::token::{self, Chunk, TokenHead};

/// Number of bytes that are collected before they are passed to the thread.
const CHUNK: usize = 64 * 1024;
/// Number of bytes that may be pending for the thread before the sink applies backpressure.
const QUEUE: usize = 32 << 20;
/// The interval at which librdkafka is polled for deliveries while there is nothing else to do.
const POLL: Duration = Duration::from_millis(100);

/// The messages from the worker to the thread, in order.
enum Command {
    Produce(Chunk),
    /// Closes the epoch: no more messages follow.
    Close(Epoch),
}

/// The requests of the checkpoint thread.
struct Publish {
    epoch: Epoch,
    answer: Sender<Result<(), ConnectorError>>,
}

/// The worker's side.
pub(super) struct Writer {
    head: TokenHead,
    chunk: Vec<u8>,
    epoch: Vec<Chunk>,
    orders: Sender<Command>,
    publisher: Arc<Publisher>,
    queued: Arc<AtomicUsize>,
}

/// The handle through which the thread is asked to publish. When the last clone of its `Arc` is dropped, the thread
/// aborts the open transactions and ends.
struct Publisher {
    publishes: Option<Sender<Publish>>,
    ending: Arc<AtomicBool>,
    thread: Option<threads::Handle<()>>,
}

impl Publisher {
    /// Makes the thread publish an epoch, and waits until it has done so.
    fn publish(&self, epoch: Epoch) -> Result<(), ConnectorError> {
        let (answer, answered) = crossbeam_channel::bounded(1);
        let publishes = self.publishes.as_ref().ok_or_else(gone)?;
        publishes.send(Publish { epoch, answer }).map_err(|_| gone())?;
        answered.recv().unwrap_or_else(|_| Err(gone()))
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Relaxed);
        self.publishes = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that produces to Kafka panicked");
        }
    }
}

impl Writer {
    pub(super) fn start(identity: Identity, head: TokenHead) -> Result<Self, ConnectorError> {
        let (orders, ordered) = crossbeam_channel::unbounded();
        let (publishes, to_publish) = crossbeam_channel::unbounded();
        let queued = Arc::new(AtomicUsize::new(0));
        let ending = Arc::clone(&identity.ending);
        let mut work = Work {
            turns: identity.turns().map(Turn::new),
            filling: 0,
            ordered,
            to_publish,
            queued: Arc::clone(&queued),
        };
        let name = format!("kafka-{}", head.worker);
        let thread = threads::spawn(name, move || work.serve()).map_err(|e| {
            ConnectorError::caused(ErrorKind::Unavailable, "could not start the thread that produces to Kafka", e)
        })?;
        let publisher = Arc::new(Publisher { publishes: Some(publishes), ending, thread: Some(thread) });
        Ok(Self { head, chunk: Vec::with_capacity(CHUNK * 2), epoch: Vec::new(), orders, publisher, queued })
    }

    pub(super) fn is_ready(&self) -> bool {
        self.queued.load(Ordering::Relaxed) < QUEUE
    }

    pub(super) fn write(&mut self, message: &Outgoing) -> Result<(), ConnectorError> {
        message.encode(&mut self.chunk);
        if self.chunk.len() >= CHUNK { self.hand_over() } else { Ok(()) }
    }

    fn hand_over(&mut self) -> Result<(), ConnectorError> {
        let chunk = Arc::new(std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK * 2)));
        self.epoch.push(Arc::clone(&chunk));
        self.queued.fetch_add(chunk.len(), Ordering::Relaxed);
        self.send(Command::Produce(chunk))
    }

    fn send(&self, order: Command) -> Result<(), ConnectorError> {
        self.orders.send(order).map_err(|_| gone())
    }

    pub(super) fn stage(&mut self, epoch: Epoch) -> Result<Option<Staged>, ConnectorError> {
        if !self.chunk.is_empty() {
            self.hand_over()?;
        }
        if self.epoch.is_empty() {
            return Ok(None);
        }
        self.send(Command::Close(epoch))?;
        let token = token::encode(&self.head, &std::mem::take(&mut self.epoch))?;
        let publisher = Arc::clone(&self.publisher);
        // The token contains the output, which is therefore durable when the delta is.
        Ok(Some(Staged { token, flush: Box::new(|| Ok(())), publish: Box::new(move || publisher.publish(epoch)) }))
    }
}

fn gone() -> ConnectorError {
    ConnectorError::new(ErrorKind::Internal, "the thread that produces to Kafka has ended")
}

/// A transaction and the epoch that is written in it.
struct Turn {
    identity: Identity,
    session: Option<Session>,
    /// The error because of which the epoch must be published from memory.
    broken: Option<KafkaError>,
    /// The epoch's output.
    chunks: Vec<Chunk>,
    /// The epoch, once it is closed.
    closed: Option<Epoch>,
}

impl Turn {
    fn new(identity: Identity) -> Self {
        Self { identity, session: None, broken: None, chunks: Vec::new(), closed: None }
    }

    /// Takes over the transactional id. SUBTLE: this reads the marker, which cannot be read while another turn has
    /// written one in its open transaction. So no turn may be closed when this is called.
    fn join(&mut self) {
        if self.session.is_none() && self.broken.is_none() {
            let joined = Session::join(&self.identity);
            // Publishing opens the session again, and returns the error if that fails.
            let failed = |error| tracing::warn!(%error, "writing to Kafka could not begin");
            self.session = joined.map_err(failed).ok();
        }
    }

    /// Produces in the open transaction. An error is kept until the epoch is published: until then only the staged
    /// output matters.
    fn produce(&mut self, chunk: Chunk) {
        if self.broken.is_none() {
            self.broken = match &mut self.session {
                Some(session) => session.produce(&chunk).err(),
                None => Some(KafkaError::Canceled),
            };
        }
        self.chunks.push(chunk);
    }

    fn close(&mut self, epoch: Epoch) {
        crash::point("mid-produce", epoch, self.identity.worker);
        if let (None, Some(session)) = (&self.broken, &mut self.session) {
            self.broken = session.prepare(epoch).err();
        }
        self.closed = Some(epoch);
    }

    fn empty(&mut self) {
        self.chunks.clear();
        self.closed = None;
    }

    /// Commits the prepared transaction.
    fn commit(&mut self, epoch: Epoch) -> Published {
        match (self.broken.take(), &mut self.session) {
            (None, Some(session)) => session.commit(epoch),
            (Some(error), _) => Published::No(error),
            (None, None) => Published::No(KafkaError::Canceled),
        }
    }

    /// Aborts the open transaction, because an earlier epoch has to be sent again and must come first.
    fn take_back(&mut self) {
        // Dropping a producer aborts its open transaction.
        (self.session, self.broken) = (None, None);
    }

    /// Sends the messages of the aborted transaction again.
    fn send_again(&mut self) {
        self.join();
        for chunk in std::mem::take(&mut self.chunks) {
            self.produce(chunk);
        }
        if let Some(epoch) = self.closed {
            self.close(epoch);
        }
    }

    /// Publishes the epoch from memory, after an attempt with this `outcome`.
    fn publish_again(&mut self, epoch: Epoch, mut outcome: Published) -> Result<(), ConnectorError> {
        let give_up = threads::now() + self.identity.patience;
        loop {
            let error = match outcome {
                Published::Yes => return Ok(()),
                Published::No(error) | Published::Unknown(error) => error,
            };
            if threads::now() > give_up {
                return Err(super::client::failed(format!("publish epoch {epoch}"), error));
            }
            let session = match self.session.take() {
                Some(session) => session.reopen(&error)?,
                None => Session::join(&self.identity)?,
            };
            let session = self.session.insert(session);
            if session.read_marker()?.is_some_and(|marked| marked.epoch >= epoch) {
                return Ok(());
            }
            tracing::warn!(%epoch, %error, "the epoch is published to Kafka from memory");
            outcome = session.publish(epoch, self.chunks.iter().map(|chunk| chunk.as_slice()));
            if let Published::No(error) = &outcome
                && is_hopeless(error)
            {
                return Err(super::client::failed(format!("publish epoch {epoch}"), error.clone()));
            }
        }
    }
}

/// The thread's side.
struct Work {
    turns: [Turn; TURNS],
    /// The index of the turn that takes messages. If the other turn is closed, it has the previous epoch.
    filling: usize,
    ordered: Receiver<Command>,
    to_publish: Receiver<Publish>,
    queued: Arc<AtomicUsize>,
}

impl Work {
    /// Runs until no handle is left that could send a message or ask for a publication.
    fn serve(&mut self) {
        let mut over = false;
        loop {
            let waiting = self.turns.iter().any(|turn| turn.closed.is_some());
            if over && !waiting {
                return;
            }
            let (no_orders, nothing_to_publish) = (never(), never());
            let full = self.turns[self.filling].closed.is_some();
            let orders = if over || full { &no_orders } else { &self.ordered };
            let publishes = if waiting { &self.to_publish } else { &nothing_to_publish };
            select! {
                recv(publishes) -> asked => {
                    let Ok(Publish { epoch, answer }) = asked else { return };
                    let result = self.publish(epoch);
                    let failed = result.is_err();
                    drop(answer.send(result));
                    if failed {
                        // The job stops with this error. Until then the channels stay open, so that the worker does
                        // not report another one.
                        let _ = self.to_publish.recv();
                        return;
                    }
                }
                recv(orders) -> order => match order {
                    Ok(Command::Produce(chunk)) => {
                        if !waiting {
                            self.join();
                        }
                        self.queued.fetch_sub(chunk.len(), Ordering::Relaxed);
                        self.turns[self.filling].produce(chunk);
                    }
                    Ok(Command::Close(epoch)) => {
                        self.turns[self.filling].close(epoch);
                        self.filling = (self.filling + 1) % TURNS;
                    }
                    Err(_) => over = true,
                },
                default(POLL) => {
                    // The sessions are opened before the first message, which then need not wait for that.
                    if !waiting && self.turns[0].identity.has_begun() {
                        self.join();
                    }
                    self.turns.iter().filter_map(|turn| turn.session.as_ref()).for_each(Session::poll);
                }
            }
        }
    }

    fn join(&mut self) {
        self.turns.iter_mut().for_each(Turn::join);
    }

    /// Makes the output of a committed epoch visible.
    fn publish(&mut self, epoch: Epoch) -> Result<(), ConnectorError> {
        let index = self.turns.iter().position(|turn| turn.closed == Some(epoch)).ok_or_else(gone)?;
        let outcome = self.turns[index].commit(epoch);
        if matches!(outcome, Published::Yes) {
            self.turns[index].empty();
            return Ok(());
        }
        self.others(index).for_each(Turn::take_back);
        self.turns[index].publish_again(epoch, outcome)?;
        self.turns[index].empty();
        self.others(index).for_each(Turn::send_again);
        Ok(())
    }

    fn others(&mut self, than: usize) -> impl Iterator<Item = &mut Turn> {
        self.turns.iter_mut().enumerate().filter(move |(index, _)| *index != than).map(|(_, turn)| turn)
    }
}

/// Returns whether trying again will not help, because the user has to do something.
fn is_hopeless(error: &KafkaError) -> bool {
    let kind = error.rdkafka_error_code().map(|code| super::client::verdict(code).0);
    kind == Some(ErrorKind::Invalid)
}
