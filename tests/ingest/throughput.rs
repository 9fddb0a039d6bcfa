//! How many records a second come in on loopback, beside parsing the same bytes alone. It prints, and asserts no time:
//! `cargo test --release --workspace --all-features --test ingest -- --ignored --nocapture throughput`

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tidemill::prelude::*;

use crate::client::{Connection, Post};

const EACH: usize = 1000;
const REQUESTS: usize = 400;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Payment {
    id: u64,
    card: String,
    ts: i64,
    cents: u64,
    merchant: String,
}

fn lines(request: usize) -> String {
    let payment = |n: usize| {
        let (id, card, merchant) = (n as u64, format!("card-{:06}", n % 10_007), format!("shop-{:04}", n % 997));
        Payment { id, card, ts: 1_790_812_800_000 + n as i64, cents: (n * 37 % 10_000) as u64, merchant }
    };
    let line = |n: usize| serde_json::to_string(&payment(request * EACH + n)).unwrap() + "\n";
    (0..EACH).map(line).collect()
}

fn per_second(records: usize, time: Duration) -> f64 {
    records as f64 / time.as_secs_f64()
}

/// Sends bodies on so many connections, each under a key that begins with `name`, and returns records per second.
fn sent(to: SocketAddr, bodies: &[String], connections: usize, name: &str) -> f64 {
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for client in 0..connections {
            scope.spawn(move || {
                let mut connection = Connection::open(to).unwrap();
                for (number, body) in bodies.iter().enumerate().skip(client).step_by(connections) {
                    let request = Post::lines(body.as_bytes()).key(&format!("{name}-{number}"));
                    connection.write(&request.bytes()).unwrap();
                    assert_eq!(connection.reply().unwrap().body, r#"{"records":1000}"#);
                }
            });
        }
    });
    per_second(bodies.len() * EACH, begun.elapsed())
}

#[test]
#[ignore = "it measures"]
fn throughput() {
    let scratch = tempfile::tempdir().unwrap();
    let source = HttpSource::new("127.0.0.1:0", "/readings", tidemill::ingest::json::<Payment>())
        .event_time(|payment: &Payment| EventTime(payment.ts))
        .max_queued_bytes(1 << 30);
    let bound = source.bound_address();
    let settings = tests::short_epochs(&scratch.path().join("checkpoints"));
    // It ends with the test program: nothing else ends this source.
    std::thread::spawn(move || {
        Job::new("takes", settings)
            .run(move |flow| flow.source("payments", &source)?.sink("nowhere", &NullSink::default()))
    });
    tests::until("the source listens", || bound.get().is_some());
    let address = bound.get().unwrap();
    let bodies: Vec<String> = (0..REQUESTS).map(lines).collect();
    let bytes: usize = bodies.iter().map(String::len).sum();
    println!("{} bytes a record, {EACH} records a request, epochs of 100 ms", bytes / REQUESTS / EACH);
    for run in 0..3 {
        let begun = Instant::now();
        let mut cents = 0;
        for line in bodies.iter().flat_map(|body| body.lines()) {
            cents += serde_json::from_str::<Payment>(line).unwrap().cents;
        }
        let alone = per_second(REQUESTS * EACH, begun.elapsed());
        assert!(cents > 0);
        println!("run {run}: {alone:>10.0} records/s parsed alone, by serde_json on one thread");
        for (connections, bodies) in [(1, &bodies[..40]), (50, &bodies), (200, &bodies), (400, &bodies)] {
            let came = sent(address, bodies, connections, &format!("{run}-{connections}"));
            println!(
                "run {run}: {came:>10.0} records/s came in on {connections} connections: {:.2} of it",
                came / alone
            );
        }
    }
}
