//! Measures the engines that run ensembles of trees, ONNX Runtime and the one of our own, on the shipped models: the
//! time for a row in batches of several sizes. `cargo xtask bench trees` runs it.

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use tidemill::infer::{
    Backend, ElementType, Elements, Engine, Model, ModelSource, SessionSettings, Tensor, TensorSpec,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The models, with their outputs and numbers of features.
const MODELS: [(&str, &str, usize); 3] = [
    ("fraud_velocity", "probabilities", 18),
    ("content_recommendation", "probabilities", 6),
    ("iot_window", "scores", 32),
];
const BATCHES: [usize; 6] = [1, 16, 64, 96, 256, 1024];
const ENGINES: [Engine; 2] = [Engine::OnnxRuntime, Engine::Trees];
/// Number of rows in a run: so many that the processor does not learn which branches they take.
const ROWS: usize = 8192;
/// Number of runs of each engine, of which the shortest counts. They take turns.
const RUNS: usize = 7;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
    let mut found = Vec::new();
    for (name, output, width) in MODELS {
        let load = |engine| {
            let started = Instant::now();
            let inputs = vec![TensorSpec::fixed("features", ElementType::F32, [width])];
            let outputs = vec![TensorSpec::dynamic(output, ElementType::F32, [None])];
            let settings = SessionSettings { engine, ..SessionSettings::default() };
            let model = Model::load_tensors(&models.join(name).with_extension("onnx"), inputs, outputs, &settings)?;
            Ok::<_, Box<dyn Error>>((model, started.elapsed()))
        };
        // The library is loaded with the first session.
        drop(load(Engine::OnnxRuntime)?);
        let ((onnx, loading_onnx), (trees, loading_trees)) = (load(ENGINES[0])?, load(ENGINES[1])?);
        let outputs = [Tensor::empty(&onnx.outputs()[0])];
        let mut backends = [onnx.open()?, trees.open()?];
        for batch in BATCHES {
            let mut best = [Duration::MAX; 2];
            let batches = batches(batch, width);
            for _ in 0..RUNS {
                for (best, backend) in best.iter_mut().zip(&mut backends) {
                    *best = run(&mut **backend, batch, &batches, &mut outputs.clone())?.min(*best);
                }
            }
            let [onnx, trees] = best.map(|time| time.as_nanos() as f64 / (batches.len() * batch) as f64);
            found.push(json!({ "model": name, "batch_size": batch, "onnx_runtime_ns": onnx, "trees_ns": trees }));
        }
        let [onnx, trees] = [loading_onnx, loading_trees].map(|time| time.as_secs_f64() * 1000.0);
        found.push(json!({ "model": name, "onnx_runtime_load_ms": onnx, "trees_load_ms": trees }));
    }
    println!("{}", json!(found));
    Ok(())
}

/// Makes up batches of rows, of features between 0 and 200.
fn batches(batch: usize, width: usize) -> Vec<Tensor> {
    let mut chance = ChaCha8Rng::seed_from_u64(7);
    let mut made = || Tensor {
        shape: vec![width],
        elements: Elements::F32((0..batch * width).map(|_| chance.random_range(0.0..200.0)).collect()),
    };
    // Single rows take ONNX Runtime long.
    let count = if batch == 1 { ROWS / 16 } else { ROWS / batch };
    (0..count).map(|_| made()).collect()
}

fn run(backend: &mut dyn Backend, batch: usize, batches: &[Tensor], outputs: &mut [Tensor]) -> Result<Duration> {
    let started = Instant::now();
    for rows in batches {
        backend.run(batch, std::slice::from_ref(rows), outputs)?;
    }
    Ok(started.elapsed())
}
