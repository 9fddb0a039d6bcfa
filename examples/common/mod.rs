//! The code that the examples share: common flags, destinations of output, and the end of a run.

#[cfg(feature = "parquet")]
mod lake;
mod place;
#[cfg(feature = "kafka")]
mod produce;
mod rows;
#[cfg(feature = "kafka")]
mod topic;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tidemill::prelude::*;
use tidemill::source::MaxMalformed;

pub use tidemill::cli::exit;

#[cfg(feature = "parquet")]
pub use lake::LakeArgs;
pub use place::{Input, Place, write, write_dead_letters};
#[cfg(feature = "kafka")]
pub use topic::topic_source;

/// Returns the path of a model of this repository: in the current folder, or else where the program was compiled, which
/// may be another clone that shares the target folder.
pub fn shipped_model(name: &str) -> PathBuf {
    let here = Path::new("models").join(name);
    if here.exists() { here } else { Path::new(env!("CARGO_MANIFEST_DIR")).join("../models").join(name) }
}

/// The flags that the examples share, including those of the job.
#[derive(Clone, Debug, Args)]
pub struct CommonArgs {
    /// Keeps reading as the input grows, until stopped. Topics are always followed.
    #[arg(long, requires = "input")]
    pub follow: bool,
    /// Stops at the end that the partitions of a topic have when the job starts.
    #[cfg(feature = "kafka")]
    #[arg(long, requires = "input", conflicts_with = "follow")]
    pub until_end: bool,
    /// How far out of order records may arrive without being late.
    #[arg(long, default_value = "0s", value_parser = humantime::parse_duration, value_name = "DURATION")]
    pub max_out_of_orderness: Duration,
    /// How many lines of the input may be malformed before the job stops, per worker; by default 1,000 of the last
    /// 10,000.
    #[arg(long, value_name = "N")]
    pub max_malformed: Option<u64>,
    /// Number of records per second that are simulated or produced, open loop; as fast as possible by default.
    #[arg(long, value_name = "PER_SECOND")]
    pub rate: Option<f64>,
    /// Random seed of the simulation.
    #[arg(long, default_value_t = 7)]
    pub seed: u64,
    /// Writes what would be simulated, or is in the .csv files of --input, to this .csv or .jsonl file or topic, and stops.
    #[arg(long, value_name = "FILE|KAFKA")]
    pub write_input: Option<Place>,
    /// When record 0 of a topic is due, in microseconds since the Unix epoch; at once by default.
    #[cfg(feature = "kafka")]
    #[arg(long, requires = "write_input", value_name = "MICROSECONDS")]
    pub start_at_us: Option<u64>,
    /// Maximum time that a record waits for its batch to fill.
    #[arg(long, default_value = "1ms", value_parser = humantime::parse_duration, value_name = "DURATION")]
    pub max_delay: Duration,
    /// Limits batches to the size that meets this p99 latency of the model's operator.
    #[arg(long, value_parser = humantime::parse_duration, value_name = "DURATION")]
    pub latency_target: Option<Duration>,
    /// Scores on this many threads per worker; on the worker itself by default.
    #[arg(long, value_name = "N")]
    pub inference_threads: Option<NonZeroUsize>,
    /// In which order a key sees its records; by default arrival for topics, event-time for everything else.
    #[arg(long, value_enum)]
    pub order: Option<Order>,
    /// Where predictions go: a folder, as parts of JSON lines, or kafka://host:port/topic; nowhere by default.
    #[arg(long, value_name = "DIR|KAFKA")]
    pub predictions: Option<Place>,
    /// Where alerts go.
    #[arg(long, value_name = "DIR|KAFKA")]
    pub alerts: Option<Place>,
    /// Where lines and records that cannot be used go, with the reason.
    #[arg(long, value_name = "DIR|KAFKA")]
    pub dead_letters: Option<Place>,
    /// Writes features and label here, for training; nothing is scored.
    #[arg(long, value_name = "DIR|KAFKA", conflicts_with_all = ["predictions", "alerts"])]
    pub features: Option<Place>,
    /// Writes them as parts of Parquet, into a folder.
    #[cfg(feature = "parquet")]
    #[arg(long, requires = "features")]
    pub features_as_parquet: bool,
    /// The flags of predictions for a warehouse.
    #[cfg(feature = "parquet")]
    #[command(flatten)]
    pub lake: LakeArgs,
    /// Prints the job's metrics as JSON when it ends.
    #[arg(long)]
    pub report: bool,
    /// The flags of every job.
    #[command(flatten)]
    pub job: JobArgs,
}

