//! Measures when predictions become visible: reads a topic with `read_committed`, and compares with the time when each
//! transaction was due to be produced. `cargo xtask bench kafka` runs it beside producer, broker and job.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde::Deserialize;
use tidemill::kafka::KafkaUrl;
use tidemill::prelude::*;

/// Time without predictions after which the measurement ends.
const QUIET: Duration = Duration::from_secs(15);

/// Reads predictions and prints percentiles of their latency as JSON, in ms.
#[derive(Parser)]
struct Args {
    /// The predictions: kafka://host:port/topic.
    topic: KafkaUrl,
    /// When transaction 0 was due, in microseconds since the Unix epoch.
    #[arg(long, value_name = "MICROSECONDS")]
    start_at_us: u64,
    /// Transactions a second.
    #[arg(long)]
    rate: f64,
    /// How many predictions come.
    #[arg(long)]
    count: u64,
}

#[derive(Deserialize)]
struct Prediction {
    tx_id: u64,
}

fn main() -> ExitCode {
    match measure(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(args: &Args) -> Result<(), Box<dyn std::error::Error>> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &args.topic.connection.brokers)
        .set("group.id", "latency")
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("fetch.wait.max.ms", "20")
        .create()?;
    let metadata = consumer.fetch_metadata(Some(&args.topic.topic), Duration::from_secs(30))?;
    let mut list = TopicPartitionList::new();
    for partition in metadata.topics().iter().flat_map(rdkafka::metadata::MetadataTopic::partitions) {
        list.add_partition_offset(&args.topic.topic, partition.id(), Offset::Beginning)?;
    }
    consumer.assign(&list)?;
    let (clock, mut last) = (Clock::system(), Instant::now());
    let mut latencies = Vec::new();
    // Latencies by the second in which a transaction was due, because they distinguish a slow start from a backlog.
    let mut seconds: Vec<Vec<u64>> = Vec::new();
    while (latencies.len() as u64) < args.count && last.elapsed() < QUIET + Duration::from_secs(5) {
        let Some(message) = consumer.poll(Duration::from_millis(100)) else { continue };
        let message = message?;
        last = Instant::now();
        let Prediction { tx_id } = serde_json::from_slice(message.payload().unwrap_or_default())?;
        let due = args.start_at_us + (tx_id as f64 * 1e6 / args.rate) as u64;
        let latency = clock.now().0.saturating_sub(due);
        latencies.push(latency);
        let second = (tx_id as f64 / args.rate) as usize;
        seconds.resize_with(seconds.len().max(second + 1), Vec::new);
        seconds[second].push(latency);
    }
    let p99_by_second: Vec<f64> = seconds.iter_mut().map(|second| percentile(second, 0.99)).collect();
    let (p50, p99, max) =
        (percentile(&mut latencies, 0.5), percentile(&mut latencies, 0.99), percentile(&mut latencies, 1.0));
    let report = serde_json::json!({
        "seen": latencies.len(), "p50": p50, "p99": p99, "max": max, "p99_by_second": p99_by_second,
    });
    println!("{report}");
    Ok(())
}

/// Returns a percentile, in milliseconds, of latencies in microseconds.
fn percentile(latencies: &mut [u64], share: f64) -> f64 {
    latencies.sort_unstable();
    let index = (latencies.len() as f64 * share) as usize;
    latencies.get(index.min(latencies.len().saturating_sub(1))).map_or(0.0, |us| *us as f64 / 1000.0)
}
