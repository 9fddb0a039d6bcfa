//! A planted bottleneck is named, and so is who waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value as Json;
use testkit::free_address;
use tidemill::job::JobSetup;
use tidemill::prelude::*;

use super::client::get;

/// Works as slowly as a slow database does.
#[expect(clippy::disallowed_methods, reason = "the slowness is real time")]
fn work() {
    std::thread::sleep(Duration::from_millis(1));
}

#[test]
fn a_slow_sink_is_the_bottleneck_and_the_source_waits_for_it() {
    let address = free_address();
    let settings = JobSettings { http: Some(address), max_in_flight: 1000, ..JobSettings::default() };
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&stop);
    let setup = JobSetup::from(settings).prepared_by(move || Ok(Arc::clone(&asked)));
    let job = std::thread::spawn(move || {
        let numbers = Generator::new(u64::MAX, |n| (EventTime(n as i64), n)).rate(None);
        Job::new("slow", setup).run(move |flow| flow.source("numbers", &numbers)?.for_each("slow", |_| work()))
    });
    let cause = loop {
        work();
        let is_served = std::net::TcpStream::connect(address).is_ok();
        let cause: Option<Json> = is_served.then(|| get(address, "/api/v1/job").json()["cause"].clone());
        match cause.filter(|cause| !cause.is_null()) {
            Some(cause) => break cause,
            None => assert!(!job.is_finished(), "{:?}", job.join()),
        }
    };
    stop.store(true, Ordering::Relaxed);
    job.join().unwrap().unwrap();
    assert_eq!((&cause["operator"], &cause["waiting"]), (&"slow".into(), &serde_json::json!(["numbers"])), "{cause}");
    assert!(cause["sentence"].as_str().unwrap().starts_with("`slow` is the bottleneck (busy "), "{cause}");
}
