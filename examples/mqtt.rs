//! From MQTT to files, exactly once: the readings of machines, with a mark on those that are too hot.
//!
//! ```text
//! $ mosquitto -p 1883                                                      # in a terminal of its own: a broker
//! $ cargo run --release --features mqtt --example mqtt -- 'mqtt://127.0.0.1/sensors/#?session=readings' out/readings
//! $ mosquitto_pub -V 5 -q 1 -t sensors/pump-1 -m '{"n": 1, "celsius": 93.5}'
//! $ cat out/readings/part-*
//! {"topic":"sensors/pump-1","n":1,"celsius":93.5,"hot":true}
//! ```
//! Stop it with Ctrl-C, or kill it, and start it again: it continues where it was, and the files have each reading once. Flags
//! of a job follow the folder: `--workers 2`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use serde::{Deserialize, Serialize};
use tidemill::cli::exit;
use tidemill::mqtt::{self, MqttMessage, MqttUrl};
use tidemill::prelude::*;

/// Writes the readings that machines publish to files.
#[derive(Debug, Parser)]
struct Args {
    /// The topics: mqtt://host:port/filter?session=NAME.
    topics: MqttUrl,
    /// The folder of the files.
    readings: PathBuf,
    #[command(flatten)]
    job: JobArgs,
}

/// What a machine publishes.
#[derive(Deserialize)]
struct Measured {
    n: u64,
    celsius: f64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Reading {
    topic: String,
    n: u64,
    celsius: f64,
    hot: bool,
}

fn main() -> ExitCode {
    exit(run(Args::parse()))
}

fn run(mut args: Args) -> Result<(), JobError> {
    let payload = mqtt::json::<Measured>();
    let decode = move |message: MqttMessage<'_>| {
        let Measured { n, celsius } = payload(message)?;
        Ok(Reading { topic: message.topic().to_owned(), n, celsius, hot: celsius > 90.0 })
    };
    let source = MqttSource::at(&args.topics, decode).map_err(|e| JobError::Invalid(e.to_string()))?;
    let readings = FileSink::json_lines(&args.readings);
    let dead = FileSink::json_lines(args.readings.with_extension("dead"));
    // A message is acknowledged when its epoch is committed, and that needs a place for checkpoints.
    let settings = &mut args.job.settings;
    settings.checkpoint_dir.get_or_insert_with(|| args.readings.with_extension("checkpoints"));
    Job::new("readings", args.job).run(move |flow| {
        flow.source("readings", &source)?.sink("files", &readings)?;
        flow.dead_letters().sink("dead-letters", &dead)
    })?;
    Ok(())
}
