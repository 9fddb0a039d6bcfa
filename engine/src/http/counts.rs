//! What the operators have counted, and the rates and shares between two looks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::metrics::OperatorMetrics;

/// The counters of all operators on all workers of the process, at one time. Operators are only ever added, so the
/// same place is the same operator in each later look.
pub(super) struct Counts {
    at: Instant,
    of: Vec<Count>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    records_in: u64,
    records_out: u64,
    busy_ns: u64,
}

/// What an operator did between two looks.
#[derive(Clone, Debug, Default)]
pub(super) struct Rates {
    pub(super) in_per_second: f64,
    pub(super) out_per_second: f64,
    /// Shares of the time, each of the worker with the largest; absent when not measured.
    pub(super) busy: Option<f64>,
    pub(super) backpressured: Option<f64>,
    pub(super) idle: Option<f64>,
    pub(super) per_worker: Vec<WorkerRates>,
}

/// What an operator did on one worker.
#[derive(Clone, Debug, Serialize)]
pub(super) struct WorkerRates {
    worker: usize,
    records_in: u64,
    in_per_second: f64,
    busy: f64,
}

impl Counts {
    pub(super) fn of(operators: &[Arc<OperatorMetrics>], at: Instant) -> Self {
        let count = |operator: &Arc<OperatorMetrics>| Count {
            records_in: operator.records_in.get(),
            records_out: operator.records_out.get(),
            busy_ns: operator.busy_ns.get(),
        };
        Self { at, of: operators.iter().map(count).collect() }
    }

    /// Returns what each operator has done since `earlier`, by name. `operators` are those of this look.
    pub(super) fn since(&self, earlier: &Self, operators: &[Arc<OperatorMetrics>]) -> BTreeMap<String, Rates> {
        let seconds = self.at.saturating_duration_since(earlier.at).max(Duration::from_millis(1)).as_secs_f64();
        let mut rates: BTreeMap<String, Rates> = BTreeMap::new();
        for (at, (operator, now)) in operators.iter().zip(&self.of).enumerate() {
            // One that was built meanwhile began with 0.
            let before = earlier.of.get(at).copied().unwrap_or_default();
            let per_second = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
            let in_per_second = per_second(now.records_in, before.records_in);
            let busy = (per_second(now.busy_ns, before.busy_ns) / 1e9).min(1.0);
            let all = rates.entry(operator.name.clone()).or_default();
            all.in_per_second += in_per_second;
            all.out_per_second += per_second(now.records_out, before.records_out);
            all.busy = Some(all.busy.map_or(busy, |most| most.max(busy)));
            let worker = operator.worker;
            all.per_worker.push(WorkerRates { worker, records_in: now.records_in, in_per_second, busy });
        }
        // Workers build their graphs in any order.
        rates.values_mut().for_each(|rates| rates.per_worker.sort_by_key(|rates| rates.worker));
        rates
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use crate::threads;

    #[test]
    fn rates_add_up_and_the_busiest_worker_counts() {
        let (metrics, begun) = (Metrics::default(), threads::now());
        let one = metrics.operator("windows", "keyed", 0);
        let first = Counts::of(&metrics.operators(), begun);
        one.records_in.add(100);
        one.busy_ns.add(200_000_000);
        // Another worker builds its graph a little later.
        let two = metrics.operator("windows", "keyed", 1);
        two.records_in.add(300);
        two.records_out.add(10);
        two.busy_ns.add(1_800_000_000);
        let operators = metrics.operators();
        let rates = Counts::of(&operators, begun + Duration::from_secs(2)).since(&first, &operators);
        let Rates { in_per_second, out_per_second, busy, per_worker, .. } = &rates["windows"];
        assert_eq!((*in_per_second, *out_per_second, *busy), (200.0, 5.0, Some(0.9)));
        assert_eq!((per_worker.len(), per_worker[0].busy), (2, 0.1));
    }
}
