//! A fake model that does what each record asks for, and the helpers that run jobs with it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidemill::infer::{
    Backend, ElementType, Elements, ModelError, ModelInfo, ModelSource, RunError, Tensor, TensorSpec,
};
use tidemill::prelude::*;

/// What the model does with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Act {
    Score = 0,
    /// Every batch with this record fails.
    Poison = 1,
    Panic = 2,
    /// The model does not answer before [`Gate::open`].
    Hang = 3,
    Unavailable = 4,
    /// The model takes 20 ms.
    Slow = 5,
    /// The model is unavailable twice, and then available.
    Recovers = 6,
    /// The score is NaN.
    NotANumber = 7,
    /// The score is infinite.
    Infinite = 8,
    /// The score is minus infinity.
    Below = 9,
}

impl Act {
    /// Returns the score of a model that does what the record asks for, given its usual `score`.
    pub fn score(act: f32, score: f32) -> f32 {
        match act {
            7.0 => f32::NAN,
            8.0 => f32::INFINITY,
            9.0 => f32::NEG_INFINITY,
            _ => score,
        }
    }
}

features! {
    /// The features of the fake model.
    pub struct Wish { id, act }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Item {
    pub id: u64,
    pub act: Act,
    pub wish: Wish,
}

pub fn item(id: u64, act: Act) -> Item {
    Item { id, act, wish: Wish { id: id as f64, act: f64::from(act as u8) } }
}

/// Runs that hang wait until this is opened.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    /// Waits for at most 30 s. Returns whether the gate was opened.
    pub fn wait(&self) -> bool {
        let opened = self.0.0.lock().unwrap();
        *self.0.1.wait_timeout_while(opened, Duration::from_secs(30), |open| !*open).unwrap().0
    }
}

/// A model whose score is twice the id, plus `plus`.
#[derive(Clone)]
pub struct Fake {
    info: ModelInfo,
    inputs: Vec<TensorSpec>,
    outputs: Vec<TensorSpec>,
    plus: f32,
    /// The acts that this model performs; records with any other act are scored.
    obeys: Vec<Act>,
    pub gate: Gate,
    pub runs: Arc<AtomicUsize>,
    pub opened: Arc<AtomicUsize>,
    refusals: Arc<AtomicUsize>,
}

impl Fake {
    pub fn new(name: &str, plus: f32, obeys: &[Act]) -> Self {
        Self {
            info: ModelInfo::new(name, "0"),
            inputs: vec![TensorSpec::fixed("wish", ElementType::F32, [2])],
            outputs: vec![TensorSpec::fixed("score", ElementType::F32, [])],
            plus,
            obeys: obeys.to_vec(),
            gate: Gate::default(),
            runs: Arc::default(),
            opened: Arc::default(),
            refusals: Arc::default(),
        }
    }

    pub fn with_inputs(self, inputs: Vec<TensorSpec>) -> Self {
        Self { inputs, ..self }
    }
}

impl ModelSource for Fake {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn inputs(&self) -> &[TensorSpec] {
        &self.inputs
    }

    fn outputs(&self) -> &[TensorSpec] {
        &self.outputs
    }

    fn open(&self) -> Result<Box<dyn Backend>, ModelError> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(self.clone()))
    }
}

