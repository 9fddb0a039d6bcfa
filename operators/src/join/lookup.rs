//! Lookup join: each record is joined with a row of an external service. Rows are fetched for a batch of keys at a
//! time, through a cache, on the worker or on threads of a pool.
//!
//! Known limits: a replay may find different rows than the first run, since the service does not follow event time.
//! Batches that are in flight at the same time may each fetch the same key.

use std::collections::{HashMap, VecDeque};
use std::error::Error;
use std::hash::Hash;
use std::marker::PhantomData;
use std::time::Duration;
use std::vec::Drain;

use serde::{Deserialize, Serialize};
use tidemill_engine::metrics::{Counter, OperatorMetrics};
use tidemill_engine::shell::{BatchLogic, BatchOutput, BatchRunner, BatchTimes, Execution};
use tidemill_engine::{Arrival, Clock, Data, DeadLetter, Epoch, ErrorKind, JobError, Record, Stream};

use crate::pool::{PoolSettings, Retries};

/// Settings of a lookup: how rows are fetched in batches and cached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LookupSettings {
    /// Maximum number of records whose keys are fetched together, at least one. Default: 64.
    pub max_batch_size: usize,
    /// Maximum time that a record waits for its batch while the worker is busy. Default: 5 ms.
    #[serde(with = "humantime_serde")]
    pub max_delay: Duration,
    /// Maximum number of keys in the cache, including keys that have no row. Those fetched first are evicted first.
    /// With 0 nothing is cached. Default: 100,000.
    pub cache_rows: usize,
    /// Length of time for which a row is used after it was fetched, by the job's clock. With 0 nothing is cached.
    /// Default: one minute.
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
    /// Returns a cache with these settings that is filled before the first record, with the rows that `load` returns.
    /// They count as fetched when the job starts. Each worker loads them; rows beyond `cache_rows` are not kept.
    pub fn preloaded<K, V, E: Error>(
        &self,
        load: impl FnOnce() -> Result<Vec<(K, Option<V>)>, E> + 'static,
    ) -> LookupCache<K, V> {
        LookupCache { settings: self.clone(), preload: Some(Box::new(|| load().map_err(|e| e.to_string()))) }
    }
}

/// The cache of a lookup: its settings, and the rows that it has from the start.
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

/// Settings of the threads that fetch rows, and of their retries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FetchSettings {
    /// Settings of the threads. Each fetches one batch at a time, and [`deadline`](PoolSettings::deadline) is the
    /// timeout of a batch.
    pub pool: PoolSettings,
    /// Number of times that a batch is retried when `fetch` fails. Default: 2.
    pub retries: u32,
    /// Pause before the first retry. It doubles before each further one. Default: 20 ms.
    #[serde(with = "humantime_serde")]
    pub backoff: Duration,
}

impl Default for FetchSettings {
    fn default() -> Self {
        Self { pool: PoolSettings::default(), retries: 2, backoff: Duration::from_millis(20) }
    }
}

/// A key of a lookup. The trait is implemented for every type that meets its bounds.
#[diagnostic::on_unimplemented(
    message = "rows cannot be looked up by `{Self}`",
    note = "keys are hashed, cached and sent to threads: derive Clone, Hash, PartialEq, Eq"
)]
pub trait LookupKey: Hash + Eq + Clone + Send + 'static {}

#[diagnostic::do_not_recommend]
impl<K: Hash + Eq + Clone + Send + 'static> LookupKey for K {}

/// A way to fetch rows by their keys: a closure `|keys: &[K]| -> Result<Vec<Option<V>>, E>`, or a type that the program
/// defines.
pub trait FetchRows<K, V>: Send + 'static {
    /// Returns the row of each key, in the order of `keys`, which are all different; `None` where there is no row.
    ///
    /// # Errors
    /// When rows cannot be fetched. The error then applies to all of `keys`.
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

/// Adds lookups of rows to streams.
pub trait LookupExt<'s, A: Data>: Sized {
    /// Adds to each record the row that `fetch` finds for its key. `fetch` is called with keys that are all different,
    /// and returns as many rows in the same order. It runs on the worker: use it for lookups that take microseconds,
    /// or where the job can wait.
    ///
    /// * Order, time: records keep their order and their event time.
    /// * Errors of `fetch`: each record whose row was to be fetched becomes a dead letter; nothing is cached.
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

    /// Adds to each record the row of its key, which threads beside the worker fetch. It is for lookups that take
    /// milliseconds. `open` makes the fetcher of each thread, for example a connection of its own.
    ///
    /// * Order, time: records keep their order, unless the settings of the pool say otherwise, and their event time.
    /// * Errors of `fetch`, panics, timeouts: they are handled as [`FetchSettings`] says. After that, each record
    ///   whose row was to be fetched becomes a dead letter.
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
    /// The clock that measures the age of rows.
    clock: Clock,
    key: F,
    /// Rows by key, each with the time at which it was fetched.
    cache: HashMap<K, (Option<V>, Arrival)>,
    /// The keys in the order in which they were fetched.
    oldest: VecDeque<(K, Arrival)>,
    /// The position of each key among the missing keys of the batch that is being prepared.
    places: HashMap<K, usize>,
    fetched: Counter,
    records: PhantomData<fn(A)>,
}

/// The work of a batch: the cached rows of its records, the keys that are not cached, and the rows fetched for these.
struct Batch<K, V> {
    known: Vec<Known<V>>,
    missing: Vec<K>,
    rows: Result<Vec<Option<V>>, String>,
}

/// The row of a record: as it was cached when the batch was prepared, or the position of its key among the missing
/// keys.
enum Known<V> {
    Cached(Option<V>),
    Missing(usize),
}

impl<K, V> Default for Batch<K, V> {
    fn default() -> Self {
        Self { known: Vec::new(), missing: Vec::new(), rows: Ok(Vec::new()) }
    }
}

/// Fetches the rows of the missing keys.
struct Fetch<G> {
    fetch: G,
    /// Retries; `None` on the worker, which must not wait.
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
            if found == wanted { Ok(rows) } else { Err(format!("the lookup returned {found} rows for {wanted} keys")) }
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
        // Rows are loaded from an external system, which may be available at the next try.
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

    /// Evicts rows that are too old, and those above the maximum number.
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

    fn prepare(&mut self, _: Epoch, records: &[Record<A>], batch: &mut Batch<K, V>) {
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
