//! The inference operator: scores a stream in batches. This is the part that runs on the worker.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;
use std::vec::Drain;

use serde::{Deserialize, Serialize};
use tidemill_engine::metrics::{Counter, Distribution, Gauge, OperatorMetrics};
use tidemill_engine::shell::{BatchLogic, BatchOutput, BatchTimes, Execution};
use tidemill_engine::threads;
use tidemill_engine::{Data, DeadLetter, Epoch, EventTime, JobError, Record, Stream};

use super::backend::{ModelInfo, ModelSource};
use super::codec::{Codec, InputRow, OutputRow};
use super::codecs::{FeatureCodec, KeyedCodec, TensorCodec};
use super::error::ModelError;
use super::features::Features;
use super::finite::Finite;
use super::ladder::{Ladder, Rungs};
use super::live::route::{Assigned, Route};
use super::live::{Copied, Fixed, Kept, Live, ModelRole, Router, Tally, bucket};
use super::loaded::outputs_of;
use super::models::Models;
use super::settings::{BatchSize, InferSettings};
use super::size::{BatchLimit, Calibration, calibrate, warm_up};
use super::spec::OddTotals;
use super::takes::Takes;
use super::tensor::Tensor;
use super::work::{Beside, Place, Work};
use crate::length::invalid;
use crate::pool::Retries;

/// A record with its score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scored<D, S = f32> {
    /// The record.
    pub record: D,
    /// Its score.
    pub score: S,
    /// The origin of the score.
    pub origin: ScoreOrigin,
    /// The model that produced the score; none for a default score.
    pub model: Option<Arc<ModelInfo>>,
    /// The part in scoring that the record was given: with a fallback or default score, that of the version that failed.
    pub role: ModelRole,
}

/// The origin of a score.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ScoreOrigin {
    /// The score of the model.
    Model,
    /// The score of the fallback model, because the model failed.
    FallbackModel,
    /// The default score, because all models failed.
    Default,
}

