//! From streams of Redis to files, exactly once: the readings of machines, with a mark on those that are too hot.
//!
//! ```text
//! $ redis-server --save '' --appendonly yes                                # in a terminal of its own
//! $ cargo run --release --features redis --example redis_stream -- 'redis://127.0.0.1/0?stream=readings' out/readings
//! $ redis-cli xadd readings '*' n 1 celsius 93.5
//! $ cat out/readings/part-*
//! {"stream":"readings","n":1,"celsius":93.5,"hot":true}
//! ```
//! Stop it with Ctrl-C, or kill it, and start it again: it continues where it was, and the files have each reading once. Flags
//! of a job follow the folder: `--workers 2`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use serde::{Deserialize, Serialize};
use tidemill::cli::exit;
use tidemill::prelude::*;
use tidemill::redis::{RedisStreamUrl, StreamEntry};

/// Writes the readings in streams to files.
#[derive(Debug, Parser)]
struct Args {
    /// The streams: redis://host:port/0?stream=KEY.
    streams: RedisStreamUrl,
    /// The folder of the files.
    readings: PathBuf,
    #[command(flatten)]
    job: JobArgs,
}

/// The fields of an entry.
#[derive(Deserialize)]
struct Measured {
    n: u64,
    celsius: f64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Reading {
    stream: String,
    n: u64,
    celsius: f64,
    hot: bool,
}

fn main() -> ExitCode {
    exit(run(Args::parse()))
}

fn run(mut args: Args) -> Result<(), JobError> {
    let fields = args.streams.decoder::<Measured>();
    let decode = move |entry: StreamEntry<'_>| {
        let Measured { n, celsius } = fields(entry)?;
        Ok(Reading { stream: entry.stream().to_owned(), n, celsius, hot: celsius > 90.0 })
    };
    let source = RedisStreamSource::at(&args.streams, decode);
    let readings = FileSink::json_lines(&args.readings);
    let dead = FileSink::json_lines(args.readings.with_extension("dead"));
    // Where to go on is in the checkpoints.
    let settings = &mut args.job.settings;
    settings.checkpoint_dir.get_or_insert_with(|| args.readings.with_extension("checkpoints"));
    Job::new("readings", args.job).run(move |flow| {
        flow.source("readings", &source)?.sink("files", &readings)?;
        flow.dead_letters().sink("dead-letters", &dead)
    })?;
    Ok(())
}
