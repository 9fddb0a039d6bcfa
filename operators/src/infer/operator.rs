//! Scoring a stream in batches, on the worker the records are on.

use std::error::Error;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};
use std::vec::Drain;

use serde::{Deserialize, Serialize};
use tidemill_engine::metrics::{Counter, Distribution, OperatorMetrics};
use tidemill_engine::shell::{BatchLogic, BatchOutput};
use tidemill_engine::{Data, DeadLetter, JobError, Record, Stream};

use super::features::Features;
use super::model::{Model, ModelError, Scorer};

/// How records are gathered into batches, and what becomes of those that cannot be scored.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InferSettings {
    /// Records of a batch at most; default 64.
    pub max_batch_size: NonZeroUsize,
    /// How long a record waits at most for its batch to fill while the worker has other work;
    /// default 1 ms. It never waits when the worker has nothing else to do.
    #[serde(with = "humantime_serde")]
    pub max_delay: Duration,
    /// The score of a record the model fails on, marked as a fallback. Without one such a record
    /// becomes a dead letter.
    pub fallback: Option<f32>,
}

impl Default for InferSettings {
    fn default() -> Self {
        let max_batch_size = NonZeroUsize::MIN.saturating_add(63);
        Self { max_batch_size, max_delay: Duration::from_millis(1), fallback: None }
    }
}

/// A record with its score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scored<D> {
    /// The record.
    pub record: D,
    /// Its score.
    pub score: f32,
    /// Whether the model failed on it and the score is the fallback.
    pub fallback: bool,
}

/// Adds inference to streams.
pub trait InferExt<'s, D: Data> {
    /// Scores each record with `model`, in batches.
    /// * Shapes: features `[n, width]` f32, `1 ≤ n ≤ max_batch_size`; one f32 score each.
    /// * Time, order: keeps event time and order; waits as [`InferSettings::max_delay`] says.
    /// * Guarantee: every record comes out once, as scored, fallback or dead letter; after a restore
    ///   records since the last checkpoint are scored again.
    ///
    /// # Errors
    /// When the name is taken or the model cannot be started.
    fn infer<F: Features>(
        self,
        name: &str,
        model: &Model,
        settings: &InferSettings,
        features: impl Fn(&D) -> &F + 'static,
    ) -> Result<Stream<'s, Scored<D>>, JobError>;
}

impl<'s, D: Data> InferExt<'s, D> for Stream<'s, D> {
    fn infer<F: Features>(
        self,
        name: &str,
        model: &Model,
        settings: &InferSettings,
        features: impl Fn(&D) -> &F + 'static,
    ) -> Result<Stream<'s, Scored<D>>, JobError> {
        self.batch(name, |metrics: &OperatorMetrics| {
            let failed = |source: ModelError| JobError::Operator { operator: name.to_owned(), source: source.into() };
            Ok(Infer {
                name: name.to_owned(),
                scorer: model.open(settings.max_batch_size.get()).map_err(failed)?,
                settings: settings.clone(),
                write: move |record: &D, row: &mut [f32]| features(record).write(row),
                rows: Vec::new(),
                scores: Vec::new(),
                failures: Vec::new(),
                fallbacks: metrics.counter("fallbacks"),
                model_ns: metrics.counter("model_ns"),
                batch_us: metrics.distribution("model_batch_us"),
                record: std::marker::PhantomData::<fn(D)>,
            })
        })
    }
}

struct Infer<D, W> {
    name: String,
    scorer: Scorer,
    settings: InferSettings,
    write: W,
    /// The tensor, reused from batch to batch.
    rows: Vec<f32>,
    scores: Vec<f32>,
    /// Rows the model failed on, with its reason.
    failures: Vec<(usize, String)>,
    fallbacks: Counter,
    model_ns: Counter,
    batch_us: Distribution,
    record: std::marker::PhantomData<fn(D)>,
}

impl<D, W> Infer<D, W> {
    /// Scores rows `from..to`. A failing batch is cut in halves until the bad rows are alone.
    fn score(&mut self, from: usize, to: usize) {
        let width = self.scorer.width();
        let before = self.scores.len();
        let result = self.scorer.score(&self.rows[from * width..to * width], &mut self.scores);
        let Err(error) = result else { return };
        self.scores.truncate(before);
        if to - from == 1 {
            self.failures.push((from, error.to_string()));
            self.scores.push(f32::NAN);
        } else {
            let middle = from + (to - from) / 2;
            self.score(from, middle);
            self.score(middle, to);
        }
    }
}

impl<D: Data, W: Fn(&D, &mut [f32]) + 'static> BatchLogic for Infer<D, W> {
    type In = D;
    type Out = Scored<D>;

    fn max_batch_size(&self) -> usize {
        self.settings.max_batch_size.get()
    }

    fn max_delay(&self) -> Duration {
        self.settings.max_delay
    }

    fn run(
        &mut self,
        batch: Drain<'_, Record<D>>,
        output: &mut BatchOutput<Scored<D>>,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        let records = batch.as_slice();
        let width = self.scorer.width();
        self.rows.resize(records.len() * width, 0.0);
        for (record, row) in records.iter().zip(self.rows.chunks_exact_mut(width)) {
            (self.write)(&record.data, row);
        }
        self.scores.clear();
        self.failures.clear();
        let count = records.len();
        let started = Instant::now();
        self.score(0, count);
        let took = started.elapsed();
        self.model_ns.add(took.as_nanos() as u64);
        self.batch_us.record(took.as_micros() as u64);

        let mut failures = self.failures.drain(..).peekable();
        for (index, (record, score)) in batch.zip(&self.scores).enumerate() {
            let failure = failures.next_if(|(at, _)| *at == index);
            match (failure, self.settings.fallback) {
                (None, _) => {
                    output.records.push(record.with(|record| Scored { record, score: *score, fallback: false }))
                }
                (Some(_), Some(fallback)) => {
                    self.fallbacks.add(1);
                    output.records.push(record.with(|record| Scored { record, score: fallback, fallback: true }));
                }
                (Some((_, reason)), None) => {
                    let origin = format!("{} at {}", self.name, record.event_time);
                    let content = format!("{:?}", record.data);
                    output
                        .dead_letters
                        .push(record.with(|_| DeadLetter::new(&self.name, origin, reason, content.as_bytes())));
                }
            }
        }
        Ok(())
    }
}