/// Methods that add inference to streams.
pub trait InferExt<'s, D: Data> {
    /// Scores each record with a model, in batches.
    /// * Shapes: features `[n, width]` f32, `1 ≤ n ≤ max_batch_size`; one f32 score per record.
    /// * Time, order: keeps the event time; keeps the order unless the settings of the pool allow otherwise; a record
    ///   waits for its batch as [`InferSettings::max_delay`] says.
    /// * Guarantee: every record leaves the operator once: scored, with the default score, or as a dead letter. After
    ///   a restore, the records since the last checkpoint are scored again.
    ///
    /// # Errors
    /// Fails when the name is taken or a model cannot be started.
    fn infer<F: Features>(
        self,
        name: &str,
        model: impl Into<Models>,
        settings: &InferSettings,
        features: impl Fn(&D) -> &F + 'static,
    ) -> Result<Stream<'s, Scored<D>>, JobError>;

    /// Scores each record as [`infer`](Self::infer) does. Records have keys: while a version is tried as a canary, it
    /// scores all records of a share of them. The key is a text or a number; which keys are in the share depends on its
    /// characters alone.
    ///
    /// # Errors
    /// Fails as [`infer`](Self::infer) does.
    fn infer_by_key<K: Display, F: Features>(
        self,
        name: &str,
        model: impl Into<Models>,
        settings: &InferSettings,
        key: impl Fn(&D) -> K + 'static,
        features: impl Fn(&D) -> &F + 'static,
    ) -> Result<Stream<'s, Scored<D>>, JobError>;

    /// Scores each record with a model whose inputs and outputs can be of any number, type and shape, in batches.
    /// `encode` fills a row of each input. `decode` computes the score from a row of each output; a record for which it
    /// returns an error gets `default`, or becomes a dead letter where there is no default. Records whose rows have
    /// different shapes run in separate batches. [`InferSettings::default_score`] is ignored in favor of `default`.
    /// Otherwise it behaves like [`infer`](Self::infer).
    ///
    /// # Errors
    /// Fails as [`infer`](Self::infer) does.
    fn infer_tensors<S: Data>(
        self,
        name: &str,
        model: impl Into<Models>,
        settings: &InferSettings,
        encode: impl Fn(&D, &mut InputRow<'_>) + 'static,
        decode: impl Fn(&OutputRow<'_>) -> Result<S, String> + 'static,
        default: Option<S>,
    ) -> Result<Stream<'s, Scored<D, S>>, JobError>;
}

impl<'s, D: Data> InferExt<'s, D> for Stream<'s, D> {
    fn infer<F: Features>(
        self,
        name: &str,
        model: impl Into<Models>,
        settings: &InferSettings,
        features: impl Fn(&D) -> &F + 'static,
    ) -> Result<Stream<'s, Scored<D>>, JobError> {
        let models: Models = model.into();
        let column = models.first().score_column();
        let codec = FeatureCodec { features, column };
        build(self, name, models, settings, (codec, Finite::Column(column), false), settings.default_score)
    }

    fn infer_by_key<K: Display, F: Features>(
        self,
        name: &str,
        model: impl Into<Models>,
        settings: &InferSettings,
        key: impl Fn(&D) -> K + 'static,
        features: impl Fn(&D) -> &F + 'static,
    ) -> Result<Stream<'s, Scored<D>>, JobError> {
        let models: Models = model.into();
        let column = models.first().score_column();
        let codec = KeyedCodec { codec: FeatureCodec { features, column }, key };
        build(self, name, models, settings, (codec, Finite::Column(column), true), settings.default_score)
    }

    fn infer_tensors<S: Data>(
        self,
        name: &str,
        model: impl Into<Models>,
        settings: &InferSettings,
        encode: impl Fn(&D, &mut InputRow<'_>) + 'static,
        decode: impl Fn(&OutputRow<'_>) -> Result<S, String> + 'static,
        default: Option<S>,
    ) -> Result<Stream<'s, Scored<D, S>>, JobError> {
        let codec = TensorCodec { encode, decode };
        build(self, name, model.into(), settings, (codec, Finite::Everything, false), default)
    }
}

fn build<'s, D: Data, S: Data, C: Codec<D, Score = S>>(
    stream: Stream<'s, D>,
    name: &str,
    models: Models,
    settings: &InferSettings,
    (codec, finite, has_keys): (C, Finite, bool),
    default: Option<S>,
) -> Result<Stream<'s, Scored<D, S>>, JobError> {
    let operator = name.to_owned();
    let flow = stream.flow().clone();
    stream.batch(name, |metrics| {
        let failed = |error: ModelError| JobError::operator(&operator, error.kind(), error);
        models.check().map_err(failed)?;
        if settings.latency_target.is_some_and(|target| target.is_zero()) {
            return Err(invalid(&operator, "latency_target is 0: every record would miss it"));
        }
        let retried = metrics.counter("retries");
        models.versions().for_each(|model| model.meter(metrics));
        let blocks = models.versions().chain(models.fallback()).any(|model| model.blocks());
        let pool = settings.pool.clone().or_else(|| blocks.then(Default::default));
        let retries = pool.is_some().then(|| Retries::new(settings.retries, settings.backoff, retried));
        let rungs = Rungs {
            retries,
            finite: if settings.finite_scores { finite } else { Finite::Nothing },
            exact_rows: settings.batch_exact.then(|| settings.max_batch_size.limit()),
            bisections: metrics.counter("bisections"),
            not_finite: metrics.counter("not_finite"),
        };
        let live = models.source().map(|source| {
            flow.controlled(&operator, || {
                Ok(Live::new(Fixed {
                    models: models.clone(),
                    source: Arc::clone(source),
                    exact_rows: rungs.exact_rows,
                    max_rows: settings.max_batch_size.limit(),
                    has_keys,
                    has_threads: pool.is_some(),
                    ladders: flow.workers_here() * pool.as_ref().map_or(1, |pool| pool.threads.get()),
                    // One process writes, and has a copy before the leader hears that it is ready.
                    kept: flow.checkpoint_dir().map(|dir| Kept::beside(dir, &operator, flow.process() == 0)),
                    retained: flow.retained_checkpoints() as u64,
                }))
            })
        });
        let live = live.transpose()?;
        let (ladder_models, ladder_live) = (models.clone(), live.clone());
        let ladder = move || Ladder::closed(&ladder_models, rungs.clone(), ladder_live.clone());
        let mut first = ladder().open().map_err(failed)?;
        let calibration = start(&mut first, &models, settings, &operator, metrics);
        if settings.batch_exact && !blocks {
            check_exact(&mut first, &**models.first(), settings.max_batch_size.limit(), &operator).map_err(failed)?;
        }
        let execution = match pool {
            None => Execution::InLine(Box::new(first)),
            Some(pool) => pool.execution(first, ladder, |ladder| ladder.open().map_err(failed))?,
        };
        let mut infer = Infer::new(operator, models, settings, codec, default, calibration.as_ref(), metrics);
        infer.router = Router::new(&infer.models, live);
        Ok((infer, execution))
    })
}

