//! What a job counts, from the first day: one [`OperatorMetrics`] per operator and worker.
//!
//! Operators hold counters and histograms and touch them once per batch; whoever looks (the status
//! page, `/metrics`, the report at the end) takes a [`Snapshot`] that adds the workers up.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::lateness::{Jump, Jumps, LateShare};
use crate::record::Arrival;
use crate::time::EventTime;

/// A number that only grows. Cheap to clone, shared with the registry.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The value now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that is set. Cheap to clone, shared with the registry.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<AtomicI64>);

impl Gauge {
    /// Sets the value.
    pub fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The value now.
    #[must_use]
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A distribution (microseconds, records, bytes) with three significant digits. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Distribution(Arc<Mutex<Histogram<u64>>>);

impl Distribution {
    /// The largest value told apart: an hour in microseconds. Larger ones count as this.
    const MAX: u64 = 3_600_000_000;

    pub(crate) fn new() -> Self {
        #[expect(clippy::expect_used, reason = "the bounds are constants that hdrhistogram takes")]
        let histogram = Histogram::new_with_bounds(1, Self::MAX, 3).expect("constant bounds are valid");
        Self(Arc::new(Mutex::new(histogram)))
    }

    fn lock(&self) -> MutexGuard<'_, Histogram<u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Percentiles of what was recorded.
    #[must_use]
    pub fn percentiles(&self) -> Percentiles {
        Percentiles::from(&*self.lock())
    }

    /// Records one value.
    pub fn record(&self, value: u64) {
        self.lock().saturating_record(value);
    }

    /// Records many values under one lock.
    pub fn record_all(&self, values: impl Iterator<Item = u64>) {
        let mut histogram = self.lock();
        values.for_each(|value| histogram.saturating_record(value));
    }