impl Backend for Fake {
    fn run(&mut self, rows: usize, inputs: &[Tensor], outputs: &mut [Tensor]) -> Result<(), RunError> {
        self.runs.fetch_add(1, Ordering::Relaxed);
        let [Tensor { elements: Elements::F32(cells), .. }] = inputs else { panic!("one input of f32") };
        let [Tensor { elements: Elements::F32(scores), .. }] = outputs else { panic!("one output of f32") };
        assert_eq!(cells.len(), rows * 2);
        let asked = |act: Act| self.obeys.contains(&act) && cells.chunks(2).any(|row| row[1] == f32::from(act as u8));
        if asked(Act::Slow) {
            std::thread::park_timeout(Duration::from_millis(20));
        }
        if asked(Act::Hang) {
            self.gate.wait();
        }
        let refuses = asked(Act::Recovers) && self.refusals.fetch_add(1, Ordering::Relaxed) < 2;
        if refuses || asked(Act::Unavailable) {
            return Err(RunError::Unavailable("out for lunch".to_owned()));
        }
        if asked(Act::Poison) {
            return Err(RunError::Batch("poison in the batch".to_owned()));
        }
        assert!(!asked(Act::Panic), "asked to panic");
        let of = |act: f32| if self.obeys.iter().any(|obeyed| f32::from(*obeyed as u8) == act) { act } else { 0.0 };
        scores.extend(cells.chunks(2).map(|row| Act::score(of(row[1]), row[0] * 2.0 + self.plus)));
        Ok(())
    }
}

/// The outputs and counters of a job.
pub struct Ran {
    pub scored: Vec<Scored<Item>>,
    pub dead: Vec<DeadLetter>,
    counters: std::collections::BTreeMap<String, u64>,
}

impl Ran {
    pub fn count(&self, counter: &str) -> u64 {
        self.counters[counter]
    }

    /// Returns the ids of the records whose scores have this origin, sorted.
    pub fn ids(&self, origin: ScoreOrigin) -> Vec<u64> {
        let mut ids: Vec<u64> = self.scored.iter().filter(|s| s.origin == origin).map(|s| s.record.id).collect();
        ids.sort_unstable();
        ids
    }

    /// Returns the ids of the dead letters, which are among the features in their content, sorted.
    pub fn dead_ids(&self) -> Vec<u64> {
        let id = |letter: &DeadLetter| -> u64 {
            let features = letter.content.strip_prefix("id=").unwrap_or_else(|| panic!("{letter:?}"));
            features.split(',').next().unwrap().parse().unwrap()
        };
        let mut ids: Vec<u64> = self.dead.iter().map(id).collect();
        ids.sort_unstable();
        ids
    }
}

pub fn args(workers: usize) -> JobArgs {
    JobArgs {
        settings: JobSettings { workers, ..JobSettings::default() },
        log_level: "off".to_owned(),
        ..JobArgs::default()
    }
}

/// Runs a job that scores the items.
pub fn run(items: Vec<Item>, workers: usize, models: impl Into<Models>, settings: &InferSettings) -> Ran {
    let _others_may_run = crate::ALONE.read().unwrap_or_else(std::sync::PoisonError::into_inner);
    let (models, settings) = (models.into(), settings.clone());
    let source = vec_source(items.into_iter().map(|item| (EventTime(item.id as i64), item)).collect());
    let (scored, dead) = (CollectSink::default(), CollectSink::default());
    let (scored_sink, dead_sink) = (scored.clone(), dead.clone());
    let report = Job::new("infer", args(workers))
        .run(move |flow| {
            flow.source("items", &source)?
                .infer("score", &models, &settings, |item: &Item| &item.wish)?
                .sink("scored", &scored_sink)?;
            flow.dead_letters().sink("dead", &dead_sink)
        })
        .unwrap();
    assert_eq!(report.in_flight, 0, "what was charged was released");
    let operator = report.operators.into_iter().find(|operator| operator.name == "score").unwrap();
    assert_eq!(operator.queue(), Some(0), "nothing waits at the end");
    Ran { scored: scored.data(), dead: dead.data(), counters: operator.counters }
}

/// Returns settings for batches of at most this size, on the threads of a pool or on the worker.
pub fn settings(batch: usize, pool: Option<PoolSettings>) -> InferSettings {
    InferSettings {
        max_batch_size: BatchSize::Fixed(batch.try_into().unwrap()),
        pool,
        backoff: Duration::from_millis(1),
        ..InferSettings::default()
    }
}

pub fn threads(threads: usize, ordered: bool) -> Option<PoolSettings> {
    Some(PoolSettings { threads: threads.try_into().unwrap(), ordered, ..PoolSettings::default() })
}
