//! Servers that restart, that hang, and that refuse rows while a job runs.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidemill::job::JobSettings;
use tidemill::prelude::*;

use crate::server::{alone, database, execute, numbers, query, server};
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
    (EventTime(n as i64), Numbered { id: n as i64, name: format!("number {n}\t\\") })
}

const TABLE: &str = "create table numbers (id bigint not null, name text not null)";

#[test]
fn a_server_that_restarts_again_and_again_has_each_row_once() {
    const COUNT: u64 = 24_000;
    let _alone = alone();
    let Some(mut server) = server() else { return };
    execute(&server, TABLE);
    let scratch = tempfile::tempdir().unwrap();
    let sink = PostgresSink::append(database(&server), "numbers");
    let job = Job::new("restarts", settings(scratch.path()));
    let running = std::thread::spawn(move || {
        let source = Generator::new(COUNT, numbered).rate(4000.0);
        job.run(move |flow| flow.source("numbers", &source)?.sink("out", &sink))
    });
    for _ in 0..3 {
        wait(Duration::from_millis(900));
        server.kill().unwrap();
        wait(Duration::from_millis(300));
        server.resume().unwrap();
    }
    running.join().unwrap().unwrap();
    assert!(numbers(&server, "select id from numbers order by id").into_iter().eq(0..COUNT as i64));
    let names = query(&server, "select count(*) from numbers where name = 'number ' || id || E'\\t\\\\'");
    assert_eq!(names[0].get::<_, i64>(0), COUNT as i64);
}

/// The server answers nothing for a while: it is stopped, and its connections stay open.
#[test]
fn a_server_that_hangs_holds_up_no_other_sink() {
    const COUNT: u64 = 20_000;
    let _alone = alone();
    let Some(server) = server() else { return };
    execute(&server, TABLE);
    let scratch = tempfile::tempdir().unwrap();
    let (checkpoints, folder) = (scratch.path().join("checkpoints"), scratch.path().join("parts"));
    let sink = PostgresSink::append(database(&server), "numbers");
    let source = Generator::new(COUNT, numbered).rate(2500.0);
    let job = Beside::start(settings(&checkpoints), source, sink, &folder);
    until("rows are there", || numbers(&server, "select count(*) from numbers")[0] > 0);
    server.signal("STOP").unwrap();
    // Lines of twenty epochs come, while the table gets none.
    job.goes_on(5000);
    server.signal("CONT").unwrap();
    assert_eq!(job.ended(), COUNT as usize);
    assert!(numbers(&server, "select id from numbers order by id").into_iter().eq(0..COUNT as i64));
}

/// A constraint that only the server checks: the job stops with all that the server says, and goes on once the row fits.
#[test]
fn a_row_that_the_server_refuses_stops_the_job_with_the_reason_and_nothing_of_its_epoch_is_there() {
    const COUNT: u64 = 10;
    let _alone = alone();
    let Some(server) = server() else { return };
    execute(&server, "create table numbers (id bigint not null constraint small check (id < 7), name text)");
    let scratch = tempfile::tempdir().unwrap();
    let run = || {
        let (source, sink) = (Generator::new(COUNT, numbered), PostgresSink::append(database(&server), "numbers"));
        let settings = JobSettings { workers: 1, ..settings(scratch.path()) };
        Job::new("refused", settings).run(move |flow| flow.source("numbers", &source)?.sink("out", &sink))
    };
    for _ in 0..2 {
        let error = run().unwrap_err().report();
        for part in ["\"out\" stopped the job", "SQLSTATE 23514", "table: numbers", "constraint: small", "(7, number 7"]
        {
            assert!(error.contains(part), "{part}: {error}");
        }
        assert_eq!(numbers(&server, "select count(*) from numbers"), [0]);
    }
    execute(&server, "alter table numbers drop constraint small");
    run().unwrap();
    assert!(numbers(&server, "select id from numbers order by id").into_iter().eq(0..COUNT as i64));
}

#[test]
fn patience_ends_when_the_server_stays_away_and_when_it_hangs() {
    let _alone = alone();
    let Some(mut server) = server() else { return };
    execute(&server, TABLE);
    let scratch = tempfile::tempdir().unwrap();
    let database = database(&server);
    let start = |patience: u64| {
        let sink = PostgresSink::append(database.clone(), "numbers").patience(Duration::from_secs(patience));
        let (job, source) =
            (Job::new("away", settings(scratch.path())), Generator::new(u64::MAX, numbered).rate(100.0));
        std::thread::spawn(move || job.run(move |flow| flow.source("numbers", &source)?.sink("out", &sink)))
    };
    let running = start(2);
    until("rows are there", || numbers(&server, "select count(*) from numbers")[0] > 0);
    server.signal("STOP").unwrap();
    let error = running.join().unwrap().unwrap_err().report();
    server.signal("CONT").unwrap();
    assert!(error.contains("could not publish epoch") && error.contains("no answer"), "{error}");
    server.kill().unwrap();
    let error = start(1).join().unwrap().unwrap_err().report();
    assert!(error.contains("for 1 s, and gave up") && error.contains("could not connect to 127.0.0.1"), "{error}");
}
