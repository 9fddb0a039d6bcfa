//! Lookup join: rows of a service outside, a batch of keys at a time, through a cache; on the worker, or on threads.
//!
//! Known limits: a replay may find other rows than the first time, since the service does not go by event time;
//! batches that are under way at the same time may each fetch the same key.

use std::collections::{HashMap, VecDeque};
use std::error::Error;
use std::hash::Hash;
use std::marker::PhantomData;
use std::time::Duration;
use std::vec::Drain;

use serde::{Deserialize, Serialize};
use tidemill_engine::metrics::{Counter, OperatorMetrics};
use tidemill_engine::shell::{BatchLogic, BatchOutput, BatchRunner, BatchTimes, Execution};
use tidemill_engine::{Arrival, Clock, Data, DeadLetter, ErrorKind, JobError, Record, Stream};

use crate::pool::{PoolSettings, Retries};

/// How rows are fetched and kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LookupSettings {
    /// Records whose keys are fetched together. Default 64.
    pub max_batch_size: usize,
    /// How long a record may wait for its batch while the worker is busy. Default 5 ms.
    #[serde(with = "humantime_serde")]
    pub max_delay: Duration,
    /// Rows that are kept, also those that are not there; the ones fetched first go first. Default 100,000.
    pub cache_rows: usize,
    /// How long a row is used after it was fetched, by the job's clock. Default one minute.
    #[serde(with = "humantime_serde")]
    pub ttl: Duration,
}

impl Default for LookupSettings {
    fn default() -> Self {
        Self {
            max_batch_size: 64,
            max_delay: Duration::from_millis(5),
            cache_rows: 100_000,
            ttl: Duration::from_secs(60),
        }
    }
}

impl LookupSettings {
    /// The same, with a cache that has rows in it before the first record: those that `load` gives, as if they were
    /// fetched when the job starts. Each worker loads them; what is beyond `cache_rows` is not kept.
    pub fn preloaded<K, V, E: Error>(
        &self,
        load: impl FnOnce() -> Result<Vec<(K, Option<V>)>, E> + 'static,
    ) -> LookupCache<K, V> {
        LookupCache { settings: self.clone(), preload: Some(Box::new(|| load().map_err(|e| e.to_string()))) }
    }
}

/// How rows are fetched and kept, and which are there from the start.
pub struct LookupCache<K, V> {
    settings: LookupSettings,
    preload: Option<Preload<K, V>>,
}

type Preload<K, V> = Box<dyn FnOnce() -> Result<Vec<(K, Option<V>)>, String>>;

impl<K, V> From<&LookupSettings> for LookupCache<K, V> {
    fn from(settings: &LookupSettings) -> Self {
        Self { settings: settings.clone(), preload: None }
    }
}

/// Threads that fetch, and how often they try.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FetchSettings {
    /// The threads; each fetches a batch at a time. [`deadline`](PoolSettings::deadline) is the timeout of a batch.
    pub pool: PoolSettings,
    /// How often a batch is tried again when `fetch` fails; default 2.
    pub retries: u32,
    /// The pause before the first retry, twice as long before each further one; default 20 ms.
    #[serde(with = "humantime_serde")]
    pub backoff: Duration,
}

impl Default for FetchSettings {
    fn default() -> Self {
        Self { pool: PoolSettings::default(), retries: 2, backoff: Duration::from_millis(20) }
    }
}

/// What keys of lookups are. It is implemented for every type that can be.
#[diagnostic::on_unimplemented(
    message = "rows cannot be looked up by `{Self}`",
    note = "keys are hashed, cached and sent to threads: derive Clone, Hash, PartialEq, Eq"
)]
pub trait LookupKey: Hash + Eq + Clone + Send + 'static {}

#[diagnostic::do_not_recommend]
impl<K: Hash + Eq + Clone + Send + 'static> LookupKey for K {}

/// Fetches rows by their keys: a closure `|keys: &[K]| -> Result<Vec<Option<V>>, E>`, or a type of the program's own.
pub trait FetchRows<K, V>: Send + 'static {
    /// Returns the row of each key, in the order of `keys`, which are all different; `None` where there is no row.
    ///
    /// # Errors
    /// When rows cannot be fetched. That is said of all of `keys`.
    fn fetch_rows(&mut self, keys: &[K]) -> Result<Vec<Option<V>>, Box<dyn Error>>;
}

impl<K, V, E, F> FetchRows<K, V> for F
where
    F: FnMut(&[K]) -> Result<Vec<Option<V>>, E> + Send + 'static,
    E: Error + 'static,
{
    fn fetch_rows(&mut self, keys: &[K]) -> Result<Vec<Option<V>>, Box<dyn Error>> {
        Ok(self(keys)?)
    }
}

