//! Looks at the counters once a second and keeps what it saw: the rates of the last seconds, and a quarter of an hour
//! of history for whoever comes late. Workers only count; all of this is computed here.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering;
use std::time::Instant;

use hdrhistogram::Histogram;

use super::counts::{Counts, Rates};
use super::watched::Watched;
use crate::metrics::Snapshot;

/// Number of looks that rates and shares are of, less one.
const WINDOW: usize = 6;
/// Number of rows of history.
const ROWS: usize = 900;

/// What a value of several processes is of them together.
#[derive(Clone, Copy)]
pub(super) enum Whole {
    /// That of the process that is asked.
    Own,
    Sum,
    /// That of the process where it is largest: there is no telling the latency of all records from two percentiles.
    Most,
}

/// The columns of the history, in order.
pub(super) const COLUMNS: [(&str, Whole); 8] = [
    ("time_ms", Whole::Own),
    ("records_per_second", Whole::Sum),
    ("p50_seconds", Whole::Most),
    ("p99_seconds", Whole::Most),
    ("watermark_gap_seconds", Whole::Most),
    ("checkpoint_seconds", Whole::Most),
    ("state_bytes", Whole::Sum),
    ("pending", Whole::Sum),
];

/// A row of the history.
pub(super) type Row = [Option<f64>; COLUMNS.len()];

/// What was seen of the job so far.
pub(super) struct Sampler {
    looks: VecDeque<Counts>,
    /// Whether state was full, at each of these looks.
    full: VecDeque<bool>,
    latency: Histogram<u64>,
    /// Of the last seconds, by operator.
    pub(super) rates: BTreeMap<String, Rates>,
    /// Records that the sources read, per second, in the last seconds.
    pub(super) records_per_second: f64,
    pub(super) rows: VecDeque<Row>,
}

impl Sampler {
    pub(super) fn new(watched: &Watched) -> Self {
        Self {
            looks: VecDeque::new(),
            full: VecDeque::new(),
            latency: watched.process.metrics.latency(),
            rates: BTreeMap::new(),
            records_per_second: 0.0,
            rows: VecDeque::new(),
        }
    }

    /// Returns whether state was full in the last seconds. It is again and again, and not in between, where it is what holds
    /// sources back.
    pub(super) fn state_was_full(&self) -> bool {
        self.full.contains(&true)
    }

    /// Looks at the job, at `now`.
    pub(super) fn look(&mut self, watched: &Watched, snapshot: &Snapshot, now: Instant) {
        let counts = Counts::of(&snapshot.operators, now);
        let read = |rates: &BTreeMap<String, Rates>| {
            let sources = snapshot.operators.iter().filter(|operator| operator.kind == "source");
            sources.filter_map(|source| rates.get(&source.name)).map(|rates| rates.out_per_second).sum::<f64>()
        };
        let last_second = self.looks.back().map(|before| read(&counts.since(before)));
        if let Some(earliest) = self.looks.front() {
            self.rates = counts.since(earliest);
            self.records_per_second = read(&self.rates);
        }
        if self.looks.len() >= WINDOW {
            self.looks.pop_front();
            self.full.pop_front();
        }
        self.looks.push_back(counts);
        let state = &watched.process.progress.state;
        self.full.push_back(state.iter().any(|state| state.full.load(Ordering::Relaxed)));
        let latency = watched.process.metrics.latency();
        let of_this_second = since(&latency, &self.latency);
        self.latency = latency;
        let quantile = |quantile: f64| {
            let is_known = !of_this_second.is_empty();
            is_known.then(|| of_this_second.value_at_quantile(quantile) as f64 / 1e6)
        };
        if self.rows.len() >= ROWS {
            self.rows.pop_front();
        }
        self.rows.push_back([
            Some(snapshot.now_ms as f64),
            last_second,
            quantile(0.5),
            quantile(0.99),
            gap_seconds(snapshot),
            last_checkpoint_seconds(watched),
            Some(snapshot.state_bytes as f64),
            Some(snapshot.pending as f64),
        ]);
    }
}

/// Returns the values that were recorded since `earlier`.
fn since(now: &Histogram<u64>, earlier: &Histogram<u64>) -> Histogram<u64> {
    let mut since = now.clone();
    // Counts only grow. If they did not, all of them are shown and none is lost.
    if since.subtract(earlier).is_err() {
        return now.clone();
    }
    since
}

/// Returns how far the sink that is furthest behind is behind the clock. Without a sink that has a watermark, nothing.
fn gap_seconds(snapshot: &Snapshot) -> Option<f64> {
    let sinks = snapshot.operators.iter().filter(|operator| operator.kind == "sink");
    let watermark = sinks.filter_map(|sink| sink.watermark_ms).min()?;
    gap_of(snapshot.now_ms, watermark)
}

/// Returns the seconds from a watermark to the clock; `None` at the end of input, which is no time.
pub(super) fn gap_of(now_ms: i64, watermark_ms: i64) -> Option<f64> {
    (watermark_ms != i64::MAX && watermark_ms != i64::MIN).then(|| now_ms.saturating_sub(watermark_ms) as f64 / 1000.0)
}

fn last_checkpoint_seconds(watched: &Watched) -> Option<f64> {
    let last = watched.process.progress.written.history.last_committed();
    last.map(|(began, committed)| committed.since(began).as_secs_f64())
}
