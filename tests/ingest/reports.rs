//! What users of other systems have reported of sources that take HTTP, tried on this one. redpanda-data/connect#70 is in
//! `waiting`, vectordotdev/vector#7186 and #24586 are in `pressure`; what vectordotdev/vector#11434 asks for, that a request of
//! which a part is wrong is not half taken, is in `answers`.

use std::os::unix::process::ExitStatusExt;

use tests::crashes::{SIGKILL, signal};
use tests::until;

use crate::bodies::gzip;
use crate::client::{Connection, Post};
use crate::job::{World, post, readings};
use tests::crashes::stop;

/// vectordotdev/vector#20990: requests are answered with 200 although what they had never came to the sink.
#[test]
fn what_was_taken_and_is_not_committed_is_not_answered_with_200() {
    let world = World::new();
    let mut job = world.started(world.job(2).env("TIDEMILL_CRASH_AT", "before-manifest:5"));
    let mut sent = 0;
    let last = loop {
        match post(sent..sent + 1).send(world.address) {
            Ok(reply) if reply.status == 200 => sent += 1,
            other => break other,
        }
    };
    assert!(last.is_err(), "{last:?}");
    until("it crashes", || job.try_wait().unwrap().is_some());
    assert_eq!(job.wait().unwrap().signal(), Some(SIGKILL));
    stop(world.start(1));
    world.has_each_once(0..sent, "answered with 200");
}

/// vectordotdev/vector#25488, fluent/fluentd#5393: a small packed body takes all memory, also one whose length is not said.
#[test]
fn a_bomb_is_refused_and_takes_no_memory() {
    let world = World::new();
    let job = world.start(1);
    let zeros = vec![b' '; 64 << 20];
    let packed: Vec<u8> = gzip(&zeros).repeat(8);
    for (encoding, body) in [("gzip", packed), ("zstd", zstd::encode_all(&*zeros, 1).unwrap().repeat(8))] {
        for _ in 0..4 {
            let bomb = Post::lines(body.clone()).header("Content-Encoding", encoding);
            let reply = bomb.send(world.address).unwrap();
            assert!(reply.status == 413 && reply.detail().contains("when it is unpacked"), "{reply:?}");
        }
        let mut connection = Connection::open(world.address).unwrap();
        let head = Post::lines("").header("Content-Encoding", encoding).header("Transfer-Encoding", "chunked").head();
        connection.write(format!("{head}\r\n{:x}\r\n", body.len()).as_bytes()).unwrap();
        connection.write(&body).unwrap();
        connection.write(b"\r\n0\r\n\r\n").unwrap();
        assert_eq!(connection.reply().unwrap().status, 413);
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", job.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < 400 << 10, "{peak} kB");
    stop(job);
}

/// fluent/fluent-bit#10259, #9058: a body of several gzip members is cut after the first one, or refused.
#[test]
fn packed_parts_behind_one_another_are_all_read() {
    let world = World::new();
    let job = world.start(1);
    let parts: Vec<u8> = (0..5).flat_map(|n| gzip(readings(n * 3..n * 3 + 3).as_bytes())).collect();
    let reply = Post::lines(parts).header("Content-Encoding", "gzip").send(world.address).unwrap();
    assert_eq!(reply.json()["records"], 15, "{reply:?}");
    stop(job);
    world.has_each_once(0..15, "in parts");
}

/// fluent/fluent-bit#9018: `application/json;charset=utf-8` is refused. vectordotdev/vector#8459: so is space behind the last
/// record.
#[test]
fn parameters_of_the_type_and_space_around_records_do_not_matter() {
    let world = World::new();
    let job = world.start(1);
    for (n, (kind, behind)) in [
        ("application/json;charset=utf-8", ""),
        ("application/json; charset=UTF-8", " \r\n\t"),
        ("Application/X-NDJSON", "\r\n\r\n  \r\n"),
        ("application/cloudevents+json", "\n"),
    ]
    .into_iter()
    .enumerate()
    {
        let body = format!(" {}{behind}", readings(n as u64..n as u64 + 1));
        let reply = Post::of(kind, body).send(world.address).unwrap();
        assert_eq!((reply.status, reply.json()["records"].as_u64()), (200, Some(1)), "{kind}: {reply:?}");
    }
    stop(job);
    world.has_each_once(0..4, "with space");
}

/// fluent/fluentd#400: on a connection that stays open, a request has the Content-Type of the one before.
#[test]
fn nothing_of_a_request_is_kept_for_the_next_one_on_its_connection() {
    let world = World::new();
    let job = world.start(1);
    let mut connection = Connection::open(world.address).unwrap();
    let mut untyped = Post::json(readings(1..2));
    untyped.headers.retain(|(name, _)| name != "Content-Type");
    for (request, status) in [
        (post(0..1).key("k"), 200),
        (untyped, 415),
        (Post::json(readings(2..3)), 200),
        (post(3..4).header("Content-Encoding", "gzip"), 400),
        (post(4..5), 200),
    ] {
        connection.write(&request.bytes()).unwrap();
        assert_eq!(connection.reply().unwrap().status, status);
    }
    stop(job);
    assert_eq!(world.written().into_keys().collect::<Vec<_>>(), [0, 2, 4]);
}

/// fluent/fluentd#3021: lines that are sent as JSON are refused, and nothing says why.
#[test]
fn lines_that_are_called_json_are_refused_with_what_to_do() {
    let world = World::new();
    let job = world.start(1);
    let reply = Post::json(readings(0..2)).send(world.address).unwrap();
    assert!(reply.status == 400 && reply.detail().contains("lines of the type application/x-ndjson"), "{reply:?}");
    stop(job);
    world.has_each_once(0..0, "lines as JSON");
}

/// mastodon/mastodon#37879, jcagarcia/grape-idempotency#10: a request that comes again before the first one is done is done twice.
#[test]
fn a_request_that_comes_again_while_the_first_one_waits_gets_the_same_answer() {
    let mut world = World::new();
    world.interval = "1s";
    let job = world.start(2);
    let request = post(0..4).key("k").bytes();
    let mut waiting: Vec<Connection> = (0..20).map(|_| Connection::open(world.address).unwrap()).collect();
    waiting.iter_mut().for_each(|connection| connection.write(&request).unwrap());
    let replies: Vec<_> = waiting.iter_mut().map(|connection| connection.reply().unwrap()).collect();
    assert!(replies.iter().all(|reply| reply.status == 200 && reply.json()["records"] == 4), "{replies:?}");
    assert_eq!(replies.iter().filter(|reply| reply.json()["repeated"] == true).count(), 19);
    stop(job);
    world.has_each_once(0..4, "at once");
}

/// redpanda-data/connect#2080: while it ends, a job answers with 404, which clients do not repeat.
#[test]
fn a_job_that_ends_answers_with_200_or_503_or_not_at_all() {
    let world = World::new();
    for _ in 0..3 {
        let mut job = world.start(2);
        let statuses: Vec<u16> = std::thread::scope(|scope| {
            let send = || {
                let replies = std::iter::from_fn(|| post(0..1).send(world.address).ok());
                replies.map(|reply| reply.status).collect::<Vec<_>>()
            };
            let clients: Vec<_> = (0..4).map(|_| scope.spawn(send)).collect();
            tests::pause();
            signal(&job, "TERM");
            clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
        });
        assert!(job.wait().unwrap().success());
        assert!(statuses.contains(&200) && statuses.iter().all(|status| [200, 503].contains(status)), "{statuses:?}");
    }
}
