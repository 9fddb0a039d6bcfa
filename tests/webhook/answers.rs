//! Answers that are no plain success.

use crate::faults::{each_under_one_key, run, sink};
use crate::refused::contains;
use crate::server::{Reply, Server};

#[test]
fn each_2xx_is_a_success_and_what_is_in_its_body_does_not_matter() {
    let long = "x".repeat(3 << 20);
    let server = Server::start(move |request| match request.body.len() % 4 {
        0 => Reply::Status(201),
        1 => Reply::Status(204),
        2 => Reply::With(202, "Content-Type: text/html\r\n", "\u{0}<html>".to_owned()),
        _ => Reply::With(200, "", long.clone()),
    });
    let report = run(sink(&server), 120).unwrap();
    each_under_one_key(&server, 120);
    assert_eq!((server.requests().len(), report.operator("out").unwrap().counter("requests_retried")), (120, 0));
}

#[test]
fn a_refusal_stops_the_job_with_all_that_is_known_and_the_next_start_sends_it_again() {
    let server = Server::start(|_| Reply::With(422, "", "amount:\r\n is missing".to_owned()));
    let scratch = tempfile::tempdir().unwrap();
    let start =
        || crate::faults::start(sink(&server), crate::faults::settings(scratch.path()), 20, 1e6).join().unwrap();
    let error = start().unwrap_err();
    assert_eq!(error.kind(), tidemill::error::ErrorKind::Invalid);
    let key = server.requests()[0].key().to_owned();
    let says = ["refused the request", "422 Unprocessable Entity: \"amount:   is missing\"", "set dead_letters"];
    contains(&error.report(), &says);
    contains(
        &error.report(),
        &[&format!("http://{}/…", server.address), "start again, which sends it under the same key"],
    );
    assert!(server.requests().iter().any(|request| error.report().contains(request.key())), "{}", error.report());
    // No other request of the worker was sent.
    assert!(server.requests().len() <= 2);
    server.answer(|_| Reply::Status(200));
    start().unwrap();
    each_under_one_key(&server, 20);
    assert!(server.requests().iter().filter(|request| request.key() == key).count() == 2);
}