impl CommonArgs {
    /// Loads and checks the model before anything starts; none when only features are requested.
    pub fn load_model<F: Features>(&self, path: &Path, output: &str, column: usize) -> Result<Option<Model>, JobError> {
        match self.features {
            Some(_) => Ok(None),
            None => Ok(Some(Model::load::<F>(path, output, column)?)),
        }
    }

    /// Returns the settings for scoring records.
    pub fn infer_settings(&self, max_batch_size: BatchSize) -> InferSettings {
        InferSettings {
            max_batch_size,
            max_delay: self.max_delay,
            latency_target: self.latency_target,
            pool: self.inference_threads.map(|threads| PoolSettings { threads, ..PoolSettings::default() }),
            ..InferSettings::default()
        }
    }

    /// Writes rows for training. `columns` are the names of what a model takes, if rows have it.
    pub fn write_features<D: Data>(
        &self,
        rows: Stream<'_, D>,
        name: &str,
        place: Option<&Place>,
        columns: &[String],
        key: impl Fn(&D) -> String + Send + Sync + 'static,
    ) -> Result<(), JobError> {
        let _ = columns; // only Parquet has a place for them
        #[cfg(feature = "parquet")]
        if self.features_as_parquet {
            return match place {
                Some(Place::Path(folder)) => {
                    let columns = (!columns.is_empty()).then(|| ("tidemill.columns".to_owned(), columns.join(",")));
                    rows.sink(name, &FileSink::parquet_with(folder, columns))
                }
                _ => Err(JobError::Invalid("Parquet is written into a folder: name one with --features".to_owned())),
            };
        }
        write(rows, name, place, key)
    }

    /// Writes predictions.
    pub fn write_predictions<D: Data>(
        &self,
        predictions: Stream<'_, D>,
        key: impl Fn(&D) -> String + Send + Sync + 'static,
    ) -> Result<(), JobError> {
        #[cfg(feature = "parquet")]
        self.lake.write(&predictions)?;
        write(predictions, "predictions", self.predictions.as_ref(), key)
    }

    fn malformed_limit(&self) -> MaxMalformed {
        self.max_malformed.map_or_else(MaxMalformed::default, MaxMalformed::total)
    }

