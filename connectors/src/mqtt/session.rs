//! One session with the broker: a thread that keeps the connection, fills the inbox and acknowledges.
//!
//! ```text
//! connect ─▶ resumed? ─▶ subscribe ─▶ messages ─▶ inbox        lost: wait (with jitter) and connect again, for `patience`
//!               └─ no, and it should be: lost session          inbox full: read nothing until there is room
//! ```
//! Both tasks are on one thread, so that an acknowledgement is requested on the connection for which the ledger has released
//! it: the ledger hears of a lost connection before anything else runs.
//!
//! Known limit: while the inbox is full the client sends no pings. If that lasts for longer than the broker waits, it closes
//! the connection; what it then sends again is known.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBuilder};
use tidemill_engine::metrics::{Counter, OperatorMetrics};
use tidemill_engine::source::Waker;
use tidemill_engine::{ConnectorError, ErrorKind, Remedy, threads};
use tokio::sync::Notify;

use super::client::{Client, Connected, Happened, Lost, Options, Requests, only_older};
use super::message::Received;
use super::older::is_older;
use super::position::SessionPosition;
use super::settings::{LostSession, SourceSettings};
use crate::inbox::{Delivery, Inbox, Ledger};

/// Maximum time that connecting may take.
const CONNECT: Duration = Duration::from_secs(5);
/// Maximum time for the first connection: a wrong address is reported soon.
const ASK: Duration = Duration::from_secs(30);
/// Maximum time that the last acknowledgements may take at the end of the job.
const GOODBYE: Duration = Duration::from_secs(2);

/// A connection that ends sooner was closed on purpose, if that happens again and again.
const BRIEF: Duration = Duration::from_secs(1);
/// How many brief connections in a row mean that another client has taken the session over, for a client that had it before.
/// (Brokers say so, but mosquitto in a packet that the client library cannot read: it reports a lost connection.)
const TAKEN_OVER: u32 = 2;
/// The same for a client that has never had it for long: more, so that of two clients the newcomer keeps the session.
const NEVER_HAD: u32 = 8;

/// A session as its reader holds it. Dropping it sends what may be acknowledged, and closes the connection; the broker keeps
/// the session.
pub(super) struct Session {
    pub(super) inbox: Arc<Inbox<u16, Received>>,
    signals: Arc<Signals>,
    first: Receiver<Result<(), ConnectorError>>,
    thread: Option<threads::Handle<()>>,
}

/// What wakes the tasks of the thread.
#[derive(Default)]
struct Signals {
    /// There may be something to acknowledge, or the end has come.
    acknowledge: Notify,
    /// There may be room in the inbox, or the end has come.
    room: Notify,
    ending: AtomicBool,
}

/// What the tasks of the thread need.
struct Keeper {
    settings: SourceSettings,
    id: String,
    inbox: Arc<Inbox<u16, Received>>,
    signals: Arc<Signals>,
    /// Whether the broker must have the session.
    is_known: bool,
    /// Whether it has subscribed, so that the reader waits for nothing but messages.
    was_ready: bool,
    connections: Connections,
    /// Takes the result of the first connection.
    first: Sender<Result<(), ConnectorError>>,
    metrics: SessionMetrics,
}

/// Counters of all sessions of a worker.
#[derive(Clone)]
pub(super) struct SessionMetrics {
    redelivered: Counter,
    lost_sessions: Counter,
    disconnections: Counter,
}

impl SessionMetrics {
    pub(super) fn new(metrics: &OperatorMetrics) -> Self {
        Self {
            redelivered: metrics.counter("redelivered"),
            lost_sessions: metrics.counter("lost_sessions"),
            disconnections: metrics.counter("disconnections"),
        }
    }
}

impl Session {
    /// Starts the thread of session `number`. `restored` is what the checkpoint has of it.
    pub(super) fn start(
        settings: &SourceSettings,
        number: usize,
        restored: Option<&SessionPosition>,
        waker: Waker,
        metrics: SessionMetrics,
    ) -> Result<Self, ConnectorError> {
        let signals = Arc::new(Signals::default());
        let to_wake = Arc::clone(&signals);
        let wake = move || {
            to_wake.acknowledge.notify_one();
            to_wake.room.notify_one();
        };
        let ledger = Ledger::restored(restored.into_iter().flat_map(SessionPosition::unacknowledged));
        let inbox = Arc::new(Inbox::new(ledger, settings.max_queued_bytes, waker, wake));
        let (to, first) = mpsc::channel();
        let id = settings.client(number);
        let keeper = Keeper {
            settings: settings.clone(),
            id: id.clone(),
            inbox: Arc::clone(&inbox),
            signals: Arc::clone(&signals),
            is_known: restored.is_some(),
            was_ready: false,
            connections: Connections::default(),
            first: to,
            metrics,
        };
        let thread = threads::spawn(format!("mqtt {id}"), move || keeper.run())
            .map_err(|e| ConnectorError::caused(ErrorKind::Unavailable, "could not start a thread for MQTT", e))?;
        Ok(Self { inbox, signals, first, thread: Some(thread) })
    }

