//! Requests that the server refuses, with a folder of dead letters.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;

use serde_json::Value;
use tidemill::prelude::*;

use crate::faults::{by_key, each_under_one_key, record, run, settings, sink, start};
use crate::refused::contains;
use crate::server::{Reply, Server};

/// Returns the dead letters in a folder.
pub fn letters(folder: &Path) -> Vec<Value> {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|file| file.path());
    let text: String = files.map(|file| std::fs::read_to_string(file).unwrap()).collect();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn what_is_refused_is_a_dead_letter_with_all_of_it_and_counted() {
    let refuses = |body: &str| record(body).id % 3 == 1;
    let server = Server::start(move |request| match refuses(&request.body) {
        true => Reply::With(400, "", "no such id".to_owned()),
        false => Reply::Status(200),
    });
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("dead");
    let report = run(sink(&server).dead_letters(&folder), 60).unwrap();
    each_under_one_key(&server, 60);
    assert_eq!(server.requests().len(), 60);
    let bodies = by_key(&server.requests());
    let letters = letters(&folder);
    assert_eq!(letters.len(), 20);
    for letter in &letters {
        let body = letter["body"].as_str().unwrap();
        assert!(refuses(body) && bodies[letter["key"].as_str().unwrap()] == body, "{letter}");
        assert_eq!((&letter["sink"], &letter["status"], &letter["records"]), (&"out".into(), &400.into(), &1.into()));
        assert_eq!(letter["reason"], "the target refused the request: 400 Bad Request: \"no such id\"");
        assert_eq!(letter["content_type"], "application/json");
    }
    let out = report.operator("out").unwrap();
    let counts = ["requests_delivered", "requests_retried", "requests_refused", "dead_letters"];
    assert_eq!(counts.map(|name| out.counter(name)), [40, 0, 20, 20]);
    assert_eq!(out.dead_letters_by_reason, BTreeMap::from([("the target refused the request".to_owned(), 20)]));
}

#[test]
fn a_refused_batch_counts_each_of_its_records() {
    let server = Server::start(|request| Reply::Status(if request.body.contains("\"id\":0,") { 413 } else { 200 }));
    let scratch = tempfile::tempdir().unwrap();
    let five = NonZeroUsize::new(5).unwrap();
    let one = JobSettings { workers: 1, ..settings(&scratch.path().join("checkpoints")) };
    let folder = scratch.path().join("dead");
    let report = start(sink(&server).json_lines(five).dead_letters(&folder), one, 20, 1e6).join().unwrap().unwrap();
    let letters = letters(&folder);
    assert_eq!((letters.len(), &letters[0]["content_type"]), (1, &"application/x-ndjson".into()));
    let lines = letters[0]["body"].as_str().unwrap().lines().count() as u64;
    assert_eq!(letters[0]["records"], lines);
    let out = report.operator("out").unwrap();
    assert_eq!((out.counter("dead_letters"), out.counter("requests_refused")), (lines, 1));
}

/// A wrong URL or an expired token would turn everything into dead letters.
#[test]
fn too_many_refusals_in_a_row_stop_the_job_and_nothing_is_lost() {
    let server = Server::start(|_| Reply::Status(404));
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("dead");
    let sink = || sink(&server).dead_letters(&folder).max_refused(NonZeroUsize::new(3).unwrap());
    let one = || JobSettings { workers: 1, ..settings(&scratch.path().join("checkpoints")) };
    let error = start(sink(), one(), 20, 1e6).join().unwrap().unwrap_err().report();
    contains(&error, &["404 Not Found", "refused 4 requests in a row, more than max_refused", "nothing is lost"]);
    assert_eq!(letters(&folder).len(), 3);
    server.answer(|_| Reply::Status(200));
    start(sink(), one(), 20, 1e6).join().unwrap().unwrap();
    each_under_one_key(&server, 20);
    // A success ends a row.
    server.forget();
    server.answer(|request| Reply::Status(if record(&request.body).id % 4 == 3 { 200 } else { 404 }));
    let fresh = JobSettings { checkpoint_dir: Some(scratch.path().join("fresh")), ..one() };
    start(sink(), fresh, 20, 1e6).join().unwrap().unwrap();
    assert_eq!((server.requests().len(), letters(&folder).len()), (20, 18));
}

#[test]
fn a_folder_that_cannot_be_written_is_refused_at_the_start() {
    let server = Server::taking();
    let scratch = tempfile::tempdir().unwrap();
    std::fs::write(scratch.path().join("file"), "").unwrap();
    let error = run(sink(&server).dead_letters(scratch.path().join("file")), 1).unwrap_err().report();
    contains(&error, &["could not open the file of dead letters", "file/out-w"]);
    assert_eq!(server.requests(), []);
}
