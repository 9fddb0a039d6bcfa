//! From topic to topic, exactly once: what each shop takes in each minute.
//!
//! ```text
//! $ cargo xtask kafka --topics payments:2,takings:1      # in a terminal of its own: a broker, at 127.0.0.1:9092
//! $ cargo run --release --features kafka --example kafka
//! minute 0: bakery took 130.00
//! minute 0: florist took 260.00
//! ```
//! A generator writes payments to the topic `payments`; the other half of the job reads them there and writes to the
//! topic `takings`. Stop it with Ctrl-C, or kill it, and start it again: it continues where it was. What it prints may
//! come twice then. The topic has each line once: `cargo xtask consume kafka://127.0.0.1:9092/takings`.
//!
//! Another broker is named by the first argument. A new broker has no topics of before: remove out/takings, too.

use std::process::ExitCode;

use serde::{Deserialize, Serialize};
use tidemill::cli::exit;
use tidemill::kafka::{self, Connection, Delivery, Topics};
use tidemill::prelude::*;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Payment {
    shop: String,
    ts: i64,
    cents: u32,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Takings {
    shop: String,
    minute: i64,
    amount: f64,
}

/// Payment `n`. A day of the shops passes in half an hour: there are two payments in a second of theirs.
fn payment(n: u64) -> (EventTime, Payment) {
    let (shop, cents) = [("bakery", 325), ("florist", 650), ("kiosk", 110)][(n % 3) as usize];
    let ts = n as i64 * 500;
    (EventTime(ts), Payment { shop: shop.to_owned(), ts, cents })
}

fn main() -> ExitCode {
    exit(run(std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9092".to_owned())))
}

fn run(broker: String) -> Result<(), JobError> {
    let cluster = Connection::new(broker);
    let generated = Generator::new(u64::MAX, payment).rate(100.0);
    let written = KafkaSink::json(cluster.clone(), "payments", Delivery::ExactlyOnce, |payment: &Payment| {
        payment.shop.clone().into_bytes() // payments of one shop are in one partition, in order
    });
    let read =
        KafkaSource::new(cluster.clone(), Topics::named("payments"), kafka::json(), |p: &Payment| EventTime(p.ts));
    let takings = KafkaSink::json(cluster, "takings", Delivery::ExactlyOnce, |t: &Takings| t.shop.clone().into_bytes());

    // Exactly once needs a checkpoint to continue from: it has the positions in the topics.
    let settings = JobSettings { checkpoint_dir: Some("out/takings".into()), ..JobSettings::default() };
    // JobArgs has the log, and ends the job in order after Ctrl-C.
    let job = Job::new("takings", JobArgs { settings, log_level: "warn".to_owned(), ..JobArgs::default() });
    job.run(move |flow| {
        flow.source("generated", &generated)?.sink("written", &written)?;
        let minutes = flow
            .source("read", &read)?
            .key_by(|payment| payment.shop.clone())
            .window("minutes", Assigner::tumbling(minutes(1)))
            .aggregate(stats_of(|payment: &Payment| f64::from(payment.cents)))?
            .results
            .map(|Windowed { key: shop, window, value: cents, .. }| {
                let amount = cents.sum() / 100.0;
                Takings { shop, minute: window.start.0 / 60_000, amount }
            });
        minutes.clone().for_each("print", |record| {
            let Takings { shop, minute, amount } = &record.data;
            println!("minute {minute}: {shop} took {amount:.2}");
        })?;
        minutes.sink("takings", &takings)
    })?;
    Ok(())
}