    /// Waits until the session has subscribed for the first time.
    pub(super) fn ready(&self) -> Result<(), ConnectorError> {
        self.first.recv().unwrap_or_else(|_| {
            Err(ConnectorError::new(ErrorKind::Internal, "the thread of an MQTT session ended without a reason"))
        })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.signals.ending.store(true, Ordering::Release);
        self.signals.acknowledge.notify_one();
        self.signals.room.notify_one();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn panicked(panic: &(dyn Any + Send)) -> ConnectorError {
    let text = panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str));
    let text = text.unwrap_or("without a message");
    ConnectorError::new(ErrorKind::Internal, format!("the thread of an MQTT session panicked: {text}"))
}

impl Keeper {
    fn run(mut self) {
        let kept = catch_unwind(AssertUnwindSafe(|| self.block()));
        if let Err(error) = kept.unwrap_or_else(|panic| Err(panicked(&*panic))) {
            if self.was_ready {
                self.inbox.fail(error);
            } else {
                // Nobody waits any more if another session of the reader has failed first.
                drop(self.first.send(Err(error)));
            }
        }
    }

    fn block(&mut self) -> Result<(), ConnectorError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| ConnectorError::caused(ErrorKind::Unavailable, "could not start MQTT", e))?;
        runtime.block_on(async {
            let (mut client, requests) = Client::new(self.options())?;
            client.refresh()?;
            let (inbox, signals) = (Arc::clone(&self.inbox), Arc::clone(&self.signals));
            let filter = self.settings.filter();
            tokio::select! {
                ended = self.keep(&mut client, &requests) => ended,
                ended = acknowledge(&inbox, &signals, &requests, &filter) => ended,
            }
        })
    }

    fn options(&self) -> Options {
        Options {
            broker: self.settings.broker.clone(),
            id: self.id.clone(),
            clean: false,
            expiry: self.settings.session_expiry,
            receive_maximum: self.settings.receive_maximum,
            keep_alive: self.settings.keep_alive,
            within: CONNECT,
        }
    }

    fn is_ending(&self) -> bool {
        self.signals.ending.load(Ordering::Acquire)
    }

    /// Keeps the connection until the end of the job.
    async fn keep(&mut self, client: &mut Client, requests: &Requests) -> Result<(), ConnectorError> {
        let mut outage = Outage::new(self.settings.patience.min(ASK));
        loop {
            while self.inbox.is_full() && !self.is_ending() {
                // What waited at the broker may come before its answer to the subscription, and nobody reads before the start.
                self.is_ready();
                self.signals.room.notified().await;
            }
            match client.next().await {
                Ok(Happened::Connected(connected)) => self.connected(&connected, requests).await?,
                Ok(Happened::Subscribed(Ok(()))) if self.is_ending() => requests.disconnect(),
                Ok(Happened::Subscribed(Ok(()))) => {
                    outage = Outage::new(self.settings.patience);
                    self.inbox.settled();
                    self.is_ready();
                }
                Ok(Happened::Subscribed(Err(why))) => {
                    let (broker, filter) = (&self.settings.broker, self.settings.filter());
                    let message =
                        format!("{broker} refuses the subscription of \"{}\" to \"{filter}\": {why}", self.id);
                    return Err(ConnectorError::new(ErrorKind::Invalid, message));
                }
                Ok(Happened::Arrived(message, again)) => self.arrived(message, again),
                Ok(Happened::Acknowledged(id)) => self.inbox.with_ledger(|ledger| ledger.written(id)),
                Ok(Happened::Pinged) => self.inbox.with_ledger(Ledger::pinged),
                Ok(Happened::Answered) => {
                    let limit = self.settings.receive_maximum.into();
                    self.inbox.with_ledger(|ledger| ledger.answered(limit));
                }
                Ok(Happened::Closed) => return Ok(()),
                Ok(Happened::Nothing) => {}
                Err(lost) => {
                    self.inbox.disconnected();
                    if self.is_ending() {
                        return Ok(());
                    }
                    if self.connections.ended() {
                        let Self { settings: SourceSettings { broker, .. }, id, .. } = self;
                        let message = format!(
                            "{broker} closes each connection of \"{id}\" at once, as it does when another client has \
                             connected as \"{id}\": the job was started a second time, or another program uses this session"
                        );
                        return Err(ConnectorError::new(ErrorKind::Unavailable, message));
                    }
                    let wait = self.judge(lost, &mut outage)?;
                    tokio::time::sleep(wait).await;
                    client.refresh()?;
                }
            }
        }
    }

    /// Lets the reader begin.
    fn is_ready(&mut self) {
        if !std::mem::replace(&mut self.was_ready, true) {
            drop(self.first.send(Ok(())));
        }
    }

    /// Returns how long to wait before the next try, or the error that stops the job.
    fn judge(&self, lost: Lost, outage: &mut Outage) -> Result<Duration, ConnectorError> {
        self.metrics.disconnections.add(1);
        let broker = &self.settings.broker;
        let error = match lost {
            // While the job runs, a broker that starts may refuse users until it knows them.
            Lost::ForGood(error) if !self.was_ready || error.kind() == ErrorKind::Fenced => return Err(error),
            Lost::ForGood(error) | Lost::ForNow(error) => error,
        };
        if !self.was_ready && outage.is_first() && is_older(broker, CONNECT) {
            return Err(ConnectorError::new(ErrorKind::Invalid, only_older(broker)));
        }
        let Some(wait) = outage.wait() else {
            let patience = outage.patience;
            let message = if self.was_ready {
                format!("{broker} was away for longer than {patience:?}")
            } else {
                format!(
                    "no broker answered at {broker} within {patience:?}: is the address right, and does it speak MQTT 5?"
                )
            };
            return Err(ConnectorError::caused(ErrorKind::Unavailable, message, error));
        };
        tracing::warn!(error = %tidemill_engine::with_causes(&error), "waiting for the MQTT broker");
        Ok(wait)
    }

    /// Checks what the broker says of itself and of the session, and subscribes.
    async fn connected(&mut self, connected: &Connected, requests: &Requests) -> Result<(), ConnectorError> {
        if let Some(why) = self.refusal(connected) {
            return Err(ConnectorError::new(ErrorKind::Invalid, format!("{} {why}", self.settings.broker)));
        }
        if self.is_known && !connected.resumed {
            self.lost().await?;
        }
        self.is_known = true;
        self.connections.began();
        self.inbox.connected(connected.resumed);
        // A session that was resumed has its subscription, unless the process died before it was made.
        requests.subscribe(&self.settings.filter())
    }

    fn refusal(&self, connected: &Connected) -> Option<String> {
        let SourceSettings { topic, session_expiry, shared, .. } = &self.settings;
        if let Some(kept) = connected.expiry.filter(|kept| kept < session_expiry) {
            return Some(format!(
                "keeps a session for {kept:?}, and this source asks for {session_expiry:?}: set session_expiry to what the \
                 broker grants, or raise its limit"
            ));
        }
        if *shared && !connected.has_shared_subscriptions {
            return Some("has no shared subscriptions, by which workers divide a topic: use one_session()".to_owned());
        }
        if topic.contains(['+', '#']) && !connected.has_wildcards {
            return Some(format!("has no subscriptions with wildcards: \"{topic}\" cannot be read"));
        }
        (!connected.has_qos_1).then(|| "knows QoS 0 only, by which messages can be lost".to_owned())
    }

    /// Reports that the broker has forgotten the session; an error if that is to stop the job.
    async fn lost(&self) -> Result<(), ConnectorError> {
        self.metrics.lost_sessions.add(1);
        let SourceSettings { broker, session_expiry, .. } = &self.settings;
        let (_, unacknowledged) = self.inbox.position();
        let message = format!(
            "{broker} no longer has session \"{}\": it expired (session_expiry is {session_expiry:?}), was removed, or the \
             broker lost it; messages that waited in it are lost, and the broker cannot say which. {} messages that were \
             read had not been acknowledged",
            self.id,
            unacknowledged.len()
        );
        if self.settings.lost_session == LostSession::Accept {
            tracing::error!("{message}; reading goes on, as lost_session says");
            return Ok(());
        }
        // The session that has just begun would make the next start believe that nothing was lost.
        self.forget().await;
        let message =
            format!("{message}; set lost_session to accept that, or start over in an empty checkpoint directory");
        Err(ConnectorError::new(ErrorKind::Data, message).remedy(Remedy::StartOver))
    }

    /// Ends the session at the broker.
    async fn forget(&self) {
        let options = Options { clean: true, expiry: Duration::ZERO, ..self.options() };
        let forget = async {
            let (mut client, requests) = Client::new(options)?;
            client.refresh()?;
            loop {
                match client.next().await {
                    Ok(Happened::Connected(_)) => requests.disconnect(),
                    Ok(Happened::Closed) | Err(_) => return Ok::<(), ConnectorError>(()),
                    Ok(_) => {}
                }
            }
        };
        if !matches!(tokio::time::timeout(CONNECT, forget).await, Ok(Ok(()))) {
            tracing::warn!(
                session = self.id,
                "could not end the session: the next start will not see that one was lost"
            );
        }
    }

    fn arrived(&self, message: Received, again: bool) {
        let id = (message.id != 0).then_some(message.id);
        let (fingerprint, size) = (message.fingerprint(), message.size());
        if !self.inbox.arrived(Delivery { id, fingerprint, again }, message, size) {
            self.metrics.redelivered.add(1);
            self.signals.acknowledge.notify_one();
        }
    }
}

