//! A version that scores what the primary one has scored, on a thread of its own: its scores are compared, and never used.
//!
//! The thread has a bounded queue. What does not fit is dropped and counted, so that a slow shadow never holds the
//! primary version up.

use std::sync::{Arc, Mutex};

use crossbeam_channel::{Receiver, Sender};
use serde_json::{Value, json};
use tidemill_engine::locks::lock;
use tidemill_engine::threads;

use super::checks;
use super::route::Placed;
use crate::infer::backend::RunError;
use crate::infer::element::Elements;
use crate::infer::loaded::{Loaded, outputs_of, part_of};
use crate::infer::tensor::Tensor;

/// Number of batches that may wait for the shadow.
const QUEUE: usize = 64;

/// Rows that the primary version has scored.
pub(in crate::infer) struct Copied {
    /// The index of the version that they were written for.
    pub(in crate::infer) version: usize,
    pub(in crate::infer) inputs: Vec<Tensor>,
    /// The score of each row; NaN where the primary version has none.
    pub(in crate::infer) scores: Vec<f32>,
    /// Number of records that the primary version has scored, and that the rules of this one refuse.
    pub(in crate::infer) refused: u64,
}

/// What came out of the comparison.
#[derive(Debug, Default)]
struct Compared {
    /// Number of rows that both have scored.
    rows: u64,
    /// Number of rows that the shadow did not score.
    failed: u64,
    /// Number of rows that found no place in the queue.
    dropped: u64,
    /// Sum of the shadow's score minus the primary one's.
    difference: f64,
    absolute: f64,
    largest: f64,
    /// Number of rows for which only one of both is above the threshold.
    disagreed: u64,
    /// The last reason for which it failed.
    reason: Option<String>,
}

struct Running {
    version: Placed,
    threshold: Option<f64>,
    queue: Sender<Copied>,
    compared: Arc<Mutex<Compared>>,
}

/// The thread of the shadow, if there is a shadow.
#[derive(Default)]
pub(super) struct ShadowThread(Mutex<Option<Running>>);

impl ShadowThread {
    /// Returns whether this version is the one that scores, with this threshold of an alert.
    pub(super) fn runs(&self, version: usize, threshold: Option<f64>) -> bool {
        lock(&self.0).as_ref().is_some_and(|running| running.version.index == version && running.threshold == threshold)
    }

    /// Ends the shadow, if there is one.
    pub(super) fn end(&self) {
        *lock(&self.0) = None;
    }

    /// Makes a version the shadow; `column` is that of its score. A score above `threshold` is an alert.
    pub(super) fn begin(&self, version: Placed, loaded: Loaded, column: usize, threshold: Option<f64>) {
        let mut running = lock(&self.0);
        let (queue, rows) = crossbeam_channel::bounded(QUEUE);
        let compared = Arc::<Mutex<Compared>>::default();
        let result = Arc::clone(&compared);
        // It ends when its queue has no sender any more.
        let work = move || score(loaded, (column, threshold), &rows, &result);
        match threads::spawn("shadow".to_owned(), work) {
            Ok(_) => *running = Some(Running { version, threshold, queue, compared }),
            Err(error) => tracing::warn!(%error, "no thread can be started for the shadow model"),
        }
    }

    /// Hands rows to the shadow, if it has room for them.
    pub(super) fn offer(&self, copied: Copied) {
        // Another version may have become the shadow since the batch began.
        if let Some(running) = lock(&self.0).as_ref().filter(|running| running.version.index == copied.version) {
            let rows = copied.scores.len() as u64;
            if running.queue.try_send(copied).is_err() {
                lock(&running.compared).dropped += rows;
            }
        }
    }

    /// Returns what came out of the comparison of the rows that it was given.
    pub(super) fn counts(&self) -> checks::Compared {
        let running = lock(&self.0);
        running.as_ref().map_or_else(checks::Compared::default, |running| {
            let Compared { rows, failed, disagreed, .. } = *lock(&running.compared);
            checks::Compared { scored: rows, failed, disagreed }
        })
    }