/// Looks rows up for a stream.
pub trait LookupExt<'s, A: Data>: Sized {
    /// Adds to each record the row that `fetch` finds for its key. `fetch` gets different keys, and gives as many rows
    /// in the same order. It runs on the worker: for what takes microseconds, or where the job can wait.
    ///
    /// * Order, time: stay.
    /// * Errors of `fetch`: each record that asked becomes a dead letter; nothing is cached.
    ///
    /// # Errors
    /// When the name is taken, or rows cannot be preloaded.
    fn lookup_join<K: LookupKey, V: Data>(
        self,
        name: &str,
        cache: impl Into<LookupCache<K, V>>,
        key: impl Fn(&A) -> K + 'static,
        fetch: impl FetchRows<K, V>,
    ) -> Result<Stream<'s, (A, Option<V>)>, JobError>;

    /// The same on threads beside the worker, for what takes milliseconds: `open` makes what a thread fetches with (a
    /// connection of its own).
    ///
    /// * Order: stays, unless the pool says otherwise; time stays.
    /// * Errors of `fetch`, panics, timeouts: as [`FetchSettings`] says; then each record that asked becomes a dead
    ///   letter.
    ///
    /// # Errors
    /// When the name is taken, or rows cannot be preloaded.
    fn lookup_join_async<K: LookupKey, V: Data, F: FetchRows<K, V>>(
        self,
        name: &str,
        cache: impl Into<LookupCache<K, V>>,
        fetching: &FetchSettings,
        key: impl Fn(&A) -> K + 'static,
        open: impl Fn() -> F + Send + Sync + 'static,
    ) -> Result<Stream<'s, (A, Option<V>)>, JobError>;
}

impl<'s, A: Data> LookupExt<'s, A> for Stream<'s, A> {
    fn lookup_join<K: LookupKey, V: Data>(
        self,
        name: &str,
        cache: impl Into<LookupCache<K, V>>,
        key: impl Fn(&A) -> K + 'static,
        fetch: impl FetchRows<K, V>,
    ) -> Result<Stream<'s, (A, Option<V>)>, JobError> {
        let clock = self.flow().clock();
        self.batch(name, |metrics| {
            let fetch = Fetch { fetch, retries: None };
            Ok((Lookup::open(name, cache.into(), key, clock, metrics)?, Execution::InLine(Box::new(fetch))))
        })
    }

    fn lookup_join_async<K: LookupKey, V: Data, F: FetchRows<K, V>>(
        self,
        name: &str,
        cache: impl Into<LookupCache<K, V>>,
        fetching: &FetchSettings,
        key: impl Fn(&A) -> K + 'static,
        open: impl Fn() -> F + Send + Sync + 'static,
    ) -> Result<Stream<'s, (A, Option<V>)>, JobError> {
        let clock = self.flow().clock();
        self.batch(name, |metrics| {
            let retries = Retries::new(fetching.retries, fetching.backoff, metrics.counter("retries"));
            let open = move || Fetch { fetch: open(), retries: Some(retries.clone()) };
            let execution = fetching.pool.execution(open(), open, Ok::<_, JobError>)?;
            Ok((Lookup::open(name, cache.into(), key, clock, metrics)?, execution))
        })
    }
}

struct Lookup<A, K, V, F> {
    operator: String,
    settings: LookupSettings,
    /// Measures how old rows are.
    clock: Clock,
    key: F,
    /// Rows, and when they were fetched.
    cache: HashMap<K, (Option<V>, Arrival)>,
    /// The keys in the order they were fetched.
    oldest: VecDeque<(K, Arrival)>,
    /// Where among a batch's missing keys one is, while it is prepared.
    places: HashMap<K, usize>,
    fetched: Counter,
    records: PhantomData<fn(A)>,
}

/// A batch: what is known of its records' rows, the keys of those that are not cached, and the rows of these.
struct Batch<K, V> {
    known: Vec<Known<V>>,
    missing: Vec<K>,
    rows: Result<Vec<Option<V>>, String>,
}

/// A record's row: as it was cached when the batch was prepared, or its place among the missing ones.
enum Known<V> {
    Cached(Option<V>),
    Missing(usize),
}

impl<K, V> Default for Batch<K, V> {
    fn default() -> Self {
        Self { known: Vec::new(), missing: Vec::new(), rows: Ok(Vec::new()) }
    }
}

/// Asks for what is missing.
struct Fetch<G> {
    fetch: G,
    /// On the worker nobody may wait.
    retries: Option<Retries>,
}

impl<K, V, G: FetchRows<K, V>> BatchRunner<Batch<K, V>> for Fetch<G> {
    fn run(&mut self, batch: &mut Batch<K, V>) {
        let Batch { missing, rows, .. } = batch;
        if missing.is_empty() {
            return;
        }
        let mut once = || {
            let rows = self.fetch.fetch_rows(missing).map_err(|e| e.to_string())?;
            let (found, wanted) = (rows.len(), missing.len());
            if found == wanted { Ok(rows) } else { Err(format!("the lookup gave {found} rows for {wanted} keys")) }
        };
        *rows = match &self.retries {
            None => once(),
            Some(retries) => retries.run(once, |_| true),
        };
    }
}