/// Sends acknowledgements as they become due, until the end of the job.
async fn acknowledge(
    inbox: &Inbox<u16, Received>,
    signals: &Signals,
    requests: &Requests,
    filter: &str,
) -> Result<(), ConnectorError> {
    loop {
        signals.acknowledge.notified().await;
        for id in inbox.with_ledger(Ledger::take_acknowledgements) {
            requests.acknowledge(id)?;
        }
        if signals.ending.load(Ordering::Acquire) {
            // Acknowledgements have no answer; that to a subscription, which changes nothing, says that they have arrived. The
            // other task disconnects then. Without a connection there is no answer.
            requests.subscribe(filter)?;
            tokio::time::sleep(GOODBYE).await;
            return Ok(());
        }
    }
}

/// How long connections last.
#[derive(Default)]
struct Connections {
    since: Option<Instant>,
    /// Number of brief connections in a row.
    brief: u32,
    /// Whether one has lasted.
    has_lasted: bool,
}

impl Connections {
    fn began(&mut self) {
        self.since = Some(threads::now());
    }

    /// Notes the end of a connection, or of a try to make one. Returns whether another client seems to have the session.
    fn ended(&mut self) -> bool {
        let Some(since) = self.since.take() else { return false };
        if threads::since(since) < BRIEF {
            self.brief += 1;
        } else {
            (self.brief, self.has_lasted) = (0, true);
        }
        self.brief >= if self.has_lasted { TAKEN_OVER } else { NEVER_HAD }
    }
}

