//! A benchmark of the latency on Kafka, in an open loop: from the time when a transaction is due to be produced until
//! its prediction is visible to a `read_committed` consumer. Producer, broker, job and consumer share this machine.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::measure::median;
use crate::{build_measurements, check, example, kafka, measurement, scratch};
use testkit::broker::Broker;

const SECONDS: u64 = 15;
const RATES: [u64; 2] = [50_000, 100_000];
const WAYS: [(&str, &str); 4] =
    [("at-least-once", "100ms"), ("at-least-once", "1s"), ("exactly-once", "100ms"), ("exactly-once", "1s")];

pub fn run(runs: usize, file: Option<&Path>) -> Result<()> {
    build_measurements()?;
    let folder = scratch("bench-kafka")?;
    let broker = Broker::start(&kafka::libs()?, &folder.join("broker"))?;
    println!(
        "\nfraud_velocity from topic to topic, open loop, {SECONDS} s, medians of {runs} runs, ms from produce to visible"
    );
    println!("producer, broker, job (2 workers) and consumer on this machine");
    println!(
        "{:<10} {:<16} {:<8} {:>10} {:>10} {:>10} {:>10}",
        "tx/s", "delivery", "epoch", "seen", "p50", "p99", "max"
    );
    // While Java compiles its code, the broker takes several times as long, so the first run does not count.
    once(&broker, &folder, RATES[0], "exactly-once", "100ms", runs)?;
    let mut rows = Vec::new();
    for rate in RATES {
        for (delivery, epoch) in WAYS {
            let reports: Vec<Value> =
                (0..runs).map(|run| once(&broker, &folder, rate, delivery, epoch, run)).collect::<Result<_>>()?;
            let of = |name: &str| median(reports.iter().filter_map(|report| report[name].as_f64()).collect());
            let (seen, p50, p99, max) = (of("seen"), of("p50"), of("p99"), of("max"));
            println!("{rate:<10} {delivery:<16} {epoch:<8} {seen:>10.0} {p50:>10.1} {p99:>10.1} {max:>10.1}");
            rows.push(json!({
                "rate": rate, "delivery": delivery, "epoch": epoch, "runs": runs,
                "seen": seen, "p50_ms": p50, "p99_ms": p99, "max_ms": max,
            }));
        }
    }
    if let Some(file) = file {
        std::fs::write(file, serde_json::to_string_pretty(&rows)?)?;
    }
    Ok(())
}

fn once(broker: &Broker, folder: &Path, rate: u64, delivery: &str, epoch: &str, run: usize) -> Result<Value> {
    let name = format!("{rate}-{delivery}-{epoch}-{run}");
    for (topic, partitions) in [("in", "4"), ("out", "4")] {
        let create = ["org.apache.kafka.tools.TopicCommand", "--bootstrap-server", &broker.address, "--create"];
        let mut command = broker.java("256m");
        check(
            command
                .args(create)
                .args(["--topic", &format!("{topic}-{name}"), "--partitions", partitions])
                .stdout(Stdio::null()),
        )?;
    }
    let url = |topic: &str| format!("kafka://{}/{topic}-{name}", broker.address);
    let mut job = example("fraud_velocity")?;
    job.args(["--input", &url("in"), "--workers", "2", "--checkpoint-interval", epoch, "--log-level", "warn"]);
    job.args(["--predictions", &format!("{}?delivery={delivery}", url("out")), "--checkpoint-dir"]);
    let mut job = Running(job.arg(folder.join(&name)).spawn().context("cannot start fraud_velocity")?);
    // By that time the job has taken over the transactional ids.
    let start_at_us = micros_from_now(Duration::from_secs(6))?.to_string();
    let (rate_text, count) = (rate.to_string(), (rate * SECONDS).to_string());
    let mut consumer = measurement("kafka_latency")?;
    consumer.args([&url("out"), "--start-at-us", &start_at_us, "--rate", &rate_text, "--count", &count]);
    let consumer = consumer.stdout(Stdio::piped()).spawn().context("cannot start kafka_latency")?;
    let mut producer = example("fraud_velocity")?;
    producer.args([
        "--write-input",
        &url("in"),
        "--start-at-us",
        &start_at_us,
        "--rate",
        &rate_text,
        "--count",
        &count,
    ]);
    check(producer.stdout(Stdio::null()))?;
    let output = consumer.wait_with_output()?;
    if !output.status.success() {
        bail!("kafka_latency failed");
    }
    job.stop()?;
    serde_json::from_slice(&output.stdout).context("the output of kafka_latency is not JSON")
}

#[expect(clippy::disallowed_methods, reason = "programs started here agree on a time")]
fn micros_from_now(ahead: Duration) -> Result<u128> {
    Ok((SystemTime::now().duration_since(UNIX_EPOCH)? + ahead).as_micros())
}

/// A child process that is stopped when the benchmark ends.
struct Running(Child);

impl Running {
    fn stop(&mut self) -> Result<()> {
        check(Command::new("kill").args(["-TERM", &self.0.id().to_string()]))?;
        let asked = Instant::now();
        let status = self.0.wait()?;
        if !status.success() {
            bail!("the job ended with {status} {:?} after it was asked to stop", asked.elapsed());
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
