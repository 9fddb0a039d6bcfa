//! A transactional producer and the ways in which it can fail.
//!
//! ```text
//! begin ─▶ produce … ─▶ flush, marker ──(manifest)──▶ commit ─▶ Published::Yes
//!                                                       ├─ aborted: No ─────┐
//!                                                       └─ no answer: Unknown ┴─▶ reopen, read the marker:
//!                                                            at the epoch: done; below it: publish from memory
//! ```
//! SUBTLE: who may reopen. `init_transactions` fences every other producer of the same id, so a zombie that
//! reopened would fence its successor. A producer is fenced by a successor, or because the broker gave up a
//! transaction that was open for too long. Only when this one's transaction was, and the marker still names this
//! incarnation, it is the latter; a successor writes its incarnation into the marker before anything else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, Producer};
use tidemill_engine::sink::LeaderIncarnation;
use tidemill_engine::threads;
use tidemill_engine::{ConnectorError, Epoch, ErrorKind, crash};

use super::client::{ClientLog, Connection, failed};
use super::deliveries::{Deliveries, PRODUCER_DEFAULTS, Undelivered, send, settle};
use super::identity;
use super::marker::Marker;
use super::outgoing::messages;
use crate::outbox::Marked;

/// Time limit of one call to the brokers, after which the call is repeated.
const CALL: Duration = Duration::from_secs(10);
/// Pause between two tries.
const RETRY: Duration = Duration::from_millis(200);

/// Number of transactions per worker: the output of an epoch is sent while that of the previous one is being committed.
pub(super) const TURNS: usize = 2;

/// Whether the output of an epoch is visible.
#[derive(Debug)]
pub(super) enum Published {
    Yes,
    /// The transaction was aborted.
    No(KafkaError),
    /// There was no answer, or one that does not show the outcome. The marker shows it.
    Unknown(KafkaError),
}

/// The identity of a worker's output, and the time limits of its calls.
#[derive(Clone)]
pub(super) struct Identity {
    pub(super) connection: Connection,
    pub(super) topic: String,
    pub(super) prefix: String,
    pub(super) worker: usize,
    /// The number of the worker's transaction: one is filled while the other waits for its commit.
    pub(super) turn: usize,
    pub(super) incarnation: u64,
    /// The incarnation of the process that took over all ids, once the job has begun.
    pub(super) leader: LeaderIncarnation,
    pub(super) transaction_timeout: Duration,
    /// The time for which brokers may be unreachable before the job stops.
    pub(super) patience: Duration,
    pub(super) log: ClientLog,
    /// Whether the job is ending. Then failed calls are not repeated.
    pub(super) ending: Arc<AtomicBool>,
}

impl Identity {
    fn may_wait(&self, until: Instant) -> bool {
        threads::now() < until && !self.ending.load(Ordering::Relaxed)
    }

    /// Returns whether the job has taken over all ids. A producer that joins earlier would be fenced by that.
    pub(super) fn has_begun(&self) -> bool {
        self.leader.get().is_some()
    }

    /// Returns the group of the marker. Both transactions share it, because they are committed one after the other.
    pub(super) fn group(&self) -> String {
        format!("{}.w{}", self.prefix, self.worker)
    }

    /// Returns the transactional id.
    pub(super) fn id(&self) -> String {
        format!("{}.w{}.{}", self.prefix, self.worker, self.turn)
    }

    /// Returns the identities of all transactions of the worker.
    pub(super) fn turns(&self) -> [Self; TURNS] {
        std::array::from_fn(|turn| Self { turn, ..self.clone() })
    }

    pub(super) fn marker(&self) -> Result<Marker, ConnectorError> {
        let incarnation = self.leader.get().unwrap_or(self.incarnation);
        Marker::open(&self.connection, &self.topic, &self.group(), incarnation, self.log.clone())
    }

    fn producer(&self) -> Result<BaseProducer<Deliveries>, ConnectorError> {
        let timeout = self.transaction_timeout.as_millis().to_string();
        let id = self.id();
        let fixed = [
            ("transactional.id", id.as_str()),
            ("transaction.timeout.ms", timeout.as_str()),
            ("enable.idempotence", "true"),
            ("acks", "all"),
        ];
        let mut config = self.connection.config(&PRODUCER_DEFAULTS, &fixed)?;
        identity::listen(&mut config);
        config.create_with_context(Deliveries::new(self.log.clone())).map_err(|e| failed("make a Kafka producer", e))
    }
}

/// An initialised transactional producer, which has fenced earlier ones with the same id.
pub(super) struct Session {
    identity: Identity,
    producer: BaseProducer<Deliveries>,
    marker: Marker,
    undelivered: Undelivered,
    /// The time at which the open transaction began.
    open_since: Option<Instant>,
}

