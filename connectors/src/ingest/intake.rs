//! The requests between the server and the reader: decoded, queued, handed out, committed. There is no I/O here.
//!
//! ```text
//! accept ─▶ known key? ─▶ decoded ─▶ queue ── take ─▶ handed out ── commit ─▶ its callers have their answer
//!               └── the same request again: waits for the commit of the first one
//! ```
//! Requests are numbered as they are accepted; those before `handed_out` are in a position, those before `committed` are
//! committed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::{HeaderMap, StatusCode};
use tidemill_engine::source::Waker;
use tidemill_engine::{Clock, Data};
use tokio::sync::oneshot;

use super::answer::Refusal;
use super::body::{self, Encoding};
use super::budget::Reserved;
use super::keys::{Found, Key, Known, Window};
use super::metrics::Counts;
use super::records::{Decode, Form, HttpRecord, split};

/// What a request costs in memory beside its body, roughly.
const OVERHEAD: usize = 512;

/// A request whose body was received.
pub(super) struct Received {
    /// Where it came from, for the origin of dead letters.
    pub(super) from: String,
    /// What the caller calls it.
    pub(super) key: Option<String>,
    pub(super) form: Form,
    pub(super) encoding: Encoding,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    pub(super) reserved: Reserved,
}

/// A request that was accepted.
pub(super) struct Accepted {
    pub(super) records: usize,
    /// Whether its key was known already.
    pub(super) repeated: bool,
    /// Says when it is committed; `None` if it is. It fails if the job ends before.
    pub(super) committed: Option<oneshot::Receiver<()>>,
}

/// What the server knows of an [`Intake`].
pub(super) trait Accept: Send + Sync {
    /// Unpacks, decodes and queues a request. It takes a while if the request is large.
    fn accept(&self, request: Received) -> Result<Accepted, Refusal>;

    /// Ends: whoever waits has no answer, and nothing more is accepted.
    fn end(&self);
}

/// A record, or the reason why it is none.
pub(super) type Item<T> = Result<T, Malformed>;

/// A part of a request that could not be decoded.
pub(super) struct Malformed {
    pub(super) reason: String,
    pub(super) number: usize,
    pub(super) payload: Vec<u8>,
}

/// A request that waits to be handed out.
pub(super) struct Queued<T> {
    pub(super) from: String,
    pub(super) items: Vec<Item<T>>,
    _reserved: Reserved,
}

/// How requests are judged.
pub(super) struct Limits {
    pub(super) bytes: usize,
    pub(super) records: usize,
    /// Whether a malformed record is a dead letter; otherwise its request is refused.
    pub(super) takes_malformed: bool,
}

pub(super) struct Intake<T> {
    decode: Decode<T>,
    limits: Limits,
    clock: Clock,
    reader: Waker,
    counts: Counts,
    shared: Mutex<Shared<T>>,
}

struct Shared<T> {
    window: Window,
    queue: VecDeque<Queued<T>>,
    /// Who waits for the commit of which request.
    waiting: BTreeMap<u64, Vec<oneshot::Sender<()>>>,
    next: u64,
    handed_out: u64,
    committed: u64,
    has_ended: bool,
}

impl<T> Shared<T> {
    /// Waits for the commit of a request that was accepted.
    fn wait(&mut self, number: u64, records: usize, repeated: bool) -> Accepted {
        let committed = (number >= self.committed).then(|| {
            let (sender, receiver) = oneshot::channel();
            self.waiting.entry(number).or_default().push(sender);
            receiver
        });
        Accepted { records, repeated, committed }
    }

    /// Returns what is known of a key: the request that had it, or nothing.
    fn known(&mut self, key: Option<Key>) -> Result<Option<Accepted>, Refusal> {
        if self.has_ended {
            return Err(Refusal::unanswered("the job ends: send the request again when it runs"));
        }
        match key.map_or(Found::Nothing, |key| self.window.find(key)) {
            Found::Nothing => Ok(None),
            Found::Same(number, records) => Ok(Some(self.wait(number, records as usize, true))),
            Found::OtherBody => {
                let detail = "another body came under this Idempotency-Key: each request needs a key of its own, and the same \
                              bytes each time that it is repeated";
                Err(Refusal::caller(StatusCode::UNPROCESSABLE_ENTITY, detail))
            }
        }
    }
}

impl<T: Data> Intake<T> {
    /// Makes an intake that knows the keys of `window`, which are committed.
    pub(super) fn new(
        decode: Decode<T>,
        limits: Limits,
        mut window: Window,
        restored: Vec<Known>,
        clock: Clock,
        reader: Waker,
        counts: Counts,
    ) -> Arc<Self> {
        let next = restored.len() as u64;
        for (number, known) in (0..).zip(restored) {
            window.insert(number, known);
        }
        let shared = Shared {
            window,
            queue: VecDeque::new(),
            waiting: BTreeMap::new(),
            next,
            handed_out: next,
            committed: next,
            has_ended: false,
        };
        Arc::new(Self { decode, limits, clock, reader, counts, shared: Mutex::new(shared) })
    }

