//! `/api/v1/operators`: each operator, added up over the workers of this process.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::add_each;
use crate::http::counts::WorkerRates;
use crate::http::sampler::gap_of;
use crate::http::shown::Shown;
use crate::locks::lock;
use crate::metrics::{OperatorSnapshot, PartitionSnapshot, Percentiles, Snapshot};

#[derive(Serialize, Deserialize)]
pub(in crate::http) struct Operators {
    now_ms: i64,
    pub(in crate::http) operators: Vec<Operator>,
}

#[derive(Clone, Serialize, Deserialize)]
pub(in crate::http) struct Operator {
    name: String,
    kind: String,
    workers: usize,
    records_in: u64,
    records_out: u64,
    in_per_second: f64,
    out_per_second: f64,
    late: u64,
    dead_letters: u64,
    /// Shares of the last seconds, each of the worker with the largest; absent when not measured.
    busy: Option<f64>,
    backpressured: Option<f64>,
    idle: Option<f64>,
    watermark_ms: Option<i64>,
    watermark_gap_seconds: Option<f64>,
    /// Whether nothing can come any more; there is no watermark then.
    input_ended: bool,
    /// Records that wait at the operator; absent for one at which none can.
    queue: Option<i64>,
    /// Absent for an operator without state.
    state_bytes: Option<u64>,
    /// Of a source that reads partitions.
    partitions: Vec<PartitionSnapshot>,
    per_worker: Vec<WorkerRates>,
    counters: BTreeMap<String, u64>,
    gauges: BTreeMap<String, i64>,
    distributions: BTreeMap<String, Percentiles>,
    details: BTreeMap<String, Vec<Value>>,
    dead_letters_by_reason: BTreeMap<String, u64>,
}

impl Operators {
    /// Returns what an operator did on each worker.
    pub(in crate::http) fn rates(&self, name: &str) -> &[WorkerRates] {
        self.operators.iter().find(|operator| operator.name == name).map_or(&[], |operator| &operator.per_worker)
    }

    /// Adds the operators of another process, which has workers of its own.
    pub(in crate::http) fn add(&mut self, others: Self) {
        add_each(&mut self.operators, others.operators, |a, b| a.name == b.name, Operator::add);
    }
}

impl Operator {
    fn add(&mut self, other: Self) {
        let Self { name: _, kind: _, workers, records_in, records_out, in_per_second, out_per_second, late, .. } =
            other;
        self.workers += workers;
        self.records_in += records_in;
        self.records_out += records_out;
        self.in_per_second += in_per_second;
        self.out_per_second += out_per_second;
        self.late += late;
        self.dead_letters += other.dead_letters;
        let most = |own: Option<f64>, other: Option<f64>| own.into_iter().chain(other).reduce(f64::max);
        self.busy = most(self.busy, other.busy);
        self.backpressured = most(self.backpressured, other.backpressured);
        self.idle = most(self.idle, other.idle);
        // A process whose input has ended does not hold back the watermark; one without a watermark does.
        if self.input_ended {
            (self.watermark_ms, self.watermark_gap_seconds) = (other.watermark_ms, other.watermark_gap_seconds);
        } else if !other.input_ended {
            let (gap, other_gap) = (self.watermark_gap_seconds, other.watermark_gap_seconds);
            self.watermark_gap_seconds = gap.zip(other_gap).map(|(own, other)| own.max(other));
            self.watermark_ms = self.watermark_ms.zip(other.watermark_ms).map(|(own, other)| own.min(other));
        }
        self.input_ended &= other.input_ended;
        if let Some(records) = other.queue {
            *self.queue.get_or_insert(0) += records;
        }
        if let Some(bytes) = other.state_bytes {
            *self.state_bytes.get_or_insert(0) += bytes;
        }
        self.partitions.extend(other.partitions);
        self.per_worker.extend(other.per_worker);
        self.per_worker.sort_by_key(WorkerRates::worker);
        other.counters.into_iter().for_each(|(name, count)| *self.counters.entry(name).or_default() += count);
        other.gauges.into_iter().for_each(|(name, gauge)| *self.gauges.entry(name).or_default() += gauge);
        for (name, distribution) in other.distributions {
            self.distributions.entry(name).and_modify(|own| *own = slower(*own, distribution)).or_insert(distribution);
        }
        for (name, values) in other.details {
            let own = self.details.entry(name).or_default();
            let new: Vec<Value> = values.into_iter().filter(|value| !own.contains(value)).collect();
            own.extend(new);
        }
        let reasons = other.dead_letters_by_reason;
        reasons.into_iter().for_each(|(name, count)| *self.dead_letters_by_reason.entry(name).or_default() += count);
    }
}

/// Returns the percentiles of two processes: of each the larger one. The percentiles of all values are not known.
pub(in crate::http) fn slower(one: Percentiles, other: Percentiles) -> Percentiles {
    let count = one.count + other.count;
    let sum = one.mean * one.count as f64 + other.mean * other.count as f64;
    Percentiles {
        count,
        mean: if count == 0 { 0.0 } else { sum / count as f64 },
        p50: one.p50.max(other.p50),
        p99: one.p99.max(other.p99),
        p999: one.p999.max(other.p999),
        max: one.max.max(other.max),
    }
}

/// The counters that are fields of their own.
const FIELDS: [&str; 7] =
    ["records_in", "records_out", "late", "dead_letters", "busy_ns", "idle_ns", "backpressured_ns"];

pub(in crate::http) fn operators(shown: &Shown, snapshot: &Snapshot) -> Operators {
    let sampler = lock(&shown.sampler);
    let operator = |operator: &OperatorSnapshot| {
        let rates = sampler.rates.get(&operator.name).cloned().unwrap_or_default();
        let input_ended = operator.watermark_ms == Some(i64::MAX);
        let count = |name: &str| operator.counter(name);
        let own = operator.counters.iter().filter(|(name, _)| !FIELDS.contains(&name.as_str()));
        Operator {
            name: operator.name.clone(),
            kind: operator.kind.clone(),
            workers: operator.workers,
            records_in: count("records_in"),
            records_out: count("records_out"),
            in_per_second: rates.in_per_second,
            out_per_second: rates.out_per_second,
            late: count("late"),
            dead_letters: count("dead_letters"),
            busy: rates.busy,
            backpressured: rates.backpressured,
            idle: rates.idle,
            watermark_ms: operator.watermark_ms.filter(|_| !input_ended),
            watermark_gap_seconds: operator.watermark_ms.and_then(|watermark| gap_of(snapshot.now_ms, watermark)),
            input_ended,
            queue: operator.queue(),
            state_bytes: operator.state_bytes,
            partitions: operator.partitions.clone(),
            per_worker: rates.per_worker,
            counters: own.map(|(name, value)| (name.clone(), *value)).collect(),
            gauges: operator.gauges.clone(),
            distributions: operator.distributions.clone(),
            details: operator.details.clone(),
            dead_letters_by_reason: operator.dead_letters_by_reason.clone(),
        }
    };
    Operators { now_ms: snapshot.now_ms, operators: snapshot.operators.iter().map(operator).collect() }
}
