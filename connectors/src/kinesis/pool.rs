//! The threads that fetch the records of a worker's shards, and list the shards of the stream.
//!
//! ```text
//! due first ─▶ a thread ─ GetRecords ─▶ queue of the shard ── drain ─▶ reader
//!    ▲                       │
//!    └── after the interval ◀┴─ failed: after a pause, for `patience`      queue full: when the reader has taken from it
//! ```
//! A shard is with one thread at a time, and nothing is locked while a request is under way.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tidemill_engine::metrics::{Counter, OperatorMetrics};
use tidemill_engine::source::Waker;
use tidemill_engine::{ConnectorError, ErrorKind, Remedy, threads};

use super::api::{Api, Shard, StreamIdentity, Summary, Trouble};
use super::cursor::{Cursor, oldest};
use super::message::Received;
use super::position::{self, Origin, time};
use super::settings::{LostRecords, SourceSettings};

/// Number of threads of a worker: requests take longer than anything else.
const THREADS: usize = 4;
/// The first pause after a request that failed, and the longest one without the random part.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// What the threads and the reader share. Dropping it ends the threads; a request that is under way ends by itself.
pub(super) struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    api: Api,
    settings: SourceSettings,
    origin: Origin,
    identity: StreamIdentity,
    state: Mutex<State>,
    /// There may be something to do, or the end has come.
    work: Condvar,
    reader: Waker,
    metrics: Metrics,
}

struct Metrics {
    failed_reads: Counter,
    throttled_reads: Counter,
    expired_iterators: Counter,
    unread_expired: Counter,
}

struct State {
    lanes: BTreeMap<String, Lane>,
    retention: Duration,
    listing: Listing,
    failure: Option<ConnectorError>,
    ending: bool,
}

/// When the shards are listed, and the last list.
struct Listing {
    /// How often a list was asked for.
    asked: u64,
    due: Instant,
    under_way: bool,
    attempts: Attempts,
    /// What the reader has not taken, with the number of the request that it answers.
    list: Option<(u64, Vec<Shard>)>,
}

/// A shard that is fetched.
struct Lane {
    /// None while a thread has it.
    fetch: Option<Fetch>,
    queue: VecDeque<Received>,
    bytes: usize,
    fetched: Cursor,
    behind: Duration,
    /// Whether the last answer had no records, and said that there are none.
    nothing_waits: bool,
    ended: bool,
}

/// What a thread needs to fetch a shard.
struct Fetch {
    due: Instant,
    cursor: Cursor,
    iterator: Option<String>,
    attempts: Attempts,
}

/// The attempts since the last one that succeeded.
#[derive(Default)]
struct Attempts {
    since: Option<Instant>,
    pauses: Option<ExponentialBackoff>,
}

impl Attempts {
    /// Notes an attempt that failed. Returns the pause before the next one; `None` if there was no success for `patience`.
    fn failed(&mut self, patience: Duration) -> Option<Duration> {
        let since = *self.since.get_or_insert_with(threads::now);
        let (first, longest) = PAUSES;
        let pauses = self.pauses.get_or_insert_with(|| {
            let pauses = ExponentialBuilder::new().with_min_delay(first).with_max_delay(longest);
            pauses.with_jitter().without_max_times().build()
        });
        let pause = pauses.next().unwrap_or(longest);
        (threads::since(since) < patience).then_some(pause)
    }
}

/// What the reader takes of a shard.
pub(super) struct Drained {
    /// How far the shard was fetched, if nothing is left in the queue.
    pub(super) all_until: Option<i64>,
    /// Nothing waits to be read, as far as the service has said.
    pub(super) nothing_waits: bool,
    /// The last answer had no next one, and everything was taken.
    pub(super) ended: bool,
    pub(super) behind: Duration,
    /// Records that were fetched and not taken.
    pub(super) left: usize,
}

enum Task {
    List(u64, Attempts),
    Fetch(String, Fetch),
}