/// A time without a connection: how often and how long to try again.
struct Outage {
    patience: Duration,
    since: Option<Instant>,
    waits: backon::ExponentialBackoff,
}

impl Outage {
    fn new(patience: Duration) -> Self {
        let waits = ExponentialBuilder::default().with_min_delay(Duration::from_millis(100));
        let waits = waits.with_max_delay(Duration::from_secs(5)).with_jitter().without_max_times().build();
        Self { patience, since: None, waits }
    }

    fn is_first(&self) -> bool {
        self.since.is_none()
    }

    /// Returns how long to wait before the next try; `None` when the patience is exhausted.
    fn wait(&mut self) -> Option<Duration> {
        let since = *self.since.get_or_insert_with(threads::now);
        let left = self.patience.checked_sub(threads::since(since))?;
        Some(self.waits.next().unwrap_or_default().min(left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_clients_with_one_session_the_newcomer_keeps_it() {
        let ended = |connections: &mut Connections, lasted: Duration| {
            connections.since = threads::now().checked_sub(lasted);
            connections.ended()
        };
        let (mut first, mut newcomer) = (Connections::default(), Connections::default());
        assert!(!ended(&mut first, BRIEF * 2), "it is thrown out");
        assert!(!ended(&mut newcomer, Duration::ZERO) && !ended(&mut first, Duration::ZERO));
        assert!(!ended(&mut newcomer, Duration::ZERO) && ended(&mut first, Duration::ZERO));
        assert!(!first.ended(), "a try that comes to nothing is no connection");
    }

    #[test]
    fn tries_become_rarer_and_end_with_the_patience() {
        let mut outage = Outage::new(Duration::from_secs(3600));
        let waits: Vec<Duration> = (0..20).map(|_| outage.wait().unwrap()).collect();
        assert!(waits[0] < Duration::from_millis(250) && waits[19] >= Duration::from_secs(5), "{waits:?}");
        assert!(waits.iter().all(|wait| *wait <= Duration::from_secs(10)), "{waits:?}");
        let mut over = Outage { since: threads::now().checked_sub(Duration::from_secs(9)), ..Outage::new(CONNECT) };
        assert!(!over.is_first() && over.wait().is_none());
    }
}
