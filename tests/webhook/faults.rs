//! Servers that fail, are slow, break off, stay silent or are away while a job runs: each request comes in the end, under the
//! key that it had at first.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tidemill::error::ErrorKind;
use tidemill::job::JobSettings;
use tidemill::prelude::*;

use crate::server::{Reply, Request, Server};
use tests::beside::Beside;
use tests::crashes::wait;
pub use tests::short_epochs as settings;
use tests::until;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Numbered {
    pub id: u64,
    pub name: String,
}

pub fn numbered(n: u64) -> (EventTime, Numbered) {
    (EventTime(n as i64), Numbered { id: n, name: format!("number {n}\r\n\"ü\"") })
}

pub fn sink(server: &Server) -> WebhookSink<Numbered> {
    WebhookSink::new(&server.url("/in?tenant=7"))
}

/// Starts a job that sends `count` numbers.
pub fn start(
    sink: WebhookSink<Numbered>,
    settings: JobSettings,
    count: u64,
    rate: f64,
) -> JoinHandle<Result<Snapshot, JobError>> {
    std::thread::spawn(move || {
        let source = Generator::new(count, numbered).rate(rate);
        Job::new("numbers", settings).run(move |flow| flow.source("numbers", &source)?.sink("out", &sink))
    })
}

/// Runs a job that sends `count` numbers at once, from its own checkpoints.
pub fn run(sink: WebhookSink<Numbered>, count: u64) -> Result<Snapshot, JobError> {
    let scratch = tempfile::tempdir().unwrap();
    start(sink, settings(scratch.path()), count, 1e6).join().unwrap()
}

/// Returns the body under each key; fails if one key has two bodies.
pub fn by_key(requests: &[Request]) -> BTreeMap<String, String> {
    let mut bodies = BTreeMap::new();
    for request in requests {
        let before = bodies.insert(request.key().to_owned(), request.body.clone());
        assert!(before.is_none_or(|before| before == request.body), "two bodies under the key {}", request.key());
    }
    bodies
}

/// Returns the ids of the records, each as often as it is under another key.
pub fn ids(requests: &[Request]) -> Vec<u64> {
    let mut ids: Vec<u64> = by_key(requests).values().map(|body| record(body).id).collect();
    ids.sort_unstable();
    ids
}

pub fn record(body: &str) -> Numbered {
    let record: Numbered = serde_json::from_str(body).unwrap();
    assert_eq!(record, numbered(record.id).1);
    record
}

/// Each record is there, under one key.
pub fn each_under_one_key(server: &Server, count: u64) {
    let ids = ids(&server.requests());
    assert!(ids.iter().copied().eq(0..count), "{} of {count}", ids.len());
}

#[test]
fn a_request_is_a_record_as_json_with_a_key_of_its_own() {
    let server = Server::taking();
    let report = run(sink(&server).header("X-Tenant", "seven"), 50).unwrap();
    let requests = server.requests();
    assert_eq!(requests.len(), 50);
    each_under_one_key(&server, 50);
    for Request { line, headers, .. } in &requests {
        assert_eq!(line, "POST /in?tenant=7");
        assert_eq!((headers["content-type"].as_str(), headers["x-tenant"].as_str()), ("application/json", "seven"));
        assert!(headers["user-agent"].starts_with("tidemill/") && !headers.contains_key("webhook-id"), "{headers:?}");
    }
    let out = report.operator("out").unwrap();
    let counts = ["requests_delivered", "requests_retried", "requests_refused", "dead_letters"];
    assert_eq!(counts.map(|name| out.counter(name)), [50, 0, 0, 0]);
    assert_eq!(out.distributions["request_us"].count, 50);
}

/// The requests of a worker come one after the other, in the order of its records.
#[test]
fn the_order_of_a_worker_is_kept() {
    let server = Server::start({
        let mut number = 0;
        move |_| {
            number += 1;
            Reply::Status(if number % 5 == 0 { 503 } else { 204 })
        }
    });
    let scratch = tempfile::tempdir().unwrap();
    let one = JobSettings { workers: 1, ..settings(scratch.path()) };
    start(sink(&server), one, 40, 1e6).join().unwrap().unwrap();
    let mut ids: Vec<u64> = server.requests().iter().map(|request| record(&request.body).id).collect();
    assert_eq!(ids.len(), 49);
    ids.dedup();
    assert!(ids.into_iter().eq(0..40));
}

