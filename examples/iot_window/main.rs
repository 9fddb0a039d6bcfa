//! Watches machines: 10-second windows of eight signals, an isolation forest, anomalies out.
//!
//! ```text
//! readings ─▶ by machine: 10 s windows of mean, std, max, min ─▶ score ─┬─▶ predictions
//!                  └─▶ late readings, counted                           └─▶ alerts
//! ```

mod signals;
mod simulate;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Parser, ValueEnum};
use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use tidemill::prelude::*;

use signals::{Reading, Signals, Summary, WindowFeatures};
use simulate::Factory;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const WINDOW_MS: i64 = 10_000;

/// Watches machines: 10-second windows of eight signals, scored by an isolation forest.
#[derive(Clone, Debug, Parser)]
struct Args {
    /// Readings to read: .csv or .jsonl, also .gz or .zst. Without it they are simulated.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    input: Vec<PathBuf>,
    /// Go on reading as the input grows, until stopped.
    #[arg(long, requires = "input")]
    follow: bool,
    /// How far out of order readings may come without being late.
    #[arg(long, default_value = "0s", value_parser = humantime::parse_duration, value_name = "DURATION")]
    max_out_of_orderness: Duration,
    /// How long after its end a window still takes late readings, each of which scores it again.
    #[arg(long, default_value = "0s", value_parser = humantime::parse_duration, value_name = "DURATION")]
    allowed_lateness: Duration,
    /// How many machines are simulated, each read once a second.
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    machines: u64,
    /// How many seconds are simulated.
    #[arg(long, default_value_t = 120, value_name = "N")]
    seconds: u64,
    /// How many readings a second are simulated, open loop; as many as are taken by default.
    #[arg(long, value_name = "PER_SECOND")]
    rate: Option<f64>,
    /// Chance of the simulation.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Writes the simulated readings to this .csv file and stops.
    #[arg(long, value_name = "FILE")]
    write_input: Option<PathBuf>,
    /// The model.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/models/iot_window.onnx"), value_name = "FILE")]
    model: PathBuf,
    /// Windows scored at a time, at most.
    #[arg(long, default_value = "512", value_name = "N")]
    max_batch_size: NonZeroUsize,
    /// How long a window waits at most for its batch to fill.
    #[arg(long, default_value = "1ms", value_parser = humantime::parse_duration, value_name = "DURATION")]
    max_delay: Duration,
    /// A score below this is an alert: the isolation forest's decision function is negative for outliers.
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    threshold: f32,
    /// In which order a machine's readings are taken in; event-time by default.
    #[arg(long, value_enum, default_value_t = OrderArg::EventTime)]
    order: OrderArg,
    /// Where predictions go, as parts of JSON lines; nowhere by default.
    #[arg(long, value_name = "DIR")]
    predictions: Option<PathBuf>,
    /// Where alerts go.
    #[arg(long, value_name = "DIR")]
    alerts: Option<PathBuf>,
    /// Where readings go that came after their window was forgotten.
    #[arg(long, value_name = "DIR")]
    late: Option<PathBuf>,
    /// Where lines and windows that cannot be used go, with the reason.
    #[arg(long, value_name = "DIR")]
    dead_letters: Option<PathBuf>,
    /// Writes the features of each window here, for training; nothing is scored.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["predictions", "alerts"])]
    features: Option<PathBuf>,
    /// Prints what the job counted, as JSON, when it ends.
    #[arg(long)]
    report: bool,
    #[command(flatten)]
    job: JobArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum OrderArg {
    /// Wait until the watermark has passed a reading: the same to the last digit in any replay.
    EventTime,
    /// As they come; a window waits for the watermark anyway.
    Arrival,
}

/// A line of the output.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Prediction {
    machine_id: CompactString,
    window_start: i64,
    score: f32,
    /// Name and hash of the model.
    model: String,
    features: Summary,
}

/// A line for training.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Example {
    machine_id: CompactString,
    window_start: i64,
    anomaly: u8,
    features: Summary,
}

