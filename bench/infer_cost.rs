//! Measures the inference operator alone, with generated features as input, or ONNX Runtime without an engine. `cargo
//! xtask bench infer` runs it.

#[path = "../examples/fraud_velocity/features.rs"]
#[allow(dead_code, reason = "the types, not the operators")]
mod features;
#[path = "../examples/iot_window/signals.rs"]
#[allow(dead_code, reason = "the types, not the operators")]
mod signals;

use std::error::Error;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use ort::session::Session;
use ort::value::TensorRef;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tidemill::infer::{Engine, SessionSettings};
use tidemill::prelude::*;

use features::FraudFeatures;
use signals::WindowFeatures;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Number of different rows; a power of two.
const ROWS: usize = 4096;

#[derive(Parser)]
struct Args {
    which: Which,
    #[arg(long, default_value_t = 400_000)]
    count: u64,
    #[arg(long, default_value = "64")]
    max_batch_size: BatchSize,
    #[arg(long, value_parser = humantime::parse_duration)]
    latency_target: Option<Duration>,
    #[arg(long)]
    inference_threads: Option<NonZeroUsize>,
    /// Records a second, open loop.
    #[arg(long)]
    rate: Option<f64>,
    /// ONNX Runtime alone, in full batches of this size.
    #[arg(long)]
    alone: Option<usize>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Which {
    Fraud,
    Iot,
}

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let args = Args::parse();
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
    let report = match args.which {
        Which::Fraud => run::<FraudFeatures>(
            &args,
            models.join("fraud_velocity.onnx"),
            "probabilities",
            1,
            FraudFeatures::from_values,
        ),
        Which::Iot => {
            run::<WindowFeatures>(&args, models.join("iot_window.onnx"), "scores", 0, WindowFeatures::from_values)
        }
    }?;
    println!("{report}");
    Ok(())
}

fn run<F>(
    args: &Args,
    path: PathBuf,
    output: &str,
    column: usize,
    make: impl Fn(std::vec::IntoIter<f64>) -> F,
) -> Result<Value>
where
    F: Features + Clone + std::fmt::Debug + Send + Sync + Serialize + DeserializeOwned + 'static,
{
    let mut chance = ChaCha8Rng::seed_from_u64(7);
    let mut row =
        || make((0..F::NAMES.len()).map(|_| chance.random_range(0.0..200.0)).collect::<Vec<f64>>().into_iter());
    let rows: Vec<F> = (0..ROWS).map(|_| row()).collect();
    if let Some(batch) = args.alone {
        return alone(&rows, &path, output, batch, args.count);
    }
    // The same engine as in the loop without an operator.
    let session = SessionSettings { engine: Engine::OnnxRuntime, ..SessionSettings::default() };
    let model = Model::load_with::<F>(&path, output, column, &session)?;
    let settings = InferSettings {
        max_batch_size: args.max_batch_size,
        latency_target: args.latency_target,
        pool: args.inference_threads.map(|threads| PoolSettings { threads, ..PoolSettings::default() }),
        ..InferSettings::default()
    };
    let records = Generator::new(args.count, move |n| (EventTime(n as i64), rows[n as usize % ROWS].clone()));
    let records = records.rate(args.rate);
    let job = JobArgs { log_level: "warn".to_owned(), ..JobArgs::default() };
    let report = Job::new("infer", job).run(move |flow| {
        flow.source("records", &records)?
            .infer("score", &model, &settings, |features: &F| features)?
            .sink("out", &NullSink::default())
    })?;
    let operator = report.operators.iter().find(|operator| operator.name == "score").ok_or("no operator")?;
    Ok(json!({
        "records": args.count, "seconds": report.elapsed_ms as f64 / 1000.0, "counters": operator.counters,
        "batch_size": operator.gauges.get("batch_size_limit"), "details": operator.details,
        "p99_us": operator.distributions.get("batch_latency_us").map(|latency| latency.p99),
    }))
}

/// Measures ONNX Runtime in a loop of full batches. Writing the features into the batches is included.
fn alone<F: Features>(rows: &[F], path: &Path, output: &str, batch: usize, count: u64) -> Result<Value> {
    let environment = ort::init_from(std::env::var("ORT_DYLIB_PATH")?)?.build()?;
    let builder = Session::builder(&environment)?.with_intra_threads(1).map_err(|e| e.to_string())?;
    let mut session = { builder }.commit_from_file(path)?;
    let input = session.inputs()[0].name().to_owned();
    let width = F::NAMES.len();
    let mut cells = vec![0.0; batch * width];
    let (mut done, mut sum, mut started) = (0, 0.0_f64, Instant::now());
    let warm_up = 20 * batch as u64;
    let count = count.max(warm_up * 2);
    while done < count + warm_up {
        if done == warm_up {
            started = Instant::now();
        }
        for (at, row) in cells.chunks_exact_mut(width).enumerate() {
            rows[(done as usize + at) % ROWS].write(row);
        }
        let tensor = TensorRef::from_array_view(([batch, width], &*cells))?;
        let outputs = session.run(ort::inputs![input.as_str() => tensor])?;
        sum += outputs[output].try_extract_tensor::<f32>()?.1.iter().map(|score| f64::from(*score)).sum::<f64>();
        done += batch as u64;
    }
    Ok(
        json!({ "records": done - warm_up, "seconds": started.elapsed().as_secs_f64(), "checksum": sum, "batch_size": batch }),
    )
}