    /// Records how long ago each of `arrivals` was, in microseconds.
    pub fn record_since(&self, now: Arrival, arrivals: impl Iterator<Item = Arrival>) {
        self.record_all(arrivals.map(|arrival| now.0.saturating_sub(arrival.0)));
    }
}

/// What one operator counts on one worker.
#[derive(Debug)]
pub struct OperatorMetrics {
    /// The operator's name in the job.
    pub name: String,
    /// What it is: `source`, `keyed`, `infer`, `sink`, …
    pub kind: &'static str,
    /// Which worker it runs on.
    pub worker: usize,
    /// Records that came in.
    pub records_in: Counter,
    /// Records that went out.
    pub records_out: Counter,
    /// Records behind the watermark when they came. Those of a source are behind its own, and shown as `behind_watermark`: whether they
    /// are late is for the operators to say.
    pub late: Counter,
    /// Records given up, with a reason each.
    pub dead_letters: Counter,
    /// Nanoseconds that the worker was in this operator; threads beside it are not counted.
    pub busy_ns: Counter,
    /// Event time reached, ms since the Unix epoch.
    pub watermark: Gauge,
    late_share: LateShare,
    jumps: Arc<Jumps>,
    more: Mutex<More>,
}

#[derive(Debug, Default)]
struct More {
    counters: Vec<(&'static str, Counter)>,
    gauges: Vec<(&'static str, Gauge)>,
    distributions: Vec<(&'static str, Distribution)>,
    details: BTreeMap<&'static str, serde_json::Value>,
}

/// The operator has the worker as long as this lives.
pub(crate) struct Busy {
    counter: Counter,
    since: Instant,
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.counter.add(u64::try_from(self.since.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }
}

impl OperatorMetrics {
    /// To be held through a turn of the operator.
    pub(crate) fn busy(&self) -> Busy {
        Busy { counter: self.busy_ns.clone(), since: Instant::now() }
    }

    /// Of `of` records that came in, `late` were late. When most are, it says so, and where that may come from.
    pub(crate) fn count_late(&self, late: u64, of: u64) {
        self.late.add(late);
        let Some((late, of)) = self.late_share.add(late, of) else { return };
        let (operator, worker, watermark) = (&self.name, self.worker, EventTime(self.watermark.get()).readable());
        match self.jumps.widest() {
            Some(Jump { source, from, to, by }) => tracing::warn!(
                operator,
                worker,
                late,
                of,
                watermark,
                source,
                from = from.readable(),
                to = to.readable(),
                event_time = by.readable(),
                "most records are late: the widest step of a watermark was that of this source, by a record of this event time; `max_ahead` keeps records of the future out"
            ),
            None => tracing::warn!(operator, worker, late, of, watermark, "most records are late"),
        }
    }

    /// The watermark of this source was moved by what was read, of which `by` is the latest event time.
    pub(crate) fn moved(&self, from: EventTime, to: EventTime, by: EventTime) {
        self.jumps.note(from, to, || Jump { source: self.name.clone(), from, to, by });
    }

    fn more(&self) -> MutexGuard<'_, More> {
        self.more.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A counter of this operator's own, e.g. `batches`.
    pub fn counter(&self, name: &'static str) -> Counter {
        let counter = Counter::default();
        self.more().counters.push((name, counter.clone()));
        counter
    }

    /// A gauge of this operator's own.
    pub fn gauge(&self, name: &'static str) -> Gauge {
        let gauge = Gauge::default();
        self.more().gauges.push((name, gauge.clone()));
        gauge
    }

    /// A distribution of this operator's own; the name ends in its unit, e.g. `latency_us`.
    pub fn distribution(&self, name: &'static str) -> Distribution {
        let distribution = Distribution::new();
        self.more().distributions.push((name, distribution.clone()));
        distribution
    }

    /// Something else to know of this operator, for the status page; it replaces what was told under `name` before.
    pub fn detail(&self, name: &'static str, value: serde_json::Value) {
        self.more().details.insert(name, value);
    }
}

/// All metrics of a process.
#[derive(Debug, Default)]
pub struct Metrics {
    operators: Mutex<Vec<Arc<OperatorMetrics>>>,
    jumps: Arc<Jumps>,
}

impl Metrics {
    /// Registers an operator of one worker.
    pub fn operator(&self, name: &str, kind: &'static str, worker: usize) -> Arc<OperatorMetrics> {
        let metrics = Arc::new(OperatorMetrics {
            name: name.to_owned(),
            kind,
            worker,
            records_in: Counter::default(),
            records_out: Counter::default(),
            late: Counter::default(),
            dead_letters: Counter::default(),
            busy_ns: Counter::default(),
            watermark: Gauge::default(),
            late_share: LateShare::default(),
            jumps: Arc::clone(&self.jumps),
            more: Mutex::default(),
        });
        metrics.watermark.set(i64::MIN);
        self.operators.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&metrics));
        metrics
    }

    /// All operators now, each added up over its workers, in the order they were built.
    #[must_use]
    pub fn snapshot(&self) -> Vec<OperatorSnapshot> {
        let operators = self.operators.lock().unwrap_or_else(PoisonError::into_inner);
        let mut order: Vec<&str> = Vec::new();
        let mut merged: BTreeMap<&str, Merge> = BTreeMap::new();
        for operator in operators.iter() {
            merged
                .entry(&operator.name)
                .or_insert_with(|| {
                    order.push(&operator.name);
                    Merge::new(operator)
                })
                .add(operator);
        }
        order.iter().filter_map(|name| merged.remove(name)).map(Merge::finish).collect()
    }
}

/// One operator, added up over the workers of the process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OperatorSnapshot {
    /// The operator's name in the job.
    pub name: String,
    /// What it is.
    pub kind: String,
    /// On how many workers of the process.
    #[serde(default)]
    pub workers: usize,
    /// Event time reached by the slowest worker, ms since the Unix epoch; absent before the first watermark.
    pub watermark_ms: Option<i64>,
    /// `records_in`, `records_out`, `late`, `dead_letters`, `busy_ns` and the operator's own.
    pub counters: BTreeMap<String, u64>,
    /// The operator's own gauges, summed over the workers.
    pub gauges: BTreeMap<String, i64>,
    /// Percentiles of what the operator measures.
    pub distributions: BTreeMap<String, Percentiles>,
    /// What else there is to know, by worker of this process where workers differ: what was measured at the start, ….
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, Vec<serde_json::Value>>,
}

/// Percentiles of a distribution, in the unit its name ends in.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Percentiles {
    /// How many values.
    pub count: u64,
    /// Their mean.
    pub mean: f64,
    /// Half are at most this.
    pub p50: u64,
    /// 99 % are at most this.
    pub p99: u64,
    /// 99.9 % are at most this.
    pub p999: u64,
    /// The largest.
    pub max: u64,
}

impl From<&Histogram<u64>> for Percentiles {
    fn from(histogram: &Histogram<u64>) -> Self {
        Self {
            count: histogram.len(),
            mean: histogram.mean(),
            p50: histogram.value_at_quantile(0.5),
            p99: histogram.value_at_quantile(0.99),
            p999: histogram.value_at_quantile(0.999),
            max: histogram.max(),
        }
    }
}

struct Merge {
    snapshot: OperatorSnapshot,
    histograms: BTreeMap<&'static str, Histogram<u64>>,
    watermark: i64,
}

impl Merge {
    fn new(operator: &OperatorMetrics) -> Self {
        Self {
            snapshot: OperatorSnapshot {
                name: operator.name.clone(),
                kind: operator.kind.to_owned(),
                workers: 0,
                watermark_ms: None,
                counters: BTreeMap::new(),
                gauges: BTreeMap::new(),
                distributions: BTreeMap::new(),
                details: BTreeMap::new(),
            },
            histograms: BTreeMap::new(),
            watermark: i64::MAX,
        }
    }