    pub(super) fn status(&self) -> Value {
        let running = lock(&self.0);
        let Some(Running { version, threshold, compared, .. }) = &*running else { return Value::Null };
        let compared = lock(compared);
        let mean = |sum: f64| (compared.rows > 0).then(|| sum / compared.rows as f64);
        json!({
            "model": version.info.to_string(),
            "records": compared.rows,
            "failed": compared.failed,
            "dropped": compared.dropped,
            "mean_difference": mean(compared.difference),
            "mean_absolute_difference": mean(compared.absolute),
            "largest_difference": compared.largest,
            "disagreed": threshold.map(|_| compared.disagreed),
            "error": compared.reason,
        })
    }
}

fn score(
    mut loaded: Loaded,
    (column, threshold): (usize, Option<f64>),
    queue: &Receiver<Copied>,
    result: &Mutex<Compared>,
) {
    threads::step_back(threads::Priority::Lowest);
    while let Some(Copied { version: _, inputs, scores, refused }) = threads::receive(queue) {
        lock(result).failed += refused;
        if scores.is_empty() {
            continue;
        }
        let mut own = run(&mut loaded, column, scores.len(), &inputs);
        if let (Err(RunError::Batch(_)), true) = (&own, scores.len() > 1) {
            // A record that is at fault costs itself.
            let alone = |row: usize| run(&mut loaded, column, 1, &part_of(&inputs, &[row]));
            own = Ok((0..scores.len()).map(alone).map(|score| score.map_or(f32::NAN, |score| score[0])).collect());
        }
        let mut compared = lock(result);
        match own {
            Ok(own) => scores.iter().zip(own).for_each(|(primary, own)| compared.add(*primary, own, threshold)),
            Err(error) => {
                compared.failed += scores.len() as u64;
                compared.reason = Some(error.to_string());
            }
        }
    }
}

/// Returns the score of each row.
fn run(loaded: &mut Loaded, column: usize, rows: usize, inputs: &[Tensor]) -> Result<Vec<f32>, RunError> {
    let mut outputs = outputs_of(&**loaded.source());
    loaded.run(rows, inputs, &mut outputs)?;
    let Some(Elements::F32(found)) = outputs.first().map(|output| &output.elements) else {
        return Err(RunError::Unavailable("its first output is not f32".to_owned()));
    };
    let columns = (found.len() / rows.max(1)).max(1);
    let scores: Vec<f32> = found.iter().skip(column).step_by(columns).copied().collect();
    if scores.len() == rows { Ok(scores) } else { Err(RunError::Unavailable(format!("it has no column {column}"))) }
}

impl Compared {
    /// Adds a row. One that the primary version did not score says nothing of the shadow.
    fn add(&mut self, primary: f32, own: f32, threshold: Option<f64>) {
        if !own.is_finite() {
            self.failed += 1;
        } else if primary.is_finite() {
            let difference = f64::from(own) - f64::from(primary);
            self.rows += 1;
            self.difference += difference;
            self.absolute += difference.abs();
            self.largest = self.largest.max(difference.abs());
            let is_alert = |score: f32| threshold.is_some_and(|threshold| f64::from(score) > threshold);
            self.disagreed += u64::from(is_alert(primary) != is_alert(own));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_primary_version_did_not_score_is_not_the_shadows_failure() {
        let mut compared = Compared::default();
        for (primary, own) in [(0.5, 0.75), (f32::NAN, 0.5), (0.5, f32::NAN), (1.0, 0.5)] {
            compared.add(primary, own, Some(0.6));
        }
        assert_eq!((compared.rows, compared.failed, compared.difference, compared.largest), (2, 1, -0.25, 0.5));
        assert_eq!(compared.disagreed, 2);
    }
}