fn main() -> std::process::ExitCode {
    let args = Args::parse();
    let result = match &args.write_input {
        Some(path) => write_input(&args, path).map_err(|e| format!("cannot write \"{}\": {e}", path.display())),
        None => run(args).map_err(|e| e.report()),
    };
    match result {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> Result<(), JobError> {
    // Checked before anything starts.
    let model = match args.features {
        Some(_) => None,
        None => Some(Model::load::<WindowFeatures>(&args.model, "scores", 0).map_err(JobError::setup)?),
    };
    let (job, report) = (Job::new("iot_window", args.job.clone()), args.report);
    let snapshot = job.run(move |flow| build(flow, &args, model.as_ref()))?;
    if report {
        println!("{}", serde_json::to_string_pretty(&snapshot).map_err(JobError::setup)?);
    }
    Ok(())
}

fn build(flow: &Flow<'_>, args: &Args, model: Option<&Model>) -> Result<(), JobError> {
    let order = match args.order {
        OrderArg::EventTime => Order::EventTime,
        OrderArg::Arrival => Order::Arrival,
    };
    let lateness = i64::try_from(args.allowed_lateness.as_millis()).unwrap_or(i64::MAX);
    let windows = readings(flow, args)?
        .key_by(|reading| reading.machine_id.clone())
        .window("windows", Assigner::tumbling(WINDOW_MS))
        .allowed_lateness_ms(lateness)
        .order(order)
        .aggregate(Signals)?;
    write(windows.late, "late", args.late.as_deref())?;

    if let Some(model) = model {
        let settings = InferSettings {
            max_batch_size: args.max_batch_size,
            max_delay: args.max_delay,
            ..InferSettings::default()
        };
        let name = model.info().to_string();
        let scored =
            windows
                .results
                .infer("score", model, &settings, |window: &Windowed<CompactString, Summary>| &window.value.signals)?;
        let predictions = scored.map(move |Scored { record, score, .. }| {
            let Windowed { key: machine_id, window, value: features } = record;
            Prediction { machine_id, window_start: window.start.0, score, model: name.clone(), features }
        });
        let threshold = args.threshold;
        write(predictions.clone().filter(move |p| p.score < threshold), "alerts", args.alerts.as_deref())?;
        write(predictions, "predictions", args.predictions.as_deref())?;
    } else {
        let examples = windows.results.map(|Windowed { key: machine_id, window, value: features }| Example {
            machine_id,
            window_start: window.start.0,
            anomaly: features.anomaly,
            features,
        });
        write(examples, "features", args.features.as_deref())?;
    }
    write(flow.dead_letters(), "dead-letters", args.dead_letters.as_deref())
}

fn readings<'s>(flow: &Flow<'s>, args: &Args) -> Result<Stream<'s, Reading>, JobError> {
    if args.input.is_empty() {
        let factory = Factory::new(args.seed, args.machines);
        let generator = Generator::new(args.machines * args.seconds, move |index| {
            let reading = factory.reading(index);
            (reading.event_time(), reading)
        });
        return flow.source("readings", &generator.rate(args.rate.unwrap_or(0.0)));
    }
    let files = FileSource::new(&args.input, Reading::event_time).max_out_of_orderness(args.max_out_of_orderness);
    flow.source("readings", &if args.follow { files.follow() } else { files })
}

fn write<D: Data>(stream: Stream<'_, D>, name: &str, folder: Option<&Path>) -> Result<(), JobError> {
    match folder {
        Some(folder) => stream.sink(name, &FileSink::json_lines(folder)),
        None => stream.sink(name, &NullSink::default()),
    }
}

fn write_input(args: &Args, path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let factory = Factory::new(args.seed, args.machines);
    let mut writer = csv::Writer::from_path(path)?;
    for index in 0..args.machines * args.seconds {
        writer.serialize(factory.reading(index))?;
    }
    writer.flush()?;
    Ok(())
}