impl Session {
    /// Takes over the id. Waits for unreachable brokers, and for transactions that are being completed.
    pub(super) fn open(identity: &Identity) -> Result<Self, ConnectorError> {
        let (producer, marker) = (identity.producer()?, identity.marker()?);
        let what = format!("begin to write as transactional id \"{}\"", identity.id());
        patiently(identity, &what, || producer.init_transactions(CALL)).map_err(|e| timeout_refused(identity, e))?;
        Ok(Self { identity: identity.clone(), producer, marker, undelivered: Undelivered::default(), open_since: None })
    }

    /// Takes over the id for the worker that writes, after this start of the job has taken over all ids. A newer start
    /// may have done so since, and must not be fenced: the first check shows that, and the second one shows it to a
    /// process that was paused between the two.
    pub(super) fn join(identity: &Identity) -> Result<Self, ConnectorError> {
        check_ours(identity, &identity.marker()?)?;
        let session = Self::open(identity)?;
        check_ours(identity, &session.marker)?;
        Ok(session)
    }

    /// Reads the marker, once no commit is under way.
    pub(super) fn read_marker(&self) -> Result<Option<Marked>, ConnectorError> {
        read_marker(&self.identity, &self.marker)
    }

    /// Produces a chunk in the open transaction, and begins one if there is none.
    pub(super) fn produce(&mut self, chunk: &[u8]) -> Result<(), KafkaError> {
        self.begin()?;
        for message in messages(chunk).flatten() {
            let mut record = message.record(&self.identity.topic, &self.undelivered);
            let mut tries = 0;
            while let Some(same) = send(&self.producer, record)? {
                if let Some(error) = self.producer.context().error() {
                    return Err(error);
                }
                if tries > 3000 {
                    return Err(KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull));
                }
                self.producer.poll(Duration::from_millis(10));
                (record, tries) = (same, tries + 1);
            }
        }
        self.poll();
        Ok(())
    }

    fn begin(&mut self) -> Result<(), KafkaError> {
        if self.open_since.is_none() {
            self.producer.begin_transaction()?;
            self.open_since = Some(threads::now());
        }
        Ok(())
    }

    /// Lets librdkafka report the delivery of messages.
    pub(super) fn poll(&self) {
        self.producer.poll(Duration::ZERO);
    }

    /// Waits until all messages are delivered, and adds the marker of `epoch` to the transaction. Then only the commit
    /// is left.
    pub(super) fn prepare(&mut self, epoch: Epoch) -> Result<(), KafkaError> {
        self.begin()?;
        let give_up = threads::now() + self.identity.transaction_timeout;
        settle(&self.producer, &self.undelivered, give_up)?;
        crash::point("before-marker", epoch, self.identity.worker);
        let (offsets, group) = self.marker.offsets(epoch).map_err(|_| KafkaError::Canceled)?;
        loop {
            match self.producer.send_offsets_to_transaction(&offsets, &group, CALL) {
                Err(error) if is_retriable(&error) && self.identity.may_wait(give_up) => threads::pause(RETRY),
                result => {
                    crash::point("after-marker", epoch, self.identity.worker);
                    return result;
                }
            }
        }
    }

    /// Commits the prepared transaction.
    pub(super) fn commit(&mut self, epoch: Epoch) -> Published {
        crash::point("before-commit", epoch, self.identity.worker);
        let give_up = threads::now() + self.identity.patience;
        loop {
            match self.producer.commit_transaction(CALL) {
                Ok(()) => {
                    self.open_since = None;
                    crash::point("after-commit", epoch, self.identity.worker);
                    return Published::Yes;
                }
                // librdkafka continues the same commit, which is not sent twice.
                Err(error) if is_retriable(&error) && self.identity.may_wait(give_up) => {
                    tracing::warn!(%epoch, %error, "the commit of a Kafka transaction failed and is tried again");
                    threads::pause(RETRY);
                }
                Err(KafkaError::Transaction(error)) if error.txn_requires_abort() => {
                    return Published::No(KafkaError::Transaction(error));
                }
                Err(error) => return Published::Unknown(error),
            }
        }
    }

    /// Publishes `chunks` with the marker of `epoch`, in one transaction.
    pub(super) fn publish<'a>(&mut self, epoch: Epoch, mut chunks: impl Iterator<Item = &'a [u8]>) -> Published {
        let prepared = chunks.try_for_each(|chunk| self.produce(chunk)).and_then(|()| self.prepare(epoch));
        match prepared {
            Ok(()) => self.commit(epoch),
            // Nothing was or will be committed: the transaction is aborted when the producer is dropped.
            Err(error) => Published::No(error),
        }
    }

    /// Aborts the open transaction, so that readers need not wait until the broker does.
    fn abandon(&mut self) {
        if self.open_since.take().is_some()
            && let Err(error) = self.producer.abort_transaction(Duration::from_secs(2))
        {
            tracing::debug!(%error, "the open transaction was not aborted: the broker does so after its time-out");
        }
    }

    /// Takes over the id again, with a new producer.
    pub(super) fn retake(self) -> Result<Self, ConnectorError> {
        let identity = self.identity.clone();
        // Two producers with the same id in one process would fence each other.
        drop(self);
        Self::open(&identity)
    }

    /// Takes over the id again after `error`, unless a newer start of the job has done so.
    pub(super) fn reopen(mut self, error: &KafkaError) -> Result<Self, ConnectorError> {
        let expired = self.open_since.is_some_and(|since| threads::since(since) >= self.identity.transaction_timeout);
        if is_fenced(error) && !expired {
            return Err(fenced(&self.identity, Some(error)));
        }
        check_ours(&self.identity, &self.marker)?;
        tracing::warn!(%error, id = self.identity.id(), expired, "a Kafka transaction is begun again");
        if is_fenced(error) {
            // The transaction is over already, so it need not be aborted.
            self.open_since = None;
        }
        let identity = self.identity.clone();
        drop(self);
        Self::join(&identity)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.abandon();
    }
}