    fn add(&mut self, operator: &OperatorMetrics) {
        self.snapshot.workers += 1;
        let common = [
            ("records_in", &operator.records_in),
            ("records_out", &operator.records_out),
            (if operator.kind == "source" { "behind_watermark" } else { "late" }, &operator.late),
            ("dead_letters", &operator.dead_letters),
            ("busy_ns", &operator.busy_ns),
        ];
        let more = operator.more();
        let own = more.counters.iter().map(|(name, counter)| (*name, counter));
        for (name, counter) in common.into_iter().chain(own) {
            *self.snapshot.counters.entry(name.to_owned()).or_default() += counter.get();
        }
        for (name, gauge) in &more.gauges {
            *self.snapshot.gauges.entry((*name).to_owned()).or_default() += gauge.get();
        }
        for (name, distribution) in &more.distributions {
            let from = distribution.lock();
            match self.histograms.get_mut(name) {
                Some(into) => into.add(&*from).unwrap_or_else(|e| tracing::warn!(%e, name, "histograms differ")),
                None => drop(self.histograms.insert(name, from.clone())),
            }
        }
        for (name, value) in &more.details {
            let values = self.snapshot.details.entry((*name).to_owned()).or_default();
            if !values.contains(value) {
                values.push(value.clone());
            }
        }
        self.watermark = self.watermark.min(operator.watermark.get());
    }

    fn finish(mut self) -> OperatorSnapshot {
        self.snapshot.watermark_ms = (self.watermark != i64::MIN).then_some(self.watermark);
        let percentiles = self.histograms.iter().map(|(name, h)| ((*name).to_owned(), Percentiles::from(h)));
        self.snapshot.distributions = percentiles.collect();
        self.snapshot
    }
}

/// What a job is doing, as served at `/status` and reported at its end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Snapshot {
    /// The job's name.
    pub job: String,
    /// `running`, `finished` (input has ended) or `stopped` (it was asked to).
    pub state: String,
    /// Worker threads over all processes.
    pub workers: usize,
    /// Milliseconds since all workers were ready and the first epoch began.
    pub elapsed_ms: u64,
    /// The job's clock, ms since the Unix epoch.
    pub now_ms: i64,
    /// The epoch the job was restored from.
    pub restored_epoch: Option<u64>,
    /// The epoch that runs.
    pub epoch: u64,
    /// The newest committed epoch.
    pub committed_epoch: Option<u64>,
    /// Records under way in this process.
    pub in_flight: i64,
    /// Records that wait for the watermark in event-time ordered operators of this process.
    pub held: i64,
    /// From the tick that ends an epoch to its commit, microseconds.
    pub checkpoint_us: Percentiles,
    /// Bytes of deltas written by this process.
    pub delta_bytes: u64,
    /// Checkpoint files that were removed or cut by others while the job ran, and were noticed. The first thing to look at when
    /// it is not 0: whoever removes files below the checkpoint directory.
    #[serde(default)]
    pub checkpoint_files_lost: u64,
    /// Memory that keyed state takes in this process, bytes, estimated.
    pub state_bytes: u64,
    /// Connections that this process refused while the processes of the job connected, by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub mesh_refused: BTreeMap<String, u64>,
    /// The operators of this process.
    pub operators: Vec<OperatorSnapshot>,
}

impl Snapshot {
    /// The operator, source or sink of this name.
    #[must_use]
    pub fn operator(&self, name: &str) -> Option<&OperatorSnapshot> {
        self.operators.iter().find(|operator| operator.name == name)
    }
}

impl OperatorSnapshot {
    /// What the operator counted under this name (`records_in`, `late`, …); 0 where it counts no such thing.
    #[must_use]
    pub fn counter(&self, name: &str) -> u64 {
        self.counters.get(name).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_add_up_and_the_slowest_watermark_counts() {
        let metrics = Metrics::default();
        for worker in 0..2 {
            let op = metrics.operator("windows", "keyed", worker);
            op.records_in.add(10);
            op.watermark.set(100 + worker as i64);
            op.counter("fired").add(1);
            op.distribution("latency_us").record(50);
        }
        let [op] = &metrics.snapshot()[..] else { panic!("one operator expected") };
        assert_eq!((op.counters["records_in"], op.counters["fired"]), (20, 2));
        assert_eq!(op.watermark_ms, Some(100));
        assert_eq!(op.distributions["latency_us"].count, 2);
    }
}
