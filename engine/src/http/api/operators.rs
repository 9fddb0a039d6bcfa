//! `/api/v1/operators`: each operator, added up over the workers of this process.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::http::counts::WorkerRates;
use crate::http::sampler::gap_of;
use crate::http::shown::Shown;
use crate::locks::lock;
use crate::metrics::{OperatorSnapshot, Percentiles, Snapshot};

#[derive(Serialize)]
pub(in crate::http) struct Operators {
    now_ms: i64,
    operators: Vec<Operator>,
}

#[derive(Serialize)]
struct Operator {
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
    per_worker: Vec<WorkerRates>,
    counters: BTreeMap<String, u64>,
    gauges: BTreeMap<String, i64>,
    distributions: BTreeMap<String, Percentiles>,
    details: BTreeMap<String, Vec<Value>>,
    dead_letters_by_reason: BTreeMap<String, u64>,
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