    /// Applies the settings of the command line to a file source.
    pub fn configure<T: Data, L: DeserializeOwned + 'static>(&self, files: FileSource<T, L>) -> FileSource<T, L> {
        let files = files.max_out_of_orderness(self.max_out_of_orderness).max_malformed(self.malformed_limit());
        if self.follow { files.follow() } else { files }
    }

    /// Applies the settings of the command line to a topic source.
    #[cfg(feature = "kafka")]
    pub fn configure_topic<T: Data>(&self, topic: KafkaSource<T>) -> KafkaSource<T> {
        let topic = topic.max_out_of_orderness(self.max_out_of_orderness).max_malformed(self.malformed_limit());
        if self.until_end { topic.until_end() } else { topic }
    }

    /// Returns the source of JSON messages of MQTT that the command line describes.
    #[cfg(feature = "mqtt")]
    pub fn mqtt_source<T: Data>(
        &self,
        url: &tidemill::mqtt::MqttUrl,
        event_time: impl Fn(&T) -> EventTime + Send + Sync + 'static,
    ) -> Result<MqttSource<T>, JobError> {
        let source = MqttSource::at(url, tidemill::mqtt::json()).map_err(|e| JobError::Invalid(e.to_string()))?;
        let source = source.event_time(event_time).max_malformed(self.malformed_limit());
        // The option of the URL counts, unless there is the flag.
        let bound = self.max_out_of_orderness;
        Ok(if bound.is_zero() { source } else { source.max_out_of_orderness(bound) })
    }

    /// Returns the source of requests that the command line describes.
    #[cfg(feature = "ingest")]
    pub fn http_source<T: Data>(
        &self,
        url: &tidemill::ingest::IngestUrl,
        event_time: impl Fn(&T) -> EventTime + Send + Sync + 'static,
    ) -> HttpSource<T> {
        let source = HttpSource::at(url, tidemill::ingest::json()).event_time(event_time);
        // The option of the URL counts, unless there is the flag.
        let source = self.max_malformed.map(MaxMalformed::total).into_iter().fold(source, HttpSource::accept_malformed);
        let bound = self.max_out_of_orderness;
        if bound.is_zero() { source } else { source.max_out_of_orderness(bound) }
    }

    /// Returns the order in which a key sees its records.
    pub fn order(&self, input: &Input) -> Order {
        let usual = if input.is_topic() { Order::Arrival } else { Order::EventTime };
        self.order.unwrap_or(usual)
    }

    /// Writes the input to a file or topic if the flags ask for that, and otherwise runs the job.
    pub fn run<R: Serialize + DeserializeOwned>(
        &self,
        name: &str,
        input: &Input,
        simulated: impl Iterator<Item = R>,
        key: impl Fn(&R) -> String,
        build: impl Fn(&Flow<'_>) -> Result<(), JobError> + Send + Sync + 'static,
    ) -> Result<(), JobError> {
        let _ = &key; // only topics have keys
        if let Some(place) = &self.write_input {
            let read = match input {
                Input::Simulated => None,
                Input::Files(paths) => Some(rows::from_csv(paths)?.into_iter()),
                #[cfg(feature = "kafka")]
                Input::Topic(url) => {
                    return Err(JobError::Invalid(format!("--write-input does not copy topics ({url})")));
                }
                #[cfg(feature = "ingest")]
                Input::Http(url) => {
                    return Err(JobError::Invalid(format!("--write-input does not copy requests ({url})")));
                }
                #[cfg(feature = "mqtt")]
                Input::Mqtt(url) => {
                    return Err(JobError::Invalid(format!("--write-input does not copy topics ({url})")));
                }
            };
            // Only one of the two has records.
            let is_simulated = read.is_none();
            let simulated = simulated.take_while(move |_| is_simulated);
            let records = read.into_iter().flatten().chain(simulated);
            return match place {
                Place::Path(path) => rows::to_file(path, records),
                #[cfg(feature = "kafka")]
                Place::Kafka(url) => produce::to_topic(url, self.rate, self.start_at_us, records, key),
                #[cfg(feature = "mqtt")]
                Place::Mqtt(url) => Err(JobError::Invalid(format!("--write-input: {url} is only read"))),
                #[cfg(feature = "ingest")]
                Place::Http(url) => Err(JobError::Invalid(format!("--write-input: {url} is only read"))),
                #[cfg(feature = "postgres")]
                Place::Postgres(url) => Err(JobError::Invalid(format!("--write-input does not write tables ({url})"))),
                #[cfg(feature = "redis")]
                Place::Redis(url) => Err(JobError::Invalid(format!("--write-input does not write to Redis ({url})"))),
                #[cfg(feature = "webhook")]
                Place::Webhook(url) => {
                    Err(JobError::Invalid(format!("--write-input does not send to a server ({url})")))
                }
            };
        }
        let snapshot = Job::new(name, self.job.clone()).run(build)?;
        if self.report {
            println!("{}", serde_json::to_string_pretty(&snapshot).map_err(JobError::setup)?);
        }
        Ok(())
    }
}
