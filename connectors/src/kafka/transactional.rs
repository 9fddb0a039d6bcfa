//! The exactly-once writer: a worker's side that never waits, and a thread that talks to Kafka.
//!
//! ```text
//! worker      write ─▶ chunk ──┐ stage: the epoch's chunks are its token ─▶ delta
//! thread                       └▶ transaction of e … marker e ── waits ── commit ─▶ transaction of e+1 …
//! checkpoint                                              publish(e) ─▲      (chunks of e+1 wait meanwhile)
//! ```
//! Order: a worker's messages of one key are produced in the order they were written, also when an epoch has to
//! be produced again: no message of e+1 is sent before e is committed.
//!
//! At the end of a job the writer goes before the last epoch is published: the thread lives until nobody is left
//! who could ask it to publish.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use rdkafka::error::KafkaError;
use tidemill_engine::sink::Staged;
use tidemill_engine::{ConnectorError, Epoch, ErrorKind, crash};

use super::outgoing::Outgoing;
use super::session::{Identity, Published, Session};
use super::token::{self, Chunk, TokenHead};

/// Bytes gathered before they are handed to the thread.
const CHUNK: usize = 64 * 1024;
/// Bytes that may wait for the thread before the sink's input waits.
const QUEUE: usize = 32 << 20;
/// How often librdkafka is asked what became of messages while nothing is to do.
const POLL: Duration = Duration::from_millis(100);

/// What the worker tells the thread, in order.
enum Order {
    Produce(Chunk),
    /// The epoch has no more.
    Close(Epoch),
}

/// What the checkpoint thread asks for.
struct Publish {
    epoch: Epoch,
    answer: Sender<Result<(), ConnectorError>>,
}

/// The worker's side.
pub(super) struct Writer {
    head: TokenHead,
    chunk: Vec<u8>,
    epoch: Vec<Chunk>,
    orders: Sender<Order>,
    publisher: Arc<Publisher>,
    queued: Arc<AtomicUsize>,
}

/// Whoever may ask the thread to publish. When the last one is gone the thread gives up what is open, and ends.
struct Publisher {
    publishes: Option<Sender<Publish>>,
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Publisher {
    /// Has the thread publish an epoch, and waits for it.
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
            identity,
            session: None,
            broken: None,
            epoch: Vec::new(),
            ordered,
            to_publish,
            queued: Arc::clone(&queued),
        };
        let name = format!("kafka-{}", head.worker);
        let thread = std::thread::Builder::new().name(name).spawn(move || work.serve()).map_err(|e| {
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
        self.tell(Order::Produce(chunk))
    }

    fn tell(&self, order: Order) -> Result<(), ConnectorError> {
        self.orders.send(order).map_err(|_| gone())
    }

    pub(super) fn stage(&mut self, epoch: Epoch) -> Result<Option<Staged>, ConnectorError> {
        if !self.chunk.is_empty() {
            self.hand_over()?;
        }
        if self.epoch.is_empty() {
            return Ok(None);
        }
        self.tell(Order::Close(epoch))?;
        let token = token::encode(&self.head, &std::mem::take(&mut self.epoch))?;
        let publisher = Arc::clone(&self.publisher);
        // The token is the output: durable when the delta is.
        Ok(Some(Staged { token, flush: Box::new(|| Ok(())), publish: Box::new(move || publisher.publish(epoch)) }))
    }
}

fn gone() -> ConnectorError {
    ConnectorError::new(ErrorKind::Internal, "the thread that produces to Kafka has ended")
}

/// The thread's side.
struct Work {
    identity: Identity,
    session: Option<Session>,
    /// Why the epoch at hand must be published from memory.
    broken: Option<KafkaError>,
    /// The epoch at hand.
    epoch: Vec<Chunk>,
    ordered: Receiver<Order>,
    to_publish: Receiver<Publish>,
    queued: Arc<AtomicUsize>,
}

impl Work {
    /// Until nobody is left who could ask for anything.
    fn serve(&mut self) {
        loop {
            match self.ordered.recv_timeout(POLL) {
                Ok(Order::Produce(chunk)) => self.produce(chunk),
                Ok(Order::Close(epoch)) => {
                    self.prepare(epoch);
                    let Ok(Publish { epoch, answer }) = self.to_publish.recv() else { return };
                    let result = self.publish(epoch);
                    let failed = result.is_err();
                    drop(answer.send(result));
                    if failed {
                        // The job stops with that error; the worker must not meet another one meanwhile.
                        let _ = self.to_publish.recv();
                        return;
                    }
                }
                Err(RecvTimeoutError::Timeout) => self.session.iter().for_each(Session::poll),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Produces into the open transaction. What fails is told when the epoch is to be published: until then
    /// the staged output is all that counts.
    fn produce(&mut self, chunk: Chunk) {
        self.queued.fetch_sub(chunk.len(), Ordering::Relaxed);
        self.epoch.push(Arc::clone(&chunk));
        if self.broken.is_some() {
            return;
        }
        let session = match &mut self.session {
            Some(session) => session,
            none => match Session::join(&self.identity) {
                Ok(session) => none.insert(session),
                Err(error) => {
                    // Publishing opens it again, and says what is wrong.
                    tracing::warn!(%error, "Kafka: could not begin to write");
                    self.broken = Some(KafkaError::Canceled);
                    return;
                }
            },
        };
        self.broken = session.produce(&chunk).err();
    }

    fn prepare(&mut self, epoch: Epoch) {
        crash::point("mid-produce", epoch, self.identity.worker);
        if let (None, Some(session)) = (&self.broken, &mut self.session) {
            self.broken = session.prepare(epoch).err();
        }
    }

    /// The epoch is committed: its output becomes visible, here or from memory.
    fn publish(&mut self, epoch: Epoch) -> Result<(), ConnectorError> {
        let chunks = std::mem::take(&mut self.epoch);
        let mut outcome = match (self.broken.take(), &mut self.session) {
            (None, Some(session)) => session.commit(epoch),
            (Some(error), _) => Published::No(error),
            (None, None) => Published::No(KafkaError::Canceled),
        };
        let give_up = Instant::now() + self.identity.patience;
        loop {
            let error = match outcome {
                Published::Yes => return Ok(()),
                Published::No(error) | Published::Unknown(error) => error,
            };
            if Instant::now() > give_up {
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
            tracing::warn!(%epoch, %error, "Kafka: the epoch is published from memory");
            outcome = session.publish(epoch, chunks.iter().map(|chunk| chunk.as_slice()));
            if let Published::No(error) = &outcome
                && is_hopeless(error)
            {
                return Err(super::client::failed(format!("publish epoch {epoch}"), error.clone()));
            }
        }
    }
}

/// Trying again will not help: the user has to do something.
fn is_hopeless(error: &KafkaError) -> bool {
    let kind = error.rdkafka_error_code().map(|code| super::client::verdict(code).0);
    kind == Some(ErrorKind::Invalid)
}