/// Runs each version once to warm it up, or measures batch sizes with the first one if the settings ask for that.
fn start(
    ladder: &mut Ladder,
    models: &Models,
    settings: &InferSettings,
    operator: &str,
    metrics: &OperatorMetrics,
) -> Option<Calibration> {
    let model = &**models.first();
    if let Some(engine) = model.engine() {
        metrics.detail("engine", engine.into());
    }
    metrics.detail("model", shown(model.info()));
    if !models.switches().is_empty() {
        let mut versions = vec![shown(model.info())];
        for (from, model) in models.switches().iter().zip(models.versions().skip(1)) {
            let mut version = shown(model.info());
            version["from_event_time"] = from.to_string().into();
            versions.push(version);
        }
        metrics.detail("versions", versions.into());
    }
    let mut outputs = outputs_of(model);
    let measured = matches!(settings.max_batch_size, BatchSize::Calibrated { .. });
    for (version, model) in models.versions().enumerate().skip(usize::from(measured)) {
        // The first run of a session is slow. A server needs no warm-up, and it may reject made-up values.
        let run = |rows: usize, inputs: &[Tensor]| ladder.probe(version, rows, inputs, &mut outputs);
        if !model.blocks()
            && let Err(error) = warm_up(settings.max_batch_size.limit(), model.inputs(), run)
        {
            let model = model.info();
            tracing::debug!(operator, %model, %error, "the warm-up run of the model with made-up values failed");
        }
    }
    let BatchSize::Calibrated { up_to } = settings.max_batch_size else { return None };
    let mut run = |rows: usize, inputs: &[Tensor]| ladder.probe(0, rows, inputs, &mut outputs);
    match calibrate(up_to.get(), model.inputs(), &mut run) {
        Ok(calibration) => {
            let costs: Vec<String> =
                calibration.measured.iter().map(|c| format!("{}: {} ns", c.batch_size, c.ns_per_record)).collect();
            let (best, costs) = (calibration.best, costs.join(", "));
            tracing::info!(operator, model = %model.info(), best, costs, "the batch size was measured, with the costs in ns per record");
            metrics.detail("calibration", serde_json::to_value(&calibration).unwrap_or_default());
            Some(calibration)
        }
        Err(error) => {
            let reason = error.to_string();
            tracing::warn!(operator, reason, "the batch size could not be measured, so the largest one is used");
            None
        }
    }
}

fn shown(ModelInfo { name, version, hash }: &ModelInfo) -> serde_json::Value {
    serde_json::json!({ "name": name, "version": version, "hash": hash })
}

