//! The size of batches: measured at the start, and adapted to the latency target.

use std::time::{Duration, Instant};

use half::{bf16, f16};
use serde::Serialize;
use tidemill_engine::shell::BatchTimes;

use super::backend::RunError;
use super::element::Elements;
use super::tensor::{Tensor, TensorSpec};

/// The measured cost of batches of each size, and the best size.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Calibration {
    pub(super) best: usize,
    pub(super) measured: Vec<Cost>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Cost {
    pub(super) batch_size: usize,
    pub(super) ns_per_record: u64,
}

/// The factor by which a larger batch must reduce the cost per record, because records wait longer for it.
const WORTH_WAITING: f64 = 0.97;
/// Minimum time, and minimum number of runs, for measuring each size.
const MEASURE: (Duration, usize) = (Duration::from_millis(8), 3);
/// The size used for a dimension of variable size.
const ANY: usize = 8;

/// Measures batches of 1, 2, 4 … `up_to` rows of made-up values.
#[expect(clippy::disallowed_methods, reason = "it measures this machine: in a simulation no time would ever pass")]
pub(super) fn calibrate(
    up_to: usize,
    specs: &[TensorSpec],
    mut run: impl FnMut(usize, &[Tensor]) -> Result<(), RunError>,
) -> Result<Calibration, RunError> {
    let powers = std::iter::successors(Some(1_usize), |size| size.checked_mul(2)).take_while(|size| *size < up_to);
    let mut measured = Vec::new();
    for batch_size in powers.chain([up_to]) {
        let inputs: Vec<Tensor> = specs.iter().map(|spec| made_up(spec, batch_size)).collect();
        run(batch_size, &inputs)?;
        let (mut times, began) = (Vec::new(), Instant::now());
        while times.len() < MEASURE.1 || began.elapsed() < MEASURE.0 {
            let started = Instant::now();
            run(batch_size, &inputs)?;
            times.push(started.elapsed());
        }
        times.sort_unstable();
        let median = times.get(times.len() / 2).copied().unwrap_or_default();
        let ns_per_record = u64::try_from(median.as_nanos()).unwrap_or(u64::MAX) / batch_size as u64;
        measured.push(Cost { batch_size, ns_per_record });
    }
    Ok(Calibration { best: best_of(&measured), measured })
}

/// Runs a full batch of made-up values.
pub(super) fn warm_up(
    rows: usize,
    specs: &[TensorSpec],
    mut run: impl FnMut(usize, &[Tensor]) -> Result<(), RunError>,
) -> Result<(), RunError> {
    let inputs: Vec<Tensor> = specs.iter().map(|spec| made_up(spec, rows)).collect();
    run(rows, &inputs)
}

/// Returns the smallest size that no larger size clearly improves on.
fn best_of(measured: &[Cost]) -> usize {
    let least = measured.iter().map(|cost| cost.ns_per_record).min().unwrap_or(0) as f64;
    let good = |cost: &&Cost| cost.ns_per_record as f64 * WORTH_WAITING <= least;
    measured.iter().find(good).map_or(1, |cost| cost.batch_size)
}

/// Returns rows that differ from each other, and are the same at each call.
pub(super) fn made_up(spec: &TensorSpec, rows: usize) -> Tensor {
    let shape: Vec<usize> = spec.shape.iter().map(|size| size.unwrap_or(ANY)).collect();
    let len = rows * shape.iter().product::<usize>();
    let mut state = 7_u64;
    // Knuth's MMIX generator; its upper bits are good enough to send rows down different branches of a tree.
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1_u64 << 24) as f32
    };
    let mut elements = Elements::zeros(spec.element, len);
    match &mut elements {
        Elements::F32(to) => to.fill_with(next),
        Elements::F64(to) => to.fill_with(|| next().into()),
        Elements::F16(to) => to.fill_with(|| f16::from_f32(next())),
        Elements::BF16(to) => to.fill_with(|| bf16::from_f32(next())),
        Elements::I64(to) => to.fill_with(|| i64::from(next() > 0.5)),
        Elements::I32(to) => to.fill_with(|| i32::from(next() > 0.5)),
        Elements::Bool(to) => to.fill_with(|| next() > 0.5),
        // Small integers are mostly codes, and 0 is one of them. Texts may be anything.
        _ => {}
    }
    Tensor { shape, elements }
}

/// Number of batches between two checks of the latency.
const LOOK_EVERY: usize = 64;

/// The maximum batch size that the latency target allows.
#[derive(Debug)]
pub(super) struct BatchLimit {
    now: usize,
    largest: usize,
    target: Option<Duration>,
    /// The batches since the last check, with their numbers of records.
    seen: Vec<(BatchTimes, usize)>,
}

