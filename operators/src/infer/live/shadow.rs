//! A version that scores what the primary one has scored, on a thread of its own: its scores are compared, and never used.
//!
//! The thread has a bounded queue. What does not fit is dropped and counted, so that a slow shadow never holds the
//! primary version up.

use std::sync::{Arc, Mutex};

use crossbeam_channel::{Receiver, Sender};
use serde_json::{Value, json};
use tidemill_engine::locks::lock;
use tidemill_engine::threads;

use super::route::Placed;
use crate::infer::element::Elements;
use crate::infer::loaded::Loaded;
use crate::infer::tensor::Tensor;
use crate::infer::work::Work;

/// Number of batches that may wait for the shadow.
const QUEUE: usize = 64;

/// Rows that the primary version has scored.
pub(in crate::infer) struct Copied {
    pub(in crate::infer) inputs: Vec<Tensor>,
    /// The score of each row; NaN where the primary version has none.
    pub(in crate::infer) scores: Vec<f32>,
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
    /// The last reason for which it failed.
    reason: Option<String>,
}

struct Running {
    version: Placed,
    queue: Sender<Copied>,
    compared: Arc<Mutex<Compared>>,
}

/// The thread of the shadow, if there is a shadow.
#[derive(Default)]
pub(super) struct ShadowThread(Mutex<Option<Running>>);

impl ShadowThread {
    /// Returns whether this version is the one that scores.
    pub(super) fn runs(&self, version: usize) -> bool {
        lock(&self.0).as_ref().is_some_and(|running| running.version.index == version)
    }

    /// Ends the shadow, if there is one.
    pub(super) fn end(&self) {
        *lock(&self.0) = None;
    }

    /// Makes a version the shadow; `column` is that of its score.
    pub(super) fn begin(&self, version: Placed, loaded: Loaded, column: usize) {
        let mut running = lock(&self.0);
        let (queue, rows) = crossbeam_channel::bounded(QUEUE);
        let compared = Arc::<Mutex<Compared>>::default();
        let result = Arc::clone(&compared);
        // It ends when its queue has no sender any more.
        let work = move || score(loaded, column, &rows, &result);
        match threads::spawn("shadow".to_owned(), work) {
            Ok(_) => *running = Some(Running { version, queue, compared }),
            Err(error) => tracing::warn!(%error, "no thread can be started for the shadow model"),
        }
    }

    /// Hands rows to the shadow, if it has room for them.
    pub(super) fn offer(&self, copied: Copied) {
        if let Some(running) = &*lock(&self.0) {
            let rows = copied.scores.len() as u64;
            if running.queue.try_send(copied).is_err() {
                lock(&running.compared).dropped += rows;
            }
        }
    }

    /// Returns the number of rows that the shadow has scored, and of those that it has not, among those that it was given.
    pub(super) fn counts(&self) -> (u64, u64) {
        let running = lock(&self.0);
        running.as_ref().map_or((0, 0), |running| {
            let compared = lock(&running.compared);
            (compared.rows, compared.failed)
        })
    }

    pub(super) fn status(&self) -> Value {
        let running = lock(&self.0);
        let Some(Running { version, compared, .. }) = &*running else { return Value::Null };
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
            "error": compared.reason,
        })
    }
}

fn score(mut loaded: Loaded, column: usize, queue: &Receiver<Copied>, result: &Mutex<Compared>) {
    threads::step_back();
    let mut outputs = Work::outputs_of(&**loaded.source());
    while let Some(Copied { inputs, scores }) = threads::receive(queue) {
        let rows = scores.len();
        let run = loaded.run(rows, &inputs, &mut outputs);
        let mut compared = lock(result);
        let found = match (&run, outputs.first().map(|output| &output.elements)) {
            (Ok(()), Some(Elements::F32(found))) if rows > 0 => found,
            _ => {
                compared.failed += rows as u64;
                compared.reason = run.err().map(|error| error.to_string());
                continue;
            }
        };
        let columns = found.len() / rows;
        for (primary, own) in scores.iter().zip(found.iter().skip(column).step_by(columns.max(1))) {
            let difference = f64::from(*own) - f64::from(*primary);
            if difference.is_finite() {
                compared.rows += 1;
                compared.difference += difference;
                compared.absolute += difference.abs();
                compared.largest = compared.largest.max(difference.abs());
            } else {
                compared.failed += 1;
            }
        }
    }
}