    fn lock(&self) -> MutexGuard<'_, Shared<T>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decodes the records of a body.
    fn decoded(&self, form: Form, body: &[u8], headers: &HeaderMap) -> Result<Vec<Item<T>>, Refusal> {
        let bad = |detail: String| Refusal::caller(StatusCode::BAD_REQUEST, detail);
        let parts = split(form, body, self.limits.records).map_err(bad)?;
        if parts.len() > self.limits.records {
            let detail =
                format!("the body has more than {} records: send them in several requests", self.limits.records);
            return Err(Refusal::caller(StatusCode::PAYLOAD_TOO_LARGE, detail));
        }
        let mut items = Vec::with_capacity(parts.len());
        for part in parts {
            match (self.decode)(HttpRecord::new(part.payload, headers)) {
                Ok(record) => items.push(Ok(record)),
                Err(reason) if self.limits.takes_malformed => {
                    items.push(Err(Malformed { reason, number: part.number, payload: part.payload.to_vec() }));
                }
                Err(reason) => return Err(bad(not_decoded(form, part.number, &reason))),
            }
        }
        Ok(items)
    }

    // What the reader calls.

    /// Takes the next request, which counts as handed out.
    pub(super) fn take(&self) -> Option<Queued<T>> {
        let mut shared = self.lock();
        let queued = shared.queue.pop_front()?;
        shared.handed_out += 1;
        Some(queued)
    }

    /// Calls a function on the number behind the last request that was handed out, and the keys of those.
    pub(super) fn with_handed_out<R>(&self, act: impl FnOnce(u64, &mut dyn Iterator<Item = &Known>) -> R) -> R {
        let shared = self.lock();
        act(shared.handed_out, &mut shared.window.before(shared.handed_out))
    }

    /// Notes that the requests before number `end` are committed, and answers them.
    pub(super) fn commit(&self, end: u64) {
        let now = self.seconds();
        let mut shared = self.lock();
        shared.committed = shared.committed.max(end);
        let later = shared.waiting.split_off(&end);
        let due = std::mem::replace(&mut shared.waiting, later);
        let committed = shared.committed;
        shared.window.forget(committed, now);
        drop(shared);
        // A caller that has gone needs no answer.
        due.into_values().flatten().for_each(|sender| _ = sender.send(()));
    }

    /// Returns how many callers wait, and how many keys are remembered.
    pub(super) fn sizes(&self) -> (usize, usize) {
        let shared = self.lock();
        (shared.waiting.values().map(Vec::len).sum(), shared.window.len())
    }

    fn seconds(&self) -> u32 {
        u32::try_from(self.clock.now().0 / 1_000_000).unwrap_or(u32::MAX)
    }
}

impl<T: Data> Accept for Intake<T> {
    fn accept(&self, request: Received) -> Result<Accepted, Refusal> {
        let Received { from, key, form, encoding, headers, body, mut reserved } = request;
        let body = body::unpack(body, encoding, self.limits.bytes, &mut reserved)?;
        if !reserved.grow(OVERHEAD) {
            return Err(Refusal::full("too many requests wait to be read: send it again a little later"));
        }
        let key = key.map(|name| Key::of(&name, form, &body));
        // Asked for here so that a request that is known is not decoded again, and once more below, since it may come twice at once.
        if let Some(known) = self.lock().known(key)? {
            return Ok(known);
        }
        let items = self.decoded(form, &body, &headers)?;
        let (records, bytes) = (items.len(), body.len());
        drop(body);
        let seconds = self.seconds();
        let mut shared = self.lock();
        if let Some(known) = shared.known(key)? {
            return Ok(known);
        }
        let number = shared.next;
        shared.next += 1;
        if let Some(key) = key {
            shared.window.insert(number, Known { key, records: u32::try_from(records).unwrap_or(u32::MAX), seconds });
        }
        shared.queue.push_back(Queued { from, items, _reserved: reserved });
        let accepted = shared.wait(number, records, false);
        let was_empty = shared.queue.len() == 1;
        drop(shared);
        self.counts.bytes.add(bytes as u64);
        if was_empty {
            self.reader.wake();
        }
        Ok(accepted)
    }

    fn end(&self) {
        let mut shared = self.lock();
        shared.has_ended = true;
        // Whoever waits sees that the sender is gone.
        shared.waiting.clear();
        shared.queue.clear();
    }
}

fn not_decoded(form: Form, number: usize, reason: &str) -> String {
    let (what, hint) = match form {
        Form::Lines => ("line", ""),
        Form::Json if reason.contains("trailing characters") => {
            ("record", "; several records are an array, or lines of the type application/x-ndjson")
        }
        Form::Json => ("record", ""),
    };
    format!("{what} {number} cannot be decoded, so nothing of the request was taken: {reason}{hint}")
}

#[cfg(test)]
mod tests;
