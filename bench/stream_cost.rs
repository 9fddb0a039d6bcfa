//! Measures how fast streams of Redis are read by a job, against the client alone: the same server, the same entries, as many at a
//! time.

use std::time::{Duration, Instant};

use clap::Parser;
use redis::{Connection, Value, cmd, pipe};
use serde::{Deserialize, Serialize};
use testkit::redis::Redis;
use tidemill::prelude::*;
use tidemill::redis::{RedisServer, stream_fields};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures a source of streams against a loop of XREAD.
#[derive(Parser)]
struct Args {
    /// Entries of the stream.
    #[arg(long, default_value_t = 1_000_000)]
    entries: u64,
    /// Pairs of runs, of which the median ratio counts.
    #[arg(long, default_value_t = 5)]
    runs: usize,
}

/// How many entries the loop asks for at a time.
const PAGE: usize = 1024;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Reading {
    machine: String,
    ts: i64,
    celsius: f64,
    pressure: f64,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    let folder = std::env::temp_dir().join(format!("stream-cost-{}", std::process::id()));
    let server = Redis::start_with(&folder, &[])?;
    let result = measure(&args, &server);
    drop(server);
    std::fs::remove_dir_all(&folder)?;
    result
}

fn measure(args: &Args, server: &Redis) -> Result<(), Box<dyn std::error::Error>> {
    let mut connection = redis::Client::open(server.url())?.get_connection()?;
    fill(&mut connection, args.entries)?;
    let mut ratios = Vec::new();
    for _ in 0..args.runs {
        let (alone, job) = (read_alone(&mut connection, args.entries)?, read_by_job(server, args.entries)?);
        let rate = |time: Duration| args.entries as f64 / time.as_secs_f64() / 1e3;
        println!("client alone {:.0} k/s, job {:.0} k/s", rate(alone), rate(job));
        ratios.push(alone.as_secs_f64() / job.as_secs_f64());
    }
    ratios.sort_by(f64::total_cmp);
    println!(
        "the job reads {:.0} % as fast as the client alone (median of {})",
        100.0 * ratios[ratios.len() / 2],
        args.runs
    );
    Ok(())
}

fn fill(connection: &mut Connection, entries: u64) -> redis::RedisResult<()> {
    for begin in (0..entries).step_by(PAGE) {
        let mut page = pipe();
        for n in begin..entries.min(begin + PAGE as u64) {
            let add =
                page.cmd("XADD").arg("readings").arg("*").arg("machine").arg(format!("machine-{:05}", n % 10_000));
            add.arg("ts").arg(n).arg("celsius").arg(20.0 + (n % 700) as f64 / 10.0).arg("pressure").arg(1.25).ignore();
        }
        page.exec(connection)?;
    }
    Ok(())
}

/// Reads all entries in a loop that does nothing else.
fn read_alone(connection: &mut Connection, entries: u64) -> Result<Duration, Box<dyn std::error::Error>> {
    let (begun, mut last, mut read) = (Instant::now(), "0-0".to_owned(), 0);
    while read < entries {
        let mut ask = cmd("XREAD");
        ask.arg("COUNT").arg(PAGE).arg("STREAMS").arg("readings").arg(&last);
        let answer: Value = ask.query(connection)?;
        let page: Vec<(String, Vec<(String, Value)>)> = redis::from_redis_value(answer)?;
        let (_, page) = page.into_iter().next().ok_or("the stream has ended too early")?;
        read += page.len() as u64;
        last = page.into_iter().next_back().ok_or("an empty page")?.0;
    }
    Ok(begun.elapsed())
}

/// Reads all entries by a job with one worker, which decodes them.
fn read_by_job(server: &Redis, entries: u64) -> Result<Duration, Box<dyn std::error::Error>> {
    let at = RedisServer::new("127.0.0.1").port(server.port());
    let source = RedisStreamSource::new(at, ["readings"], stream_fields::<Reading>()).until_end();
    let begun = Instant::now();
    let job = Job::new("streams", JobSettings { workers: 1, ..JobSettings::default() });
    let report = job.run(move |flow| flow.source("readings", &source)?.sink("out", &NullSink::default()))?;
    let took = begun.elapsed();
    let read = report.operator("out").map_or(0, |out| out.counter("records_in"));
    if read != entries {
        return Err(format!("the job has read {read} of {entries} entries").into());
    }
    Ok(took)
}