/// Refuses a model whose scores depend on the place of a record in its batch: a fixed batch size is no remedy there.
fn check_exact(ladder: &mut Ladder, model: &dyn ModelSource, rows: usize, operator: &str) -> Result<(), ModelError> {
    match ladder.is_exact(rows) {
        Ok(true) => Ok(()),
        Ok(false) => {
            let reason = format!(
                "batch_exact is set, and in runs of {rows} rows a score depends on the row's place among them. Set \
                 max_batch_size to 1, or intra_threads to 1"
            );
            Err(ModelError::Unusable { model: model.info().to_string(), reason })
        }
        Err(error) => {
            tracing::debug!(operator, %error, "made-up values do not show whether scores depend on the batch");
            Ok(())
        }
    }
}

struct Infer<D, C, S> {
    name: String,
    models: Models,
    /// What the first of them takes.
    takes: Arc<Takes>,
    router: Router,
    /// What was seen of a batch, while there is a canary.
    tally: Tally,
    /// Part of a batch that the shadow is still owed, as a share of 10,000.
    owed: u32,
    fallback: Option<Arc<ModelInfo>>,
    codec: C,
    default: Option<S>,
    limit: BatchLimit,
    max_delay: Duration,
    max_watermark_delay: Duration,
    counts: Counts,
    record: std::marker::PhantomData<fn(D)>,
}

/// Every record is counted once as scored, fallback, default or (by the engine) dead letter.
struct Counts {
    scored: Counter,
    fallbacks: Counter,
    defaults: Counter,
    encode_ns: Counter,
    gather_ns: Counter,
    queue_ns: Counter,
    model_ns: Counter,
    decode_ns: Counter,
    batch_us: Distribution,
    latency_us: Distribution,
    size: Gauge,
    /// Features that were odd.
    missing: Counter,
    unknown: Counter,
    out_of_range: Counter,
    too_old: Counter,
}

impl<D, C, S> Infer<D, C, S> {
    fn new(
        name: String,
        models: Models,
        settings: &InferSettings,
        codec: C,
        default: Option<S>,
        calibration: Option<&Calibration>,
        metrics: &OperatorMetrics,
    ) -> Self {
        let largest = match calibration {
            // The largest size that meets the target may well be above the cheapest size.
            Some(calibration) if settings.latency_target.is_none() => calibration.best,
            _ => settings.max_batch_size.limit(),
        };
        let limit = BatchLimit::new(largest, settings.latency_target, calibration);
        let counts = Counts {
            scored: metrics.counter("scored"),
            fallbacks: metrics.counter("fallbacks"),
            defaults: metrics.counter("defaults"),
            encode_ns: metrics.counter("encode_ns"),
            gather_ns: metrics.counter("gather_ns"),
            queue_ns: metrics.counter("queue_ns"),
            model_ns: metrics.counter("model_ns"),
            decode_ns: metrics.counter("decode_ns"),
            batch_us: metrics.distribution("model_batch_us"),
            latency_us: metrics.distribution("batch_latency_us"),
            size: metrics.gauge("batch_size_limit"),
            missing: metrics.counter("features_missing"),
            unknown: metrics.counter("features_unknown"),
            out_of_range: metrics.counter("features_out_of_range"),
            too_old: metrics.counter("features_too_old"),
        };
        counts.size.set(limit.now() as i64);
        let target = settings.latency_target.map_or(Duration::MAX, |target| target / 2);
        Self {
            router: Router::new(&models, None),
            takes: Arc::new(Takes::of(&**models.first())),
            tally: Tally::default(),
            owed: 0,
            fallback: models.fallback().map(|model| Arc::new(model.info().clone())),
            name,
            models,
            codec,
            default,
            limit,
            max_delay: settings.max_delay.min(target),
            max_watermark_delay: settings.max_watermark_delay.unwrap_or(settings.max_delay),
            counts,
            record: std::marker::PhantomData,
        }
    }
}

impl<D: Data, S: Data, C: Codec<D, Score = S>> Infer<D, C, S> {
    fn tally_key(&mut self, assigned: Assigned, record: &D) {
        if assigned.role == ModelRole::Canary
            && let Some(hash) = self.codec.key_hash(record)
        {
            self.tally.key(assigned, hash);
        }
    }

    fn tally_failed(&mut self, tallied: bool, assigned: Assigned) {
        if tallied {
            self.tally.failed(assigned);
        }
    }