impl Pool {
    /// Starts the threads. Nothing is fetched until a shard [begins](Self::begin); shards are listed at once.
    pub(super) fn start(
        api: Api,
        settings: SourceSettings,
        origin: Origin,
        summary: Summary,
        reader: Waker,
        metrics: &OperatorMetrics,
    ) -> Result<Self, ConnectorError> {
        let Summary { identity, retention } = summary;
        let metrics = Metrics {
            failed_reads: metrics.counter("failed_reads"),
            throttled_reads: metrics.counter("throttled_reads"),
            expired_iterators: metrics.counter("expired_iterators"),
            unread_expired: metrics.counter("unread_expired"),
        };
        let due = threads::now();
        let listing = Listing { asked: 1, due, under_way: false, attempts: Attempts::default(), list: None };
        let state = State { lanes: BTreeMap::new(), retention, listing, failure: None, ending: false };
        let (state, work) = (Mutex::new(state), Condvar::new());
        let shared = Arc::new(Shared { api, settings, origin, identity, state, work, reader, metrics });
        let pool = Self { shared };
        for _ in 0..THREADS {
            let shared = Arc::clone(&pool.shared);
            let run = move || {
                if catch_unwind(AssertUnwindSafe(|| shared.run())).is_err() {
                    let message = "a thread that reads from Kinesis panicked";
                    shared.fail(ConnectorError::new(ErrorKind::Internal, message));
                }
            };
            threads::spawn("kinesis".to_owned(), run).map_err(|e| {
                ConnectorError::caused(ErrorKind::Unavailable, "could not start a thread that reads from Kinesis", e)
            })?;
        }
        Ok(pool)
    }

    /// Begins to fetch a shard, or goes on at another place.
    pub(super) fn begin(&self, shard: &str, cursor: Cursor) {
        let fetch =
            Fetch { due: threads::now(), cursor: cursor.clone(), iterator: None, attempts: Attempts::default() };
        let lane = Lane {
            fetch: Some(fetch),
            queue: VecDeque::new(),
            bytes: 0,
            fetched: cursor,
            behind: Duration::ZERO,
            nothing_waits: false,
            ended: false,
        };
        self.shared.lock().lanes.insert(shard.to_owned(), lane);
        self.shared.work.notify_one();
    }

    /// Forgets a shard.
    pub(super) fn end(&self, shard: &str) {
        self.shared.lock().lanes.remove(shard);
    }

    /// Moves up to `max` records of a shard to `to`.
    pub(super) fn drain(&self, shard: &str, max: usize, to: &mut Vec<Received>) -> Option<Drained> {
        let mut state = self.shared.lock();
        let max_bytes = self.shared.max_bytes(&state);
        let lane = state.lanes.get_mut(shard)?;
        let was_full = lane.bytes >= max_bytes;
        let count = max.min(lane.queue.len());
        to.extend(lane.queue.drain(..count));
        let taken: usize = to.iter().rev().take(count).map(Received::size).sum();
        lane.bytes = lane.bytes.saturating_sub(taken);
        let is_empty = lane.queue.is_empty();
        let drained = Drained {
            all_until: lane.fetched.read_until.filter(|_| is_empty),
            nothing_waits: is_empty && lane.nothing_waits,
            ended: is_empty && lane.ended,
            behind: lane.behind,
            left: lane.queue.len(),
        };
        if was_full && lane.bytes < max_bytes {
            self.shared.work.notify_one();
        }
        Some(drained)
    }

    /// Has the shards listed now. Returns the number of the list that will be made.
    pub(super) fn request_list(&self) -> u64 {
        let mut state = self.shared.lock();
        state.listing.asked += 1;
        state.listing.due = threads::now();
        self.shared.work.notify_one();
        state.listing.asked
    }

    /// Takes a new list of all shards, with the number of the newest request before it.
    pub(super) fn take_list(&self) -> Option<(u64, Vec<Shard>)> {
        self.shared.lock().listing.list.take()
    }

    /// Returns the error that stops the job, once.
    pub(super) fn take_failure(&self) -> Option<ConnectorError> {
        self.shared.lock().failure.take()
    }

