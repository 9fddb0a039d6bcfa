//! From HTTP to files: readings of machines that other programs POST, each once if it has a key, with a mark on those that are
//! too hot.
//!
//! ```text
//! $ cargo run --release --features ingest --example ingest -- http+ingest://127.0.0.1:9091/readings out/readings
//! $ curl -i http://127.0.0.1:9091/readings -H 'Content-Type: application/x-ndjson' -H 'Idempotency-Key: one' \
//!        --data-binary '{"n": 1, "celsius": 93.5}'
//! HTTP/1.1 200 OK
//! {"records":1}
//! $ cat out/readings/part-*
//! {"n":1,"celsius":93.5,"hot":true}
//! ```
//! Whatever was answered with 200 is there, also if the job is killed. Send the same request again, with the same key, and it is
//! answered and not written a second time. Flags of a job follow the folder: `--workers 2`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use serde::{Deserialize, Serialize};
use tidemill::cli::exit;
use tidemill::ingest::{self, HttpRecord, IngestUrl};
use tidemill::prelude::*;

/// Writes the readings that are sent to files.
#[derive(Debug, Parser)]
struct Args {
    /// Where readings are sent to: http+ingest://host:port/path.
    address: IngestUrl,
    /// The folder of the files.
    readings: PathBuf,
    #[command(flatten)]
    job: JobArgs,
}

/// What a machine sends.
#[derive(Deserialize)]
struct Measured {
    n: u64,
    celsius: f64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Reading {
    n: u64,
    celsius: f64,
    hot: bool,
}

fn main() -> ExitCode {
    exit(run(Args::parse()))
}

fn run(mut args: Args) -> Result<(), JobError> {
    let measured = ingest::json::<Measured>();
    let source = HttpSource::at(&args.address, move |record: HttpRecord<'_>| {
        let Measured { n, celsius } = measured(record)?;
        Ok(Reading { n, celsius, hot: celsius > 90.0 })
    });
    let readings = FileSink::json_lines(&args.readings);
    let dead = FileSink::json_lines(args.readings.with_extension("dead"));
    // A request is answered when its epoch is committed, and that needs a place for checkpoints.
    let settings = &mut args.job.settings;
    settings.checkpoint_dir.get_or_insert_with(|| args.readings.with_extension("checkpoints"));
    Job::new("readings", args.job).run(move |flow| {
        flow.source("readings", &source)?.sink("files", &readings)?;
        flow.dead_letters().sink("dead-letters", &dead)
    })?;
    Ok(())
}
