//! The metrics of all operators of a process, and their sums over its workers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::locks::lock;
use hdrhistogram::Histogram;

use super::activity::Spent;
#[cfg(feature = "http")]
use super::hot_keys::{HotKeysOf, Hottest};
use super::lateness::Jumps;
use super::operator::OperatorMetrics;
use super::partitions::PartitionMetrics;
use super::snapshot::{OperatorSnapshot, WorkerSnapshot};
#[cfg(feature = "http")]
use super::values::Distribution;
use super::values::{Counter, Percentiles};

/// All metrics of a process.
#[derive(Debug, Default)]
pub struct Metrics {
    operators: Mutex<Vec<Arc<OperatorMetrics>>>,
    jumps: Arc<Jumps>,
}

impl Metrics {
    /// Registers an operator of one worker, and returns its metrics.
    pub fn operator(&self, name: &str, kind: &'static str, worker: usize) -> Arc<OperatorMetrics> {
        let metrics = Arc::new(OperatorMetrics::new(name, kind, worker, Arc::clone(&self.jumps)));
        lock(&self.operators).push(Arc::clone(&metrics));
        metrics
    }

    #[cfg(feature = "http")]
    pub(super) fn operators(&self) -> std::sync::MutexGuard<'_, Vec<Arc<OperatorMetrics>>> {
        lock(&self.operators)
    }

    /// Returns how long records took from the source to a sink, microseconds, over all sinks.
    #[cfg(feature = "http")]
    pub(crate) fn latency(&self) -> Histogram<u64> {
        let name = "latency_us";
        let mut all = Distribution::new(name).lock().clone();
        for sink in self.operators().iter().filter(|operator| operator.kind == "sink") {
            let more = sink.more();
            for (_, latency) in more.distributions.iter().filter(|(known, _)| *known == name) {
                all.add(&*latency.lock()).unwrap_or_else(|e| tracing::warn!(%e, "histograms differ"));
            }
        }
        all
    }

    /// Returns the keys with most records of each operator that has keys, and has them counted for some more seconds.
    #[cfg(feature = "http")]
    pub(crate) fn hot_keys(&self) -> Vec<HotKeysOf> {
        let mut names: Vec<String> = Vec::new();
        let mut workers: BTreeMap<String, Vec<(usize, Hottest)>> = BTreeMap::new();
        for one in self.operators().iter().filter(|operator| operator.kind == "keyed") {
            one.hot_keys.listen();
            let of_workers = workers.entry(one.name.clone()).or_insert_with(|| {
                names.push(one.name.clone());
                Vec::new()
            });
            of_workers.push((one.worker, one.hot_keys.hottest()));
        }
        names.iter().map(|name| HotKeysOf::of(name, workers.remove(name).unwrap_or_default())).collect()
    }

    /// Lets a second of what somebody looks at pass.
    #[cfg(feature = "http")]
    pub(crate) fn next_second(&self) {
        self.operators().iter().for_each(|operator| operator.hot_keys.next_second());
    }

    /// Returns all operators as they are now, each added up over its workers, in the order they were built.
    #[must_use]
    pub fn snapshot(&self) -> Vec<OperatorSnapshot> {
        let operators = lock(&self.operators);
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
                state_bytes: None,
                counters: BTreeMap::new(),
                gauges: BTreeMap::new(),
                distributions: BTreeMap::new(),
                details: BTreeMap::new(),
                dead_letters_by_reason: BTreeMap::new(),
                user_counters: BTreeMap::new(),
                per_worker: Vec::new(),
                partitions: Vec::new(),
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
        ];
        let Spent { in_turn: turn_ns, busy: busy_ns, idle: idle_ns, backpressured: backpressured_ns } =
            operator.times.read();
        let times = [("busy_ns", busy_ns), ("idle_ns", idle_ns), ("backpressured_ns", backpressured_ns)];
        let more = operator.more();
        let counted = |(name, counter): (&'static str, &Counter)| (name, counter.get());
        let own = more.counters.iter().map(|(name, counter)| counted((*name, counter)));
        for (name, value) in common.into_iter().map(counted).chain(times).chain(own) {
            *self.snapshot.counters.entry(name.to_owned()).or_default() += value;
        }
        for (reason, count) in operator.reasons() {
            *self.snapshot.dead_letters_by_reason.entry(reason).or_default() += count;
        }
        self.snapshot.per_worker.push(WorkerSnapshot {
            worker: operator.worker,
            records_in: operator.records_in.get(),
            records_out: operator.records_out.get(),
            busy_ns,
            turn_ns,
            idle_ns,
            backpressured_ns,
        });
        for (name, counter) in &more.user_counters {
            *self.snapshot.user_counters.entry((*name).to_owned()).or_default() += counter.get();
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
        self.snapshot.partitions.extend(more.partitions.iter().map(PartitionMetrics::snapshot));
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
        assert_eq!(
            op.per_worker.iter().map(|worker| (worker.worker, worker.records_in)).collect::<Vec<_>>(),
            [(0, 10), (1, 10)]
        );
    }
}