    /// Handles records that may have expired unread, which `what` describes: an error, or a count.
    pub(super) fn missed(&self, what: &str) -> Result<(), ConnectorError> {
        self.shared.missed(what)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.lock().ending = true;
        self.shared.work.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, error: ConnectorError) {
        self.lock().failure.get_or_insert(error);
        self.reader.wake();
    }

    /// Returns how many bytes of one shard may wait, so that each of them has room.
    fn max_bytes(&self, state: &State) -> usize {
        self.settings.max_queued_bytes / state.lanes.len().max(1)
    }

    fn run(&self) {
        while let Some(task) = self.next() {
            match task {
                Task::List(number, attempts) => self.list(number, attempts),
                Task::Fetch(shard, fetch) => self.fetch(&shard, fetch),
            }
        }
    }

    /// Waits until something is due; `None` at the end.
    fn next(&self) -> Option<Task> {
        let mut state = self.lock();
        loop {
            if state.ending || state.failure.is_some() {
                return None;
            }
            let now = threads::now();
            let max_bytes = self.max_bytes(&state);
            let waiting = state.lanes.iter().filter(|(_, lane)| !lane.ended && lane.bytes < max_bytes);
            let dues = waiting.filter_map(|(id, lane)| lane.fetch.as_ref().map(|fetch| (fetch.due, id)));
            let first = dues.min().map(|(due, id)| (due, id.clone()));
            let listing = &mut state.listing;
            if !listing.under_way && listing.due <= now {
                listing.under_way = true;
                return Some(Task::List(listing.asked, std::mem::take(&mut listing.attempts)));
            }
            let list_due = (!listing.under_way).then_some(listing.due);
            if let Some((due, id)) = &first
                && *due <= now
                && let Some(fetch) = state.lanes.get_mut(id).and_then(|lane| lane.fetch.take())
            {
                return Some(Task::Fetch(id.clone(), fetch));
            }
            let due = first.map(|(due, _)| due).into_iter().chain(list_due).min();
            state = match due {
                Some(due) => {
                    let wait = due.saturating_duration_since(now);
                    self.work.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.work.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    fn list(&self, number: u64, mut attempts: Attempts) {
        let listed = self.api.summary().and_then(|summary| Ok((summary, self.api.shards()?)));
        let pause = match listed {
            Ok((summary, shards)) => {
                if let Err(error) = position::check(&self.identity, &summary.identity) {
                    return self.fail(error);
                }
                let mut state = self.lock();
                state.retention = summary.retention;
                state.listing.list = Some((number, shards));
                attempts = Attempts::default();
                drop(state);
                self.reader.wake();
                self.settings.discovery
            }
            Err(trouble) => match self.failed(trouble, &mut attempts) {
                Some(pause) => pause,
                None => return,
            },
        };
        let mut state = self.lock();
        let listing = &mut state.listing;
        (listing.under_way, listing.attempts) = (false, attempts);
        // Another list may have been asked for meanwhile: then it is due already.
        let is_asked = listing.asked > number && listing.attempts.since.is_none();
        listing.due = threads::now() + if is_asked { Duration::ZERO } else { pause };
    }

    fn fetch(&self, shard: &str, mut fetch: Fetch) {
        let begun = threads::now();
        let before = fetch.iterator.is_some();
        let result = self.read(shard, &mut fetch);
        let (records, behind, ended) = match result {
            Ok(answer) => answer,
            Err(Trouble::Iterator(_)) if before => {
                // It lives for five minutes, and this one is older, or of another server.
                self.metrics.expired_iterators.add(1);
                fetch.iterator = None;
                return self.give_back(shard, fetch, None);
            }
            Err(trouble) => {
                let Some(pause) = self.failed(trouble, &mut fetch.attempts) else { return };
                fetch.due = threads::now() + pause;
                return self.give_back(shard, fetch, None);
            }
        };
        fetch.attempts = Attempts::default();
        fetch.due = begun + self.settings.poll_interval;
        self.give_back(shard, fetch, Some((records, behind, ended)));
    }

    /// Makes one read. Returns the records that are new, how far it is behind, and whether the shard has ended.
    fn read(&self, shard: &str, fetch: &mut Fetch) -> Result<(Vec<Received>, Duration, bool), Trouble> {
        let (now, retention) = (self.api.now(), self.lock().retention);
        if fetch.cursor.may_have_missed(now, retention) {
            let (stream, hours) = (self.api.stream(), retention.as_secs() / 3600);
            let until = time(fetch.cursor.read_until.unwrap_or_default());
            let what = format!(
                "{stream}/{shard} was read up to what arrived by {until}, and the stream keeps records for {hours} h: those \
                 that arrived before {} may have expired unread",
                time(oldest(now, retention))
            );
            self.missed(&what).map_err(Trouble::Refused)?;
            fetch.cursor.accept(now, retention);
            fetch.iterator = None;
        }
        let iterator = match &fetch.iterator {
            Some(iterator) => iterator.clone(),
            None => self.api.iterator(shard, &fetch.cursor.from(self.origin, now, retention))?,
        };
        // A lost answer is asked for again by the same iterator.
        fetch.iterator = Some(iterator.clone());
        let answer = self.api.records(&iterator)?;
        let records = fetch.cursor.take(answer.records, answer.behind, self.api.now());
        let ended = answer.next.is_none();
        fetch.iterator = answer.next;
        Ok((records, answer.behind, ended))
    }

    /// Puts a shard back, with what was fetched; an attempt without a result leaves it unknown whether something waits.
    fn give_back(&self, shard: &str, fetch: Fetch, fetched: Option<(Vec<Received>, Duration, bool)>) {
        let mut state = self.lock();
        let Some(lane) = state.lanes.get_mut(shard) else { return };
        lane.nothing_waits = false;
        let mut is_news = false;
        if let Some((records, behind, ended)) = fetched {
            // An emulator says that it is at the end together with a part of the records.
            lane.nothing_waits = records.is_empty() && behind.is_zero();
            is_news = !records.is_empty() || ended;
            lane.bytes += records.iter().map(Received::size).sum::<usize>();
            lane.queue.extend(records);
            lane.fetched = fetch.cursor.clone();
            (lane.behind, lane.ended) = (behind, ended);
        }
        lane.fetch = Some(fetch);
        drop(state);
        if is_news {
            self.reader.wake();
        }
    }

    /// Handles a failed attempt. Returns the pause before the next one, or reports the error that stops the job.
    fn failed(&self, trouble: Trouble, attempts: &mut Attempts) -> Option<Duration> {
        let reason = match trouble {
            Trouble::Refused(error) => {
                self.fail(error);
                return None;
            }
            Trouble::Throttled(reason) => {
                self.metrics.throttled_reads.add(1);
                reason
            }
            Trouble::Later(reason) | Trouble::Iterator(reason) => {
                self.metrics.failed_reads.add(1);
                reason
            }
        };
        let pause = attempts.failed(self.settings.patience);
        match pause {
            Some(pause) => tracing::warn!(%reason, pause_ms = pause.as_millis(), "it is tried again"),
            None => {
                let seconds = self.settings.patience.as_secs();
                let message = format!("{reason}; it was tried for {seconds} s");
                self.fail(ConnectorError::new(ErrorKind::Unavailable, message));
            }
        }
        pause
    }

    fn missed(&self, what: &str) -> Result<(), ConnectorError> {
        match self.settings.lost_records {
            LostRecords::Accept => {
                tracing::warn!("{what}; reading goes on at the oldest record that is there");
                self.metrics.unread_expired.add(1);
                Ok(())
            }
            LostRecords::Refuse => {
                let message = format!("{what}; lost-records=accept (LostRecords::Accept) reads on without them");
                Err(ConnectorError::new(ErrorKind::Data, message).remedy(Remedy::StartOver))
            }
        }
    }
}
