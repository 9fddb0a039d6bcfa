//! The keys with most records are shown while somebody looks: those of a skewed stream, and none of a uniform one. They
//! are never labels of metrics.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value as Json;
use testkit::free_address;
use tests::pause;
use tidemill::job::JobSetup;
use tidemill::prelude::*;

use super::client::get;

/// Hands every record on.
struct Every;

impl KeyedLogic for Every {
    type Key = String;
    type In = u64;
    type Out = u64;
    type Side = ();

    fn on_record(&mut self, ctx: &mut Context<'_, String, u64, ()>, record: Record<u64>) -> Result<(), LogicError> {
        ctx.emit(record.data);
        Ok(())
    }
}

/// Counts the records of keys that are made of numbers by `key`, on two workers, and looks until `count` of them have
/// been counted. Returns what was shown, and the metrics.
fn shown(key: impl Fn(u64) -> String + Clone + Send + Sync + 'static, count: u64) -> (Json, String) {
    let address = free_address();
    let settings = JobSettings { http: Some(address), workers: 2, ..JobSettings::default() };
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&stop);
    let setup = JobSetup::from(settings).prepared_by(move || Ok(Arc::clone(&asked)));
    let job = std::thread::spawn(move || {
        Job::new("keys", setup).run(move |flow| {
            let (key, numbers) = (key.clone(), Generator::new(u64::MAX, |n| (EventTime(n as i64), n)).rate(50_000.0));
            let keyed = flow.source("numbers", &numbers)?.key_by(move |n| key(*n));
            keyed.process("every", Order::Arrival, |_| Ok(Every))?.results.sink("out", &NullSink::default())
        })
    });
    let operator = loop {
        assert!(!job.is_finished(), "{:?}", job.join());
        match look(address) {
            Some(operator) if operator["records"].as_u64().unwrap() >= count => break operator,
            _ => pause(),
        }
    };
    let metrics = get(address, "/metrics").body;
    stop.store(true, Ordering::Relaxed);
    job.join().unwrap().unwrap();
    (operator, metrics)
}

fn look(address: SocketAddr) -> Option<Json> {
    std::net::TcpStream::connect(address).ok()?;
    let operators = get(address, "/api/v1/hotkeys").json()["operators"].clone();
    let operator = operators.as_array()?.first()?.clone();
    assert_eq!(operator["operator"], "every", "{operator}");
    Some(operator)
}

/// Spreads numbers so that no two are alike for long.
fn scattered(n: u64) -> u64 {
    n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 44
}

#[test]
fn the_hot_keys_of_a_skewed_stream_are_shown_with_their_shares() {
    let key = |n: u64| match n % 10 {
        0..4 => "\"whale\"\n".to_owned(),
        4 => "w".repeat(1000),
        _ => format!("card-{}", scattered(n)),
    };
    let (operator, metrics) = shown(key, 100_000);
    let keys = operator["keys"].as_array().unwrap();
    let [first, second] = &keys[..] else { panic!("{operator:#}") };
    let share = |key: &Json| key["share"].as_f64().unwrap();
    assert_eq!(first["key"], r#""\"whale\"\n""#, "in its Debug form");
    assert!((0.3..0.5).contains(&share(first)) && (0.05..0.15).contains(&share(second)), "{operator:#}");
    let long = second["key"].as_str().unwrap();
    assert!(long.starts_with("\"www") && long.len() < 150, "{long}");
    assert!(keys.iter().all(|key| key["worker"].as_u64().unwrap() < 2), "{operator:#}");
    assert!(!metrics.contains("whale"), "a key is no label");
}

#[test]
fn no_key_of_a_uniform_stream_is_worth_naming() {
    let (operator, _) = shown(|n| scattered(n).to_string(), 100_000);
    assert_eq!(operator["keys"], serde_json::json!([]), "{operator:#}");
}