impl<A, K: Hash + Eq + Clone, V: Data, F> Lookup<A, K, V, F> {
    fn open(
        name: &str,
        cache: LookupCache<K, V>,
        key: F,
        clock: Clock,
        metrics: &OperatorMetrics,
    ) -> Result<Self, JobError> {
        let LookupCache { settings, preload } = cache;
        let mut lookup = Self {
            operator: name.to_owned(),
            settings,
            clock,
            key,
            cache: HashMap::new(),
            oldest: VecDeque::new(),
            places: HashMap::new(),
            fetched: metrics.counter("rows_fetched"),
            records: PhantomData,
        };
        // Where they are loaded from is outside, and may be back at the next try.
        let failed = |reason| {
            JobError::operator(name, ErrorKind::Unavailable, format!("its rows cannot be preloaded: {reason}"))
        };
        let rows = preload.map_or(Ok(Vec::new()), |load| load()).map_err(failed)?;
        let now = lookup.clock.now();
        for (key, row) in rows.into_iter().take(lookup.settings.cache_rows) {
            lookup.keep(key, row, now);
        }
        Ok(lookup)
    }

    fn keep(&mut self, key: K, row: Option<V>, now: Arrival) {
        self.oldest.push_back((key.clone(), now));
        self.cache.insert(key, (row, now));
    }

    /// Lets go of what is too old, and of what is too much.
    fn expire(&mut self, now: Arrival) {
        let ttl = self.settings.ttl.as_micros();
        while let Some((key, at)) = self.oldest.front() {
            let expired = u128::from(now.0.saturating_sub(at.0)) >= ttl;
            if !expired && self.oldest.len() <= self.settings.cache_rows {
                return;
            }
            if self.cache.get(key).is_some_and(|(_, fetched)| fetched == at) {
                self.cache.remove(key);
            }
            self.oldest.pop_front();
        }
    }
}

impl<A, K, V, F> BatchLogic for Lookup<A, K, V, F>
where
    A: Data,
    K: Hash + Eq + Clone + Send + 'static,
    V: Data,
    F: Fn(&A) -> K + 'static,
{
    type In = A;
    type Out = (A, Option<V>);
    type Work = Batch<K, V>;

    fn max_batch_size(&self) -> usize {
        self.settings.max_batch_size
    }

    fn max_delay(&self) -> Duration {
        self.settings.max_delay
    }

    fn prepare(&mut self, records: &[Record<A>], batch: &mut Batch<K, V>) {
        self.expire(self.clock.now());
        let Batch { known, missing, rows } = batch;
        known.clear();
        missing.clear();
        *rows = Ok(Vec::new());
        self.places.clear();
        for record in records {
            let key = (self.key)(&record.data);
            known.push(match self.cache.get(&key) {
                Some((row, _)) => Known::Cached(row.clone()),
                None => Known::Missing(*self.places.entry(key).or_insert_with_key(|key| {
                    missing.push(key.clone());
                    missing.len() - 1
                })),
            });
        }
    }

    fn give_up(&mut self, _: &[Record<A>], batch: &mut Batch<K, V>, reason: String) -> bool {
        batch.rows = Err(reason);
        false
    }

    fn finish(
        &mut self,
        records: Drain<'_, Record<A>>,
        batch: &mut Batch<K, V>,
        _: BatchTimes,
        output: &mut BatchOutput<Self::Out>,
    ) -> Result<(), JobError> {
        let now = self.clock.now();
        let rows = std::mem::replace(&mut batch.rows, Ok(Vec::new()));
        if let Ok(rows) = &rows {
            self.fetched.add(rows.len() as u64);
            for (key, row) in batch.missing.drain(..).zip(rows) {
                self.keep(key, row.clone(), now);
            }
        }
        for (known, record) in batch.known.drain(..).zip(records) {
            let row = match (known, &rows) {
                (Known::Cached(row), _) => Ok(row),
                // There are as many rows as keys were missing.
                (Known::Missing(at), Ok(rows)) => Ok(rows.get(at).cloned().flatten()),
                (Known::Missing(_), Err(reason)) => Err(reason),
            };
            match row {
                Ok(row) => output.records.push(record.with(|data| (data, row))),
                Err(reason) => {
                    let origin = format!("{} at {}", self.operator, record.event_time);
                    let content = format!("{:?}", record.data);
                    let letter = DeadLetter::new(&self.operator, origin, reason.clone(), content.as_bytes());
                    output.dead_letters.push(record.with(|_| letter));
                }
            }
        }
        self.expire(now);
        Ok(())
    }
}