/// Reads the marker. Waits for unreachable brokers, and for a commit that is under way.
pub(super) fn read_marker(identity: &Identity, marker: &Marker) -> Result<Option<Marked>, ConnectorError> {
    patiently(identity, &format!("read the marker of group \"{}\"", marker.group()), || marker.read())
}

/// Repeats the call until it succeeds, fails with an error that will not pass, or has taken [`Identity::patience`].
pub(super) fn patiently<T>(
    identity: &Identity,
    what: &str,
    mut call: impl FnMut() -> Result<T, KafkaError>,
) -> Result<T, ConnectorError> {
    let give_up = threads::now() + identity.patience;
    let mut warned = false;
    loop {
        match call() {
            Ok(value) => return Ok(value),
            Err(error) if is_retriable(&error) && identity.may_wait(give_up) => {
                if !std::mem::replace(&mut warned, true) {
                    tracing::warn!(what, %error, "waiting for Kafka");
                }
                threads::pause(RETRY);
            }
            Err(error) => return Err(failed(what, error)),
        }
    }
}

fn is_retriable(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    if let KafkaError::Transaction(error) = error {
        return error.is_retriable();
    }
    let code = error.rdkafka_error_code();
    code.is_some_and(|code| {
        matches!(
            code,
            Code::OperationTimedOut
                | Code::RequestTimedOut
                | Code::BrokerTransportFailure
                | Code::AllBrokersDown
                | Code::Resolve
                | Code::TimedOutQueue
                | Code::WaitingForCoordinator
                | Code::CoordinatorNotAvailable
                | Code::CoordinatorLoadInProgress
                | Code::NotCoordinator
                | Code::NotLeaderForPartition
                | Code::LeaderNotAvailable
                | Code::UnstableOffsetCommit
                | Code::NetworkException
        )
    })
}

pub(super) fn is_fenced(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    error
        .rdkafka_error_code()
        .is_some_and(|code| matches!(code, Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch))
}

/// Returns whether the marker still names this start of the job. If there is none, no other start has taken over: one
/// that does writes a marker first.
fn check_ours(identity: &Identity, marker: &Marker) -> Result<(), ConnectorError> {
    match read_marker(identity, marker)? {
        Some(marked) if !marker.is_of_this_incarnation(&marked) => Err(fenced(identity, None)),
        _ => Ok(()),
    }
}

fn fenced(identity: &Identity, error: Option<&KafkaError>) -> ConnectorError {
    let message = format!(
        "another start of the job has taken over transactional id \"{}\": this one stops; its output since the last checkpoint is not published here",
        identity.id()
    );
    match error {
        Some(error) => ConnectorError::caused(ErrorKind::Fenced, message, error.clone()),
        None => ConnectorError::new(ErrorKind::Fenced, message),
    }
}

fn timeout_refused(identity: &Identity, error: ConnectorError) -> ConnectorError {
    let cause = std::error::Error::source(&error).and_then(|cause| cause.downcast_ref::<KafkaError>());
    let refused = cause.and_then(KafkaError::rdkafka_error_code) == Some(RDKafkaErrorCode::InvalidTransactionTimeout);
    if !refused {
        return error;
    }
    let asked = identity.transaction_timeout.as_millis();
    ConnectorError::caused(
        ErrorKind::Invalid,
        format!(
            "the transaction time-out of {asked} ms is above the broker's transaction.max.timeout.ms: lower it, or raise the broker's"
        ),
        error,
    )
}