    /// Copies the rows that the primary version has scored for the shadow, if it is the batch's turn.
    fn copy_for_shadow(&mut self, work: &mut Work, route: Option<&Route>) {
        let (Some(live), Some(shadow)) = (&self.router.live, route.and_then(|route| route.shadow.as_ref())) else {
            return;
        };
        if !work.for_shadow {
            return;
        }
        let version = shadow.version.index;
        let column = self.models.first().score_column();
        // The rows of a canary were not scored by the primary version.
        let canary = route.and_then(|route| route.canary.as_ref()).map(|canary| canary.version.index);
        let beside = work.beside.take();
        let work = &*work;
        let score = |record: &usize| match work.place(*record) {
            Place::Scored { by_fallback: false, part, row } if Some(work.assigned(*record).version) != canary => {
                work.output(part, row).f32(0).get(column).copied().unwrap_or(f32::NAN)
            }
            _ => f32::NAN,
        };
        if let Some(Beside { inputs, records, refused }) = beside {
            let refused = refused.iter().filter(|record| score(record).is_finite()).count() as u64;
            let scores = records.iter().map(score).collect();
            return live.compare(Copied { version, inputs, scores, refused });
        }
        for group in work.groups().iter().filter(|group| Some(group.version) != canary) {
            let (inputs, scores) = (group.inputs.clone(), group.records.iter().map(score).collect());
            live.compare(Copied { version, inputs, scores, refused: 0 });
        }
    }

    /// Emits a record without a score: with the default score, or as a dead letter with its features and the reason.
    fn fail(&self, at: usize, record: Record<D>, reason: String, work: &Work, output: &mut BatchOutput<Scored<D, S>>) {
        let Assigned { version, role } = work.assigned(at);
        if let Some(default) = &self.default {
            self.counts.defaults.add(1);
            let score = default.clone();
            output.records.push(record.with(|record| Scored {
                record,
                score,
                origin: ScoreOrigin::Default,
                model: None,
                role,
            }));
            return;
        }
        let model =
            work.route.as_ref().and_then(|route| route.info(version)).map_or_else(String::new, |m| m.to_string());
        let origin = format!("{} at {}, model {model}", self.name, record.event_time);
        let features = work.features(at, self.codec.columns());
        let content = if features.is_empty() { format!("{:?}", record.data) } else { features };
        output.dead_letters.push(record.with(|_| DeadLetter::new(&self.name, origin, reason, content.as_bytes())));
    }
}

impl<D: Data, S: Data, C: Codec<D, Score = S>> BatchLogic for Infer<D, C, S> {
    type In = D;
    type Out = Scored<D, S>;
    type Work = Work;

    fn max_batch_size(&self) -> usize {
        self.limit.now()
    }

    fn max_delay(&self) -> Duration {
        self.max_delay
    }

    fn max_watermark_delay(&self) -> Duration {
        self.max_watermark_delay
    }

    fn prepare(&mut self, epoch: Epoch, records: &[Record<D>], work: &mut Work) {
        let started = threads::now();
        work.epoch = epoch;
        work.route = self.router.at(epoch);
        work.assigned.clear();
        if let Some(route) = work.route.as_ref().filter(|route| route.only().is_none()) {
            let assigned =
                |record: &Record<D>| route.assign(record.event_time, |seed| self.codec.bucket(&record.data, seed));
            work.assigned.extend(records.iter().map(assigned));
        }
        if let Some(live) = &self.router.live {
            live.saw(records.iter().map(|record| record.event_time).max().unwrap_or(EventTime::MIN));
        }
        let record = |at: usize| &records[at].data;
        work.encode(&self.codec, &self.takes, records.len(), record);
        work.for_shadow = false;
        if let Some(shadow) = work.route.as_ref().and_then(|route| route.shadow.as_ref()) {
            self.owed += shadow.buckets;
            work.for_shadow = self.owed >= bucket::BUCKETS;
            self.owed -= if work.for_shadow { bucket::BUCKETS } else { 0 };
            let takes = Arc::clone(&shadow.version.takes);
            if work.for_shadow && work.groups().iter().any(|group| !group.takes.is_as(&takes)) {
                work.encode_beside(&self.codec, &takes, records.len(), record);
            }
        }
        self.counts.encode_ns.add(threads::since(started).as_nanos() as u64);
    }

