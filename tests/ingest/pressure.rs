//! A job that does not come to read what is sent.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use tidemill::ingest::raw;
use tidemill::prelude::*;

use crate::client::{Post, Reply};

/// vectordotdev/vector#7186 and #24586: nothing tells clients that the pipeline is behind, and connections pile up.
#[test]
fn a_job_that_is_behind_answers_503_until_there_is_room_and_loses_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let source = HttpSource::new("127.0.0.1:0", "/readings", raw())
        .max_request_bytes(1000)
        .max_queued_bytes(4000)
        .max_connections(100);
    let bound = source.bound_address();
    let gate: Arc<(Mutex<bool>, Condvar)> = Arc::default();
    let out = scratch.path().join("out");
    let sink = FileSink::json_lines(&out);
    let settings = tests::short_epochs(&scratch.path().join("checkpoints"));
    let of_job = Arc::clone(&gate);
    // It ends with the test program: nothing else ends this source.
    std::thread::spawn(move || {
        Job::new("behind", settings).run(move |flow| {
            let gate = Arc::clone(&of_job);
            let through = move |bytes: Vec<u8>| {
                let (open, opened) = &*gate;
                drop(opened.wait_while(open.lock().unwrap(), |open| !*open).unwrap());
                String::from_utf8(bytes).unwrap()
            };
            flow.source("readings", &source)?.map(through).sink("out", &sink)
        })
    });
    tests::until("the source listens", || bound.get().is_some());
    let address = bound.get().unwrap();
    let body = |n: usize| format!("\"{n:0700}\"");
    let send = move |n: usize| Post::json(body(n)).key(&n.to_string()).send(address).unwrap();
    let clients: Vec<_> = (0..20)
        .map(|n| {
            std::thread::spawn(move || -> (usize, Reply) {
                // A client repeats what was not taken, after the time that it was told.
                let mut refused = 0;
                loop {
                    let reply = send(n);
                    if reply.status != 503 {
                        return (refused, reply);
                    }
                    assert_eq!(reply.headers["retry-after"], "1");
                    assert!(reply.detail().contains("wait to be read"), "{reply:?}");
                    refused += 1;
                    tests::crashes::wait(Duration::from_millis(100));
                }
            })
        })
        .collect();
    // What waits fits in, and the others come again and again.
    tests::crashes::wait(Duration::from_secs(1));
    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
    let ends: Vec<_> = clients.into_iter().map(|client| client.join().unwrap()).collect();
    assert!(ends.iter().all(|(_, reply)| reply.status == 200), "{ends:?}");
    assert!(ends.iter().filter(|(refused, _)| *refused > 0).count() >= 10, "{ends:?}");
    tests::until("all are written", || out.exists() && testkit::lines(&out).len() >= 20);
    let mut numbers: Vec<usize> = testkit::lines(&out)
        .iter()
        .map(|line| serde_json::from_str::<String>(line).unwrap().trim_matches('"').parse().unwrap())
        .collect();
    numbers.sort_unstable();
    assert!(numbers.iter().copied().eq(0..20), "{numbers:?}");
}
