//! What the programs are told, and what they report.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};

use crate::cards::Features;
use crate::model::Model;

/// Records scored at a time, at most, in every program of the comparison.
const BATCH: usize = 64;

/// The jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Job {
    /// Windows of 10 s over readings of machines.
    Iot,
    /// Velocity of cards, and a rule.
    Fraud,
    /// Velocity of cards, and a model.
    FraudScore,
}

/// The files of a job.
#[derive(Clone, Debug, clap::Args)]
pub struct Files {
    /// Folder with the input.
    #[arg(long)]
    pub data: PathBuf,
    /// Folder for the output.
    #[arg(long)]
    pub out: PathBuf,
    /// The model of `fraud-score`.
    #[arg(long, required_if_eq("job", "fraud-score"))]
    pub model: Option<PathBuf>,
}

impl Files {
    /// Returns the path of an input; `name` is `iot`, or `iot.p0` for the first of its two parts.
    #[must_use]
    pub fn input(&self, name: &str) -> PathBuf {
        self.data.join(format!("{name}.jsonl"))
    }

    /// Returns where output goes.
    #[must_use]
    pub fn output(&self) -> Output {
        Output { folder: self.out.clone() }
    }

    /// Loads the model of a job that has one.
    ///
    /// # Errors
    /// When it cannot be loaded.
    pub fn load_model(&self, job: Job) -> Result<Option<Model>> {
        let path = self.model.as_deref().filter(|_| job == Job::FraudScore);
        let width = Features::default().len();
        path.map(|path| Model::load(path, "probabilities", 1, width, BATCH)).transpose()
    }
}

/// A folder for output.
#[derive(Clone, Debug)]
pub struct Output {
    /// Its path.
    pub folder: PathBuf,
}

impl Output {
    /// Creates the file of a worker.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn create(&self, worker: usize) -> Result<BufWriter<File>> {
        create(&self.folder.join(format!("part-{worker}.jsonl")))
    }
}

/// Creates a file that is written in large pieces.
///
/// # Errors
/// When it cannot be created.
pub fn create(path: &Path) -> Result<BufWriter<File>> {
    let file = File::create(path).with_context(|| format!("cannot create \"{}\"", path.display()))?;
    Ok(BufWriter::with_capacity(1 << 16, file))
}

/// Prints the last line of a program: how many records it read, and how long that took.
pub fn report(records: u64, started: Instant) {
    println!("{}", serde_json::json!({ "records": records, "seconds": started.elapsed().as_secs_f64() }));
}
