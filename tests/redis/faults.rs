//! Servers that restart, that hang, are replicas for a while, or have no memory while a job runs.

use std::num::NonZeroUsize;
use std::thread::JoinHandle;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use testkit::redis::Redis;
use tidemill::prelude::*;
use tidemill::redis::{RedisServer, RedisWrite};

use crate::server::{Running, connection, server};
use tests::beside::Beside;
use tests::crashes::wait;
pub use tests::short_epochs as settings;
use tests::until;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Numbered {
    pub id: i64,
    pub name: String,
}

pub fn numbered(n: u64) -> (EventTime, Numbered) {
    (EventTime(n as i64), Numbered { id: n as i64, name: format!("number {n}\r\n\0") })
}

/// Returns a sink that appends to the stream `numbers`, in several batches an epoch.
pub fn stream(at: RedisServer) -> RedisSink<Numbered> {
    let write = RedisWrite::Xadd { max_len: None };
    RedisSink::new(at, "numbers", write).batch_bytes(NonZeroUsize::new(4_000).unwrap())
}

/// Starts a job that appends `count` numbers to the stream.
pub fn start(running: &Running, count: u64, rate: f64, patience: Duration) -> JoinHandle<Result<(), JobError>> {
    start_with(stream(running.at()).patience(patience), running, count, rate)
}

/// Starts a job that writes `count` numbers.
pub fn start_with(
    sink: RedisSink<Numbered>,
    running: &Running,
    count: u64,
    rate: f64,
) -> JoinHandle<Result<(), JobError>> {
    let job = Job::new("numbers", settings(&checkpoints(running)));
    std::thread::spawn(move || {
        let source = Generator::new(count, numbered).rate(rate);
        job.run(move |flow| flow.source("numbers", &source)?.sink("out", &sink)).map(drop)
    })
}

pub fn checkpoints(running: &Running) -> std::path::PathBuf {
    running.scratch.path().join("checkpoints")
}

/// Returns the ids in the stream, sorted.
pub fn ids(server: &Redis) -> Vec<i64> {
    let all: Vec<(String, Vec<(String, String)>)> =
        redis::cmd("XRANGE").arg("numbers").arg("-").arg("+").query(&mut connection(server)).unwrap();
    let id = |entry: &(String, Vec<(String, String)>)| {
        let id = &entry.1[0].1;
        assert_eq!(entry.1[1].1, format!("number {id}\r\n\0"));
        id.parse().unwrap()
    };
    let mut ids: Vec<i64> = all.iter().map(id).collect();
    ids.sort_unstable();
    ids
}

fn each_once(running: &Running, count: u64) {
    assert!(ids(&running.server).into_iter().eq(0..count as i64), "{} entries", ids(&running.server).len());
}

const PATIENT: Duration = Duration::from_mins(5);

#[test]
fn a_server_that_restarts_again_and_again_has_each_entry_once() {
    const COUNT: u64 = 24_000;
    let Some(mut running) = server() else { return };
    let job = start(&running, COUNT, 4000.0, PATIENT);
    for _ in 0..3 {
        wait(Duration::from_millis(900));
        running.server.kill().unwrap();
        wait(Duration::from_millis(300));
        running.server.resume().unwrap();
    }
    job.join().unwrap().unwrap();
    each_once(&running, COUNT);
}

#[test]
fn a_server_that_is_away_at_the_start_is_waited_for() {
    let Some(mut running) = server() else { return };
    running.server.kill().unwrap();
    let job = start(&running, 100, 1e6, PATIENT);
    wait(Duration::from_millis(700));
    running.server.resume().unwrap();
    job.join().unwrap().unwrap();
    each_once(&running, 100);
}

/// The server answers nothing for a while: it is stopped, and its connections stay open. (vectordotdev/vector#22064: one
/// sink that is down stops all.)
#[test]
fn a_server_that_hangs_holds_up_no_other_sink() {
    const COUNT: u64 = 20_000;
    let Some(running) = server() else { return };
    let source = Generator::new(COUNT, numbered).rate(2500.0);
    let folder = running.scratch.path().join("parts");
    let job = Beside::start(settings(&checkpoints(&running)), source, stream(running.at()), &folder);
    until("entries are there", || running.query::<u64>("XLEN numbers") > 0);
    running.server.signal("STOP").unwrap();
    // Lines of twenty epochs come, while the stream gets no entry.
    job.goes_on(5000);
    running.server.signal("CONT").unwrap();
    assert_eq!(job.ended(), COUNT as usize);
    each_once(&running, COUNT);
}

/// A failover: the server is a replica for a while, which refuses writes, and is the master again. (hibiken/asynq#854: the
/// first refusal is an error.)
#[test]
fn a_replica_and_a_server_without_memory_are_waited_for() {
    const COUNT: u64 = 8_000;
    let Some(running) = server() else { return };
    let job = start(&running, COUNT, 2000.0, PATIENT);
    until("entries are there", || running.query::<u64>("XLEN numbers") > 0);
    // The master that it asks is not there.
    running.query::<()>("REPLICAOF 127.0.0.1 1");
    let before: u64 = running.query("XLEN numbers");
    wait(Duration::from_millis(700));
    assert_eq!(running.query::<u64>("XLEN numbers"), before);
    running.query::<()>("REPLICAOF NO ONE");
    until("more entries are there", || running.query::<u64>("XLEN numbers") > before);
    running.query::<()>("CONFIG SET maxmemory 1");
    wait(Duration::from_millis(700));
    running.query::<()>("CONFIG SET maxmemory 0");
    job.join().unwrap().unwrap();
    each_once(&running, COUNT);
}

#[test]
fn patience_ends_when_the_server_stays_away_and_when_it_hangs_and_when_it_has_no_memory() {
    let Some(mut running) = server() else { return };
    let job = start(&running, u64::MAX, 100.0, Duration::from_secs(2));
    until("entries are there", || running.query::<u64>("XLEN numbers") > 0);
    running.server.signal("STOP").unwrap();
    let error = job.join().unwrap().unwrap_err().report();
    running.server.signal("CONT").unwrap();
    assert!(error.contains("could not publish epoch") && error.contains("no answer"), "{error}");

    running.query::<()>("CONFIG SET maxmemory 1");
    let error = start(&running, u64::MAX, 100.0, Duration::from_secs(1)).join().unwrap().unwrap_err().report();
    assert!(error.contains("for 1 s, and gave up") && error.contains("OOM"), "{error}");

    running.server.kill().unwrap();
    let error = start(&running, u64::MAX, 100.0, Duration::from_secs(1)).join().unwrap().unwrap_err().report();
    assert!(error.contains("for 1 s, and gave up") && error.contains("could not connect to 127.0.0.1"), "{error}");
}
