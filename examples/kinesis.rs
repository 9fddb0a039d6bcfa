//! From Amazon Kinesis to files, exactly once: the readings of machines, with a mark on those that are too hot.
//!
//! ```text
//! $ export AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=…                     # or a profile, or the role of a machine
//! $ aws kinesis create-stream --stream-name readings --shard-count 2
//! $ cargo run --release --features kinesis --example kinesis -- kinesis://eu-west-1/readings out/readings
//! $ aws kinesis put-record --stream-name readings --partition-key pump-1 \
//!       --cli-binary-format raw-in-base64-out --data '{"n": 1, "celsius": 93.5}'
//! $ cat out/readings/part-*
//! {"machine":"pump-1","shard":"shardId-000000000000","n":1,"celsius":93.5,"hot":true}
//! ```
//! Stop it with Ctrl-C, or kill it, and start it again, also while the stream is split or merged: it continues where it was, and
//! the files have each reading once. Flags of a job follow the folder: `--workers 2`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use serde::{Deserialize, Serialize};
use tidemill::cli::exit;
use tidemill::kinesis::{self, KinesisRecord, KinesisUrl};
use tidemill::prelude::*;

/// Writes the readings that machines put into a stream to files.
#[derive(Debug, Parser)]
struct Args {
    /// The stream: kinesis://region/stream.
    stream: KinesisUrl,
    /// The folder of the files.
    readings: PathBuf,
    #[command(flatten)]
    job: JobArgs,
}

/// What a machine puts into the stream, under its name as the partition key.
#[derive(Deserialize)]
struct Measured {
    n: u64,
    celsius: f64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Reading {
    machine: String,
    shard: String,
    n: u64,
    celsius: f64,
    hot: bool,
}

fn main() -> ExitCode {
    exit(run(Args::parse()))
}

fn run(mut args: Args) -> Result<(), JobError> {
    let data = kinesis::json::<Measured>();
    let decode = move |record: KinesisRecord<'_>| {
        let Measured { n, celsius } = data(record)?;
        let (machine, shard) = (record.partition_key().to_owned(), record.shard().to_owned());
        Ok(Reading { machine, shard, n, celsius, hot: celsius > 90.0 })
    };
    let source = KinesisSource::at(&args.stream, decode);
    let readings = FileSink::json_lines(&args.readings);
    let dead = FileSink::json_lines(args.readings.with_extension("dead"));
    // Where reading goes on after a stop is in the checkpoint, so it needs a place.
    let settings = &mut args.job.settings;
    settings.checkpoint_dir.get_or_insert_with(|| args.readings.with_extension("checkpoints"));
    Job::new("readings", args.job).run(move |flow| {
        flow.source("readings", &source)?.sink("files", &readings)?;
        flow.dead_letters().sink("dead-letters", &dead)
    })?;
    Ok(())
}
