//! What users of other systems have reported of sinks that call HTTP servers, tried on this one. vectordotdev/vector#19614 and
//! what errors show of secrets are in `secrets`, vectordotdev/vector#22064 is in `faults`.

use std::collections::BTreeSet;

use tidemill::error::ErrorKind;
use tidemill::prelude::*;

use crate::faults::{each_under_one_key, ids, record, run, settings, sink, start};
use crate::refused::contains;
use crate::server::{Reply, Server};

/// formancehq/ledger#1990, MrZoller/vantage-point#49: a redirect turns POST into a GET without a body, whose 200 counts as
/// delivered. Here a redirect stops the job, and the records come when the URL is right.
#[test]
fn a_redirect_is_not_followed_and_loses_nothing() {
    for status in [301, 302, 303, 307, 308] {
        let other = Server::taking();
        let location = format!("Location: {}\r\n", other.url("/login?token=hunter2"));
        let location: &'static str = location.leak();
        let server = Server::start(move |_| Reply::With(status, location, String::new()));
        let scratch = tempfile::tempdir().unwrap();
        let error = start(sink(&server), settings(scratch.path()), 20, 1e6).join().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let error = error.report();
        contains(&error, &[&format!("with {status} to http://{}/…", other.address), "redirects are not followed"]);
        assert!(!error.contains("hunter2") && other.requests().is_empty(), "{error}");
        start(sink(&other), settings(scratch.path()), 20, 1e6).join().unwrap().unwrap();
        each_under_one_key(&other, 20);
        assert!(other.requests().iter().all(|request| request.line.starts_with("POST /in")));
    }
}

/// vectordotdev/vector#10870: events that are answered with 403 or 404 are dropped, although the fault is in the settings, or is
/// over soon. Here they stop the job, and are kept.
#[test]
fn a_forbidden_or_unknown_url_drops_nothing() {
    for status in [401, 403, 404, 405, 410] {
        let server = Server::start(move |_| Reply::Status(status));
        let scratch = tempfile::tempdir().unwrap();
        let error = start(sink(&server), settings(scratch.path()), 20, 1e6).join().unwrap().unwrap_err().report();
        contains(&error, &[&format!("with {status} "), "nothing is lost"]);
        server.answer(|_| Reply::Status(200));
        start(sink(&server), settings(scratch.path()), 20, 1e6).join().unwrap().unwrap();
        each_under_one_key(&server, 20);
    }
}

/// vectordotdev/vector#6282: the sink drops requests while the server is offline. vectordotdev/vector#21447: it does not retry
/// 408, and drops requests whose connection is reset.
#[test]
fn a_timeout_and_a_reset_connection_are_tried_again() {
    let server = Server::start({
        let mut seen = BTreeSet::new();
        move |request| {
            let id = record(&request.body).id;
            match (seen.insert(id), id % 2) {
                (false, _) => Reply::Status(200),
                (true, 0) => Reply::Status(408),
                (true, _) => Reply::Reset,
            }
        }
    });
    run(sink(&server), 20).unwrap();
    assert_eq!((server.requests().len(), ids(&server.requests()).len()), (40, 20));
}

/// svix/svix-webhooks#2200: a server that says with 503 or 429 when it can be asked again is asked earlier.
#[test]
fn retry_after_of_503_counts_too() {
    let server = Server::start({
        let mut asked: Option<std::time::Instant> = None;
        move |_| match asked {
            Some(at) if at.elapsed().as_millis() < 3000 => Reply::Status(400),
            Some(_) => Reply::Status(200),
            None => {
                asked = Some(std::time::Instant::now());
                Reply::With(503, "Retry-After: 3\r\n", String::new())
            }
        }
    });
    let scratch = tempfile::tempdir().unwrap();
    let one = JobSettings { workers: 1, ..settings(scratch.path()) };
    start(sink(&server), one, 5, 1e6).join().unwrap().unwrap();
    assert_eq!(server.requests().len(), 6);
}

/// hyperdxio/hyperdx#2534: headers of the user replace the key of a request.
#[test]
fn no_header_of_the_user_replaces_the_key() {
    let server = Server::taking();
    for name in ["Idempotency-Key", "idempotency-key", "Webhook-Id", "webhook-signature", "Content-Length", "Host"] {
        let error = run(sink(&server).header(name, "7"), 5).unwrap_err().report();
        contains(&error, &[&format!("the header \"{name}\" is set by the sink, or by HTTP itself")]);
    }
    assert_eq!(server.requests(), []);
}

/// emqxarchive/emqx-web-hook#271: a connection that the server closes while nothing is sent loses the next request.
#[test]
fn a_connection_that_the_server_has_closed_loses_no_request() {
    // It says that the connection stays open, and closes it.
    let server =
        Server::start(|_| Reply::Raw("HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n"));
    let scratch = tempfile::tempdir().unwrap();
    start(sink(&server), settings(scratch.path()), 60, 60.0).join().unwrap().unwrap();
    each_under_one_key(&server, 60);
}

/// A job that starts anew numbers its epochs from 1 on: under the keys of the first one, a server that remembers them would drop
/// the records of the second one.
#[test]
fn a_job_that_starts_anew_has_other_keys() {
    let server = Server::taking();
    run(sink(&server), 10).unwrap();
    run(sink(&server), 10).unwrap();
    let keys: BTreeSet<String> = server.requests().iter().map(|request| request.key().to_owned()).collect();
    assert_eq!((keys.len(), server.requests().len()), (20, 20));
}
