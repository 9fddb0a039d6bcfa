//! What cannot work is refused before the first request, all of it at once.

use std::path::Path;
use std::time::Duration;

use tidemill::error::ErrorKind;
use tidemill::prelude::*;
use tidemill::webhook::WebhookUrl;

use crate::faults::{Numbered, run, settings, sink, start};
use crate::server::Server;

pub fn contains(error: &str, parts: &[&str]) {
    assert!(parts.iter().all(|part| error.contains(part)), "{error}");
}

fn refused(sink: WebhookSink<Numbered>) -> String {
    let error = run(sink, 5).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    error.report()
}

#[test]
fn settings_that_cannot_work_are_all_named_before_anything_is_sent() {
    let server = Server::taking();
    contains(
        &refused(WebhookSink::new("ftp://h/")),
        &["the URL cannot be used", "does not begin with http:// or https://"],
    );
    contains(&refused(WebhookSink::new("http://me:hunter2@h/")), &["a user or a password does not belong in a URL"]);
    let many = sink(&server).deadline(Duration::ZERO).certificate_authority("ca").header("Idempotency-Key", "1");
    contains(&refused(many), &["deadline is less than 1 ms", "is for https:// only", "\"Idempotency-Key\" is set by"]);
    let no_file = sink(&server).header_file("Authorization", "/nowhere/token");
    contains(
        &refused(no_file),
        &["could not read the file with the value of the header \"Authorization\", \"/nowhere/token\""],
    );
    let no_variable = sink(&server).secret_variable("TIDEMILL_TEST_NO_SUCH");
    contains(&refused(no_variable), &["could not read the environment variable with the secret of the signature"]);
    let no_checkpoints = JobSettings { checkpoint_dir: None, ..settings(Path::new("")) };
    let error = start(sink(&server), no_checkpoints, 5, 1e6).join().unwrap().unwrap_err();
    contains(&error.report(), &["which needs checkpoint_dir"]);
    assert!(!error.remedies().is_empty());
    assert_eq!(server.requests(), []);
}

#[test]
fn a_url_of_a_sink_makes_the_same_sink() {
    let server = Server::taking();
    let text = format!("webhook+{}#format=array&max-records=4&header=X-A:1%262", server.url("/in?a=b%26c&format=x"));
    let url: WebhookUrl = text.parse().unwrap();
    run(WebhookSink::from_url(&url), 20).unwrap();
    let requests = server.requests();
    assert!(requests.len() >= 5, "{}", requests.len());
    for request in requests {
        assert_eq!((request.line.as_str(), request.headers["x-a"].as_str()), ("POST /in?a=b%26c&format=x", "1&2"));
        assert!(serde_json::from_str::<Vec<Numbered>>(&request.body).unwrap().len() <= 4);
    }
}

/// A record that is no JSON stops the job before its epoch is committed.
#[test]
fn a_record_that_is_no_json_stops_the_job_and_names_the_record() {
    let server = Server::taking();
    let scratch = tempfile::tempdir().unwrap();
    let pairs = || vec![(EventTime(0), std::collections::BTreeMap::from([((1_u8, 2_u8), 3_u8)]))];
    let (source, sink) = (vec_source(pairs()), WebhookSink::new(&server.url("/")));
    let job = Job::new("pairs", settings(scratch.path()));
    let error = job.run(move |flow| flow.source("pairs", &source)?.sink("out", &sink)).unwrap_err().report();
    contains(&error, &["a record cannot be JSON: {(1, 2): 3}"]);
    assert_eq!(server.requests(), []);
}
