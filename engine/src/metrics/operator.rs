//! The metrics of one operator on one worker.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::activity::{Activity, Times};
#[cfg(feature = "http")]
use super::hot_keys::HotKeys;
use super::lateness::{Jump, Jumps, LateShare};
use super::partitions::PartitionMetrics;
use super::reasons::Reasons;
use super::slow::Slow;
use super::values::{Counter, Distribution, Gauge};
use crate::locks::lock;
use crate::place::AtOperator;
use crate::time::EventTime;

/// The metrics of one operator on one worker.
#[derive(Debug)]
pub struct OperatorMetrics {
    /// The operator's name in the job.
    pub name: String,
    /// The kind of operator: `source`, `keyed`, `batch` (models and lookups), `sink`, `map`, …
    pub kind: &'static str,
    /// Index of the worker that it runs on.
    pub worker: usize,
    /// Number of records that came in.
    pub records_in: Counter,
    /// Number of records that went out.
    pub records_out: Counter,
    /// Number of records that were behind the watermark when they came. For a source these are behind its own
    /// watermark and are shown as `behind_watermark`: only the operators downstream decide whether they are late.
    pub late: Counter,
    /// Number of dead letters.
    pub dead_letters: Counter,
    /// Watermark of the operator, ms since the Unix epoch.
    pub watermark: Gauge,
    /// The keys with most records, of an operator that has keys.
    #[cfg(feature = "http")]
    pub(crate) hot_keys: HotKeys,
    pub(super) times: Times,
    reasons: Reasons,
    /// The name, as the place of a thread has it.
    place: Arc<str>,
    slow: Slow,
    late_share: LateShare,
    jumps: Arc<Jumps>,
    more: Mutex<More>,
}

#[derive(Debug, Default)]
pub(super) struct More {
    pub(super) counters: Vec<(&'static str, Counter)>,
    /// Those that the program's logic has asked for by name.
    pub(super) user_counters: Vec<(&'static str, Counter)>,
    pub(super) gauges: Vec<(&'static str, Gauge)>,
    pub(super) distributions: Vec<(&'static str, Distribution)>,
    pub(super) details: BTreeMap<&'static str, serde_json::Value>,
    pub(super) partitions: Vec<PartitionMetrics>,
}

/// One turn of an operator, which is busy until this is dropped. Meanwhile the log names the operator.
pub(crate) struct Turn {
    metrics: Arc<OperatorMetrics>,
    after: Activity,
    /// Gets the time of the turn, in microseconds.
    times: Option<Distribution>,
    _place: AtOperator,
}

impl Turn {
    /// Says what the operator does from the end of this turn until the next one; it is idle if this is not called.
    pub(crate) fn then(&mut self, after: Activity) {
        self.after = after;
    }

    /// Records how long this turn takes, in microseconds.
    pub(crate) fn record(&mut self, times: &Distribution) {
        self.times = Some(times.clone());
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let took = self.metrics.times.change(self.after);
        self.metrics.slow.turn(took);
        if let Some(times) = &self.times {
            times.record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        }
    }
}

impl OperatorMetrics {
    pub(super) fn new(name: &str, kind: &'static str, worker: usize, jumps: Arc<Jumps>) -> Self {
        let watermark = Gauge::default();
        watermark.set(i64::MIN);
        Self {
            name: name.to_owned(),
            kind,
            worker,
            records_in: Counter::default(),
            records_out: Counter::default(),
            late: Counter::default(),
            dead_letters: Counter::default(),
            watermark,
            #[cfg(feature = "http")]
            hot_keys: HotKeys::default(),
            times: Times::begin(),
            reasons: Reasons::default(),
            place: name.into(),
            slow: Slow::default(),
            late_share: LateShare::default(),
            jumps,
            more: Mutex::default(),
        }
    }

    /// Begins a turn of the operator: the time until the guard is dropped counts as busy.
    pub(crate) fn turn(self: &Arc<Self>) -> Turn {
        self.times.change(Activity::Busy);
        Turn { metrics: Arc::clone(self), after: Activity::Idle, times: None, _place: AtOperator::enter(&self.place) }
    }

    /// Counts a dead letter. Those that a source or an operator emits are counted when they are emitted.
    pub fn count_dead_letter(&self, reason: &str) {
        self.dead_letters.add(1);
        self.reasons.count(reason);
    }

    /// Returns the number of dead letters by the class of their reason.
    pub(super) fn reasons(&self) -> BTreeMap<String, u64> {
        self.reasons.counts()
    }

    /// Logs a batch if it was slow: it ran for `ran`, after it had waited for `queued`.
    pub(crate) fn ran_batch(&self, ran: Duration, queued: Duration, records: usize) {
        self.slow.batch(ran, queued, records);
    }

    /// Counts that of `of` records that came in `late` were late. When most are late, it logs a warning with the
    /// likely cause.
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
                "most records are late: the watermark of this source made the largest step, by a record of this event time; set `max_ahead` to keep records of the future out"
            ),
            None => tracing::warn!(operator, worker, late, of, watermark, "most records are late"),
        }
    }

    /// Records that the watermark of this source moved because of a batch whose latest event time is `by`.
    pub(crate) fn moved(&self, from: EventTime, to: EventTime, by: EventTime) {
        self.jumps.note(from, to, || Jump { source: self.name.clone(), from, to, by });
    }

    pub(super) fn more(&self) -> MutexGuard<'_, More> {
        lock(&self.more)
    }

    /// Registers a counter of this operator's own, e.g. `batches`.
    pub fn counter(&self, name: &'static str) -> Counter {
        let counter = Counter::default();
        self.more().counters.push((name, counter.clone()));
        counter
    }

    /// Registers a counter of the program's own logic.
    pub(super) fn user_counter(&self, name: &'static str) -> Counter {
        let counter = Counter::default();
        self.more().user_counters.push((name, counter.clone()));
        counter
    }

    /// Registers a gauge of this operator's own.
    pub fn gauge(&self, name: &'static str) -> Gauge {
        let gauge = Gauge::default();
        self.more().gauges.push((name, gauge.clone()));
        gauge
    }

    /// Registers a distribution of this operator's own; the name ends in its unit, e.g. `latency_us`.
    pub fn distribution(&self, name: &'static str) -> Distribution {
        let distribution = Distribution::new(name);
        self.more().distributions.push((name, distribution.clone()));
        distribution
    }

    /// Registers a partition of this source, e.g. `topic/3`.
    pub fn partition(&self, name: &str) -> PartitionMetrics {
        let partition = PartitionMetrics::new(name);
        self.more().partitions.push(partition.clone());
        partition
    }

    /// Sets a further detail of this operator for the status page; it replaces the previous value under `name`.
    pub fn detail(&self, name: &'static str, value: serde_json::Value) {
        self.more().details.insert(name, value);
    }
}
