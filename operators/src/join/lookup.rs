//! Lookup join: rows of a service outside, a batch of keys at a time, through a cache.
//!
//! Known limits: `fetch` runs on the worker, so it should take microseconds, or milliseconds where the job can wait; and a
//! replay may find other rows than the first time, since the service does not go by event time.

use std::collections::{HashMap, VecDeque};
use std::error::Error;
use std::hash::Hash;
use std::marker::PhantomData;
use std::time::Duration;
use std::vec::Drain;

use tidemill_engine::metrics::Counter;
use tidemill_engine::shell::{BatchLogic, BatchOutput, BatchRunner, BatchTimes, Execution};
use tidemill_engine::{Arrival, Clock, Data, DeadLetter, JobError, Record, Stream};

/// How rows are fetched and kept.
#[derive(Clone, Debug)]
pub struct LookupSettings {
    /// Records whose keys are fetched together. Default 64.
    pub max_batch_size: usize,
    /// How long a record may wait for its batch while the worker is busy. Default 5 ms.
    pub max_delay: Duration,
    /// Rows that are kept, also those that are not there; the ones fetched first go first. Default 100,000.
    pub cache_rows: usize,
    /// How long a row is taken for what it was when it was fetched. Default one minute.
    pub ttl: Duration,
    /// Tells how old rows are.
    pub clock: Clock,
}

impl Default for LookupSettings {
    fn default() -> Self {
        Self {
            max_batch_size: 64,
            max_delay: Duration::from_millis(5),
            cache_rows: 100_000,
            ttl: Duration::from_secs(60),
            clock: Clock::system(),
        }
    }
}

/// Looks rows up for a stream.
pub trait LookupExt<'s, A: Data> {
    /// Adds to each record the row that `fetch` finds for its key. `fetch` gets different keys, and gives as many rows
    /// in the same order.
    ///
    /// * Order, time: stay.
    /// * Errors of `fetch`: each record that asked becomes a dead letter; nothing is cached.
    ///
    /// # Errors
    /// When the name is taken.
    fn lookup_join<K, V, E>(
        self,
        name: &str,
        settings: &LookupSettings,
        key: impl Fn(&A) -> K + 'static,
        fetch: impl FnMut(&[K]) -> Result<Vec<Option<V>>, E> + Send + 'static,
    ) -> Result<Stream<'s, (A, Option<V>)>, JobError>
    where
        K: Hash + Eq + Clone + Send + 'static,
        V: Data,
        E: Error + 'static;
}

impl<'s, A: Data> LookupExt<'s, A> for Stream<'s, A> {
    fn lookup_join<K, V, E>(
        self,
        name: &str,
        settings: &LookupSettings,
        key: impl Fn(&A) -> K + 'static,
        fetch: impl FnMut(&[K]) -> Result<Vec<Option<V>>, E> + Send + 'static,
    ) -> Result<Stream<'s, (A, Option<V>)>, JobError>
    where
        K: Hash + Eq + Clone + Send + 'static,
        V: Data,
        E: Error + 'static,
    {
        let (operator, settings) = (name.to_owned(), settings.clone());
        self.batch(name, move |metrics| {
            let fetched = metrics.counter("rows_fetched");
            let lookup = Lookup {
                operator,
                settings,
                key,
                cache: HashMap::new(),
                oldest: VecDeque::new(),
                fetched,
                records: PhantomData,
            };
            Ok((lookup, Execution::InLine(Box::new(Fetch(fetch)))))
        })
    }
}

struct Lookup<A, K, V, F> {
    operator: String,
    settings: LookupSettings,
    key: F,
    /// Rows, and when they were fetched.
    cache: HashMap<K, (Option<V>, Arrival)>,
    /// The keys in the order they were fetched.
    oldest: VecDeque<(K, Arrival)>,
    fetched: Counter,
    records: PhantomData<fn(A)>,
}

/// A batch: its records' keys, those of them that are not cached, and the rows of these.
struct Batch<K, V> {
    keys: Vec<K>,
    missing: Vec<K>,
    rows: Result<Vec<Option<V>>, String>,
}

impl<K, V> Default for Batch<K, V> {
    fn default() -> Self {
        Self { keys: Vec::new(), missing: Vec::new(), rows: Ok(Vec::new()) }
    }
}

/// Asks for what is missing.
struct Fetch<G>(G);

impl<K, V, E, G> BatchRunner<Batch<K, V>> for Fetch<G>
where
    G: FnMut(&[K]) -> Result<Vec<Option<V>>, E> + Send + 'static,
    E: Error,
{
    fn run(&mut self, batch: &mut Batch<K, V>) {
        let Batch { missing, rows, .. } = batch;
        if missing.is_empty() {
            return;
        }
        *rows = (self.0)(missing).map_err(|e| e.to_string()).and_then(|rows| {
            let (found, wanted) = (rows.len(), missing.len());
            if found == wanted { Ok(rows) } else { Err(format!("the lookup gave {found} rows for {wanted} keys")) }
        });
    }
}

impl<A, K: Hash + Eq + Clone, V: Data, F> Lookup<A, K, V, F> {
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
        self.expire(self.settings.clock.now());
        let Batch { keys, missing, rows } = batch;
        keys.clear();
        keys.extend(records.iter().map(|record| (self.key)(&record.data)));
        missing.clear();
        for key in keys.iter() {
            if !self.cache.contains_key(key) && !missing.contains(key) {
                missing.push(key.clone());
            }
        }
        *rows = Ok(Vec::new());
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
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        let now = self.settings.clock.now();
        let mut fault = None;
        match std::mem::replace(&mut batch.rows, Ok(Vec::new())) {
            Ok(rows) => {
                self.fetched.add(rows.len() as u64);
                for (key, row) in batch.missing.drain(..).zip(rows) {
                    self.oldest.push_back((key.clone(), now));
                    self.cache.insert(key, (row, now));
                }
            }
            Err(reason) => fault = Some(reason),
        }
        for (key, record) in batch.keys.drain(..).zip(records) {
            match (self.cache.get(&key), &fault) {
                (Some((row, _)), _) => output.records.push(record.with(|data| (data, row.clone()))),
                (None, fault) => {
                    let reason = fault.clone().unwrap_or_else(|| "the lookup lost its row".to_owned());
                    let origin = format!("{} at {}", self.operator, record.event_time);
                    let content = format!("{:?}", record.data);
                    let letter = DeadLetter::new(&self.operator, origin, reason, content.as_bytes());
                    output.dead_letters.push(record.with(|_| letter));
                }
            }
        }
        self.expire(now);
        Ok(())
    }
}
