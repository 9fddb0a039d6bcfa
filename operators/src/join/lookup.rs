//! Lookup join: rows of a service outside, a batch of keys at a time, through a cache.
//!
//! Known limits: `fetch` runs on the worker, so it should take microseconds, or milliseconds where the job can wait; and a
//! replay may find other rows than the first time, since the service does not go by event time.

use std::collections::{HashMap, VecDeque};
use std::error::Error;
use std::hash::Hash;
use std::time::Duration;
use std::vec::Drain;

use tidemill_engine::metrics::Counter;
use tidemill_engine::shell::{BatchLogic, BatchOutput};
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
        fetch: impl FnMut(&[K]) -> Result<Vec<Option<V>>, E> + 'static,
    ) -> Result<Stream<'s, (A, Option<V>)>, JobError>
    where
        K: Hash + Eq + Clone + 'static,
        V: Data,
        E: Error + 'static;
}

impl<'s, A: Data> LookupExt<'s, A> for Stream<'s, A> {
    fn lookup_join<K, V, E>(
        self,
        name: &str,
        settings: &LookupSettings,
        key: impl Fn(&A) -> K + 'static,
        fetch: impl FnMut(&[K]) -> Result<Vec<Option<V>>, E> + 'static,
    ) -> Result<Stream<'s, (A, Option<V>)>, JobError>
    where
        K: Hash + Eq + Clone + 'static,
        V: Data,
        E: Error + 'static,
    {
        let (operator, settings) = (name.to_owned(), settings.clone());
        self.batch(name, move |metrics| {
            Ok(Lookup {
                operator,
                settings,
                key,
                fetch,
                cache: HashMap::new(),
                oldest: VecDeque::new(),
                fetched: metrics.counter("rows_fetched"),
                records: std::marker::PhantomData,
            })
        })
    }
}

struct Lookup<A, K, V, F, G> {
    operator: String,
    settings: LookupSettings,
    key: F,
    fetch: G,
    /// Rows, and when they were fetched.
    cache: HashMap<K, (Option<V>, Arrival)>,
    /// The keys in the order they were fetched.
    oldest: VecDeque<(K, Arrival)>,
    fetched: Counter,
    records: std::marker::PhantomData<fn(A)>,
}

impl<A, K, V, F, G, E> Lookup<A, K, V, F, G>
where
    K: Hash + Eq + Clone,
    V: Data,
    G: FnMut(&[K]) -> Result<Vec<Option<V>>, E>,
    E: Error,
{
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

    fn fetch(&mut self, missing: &[K], now: Arrival) -> Result<(), String> {
        let rows = (self.fetch)(missing).map_err(|e| e.to_string())?;
        if rows.len() != missing.len() {
            return Err(format!("the lookup gave {} rows for {} keys", rows.len(), missing.len()));
        }
        self.fetched.add(rows.len() as u64);
        for (key, row) in missing.iter().zip(rows) {
            self.cache.insert(key.clone(), (row, now));
            self.oldest.push_back((key.clone(), now));
        }
        Ok(())
    }
}

impl<A, K, V, F, G, E> BatchLogic for Lookup<A, K, V, F, G>
where
    A: Data,
    K: Hash + Eq + Clone + 'static,
    V: Data,
    F: Fn(&A) -> K + 'static,
    G: FnMut(&[K]) -> Result<Vec<Option<V>>, E> + 'static,
    E: Error + 'static,
{
    type In = A;
    type Out = (A, Option<V>);

    fn max_batch_size(&self) -> usize {
        self.settings.max_batch_size
    }

    fn max_delay(&self) -> Duration {
        self.settings.max_delay
    }

    fn run(
        &mut self,
        batch: Drain<'_, Record<A>>,
        output: &mut BatchOutput<Self::Out>,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        let now = self.settings.clock.now();
        self.expire(now);
        let records: Vec<(K, Record<A>)> = batch.map(|record| ((self.key)(&record.data), record)).collect();
        let mut missing: Vec<K> = Vec::new();
        for (key, _) in &records {
            if !self.cache.contains_key(key) && !missing.contains(key) {
                missing.push(key.clone());
            }
        }
        let fault = if missing.is_empty() { None } else { self.fetch(&missing, now).err() };
        for (key, record) in records {
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
