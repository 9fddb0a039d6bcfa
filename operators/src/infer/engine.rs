//! What runs a model in this process: ONNX Runtime, or code of our own for ensembles of trees. Where both can, they
//! score the same rows when the model is loaded: the results must be equal, and the faster one is taken.

use std::fmt;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::backend::{Backend, RunError};
use super::element::Elements;
use super::tensor::{Tensor, TensorSpec};
use super::trees::Program;

/// What runs a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Engine {
    /// For an ensemble of trees that is recognised, whichever is faster when the model is loaded, if both give the same
    /// scores for generated rows; and our own code where ONNX Runtime's library is not found. Otherwise, and where
    /// execution providers are given, ONNX Runtime.
    #[default]
    Auto,
    /// ONNX Runtime.
    OnnxRuntime,
    /// Our own code for ensembles of trees. A model that it does not recognise is refused. ONNX Runtime is not loaded.
    Trees,
}

/// What was chosen for a model, and why.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Choice {
    pub(super) engine: Engine,
    pub(super) reason: String,
}

/// The number of rows whose scores are compared.
const ROWS: usize = 256;
/// The number of rows in the batches that are measured, and the number of batches: the same few rows again and again
/// would teach the processor which branches they take, as the rows of a stream do not.
const BATCH: usize = 64;
const BATCHES: usize = 32;
/// Minimum time, and minimum number of runs, for measuring.
const MEASURE: (Duration, usize) = (Duration::from_millis(10), 3);
/// The difference up to which scores are the same, as a share of the larger one (or of 1).
const TOLERANCE: f32 = 1e-6;

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::OnnxRuntime => "onnx_runtime",
            Self::Trees => "trees",
        })
    }
}

/// How far the scores of two backends are apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Distance {
    ToTheBit,
    Within,
    Different,
}

/// Chooses between two backends of the same model.
pub(super) fn choose(
    forest: &Program,
    outputs: &[TensorSpec],
    onnx: &mut dyn Backend,
    trees: &mut dyn Backend,
) -> Choice {
    let onnx_runtime = |reason: String| Choice { engine: Engine::OnnxRuntime, reason };
    let run = |backend: &mut dyn Backend, inputs: &[Tensor], rows: usize| {
        let mut found: Vec<Tensor> = outputs.iter().map(Tensor::empty).collect();
        backend.run(rows, inputs, &mut found).map(|()| found)
    };
    let rows = [forest.rows(ROWS)];
    let equal = match (run(onnx, &rows, ROWS), run(trees, &rows, ROWS)) {
        (Ok(onnx), Ok(trees)) => match distance(&onnx, &trees) {
            Distance::ToTheBit => "equal to the bit",
            Distance::Within => "equal to 1e-6",
            Distance::Different => return onnx_runtime(format!("the scores of {ROWS} generated rows differ")),
        },
        (Err(error), _) | (_, Err(error)) => return onnx_runtime(format!("generated rows were not scored: {error}")),
    };
    match measure(forest, outputs, onnx, trees) {
        Ok([onnx, trees]) => {
            let engine = if trees < onnx { Engine::Trees } else { Engine::OnnxRuntime };
            let ns = |time: Duration| time.as_nanos() / BATCH as u128;
            let reason = format!(
                "a row takes {} ns in batches of {BATCH}, with ONNX Runtime {} ns; {ROWS} generated rows are {equal}",
                ns(trees),
                ns(onnx)
            );
            Choice { engine, reason }
        }
        Err(error) => onnx_runtime(format!("a batch was not scored: {error}")),
    }
}

/// Returns how long the two backends take for a batch: the shortest of several runs, taken in turn.
#[expect(clippy::disallowed_methods, reason = "it measures this machine: in a simulation no time would ever pass")]
fn measure(
    forest: &Program,
    outputs: &[TensorSpec],
    onnx: &mut dyn Backend,
    trees: &mut dyn Backend,
) -> Result<[Duration; 2], RunError> {
    let batches = forest.batches(BATCHES, BATCH);
    let mut found: Vec<Tensor> = outputs.iter().map(Tensor::empty).collect();
    let mut run = |backend: &mut dyn Backend| {
        let started = Instant::now();
        batches.iter().try_for_each(|batch| backend.run(BATCH, std::slice::from_ref(batch), &mut found))?;
        Ok(started.elapsed() / batches.len().max(1) as u32)
    };
    let (mut best, mut runs, began) = ([Duration::MAX; 2], 0, Instant::now());
    while runs < MEASURE.1 || began.elapsed() < MEASURE.0 {
        let times = [run(onnx)?, run(trees)?];
        best = [best[0].min(times[0]), best[1].min(times[1])];
        runs += 1;
    }
    Ok(best)
}

/// Returns how far the outputs of two runs are apart.
pub(super) fn distance(one: &[Tensor], other: &[Tensor]) -> Distance {
    let mut distance = Distance::ToTheBit;
    for (one, other) in one.iter().zip(other) {
        match (&one.elements, &other.elements) {
            _ if one.shape != other.shape => return Distance::Different,
            (Elements::F32(one), Elements::F32(other)) if one.len() == other.len() => {
                for (one, other) in one.iter().zip(other) {
                    let is_same = one.to_bits() == other.to_bits() || (one.is_nan() && other.is_nan());
                    let limit = TOLERANCE * one.abs().max(1.0);
                    if !is_same && (one - other).abs() <= limit {
                        distance = Distance::Within;
                    } else if !is_same && one != other {
                        return Distance::Different;
                    }
                }
            }
            (one, other) if one != other => return Distance::Different,
            _ => {}
        }
    }
    distance
}
