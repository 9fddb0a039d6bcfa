//! What the operators have counted, and the rates and shares between two looks.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::cause::Share;
use crate::metrics::{OperatorSnapshot, WorkerSnapshot};

/// The counters of all operators on all workers of the process, at one time.
pub(super) struct Counts {
    at: Instant,
    of: BTreeMap<String, Vec<WorkerSnapshot>>,
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
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct WorkerRates {
    worker: usize,
    records_in: u64,
    in_per_second: f64,
    busy: f64,
    backpressured: f64,
    idle: f64,
    /// The part of `busy` in which the worker was in the operator.
    in_turn: f64,
}

impl WorkerRates {
    pub(super) fn share(&self) -> Share {
        let Self { worker, busy, in_turn, backpressured, .. } = *self;
        Share { worker, busy, in_turn, backpressured }
    }
}

impl WorkerRates {
    pub(super) fn worker(&self) -> usize {
        self.worker
    }
}

impl Counts {
    pub(super) fn of(operators: &[OperatorSnapshot], at: Instant) -> Self {
        Self { at, of: operators.iter().map(|one| (one.name.clone(), one.per_worker.clone())).collect() }
    }

    /// Returns what each operator has done since `earlier`, by name.
    pub(super) fn since(&self, earlier: &Self) -> BTreeMap<String, Rates> {
        let seconds = self.at.saturating_duration_since(earlier.at).max(Duration::from_millis(1)).as_secs_f64();
        let per_second = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
        let rates = |(name, workers): (&String, &Vec<WorkerSnapshot>)| {
            let mut all = Rates::default();
            for now in workers {
                // One that was built meanwhile began with 0.
                let earlier = earlier.of.get(name).into_iter().flatten().find(|before| before.worker == now.worker);
                let before = |count: fn(&WorkerSnapshot) -> u64| earlier.map_or(0, count);
                let share = |now, count| (per_second(now, before(count)) / 1e9).min(1.0);
                let rates = WorkerRates {
                    worker: now.worker,
                    records_in: now.records_in,
                    in_per_second: per_second(now.records_in, before(|count| count.records_in)),
                    busy: share(now.busy_ns, |count: &WorkerSnapshot| count.busy_ns),
                    backpressured: share(now.backpressured_ns, |count| count.backpressured_ns),
                    idle: share(now.idle_ns, |count| count.idle_ns),
                    in_turn: share(now.turn_ns, |count| count.turn_ns),
                };
                all.in_per_second += rates.in_per_second;
                all.out_per_second += per_second(now.records_out, before(|count| count.records_out));
                for (most, share) in [
                    (&mut all.busy, rates.busy),
                    (&mut all.backpressured, rates.backpressured),
                    (&mut all.idle, rates.idle),
                ] {
                    *most = Some(most.map_or(share, |most| most.max(share)));
                }
                all.per_worker.push(rates);
            }
            // Workers build their graphs in any order.
            all.per_worker.sort_by_key(|rates| rates.worker);
            (name.clone(), all)
        };
        self.of.iter().map(rates).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use crate::threads;

    #[test]
    fn rates_add_up_and_workers_come_in_their_order() {
        let (metrics, begun) = (Metrics::default(), threads::now());
        let one = metrics.operator("windows", "keyed", 1);
        let first = Counts::of(&metrics.snapshot(), begun);
        one.records_in.add(100);
        // Another worker builds its graph a little later.
        let two = metrics.operator("windows", "keyed", 0);
        two.records_in.add(300);
        two.records_out.add(10);
        let rates = Counts::of(&metrics.snapshot(), begun + Duration::from_secs(2)).since(&first);
        let Rates { in_per_second, out_per_second, per_worker, .. } = &rates["windows"];
        assert_eq!((*in_per_second, *out_per_second), (200.0, 5.0));
        assert_eq!(
            per_worker.iter().map(|rates| (rates.worker, rates.records_in)).collect::<Vec<_>>(),
            [(0, 300), (1, 100)]
        );
    }

    #[test]
    fn the_busiest_worker_counts() {
        let (metrics, begun) = (Metrics::default(), threads::now());
        let _operators = [0, 1].map(|worker| metrics.operator("windows", "keyed", worker));
        let at = |busy_ns: [u64; 2], at| {
            let mut snapshot = metrics.snapshot();
            for (worker, busy_ns) in snapshot[0].per_worker.iter_mut().zip(busy_ns) {
                (worker.busy_ns, worker.idle_ns, worker.backpressured_ns) = (busy_ns, 2_000_000_000 - busy_ns, 0);
            }
            Counts::of(&snapshot, at)
        };
        let rates = at([200_000_000, 1_800_000_000], begun + Duration::from_secs(2));
        let mut before = at([0, 0], begun);
        before.of.values_mut().flatten().for_each(|worker| worker.idle_ns = 0);
        let Rates { busy, idle, backpressured, .. } = &rates.since(&before)["windows"];
        assert_eq!((*busy, *idle, *backpressured), (Some(0.9), Some(0.9), Some(0.0)));
    }
}
