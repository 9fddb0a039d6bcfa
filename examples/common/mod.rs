//! What the examples have in common: the flags both take, where output goes, how they end.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tidemill::prelude::*;

/// The flags of both examples, the job's own among them.
#[derive(Clone, Debug, Args)]
pub struct CommonArgs {
    /// Go on reading as the input grows, until stopped.
    #[arg(long, requires = "input")]
    pub follow: bool,
    /// How far out of order the input may come without being late.
    #[arg(long, default_value = "0s", value_parser = humantime::parse_duration, value_name = "DURATION")]
    pub max_out_of_orderness: Duration,
    /// How many lines of the input may be malformed before the job stops, per worker.
    #[arg(long, default_value_t = FileSource::<()>::MAX_MALFORMED, value_name = "N")]
    pub max_malformed: u64,
    /// How many records a second are simulated, open loop; as many as are taken by default.
    #[arg(long, value_name = "PER_SECOND")]
    pub rate: Option<f64>,
    /// Chance of the simulation.
    #[arg(long, default_value_t = 7)]
    pub seed: u64,
    /// Writes what would be simulated to this .csv file and stops.
    #[arg(long, value_name = "FILE")]
    pub write_input: Option<PathBuf>,
    /// How long a record waits at most for its batch to fill.
    #[arg(long, default_value = "1ms", value_parser = humantime::parse_duration, value_name = "DURATION")]
    pub max_delay: Duration,
    /// In which order a key sees its records; event-time by default.
    #[arg(long, value_enum, default_value_t = Order::EventTime)]
    pub order: Order,
    /// Where predictions go, as parts of JSON lines; nowhere by default.
    #[arg(long, value_name = "DIR")]
    pub predictions: Option<PathBuf>,
    /// Where alerts go.
    #[arg(long, value_name = "DIR")]
    pub alerts: Option<PathBuf>,
    /// Where lines and records that cannot be used go, with the reason.
    #[arg(long, value_name = "DIR")]
    pub dead_letters: Option<PathBuf>,
    /// Writes features and label here, for training; nothing is scored.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["predictions", "alerts"])]
    pub features: Option<PathBuf>,
    /// Prints what the job counted, as JSON, when it ends.
    #[arg(long)]
    pub report: bool,
    #[command(flatten)]
    pub job: JobArgs,
}

impl CommonArgs {
    /// The model, checked before anything starts; none when only features are asked for.
    pub fn load_model<F: Features>(&self, path: &Path, output: &str, column: usize) -> Result<Option<Model>, JobError> {
        match self.features {
            Some(_) => Ok(None),
            None => Model::load::<F>(path, output, column).map(Some).map_err(JobError::setup),
        }
    }

    /// A file source with the settings of the command line.
    pub fn configure<T: Data, L: DeserializeOwned + 'static>(&self, files: FileSource<T, L>) -> FileSource<T, L> {
        let files = files.max_out_of_orderness(self.max_out_of_orderness).max_malformed(self.max_malformed);
        if self.follow { files.follow() } else { files }
    }

    /// Writes the simulated records to a file if that is asked for, or runs the job.
    pub fn run<R: Serialize>(
        &self,
        name: &str,
        records: impl Iterator<Item = R>,
        build: impl Fn(&Flow<'_>) -> Result<(), JobError> + Send + Sync + 'static,
    ) -> Result<(), JobError> {
        if let Some(path) = &self.write_input {
            return write_csv(path, records)
                .map_err(|e| JobError::Invalid(format!("cannot write \"{}\": {e}", path.display())));
        }
        let snapshot = Job::new(name, self.job.clone()).run(build)?;
        if self.report {
            println!("{}", serde_json::to_string_pretty(&snapshot).map_err(JobError::setup)?);
        }
        Ok(())
    }
}

fn write_csv<R: Serialize>(path: &Path, records: impl Iterator<Item = R>) -> Result<(), csv::Error> {
    let mut writer = csv::Writer::from_path(path)?;
    for record in records {
        writer.serialize(record)?;
    }
    Ok(writer.flush()?)
}

/// Writes a stream to a folder, or nowhere.
pub fn write<D: Data>(stream: Stream<'_, D>, name: &str, folder: Option<&Path>) -> Result<(), JobError> {
    match folder {
        Some(folder) => stream.sink(name, &FileSink::json_lines(folder)),
        None => stream.sink(name, &NullSink::default()),
    }
}

/// How a program ends: an error is printed, with its causes.
pub fn exit(result: Result<(), JobError>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", error.report());
            ExitCode::FAILURE
        }
    }
}