impl BatchLimit {
    pub(super) fn new(largest: usize, target: Option<Duration>, calibration: Option<&Calibration>) -> Self {
        let fits = |target: Duration| {
            let cheap =
                |cost: &&Cost| u128::from(cost.ns_per_record) * cost.batch_size as u128 * 2 <= target.as_nanos();
            let sizes = calibration?.measured.iter().filter(|cost| cost.batch_size <= largest).filter(cheap);
            sizes.map(|cost| cost.batch_size).max()
        };
        let now = target.and_then(fits).unwrap_or(largest).max(1);
        Self { now, largest: largest.max(1), target, seen: Vec::with_capacity(LOOK_EVERY) }
    }

    pub(super) fn now(&self) -> usize {
        self.now
    }

    /// Records the times of a batch. Returns whether the size changed.
    pub(super) fn saw(&mut self, records: usize, times: BatchTimes) -> bool {
        let Some(target) = self.target else { return false };
        self.seen.push((times, records));
        if self.seen.len() < LOOK_EVERY {
            return false;
        }
        self.seen.sort_unstable_by_key(|(times, _)| times.total);
        let all: usize = self.seen.iter().map(|(_, records)| records).sum();
        let mut before = 0;
        let at_p99 = self.seen.iter().find(|(_, records)| {
            before += records;
            before * 100 >= all * 99
        });
        let (at_p99, _) = at_p99.copied().unwrap_or_default();
        let p99 = at_p99.total;
        let was_full = self.seen.iter().any(|(_, records)| *records >= self.now);
        let next = if p99 > target && at_p99.queued > p99 / 2 {
            // The threads do not keep up: larger batches score more records in the same time.
            self.now * 2
        } else if p99 > target && at_p99.ran > p99 / 4 {
            self.now * 3 / 4
        } else if was_full && p99 < target * 7 / 10 {
            self.now + (self.now / 8).max(1)
        } else {
            // The size also stays when other operators of the worker take the time: smaller batches would not help.
            self.now
        };
        self.seen.clear();
        let next = next.clamp(1, self.largest);
        std::mem::replace(&mut self.now, next) != next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::infer::element::ElementType;

    fn costs(measured: &[(usize, u64)]) -> Vec<Cost> {
        measured.iter().map(|&(batch_size, ns_per_record)| Cost { batch_size, ns_per_record }).collect()
    }

    #[test]
    fn the_smallest_of_the_good_sizes_is_the_best() {
        assert_eq!(best_of(&costs(&[(1, 5000), (2, 3000), (4, 1000), (8, 990), (16, 1500)])), 4);
        assert_eq!(best_of(&costs(&[(1, 5000), (2, 2500), (4, 1200), (8, 600)])), 8);
        assert_eq!(best_of(&costs(&[(1, 10)])), 1);
    }

    #[test]
    fn each_size_is_measured_on_rows_of_the_spec() {
        let specs = [TensorSpec::dynamic("x", ElementType::I64, [Some(3), None])];
        let mut sizes = Vec::new();
        let result = calibrate(6, &specs, |rows, inputs| {
            assert!(specs[0].holds(rows, &inputs[0]));
            sizes.push(rows);
            Ok(())
        });
        sizes.dedup();
        assert_eq!((sizes, result.unwrap().measured.len()), (vec![1, 2, 4, 6], 4));
    }

    /// Simulates a model that takes 1 ms and 10 µs a record.
    fn settle(mut limit: BatchLimit, queued: Duration) -> usize {
        for _ in 0..LOOK_EVERY * 200 {
            let size = limit.now();
            let ran = Duration::from_micros(1000 + 10 * size as u64);
            limit.saw(size, BatchTimes { total: ran + queued, queued, ran, ..BatchTimes::default() });
        }
        limit.now()
    }

    #[test]
    fn the_size_is_the_largest_that_holds_the_target() {
        let target = Some(Duration::from_millis(4));
        let size = settle(BatchLimit::new(1024, target, None), Duration::ZERO);
        assert!((150..=300).contains(&size), "{size}");
        let slow_start = settle(
            BatchLimit::new(1024, target, Some(&Calibration { best: 1, measured: costs(&[(1, 10)]) })),
            Duration::ZERO,
        );
        assert!((150..=300).contains(&slow_start), "{slow_start}");
        assert_eq!(settle(BatchLimit::new(1024, None, None), Duration::ZERO), 1024);
    }

    #[test]
    fn smaller_batches_do_not_make_the_rest_of_the_worker_faster() {
        let mut limit = BatchLimit::new(64, Some(Duration::from_micros(500)), None);
        for _ in 0..LOOK_EVERY * 50 {
            let ran = Duration::from_micros(4 * limit.now() as u64);
            let gathered = Duration::from_millis(2);
            limit.saw(limit.now(), BatchTimes { total: ran + gathered, gathered, ran, ..BatchTimes::default() });
        }
        assert_eq!(limit.now(), 64);
    }

    #[test]
    fn a_queue_calls_for_larger_batches() {
        let limit = BatchLimit::new(
            1024,
            Some(Duration::from_millis(40)),
            Some(&Calibration { best: 8, measured: costs(&[(8, 100)]) }),
        );
        assert_eq!(settle(limit, Duration::from_millis(80)), 1024);
    }
}
