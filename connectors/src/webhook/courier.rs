//! The delivery of one worker's requests, one after the other, each until it is answered for good.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tidemill_engine::locks::lock;
use tidemill_engine::metrics::{Counter, Distribution, OperatorMetrics};
use tidemill_engine::sink::{Failing, SinkContext};
use tidemill_engine::{ConnectorError, Epoch, ErrorKind, crash, threads};

use super::answer::{Answer, Meaning};
use super::client::{Client, Post};
use super::dead_letters::{DeadLetters, Letter};
use super::key::key;
use super::requests;
use super::settings::Settings;
use crate::outbox::{damaged, within};
use crate::retry::{Failure, retried};

/// The time by which a request may be late to notice that its own time is over.
const SLACK: Duration = Duration::from_secs(5);
/// The least time for an answer, however little is left of the patience: otherwise the last error says that the time was short,
/// and not what is wrong.
const LEAST: Duration = Duration::from_secs(1);

/// The identity of the requests in a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TokenHead {
    /// What the keys of the start that staged them have in common.
    pub(super) start: String,
    pub(super) worker: usize,
    pub(super) content_type: String,
}

struct Meters {
    delivered: Counter,
    retried: Counter,
    refused: Counter,
    request: Distribution,
    operator: Arc<OperatorMetrics>,
}

/// The courier of one worker.
pub(super) struct Courier {
    settings: Settings,
    sink: String,
    worker: usize,
    /// The target, for messages.
    target: String,
    client: Mutex<Arc<Client>>,
    dead_letters: Option<DeadLetters>,
    /// Number of requests that were refused since the last one that was delivered.
    refused_in_a_row: AtomicUsize,
    meters: Meters,
    clock: tidemill_engine::Clock,
    failing: Failing,
}

impl Courier {
    pub(super) fn new(settings: &Settings, context: &SinkContext) -> Result<Self, ConnectorError> {
        let folder = settings.dead_letters.as_ref();
        let dead_letters = folder.map(|folder| DeadLetters::open(folder, &context.name, context.worker)).transpose()?;
        let metrics = &context.metrics;
        Ok(Self {
            sink: context.name.clone(),
            worker: context.worker,
            target: settings.address.as_ref().map(ToString::to_string).unwrap_or_default(),
            client: Mutex::new(Arc::new(Client::new(settings)?)),
            settings: settings.clone(),
            dead_letters,
            refused_in_a_row: AtomicUsize::new(0),
            meters: Meters {
                delivered: metrics.counter("requests_delivered"),
                retried: metrics.counter("requests_retried"),
                refused: metrics.counter("requests_refused"),
                request: metrics.distribution("request_us"),
                operator: Arc::clone(metrics),
            },
            clock: context.clock.clone(),
            failing: context.failing.clone(),
        })
    }

    /// Delivers the requests of an epoch, in their order.
    pub(super) fn deliver(&self, head: &TokenHead, epoch: Epoch, bytes: &Arc<Vec<u8>>) -> Result<(), ConnectorError> {
        let requests = requests::all(bytes).ok_or_else(|| damaged(epoch, "is cut off"))?;
        let content_type: Arc<str> = head.content_type.as_str().into();
        for (number, request) in requests.into_iter().enumerate() {
            let key = key(&head.start, epoch, head.worker, number);
            let (content_type, bytes) = (Arc::clone(&content_type), Arc::clone(bytes));
            self.send(&Arc::new(Post { key, content_type, request, bytes }), epoch)?;
        }
        Ok(())
    }