#[test]
fn batches_are_arrays_or_lines_and_no_batch_has_records_of_two_epochs() {
    for is_array in [true, false] {
        let server = Server::taking();
        let seven = NonZeroUsize::new(7).unwrap();
        let sink = if is_array { sink(&server).json_array(seven) } else { sink(&server).json_lines(seven) };
        let scratch = tempfile::tempdir().unwrap();
        start(sink, settings(scratch.path()), 600, 2000.0).join().unwrap().unwrap();
        let requests = server.requests();
        let mut found = Vec::new();
        let mut epochs: BTreeMap<(String, String), Vec<usize>> = BTreeMap::new();
        for Request { headers, body, .. } in &requests {
            let content_type = if is_array { "application/json" } else { "application/x-ndjson" };
            assert_eq!(headers["content-type"], content_type);
            let records: Vec<Numbered> = match is_array {
                true => serde_json::from_str(body).unwrap(),
                false => body.lines().map(record).collect(),
            };
            found.extend(records.iter().map(|record| record.id));
        }
        for (key, body) in by_key(&requests) {
            let parts: Vec<&str> = key.split('-').collect();
            let len = body.matches("\"id\"").count();
            epochs.entry((parts[1].to_owned(), parts[2].to_owned())).or_default().push(len);
        }
        found.sort_unstable();
        assert!(found.into_iter().eq(0..600));
        // Each epoch of a worker has one batch at most that is not full.
        assert!(epochs.len() > 2, "{epochs:?}");
        assert!(epochs.values().all(|lens| lens.iter().filter(|len| **len < 7).count() <= 1), "{epochs:?}");
        assert!(epochs.values().flatten().all(|len| (1..=7).contains(len)), "{epochs:?}");
    }
}

/// One fault at the first request of each record: status, half an answer, a reset connection, an answer that is too slow, none.
#[test]
fn whatever_goes_wrong_with_a_request_it_comes_again_under_its_key() {
    let faults = [
        Reply::Status(500),
        Reply::Status(503),
        Reply::Status(408),
        Reply::Status(409),
        Reply::Status(425),
        Reply::Status(429),
        Reply::Raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"),
        Reply::Raw("HTTP/1.1 200"),
        Reply::Raw("SSH-2.0-OpenSSH\r\n"),
        Reply::Raw(""),
        Reply::Reset,
        Reply::Slowly,
        Reply::Nothing,
    ];
    let count = faults.len() as u64;
    let server = Server::start({
        let (mut seen, faults) = (BTreeSet::new(), faults.clone());
        move |request| {
            let id = record(&request.body).id;
            if seen.insert(id) { faults[id as usize].clone() } else { Reply::Status(200) }
        }
    });
    let report = run(sink(&server).deadline(Duration::from_secs(1)), count).unwrap();
    let requests = server.requests();
    each_under_one_key(&server, count);
    for id in 0..count {
        let times = requests.iter().filter(|request| record(&request.body).id == id).count();
        assert_eq!(times, 2, "{:?}", faults[id as usize]);
    }
    let out = report.operator("out").unwrap();
    assert_eq!(["requests_delivered", "requests_retried"].map(|name| out.counter(name)), [count, count]);
}

/// A server that is asked to wait by the seconds or by a date is.
#[test]
fn retry_after_is_obeyed() {
    let server = Server::start({
        let mut asked: Option<Instant> = None;
        move |_| match asked {
            None => {
                asked = Some(Instant::now());
                Reply::With(429, "Retry-After: 2\r\n", String::new())
            }
            // Earlier than that it would be refused, which stops the job.
            Some(at) if at.elapsed() < Duration::from_secs(2) => Reply::Status(400),
            Some(_) => Reply::Status(200),
        }
    });
    run(sink(&server), 1).unwrap();
    assert_eq!(server.requests().len(), 2);
    // A date that has passed, and what is neither, mean nothing.
    for header in ["Retry-After: Sun, 06 Nov 1994 08:49:37 GMT\r\n", "Retry-After: soon\r\n", "Retry-After: -5\r\n"] {
        let mut first = true;
        server.answer(move |_| {
            let reply = if first { Reply::With(503, header, String::new()) } else { Reply::Status(200) };
            first = false;
            reply
        });
        run(sink(&server), 1).unwrap();
    }
}

