//! The limit of the examples `fraud_velocity` and `iot_window`: the same features and scores in a plain loop, without an
//! engine. It has one thread, no checkpoints and no output. Lines of JSON are parsed by sonic-rs, state is in hash maps,
//! and ONNX Runtime scores full batches. The cost of an engine is measured against it.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use peers::examples::{fraud, iot};
use peers::lines::Lines;
use peers::model::Model;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs an example's work without an engine.
#[derive(Parser)]
struct Args {
    which: Which,
    /// Lines of JSON.
    #[arg(long)]
    input: PathBuf,
    /// Without a model only the features are computed.
    #[arg(long)]
    model: Option<PathBuf>,
    /// Records scored at a time.
    #[arg(long, default_value_t = 96)]
    batch: usize,
}

#[derive(Clone, Copy, ValueEnum)]
enum Which {
    Fraud,
    Iot,
}

/// The scorer, if there is one, and what is kept of the results.
struct Scores {
    model: Option<Model>,
    checksum: f64,
}

impl Scores {
    fn add(&mut self, features: &[f64]) -> Result<()> {
        let Some(model) = &mut self.model else {
            self.checksum += features.iter().sum::<f64>();
            return Ok(());
        };
        model.push(features);
        if model.is_full() { self.run() } else { Ok(()) }
    }

    fn run(&mut self) -> Result<()> {
        let scores = self.model.as_mut().map(Model::run).transpose()?.unwrap_or_default();
        self.checksum += scores.into_iter().map(f64::from).sum::<f64>();
        Ok(())
    }
}

fn main() -> Result<()> {
    let Args { which, input, model, batch } = Args::parse();
    let (output, column, width) = match which {
        Which::Fraud => ("probabilities", 1, fraud::WIDTH),
        Which::Iot => ("scores", 0, iot::WIDTH),
    };
    // Loading the model is not measured.
    let model = model.map(|path| Model::load(&path, output, column, width, batch)).transpose()?;
    let (mut scores, started, mut records) = (Scores { model, checksum: 0.0 }, Instant::now(), 0_u64);
    let mut lines = Lines::open(&input)?;
    let mut each = |line: &[u8], score: &mut dyn FnMut(&[u8]) -> Result<()>| {
        records += 1;
        score(line).with_context(|| format!("line {records}"))
    };
    match which {
        Which::Fraud => {
            let mut job = fraud::Job::default();
            while lines.chunk(|line| each(line, &mut |line| scores.add(&job.add(line)?)))? {}
        }
        Which::Iot => {
            let mut job = iot::Job::default();
            while lines.chunk(|line| each(line, &mut |line| job.add(line, |features| scores.add(features))))? {}
            job.finish(|features| scores.add(features))?;
        }
    }
    scores.run()?;
    let seconds = started.elapsed().as_secs_f64();
    println!("{}", serde_json::json!({ "records": records, "seconds": seconds, "checksum": scores.checksum }));
    Ok(())
}