    /// Sends a request until it is delivered or refused, or patience ends.
    fn send(&self, post: &Arc<Post>, epoch: Epoch) -> Result<(), ConnectorError> {
        let what = format!("send the request {} to {}", post.key, self.target);
        let mut tries = 0_u32;
        let answer = retried(self.settings.patience, &what, &self.failing, |left| {
            if tries > 0 {
                self.meters.retried.add(1);
            }
            tries += 1;
            crash::point("before-request", epoch, self.worker);
            let mut answer = self.attempt(post, left, &what)?;
            if answer.meaning() == Meaning::Unauthorized && self.settings.has_secrets() {
                // A token that has expired may have been replaced meanwhile.
                *lock(&self.client) = Arc::new(Client::new(&self.settings).map_err(Failure::Retry)?);
                self.meters.retried.add(1);
                answer = self.attempt(post, left, &what)?;
            }
            crash::point("after-answer", epoch, self.worker);
            match answer.meaning() {
                Meaning::Delivered | Meaning::Refused | Meaning::Unauthorized => Ok(answer),
                Meaning::Later => Err(self.later(&answer)),
                Meaning::Elsewhere => Err(Failure::Fatal(self.elsewhere(post, &answer))),
            }
        })?;
        if answer.meaning() == Meaning::Delivered {
            self.meters.delivered.add(1);
            self.refused_in_a_row.store(0, Ordering::Relaxed);
            return Ok(());
        }
        self.refused(post, epoch, &answer)
    }

    fn attempt(&self, post: &Arc<Post>, left: Duration, what: &str) -> Result<Answer, Failure> {
        let limit = self.settings.deadline.min(left.max(LEAST));
        let (client, sent, seconds) =
            (Arc::clone(&lock(&self.client)), Arc::clone(post), self.clock.now().0 / 1_000_000);
        let began = threads::now();
        let call = move || client.post(&sent, limit, seconds);
        let answer = within(limit.saturating_add(SLACK), what, &self.failing, call).map_err(Failure::Retry)?;
        let answer = answer.map_err(|reason| {
            Failure::Retry(ConnectorError::new(ErrorKind::Unavailable, format!("{}: {reason}", self.target)))
        })?;
        self.meters.request.record(u64::try_from(threads::since(began).as_micros()).unwrap_or(u64::MAX));
        Ok(answer)
    }

    fn later(&self, answer: &Answer) -> Failure {
        let error = ConnectorError::new(ErrorKind::Unavailable, format!("{} answered {answer}", self.target));
        match answer.retry_after(UNIX_EPOCH + Duration::from_micros(self.clock.now().0)) {
            Some(after) => Failure::Later(error, after),
            None => Failure::Retry(error),
        }
    }

    fn elsewhere(&self, post: &Post, answer: &Answer) -> ConnectorError {
        let to = answer.leads_to().map(|to| format!(" to {to}")).unwrap_or_default();
        let message = format!(
            "{} answered the request {} with {}{to}, and redirects are not followed: records would go elsewhere, or be lost on the way; set the URL to the one that takes them, and start again, which sends them under the same keys",
            self.target,
            post.key,
            answer.status.as_u16()
        );
        ConnectorError::new(ErrorKind::Invalid, message)
    }

    /// Keeps a refused request as a dead letter, or stops the job.
    fn refused(&self, post: &Post, epoch: Epoch, answer: &Answer) -> Result<(), ConnectorError> {
        self.meters.refused.add(1);
        let in_a_row = self.refused_in_a_row.fetch_add(1, Ordering::Relaxed) + 1;
        let most = self.settings.max_refused.get();
        let advice = match &self.dead_letters {
            None => "set dead_letters to keep such requests in a file and go on".to_owned(),
            Some(_) if in_a_row > most => {
                format!(
                    "it has refused {in_a_row} requests in a row, more than max_refused, so the fault may be in the URL or in what authorizes"
                )
            }
            Some(file) => {
                let reason = format!("the target refused the request: {answer}");
                let body = String::from_utf8_lossy(post.body());
                let letter = Letter {
                    sink: &self.sink,
                    worker: self.worker,
                    epoch: epoch.0,
                    key: &post.key,
                    records: post.request.records,
                    status: answer.status.as_u16(),
                    reason: reason.clone(),
                    content_type: &post.content_type,
                    body: &body,
                };
                file.append(&letter)?;
                crash::point("after-dead-letter", epoch, self.worker);
                tracing::warn!(key = post.key, records = post.request.records, "{}: {reason}", self.target);
                (0..post.request.records).for_each(|_| self.meters.operator.count_dead_letter(&reason));
                return Ok(());
            }
        };
        let message = format!(
            "{} refused the request {} of epoch {epoch} with {answer}: {advice}; nothing is lost: mend what is wrong and start again, which sends it under the same key",
            self.target, post.key
        );
        Err(ConnectorError::new(ErrorKind::Invalid, message))
    }
}