/// One that wants to be left alone for longer than patience lasts, is asked once more before the job stops.
#[test]
fn retry_after_is_bounded_by_patience() {
    let server = Server::start(|_| Reply::With(429, "Retry-After: 86400\r\n", String::new()));
    let began = Instant::now();
    let error = run(sink(&server).patience(Duration::from_secs(3)), 1).unwrap_err().report();
    assert!(error.contains("for 3 s, and gave up") && error.contains("429"), "{error}");
    assert!(server.requests().len() >= 2 && began.elapsed() < Duration::from_secs(50));
}

#[test]
fn a_server_that_is_away_for_a_while_gets_everything() {
    const COUNT: u64 = 3000;
    let server = Server::taking();
    server.leave();
    let scratch = tempfile::tempdir().unwrap();
    let job = start(sink(&server), settings(scratch.path()), COUNT, 1500.0);
    for _ in 0..2 {
        wait(Duration::from_millis(700));
        server.come_back();
        wait(Duration::from_millis(300));
        server.leave();
    }
    server.come_back();
    job.join().unwrap().unwrap();
    each_under_one_key(&server, COUNT);
}

/// (vectordotdev/vector#22064: one sink that is down stops all.)
#[test]
fn a_server_that_hangs_holds_up_no_other_sink() {
    const COUNT: u64 = 10_000;
    let server = Server::taking();
    let scratch = tempfile::tempdir().unwrap();
    let hundred = NonZeroUsize::new(100).unwrap();
    let source = Generator::new(COUNT, numbered).rate(2000.0);
    let hook = sink(&server).json_array(hundred);
    let job = Beside::start(settings(&scratch.path().join("checkpoints")), source, hook, &scratch.path().join("parts"));
    until("requests come", || !server.requests().is_empty());
    server.answer(|_| Reply::Nothing);
    // Each worker has a request under way at most, which is not answered.
    let requests = server.requests().len();
    job.goes_on(3000);
    assert!(server.requests().len() <= requests + 4, "{} after {requests}", server.requests().len());
    server.leave();
    server.answer(|_| Reply::Status(200));
    server.come_back();
    let lines = job.ended();
    let records: usize = by_key(&server.requests())
        .values()
        .map(|body| serde_json::from_str::<Vec<Numbered>>(body).unwrap().len())
        .sum();
    assert_eq!((records, lines), (COUNT as usize, COUNT as usize));
}

#[test]
fn patience_ends_when_the_server_is_away_fails_or_is_silent_and_the_next_start_sends_it() {
    let server = Server::start(|_| Reply::With(500, "", "the disk is full".to_owned()));
    let scratch = tempfile::tempdir().unwrap();
    let hurried = |seconds| sink(&server).patience(Duration::from_secs(seconds)).deadline(Duration::from_millis(500));
    let fails = |seconds| {
        let job = start(hurried(seconds), settings(scratch.path()), 20, 1e6);
        let error = job.join().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        error.report()
    };
    let error = fails(1);
    let origin = format!("http://{}/…", server.address);
    assert!(error.contains(&origin) && !error.contains("tenant"), "{error}");
    assert!(
        error.contains("for 1 s, and gave up") && error.contains("500 Internal Server Error: \"the disk is full\"")
    );
    server.answer(|_| Reply::Nothing);
    let error = fails(1);
    assert!(error.contains("there was no whole answer within"), "{error}");
    server.leave();
    let error = fails(1);
    assert!(error.contains("Connection refused"), "{error}");
    server.answer(|_| Reply::Status(200));
    server.come_back();
    start(hurried(60), settings(scratch.path()), 20, 1e6).join().unwrap().unwrap();
    each_under_one_key(&server, 20);
}