    fn give_up(&mut self, _: &[Record<D>], work: &mut Work, reason: String) -> bool {
        work.give_up(reason);
        self.models.fallback().is_some()
    }

    fn finish(
        &mut self,
        batch: Drain<'_, Record<D>>,
        work: &mut Work,
        times: BatchTimes,
        output: &mut BatchOutput<Scored<D, S>>,
    ) -> Result<(), JobError> {
        let started = threads::now();
        let (mut scored, mut fallbacks) = (0, 0);
        let len = batch.len();
        // Copied, because the buffers of the batch are borrowed below.
        let route = work.route.clone();
        let only = route.as_ref().and_then(|route| route.only());
        let (mut last, mut info) = (None, None);
        let tallied = self.router.live.is_some() && route.as_ref().is_some_and(|route| route.canary.is_some());
        self.copy_for_shadow(work, route.as_deref());
        for (at, record) in batch.enumerate() {
            let assigned = only.unwrap_or_else(|| work.assigned(at));
            if tallied {
                self.tally_key(assigned, &record.data);
            }
            let (by_fallback, part, row) = match work.place(at) {
                Place::Scored { by_fallback, part, row } => (by_fallback, part, row),
                Place::Failed(failure) => {
                    let reason = work.failures.get(failure).cloned().unwrap_or_default();
                    self.tally_failed(tallied, assigned);
                    self.fail(at, record, reason, work, output);
                    continue;
                }
                Place::Open => {
                    self.tally_failed(tallied, assigned);
                    self.fail(at, record, "it was not run".to_owned(), work, output);
                    continue;
                }
            };
            let score = match self.codec.decode(&work.output(part, row)) {
                Ok(score) => score,
                Err(reason) => {
                    self.tally_failed(tallied, assigned);
                    self.fail(at, record, reason, work, output);
                    continue;
                }
            };
            let (origin, model) = if by_fallback {
                fallbacks += 1;
                self.tally_failed(tallied, assigned);
                (ScoreOrigin::FallbackModel, self.fallback.clone())
            } else {
                scored += 1;
                if tallied {
                    self.tally.scored(assigned, self.codec.number(&score), work.took(part));
                }
                if last != Some(assigned.version) {
                    last = Some(assigned.version);
                    info = route.as_ref().and_then(|route| route.info(assigned.version)).cloned();
                }
                (ScoreOrigin::Model, info.clone())
            };
            let role = assigned.role;
            output.records.push(record.with(|record| Scored { record, score, origin, model, role }));
        }
        if let Some(live) = self.router.live.as_ref().filter(|_| !self.tally.is_empty()) {
            live.add(work.epoch, &self.tally);
            self.tally.clear();
        }
        let counts = &self.counts;
        let OddTotals { missing, unknown, out_of_range, too_old } = work.odd;
        counts.missing.add(missing);
        counts.unknown.add(unknown);
        counts.out_of_range.add(out_of_range);
        counts.too_old.add(too_old);
        counts.scored.add(scored);
        counts.fallbacks.add(fallbacks);
        counts.gather_ns.add(times.gathered.as_nanos() as u64);
        counts.queue_ns.add(times.queued.as_nanos() as u64);
        counts.model_ns.add(times.ran.as_nanos() as u64);
        counts.batch_us.record(times.ran.as_micros() as u64);
        let decoding = threads::since(started);
        counts.decode_ns.add(decoding.as_nanos() as u64);
        // The latency of the batch's oldest record, which no other record exceeds.
        counts.latency_us.record((times.total + decoding).as_micros() as u64);
        if self.limit.saw(len, times) {
            counts.size.set(self.limit.now() as i64);
        }
        Ok(())
    }
}
