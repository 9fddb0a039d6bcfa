//! Watches machines: an isolation forest scores 10-second windows of eight signals and reports anomalies.
//!
//! ```text
//! readings ─▶ by machine: 10 s windows of mean, std, max, min ─▶ score ─┬─▶ predictions: all of them
//!                  └─▶ late readings, counted                           ├─▶ alerts: below the threshold
//!                                                                       └─▶ normal: the others
//! ```

mod signals;
mod simulate;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use tidemill::prelude::*;

use common::{CommonArgs, Input, Place, exit, shipped_model, write, write_dead_letters};
use signals::{Reading, Signals, Summary, WindowFeatures};
use simulate::Factory;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const WINDOW: Duration = Duration::from_secs(10);

/// Watches machines: 10-second windows of eight signals, scored by an isolation forest.
#[derive(Clone, Debug, Parser)]
struct Args {
    /// Readings to read: .csv or .jsonl, also .gz or .zst, or .parquet; or kafka://host:port/topic,
    /// kinesis://region/stream or mqtt://host:port/topics/#?session=NAME of JSON, redis://host:port/0?stream=KEY,
    /// or http+ingest://127.0.0.1:9091/readings, to which they are sent by POST.
    /// Without it they are simulated.
    #[arg(long, value_name = "FILE|URL", num_args = 1..)]
    input: Vec<Place>,
    /// How long after its end a window still takes late readings, each of which scores it again.
    #[arg(long, default_value = "0s", value_parser = humantime::parse_duration, value_name = "DURATION")]
    allowed_lateness: Duration,
    /// How many machines are simulated, each read once a second.
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    machines: u64,
    /// How many seconds are simulated.
    #[arg(long, default_value_t = 120, value_name = "N")]
    seconds: u64,
    /// The model.
    #[arg(long, default_value_os_t = shipped_model("iot_window.onnx"), value_name = "FILE")]
    model: PathBuf,
    /// Windows scored at a time, at most; auto:N to have the best number up to N measured.
    #[arg(long, default_value = "512", value_name = "N|auto:N")]
    max_batch_size: BatchSize,
    /// A score below this is an alert: the isolation forest's decision function is negative for outliers.
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    threshold: f32,
    /// Where the windows go that are no alerts: a folder, or postgres://user@host/database?table=NAME.
    #[arg(long, value_name = "DIR|KAFKA|POSTGRES")]
    normal: Option<Place>,
    /// Where readings go that came after their window was forgotten.
    #[arg(long, value_name = "DIR|KAFKA")]
    late: Option<Place>,
    #[command(flatten)]
    common: CommonArgs,
}

/// A line of the output.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Prediction {
    machine_id: CompactString,
    window_start: i64,
    score: f32,
    /// Name and hash of the model; shared, because every prediction contains it.
    model: Arc<str>,
    /// Number of readings.
    count: u64,
    features: WindowFeatures,
}

/// A line for training.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Example {
    machine_id: CompactString,
    window_start: i64,
    anomaly: u8,
    count: u64,
    features: WindowFeatures,
}

fn main() -> ExitCode {
    exit(run(Args::parse()))
}

fn run(args: Args) -> Result<(), JobError> {
    let model = args.common.load_model::<WindowFeatures>(&args.model, "scores", 0)?;
    let (common, factory) = (args.common.clone(), Factory::new(args.common.seed, args.machines));
    let readings = (0..args.machines * args.seconds).map(|index| factory.reading(index));
    let input = Input::of(&args.input)?;
    let machine = |reading: &Reading| reading.machine_id.to_string();
    common.run("iot_window", &input, readings, machine, move |flow| {
        build(flow, &args, &Input::of(&args.input)?, model.as_ref())
    })
}

fn build(flow: &Flow<'_>, args: &Args, input: &Input, model: Option<&Model>) -> Result<(), JobError> {
    let common = &args.common;
    let windows = readings(flow, args, input)?
        .key_by(|reading| reading.machine_id.clone())
        .window("windows", Assigner::tumbling(WINDOW))
        .allowed_lateness(args.allowed_lateness)
        .order(common.order(input))
        .aggregate(Signals)?;
    write(windows.late, "late", args.late.as_ref(), |late| late.machine_id.to_string())?;

    if let Some(model) = model {
        let settings = common.infer_settings(args.max_batch_size);
        let name: Arc<str> = model.info().to_string().into();
        let scored = windows.results.infer("score", model, &settings, |window| &window.value.signals)?;
        let predictions = scored.map(move |Scored { record, score, .. }| {
            let Windowed { key: machine_id, window, value, .. } = record;
            let Summary { count, signals: features, .. } = *value;
            let model = Arc::clone(&name);
            Prediction { machine_id, window_start: window.start.0, score, model, count, features }
        });
        let threshold = args.threshold;
        let machine = |prediction: &Prediction| prediction.machine_id.to_string();
        let (alerts, normal) = predictions.clone().split(move |p| p.score < threshold);
        write(alerts, "alerts", common.alerts.as_ref(), machine)?;
        if args.normal.is_some() {
            write(normal, "normal", args.normal.as_ref(), machine)?;
        }
        common.write_predictions(predictions, machine)?;
    } else {
        let examples = windows.results.map(|Windowed { key: machine_id, window, value, .. }| {
            let Summary { count, signals: features, anomaly } = *value;
            Example { machine_id, window_start: window.start.0, anomaly, count, features }
        });
        common.write_features(examples, "features", common.features.as_ref(), &[], |example| {
            example.machine_id.to_string()
        })?;
    }
    write_dead_letters(flow.dead_letters(), common.dead_letters.as_ref())
}

fn readings<'s>(flow: &Flow<'s>, args: &Args, input: &Input) -> Result<Stream<'s, Reading>, JobError> {
    match input {
        Input::Simulated => {
            let factory = Factory::new(args.common.seed, args.machines);
            let generator = Generator::new(args.machines * args.seconds, move |index| {
                let reading = factory.reading(index);
                (reading.event_time(), reading)
            });
            flow.source("readings", &generator.rate(args.common.rate))
        }
        Input::Files(paths) => {
            let files = FileSource::new(paths, Reading::event_time);
            flow.source("readings", &args.common.configure(files))
        }
        Input::Live(live) => {
            live.source(flow, "readings", &args.common, Duration::ZERO, |reading: Reading| reading, Reading::event_time)
        }
    }
}
