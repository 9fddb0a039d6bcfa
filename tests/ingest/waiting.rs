//! Requests that wait for their commit, beside clients that are slow, silent, or many.

use std::time::Duration;

use tests::crashes::wait;
use tests::until;

use crate::client::{Connection, Post};
use crate::job::{World, post, readings};
use tests::crashes::stop;

/// redpanda-data/connect#70: with 50 clients at once, half of the data is lost.
#[test]
fn hundreds_of_requests_wait_for_one_commit_by_a_few_threads() {
    let mut world = World::new();
    world.interval = "1s";
    let job = world.start(2);
    let mut waiting: Vec<Connection> = (0..256)
        .map(|n| {
            let mut connection = Connection::open(world.address).unwrap();
            connection.write(&post(n * 3..n * 3 + 3).bytes()).unwrap();
            connection
        })
        .collect();
    let status = std::fs::read_to_string(format!("/proc/{}/status", job.id())).unwrap();
    let threads = status.lines().find_map(|line| line.strip_prefix("Threads:")).unwrap().trim();
    assert!(threads.parse::<usize>().unwrap() < 64, "{threads} threads");
    for connection in &mut waiting {
        assert_eq!(connection.reply().unwrap().status, 200);
    }
    stop(job);
    world.has_each_once(0..768, "of many clients");
}

#[test]
fn clients_that_are_slow_silent_or_do_not_read_hold_up_nobody() {
    let world = World::new();
    let job = world.start(2);
    let half = post(5000..5010).bytes();
    let begun = |bytes: &[u8]| {
        let mut connection = Connection::open(world.address).unwrap();
        connection.write(bytes).unwrap();
        connection
    };
    let parts = [&b""[..], b"POST /read", &half[..half.len() - 5]];
    let slow: Vec<Connection> = (0..60).map(|n| begun(parts[n % 3])).collect();
    // They send one request after the other, and read no answer.
    let wrong = Post::json("x").line("POST /nowhere HTTP/1.1").bytes().repeat(400);
    let deaf: Vec<Connection> = (0..20).map(|_| begun(&wrong)).collect();
    for n in 0..20 {
        assert_eq!(post(n..n + 1).send(world.address).unwrap().status, 200);
    }
    drop((slow, deaf));
    stop(job);
    world.has_each_once(0..20, "beside slow clients");
}

#[test]
fn beyond_so_many_connections_the_answer_is_that_there_is_no_room() {
    let world = World::with("max-connections=4");
    let job = world.start(1);
    let mut open = Vec::new();
    let refused = loop {
        let mut connection = Connection::open(world.address).unwrap();
        connection.write(&Post::json("x").line("GET / HTTP/1.1").bytes()).unwrap();
        let reply = connection.reply().unwrap();
        if reply.status == 503 {
            break reply;
        }
        assert_eq!(reply.status, 404);
        open.push(connection);
        assert!(open.len() <= 4, "{}", open.len());
    };
    assert_eq!((&*refused.headers["retry-after"], &*refused.headers["connection"]), ("1", "close"));
    assert!(refused.detail().contains("too many connections"), "{refused:?}");
    drop(open);
    until("there is room", || post(0..1).key("k").send(world.address).is_ok_and(|reply| reply.status == 200));
    stop(job);
    world.has_each_once(0..1, "when there was room");
}

#[test]
fn what_is_not_committed_in_time_is_repeated_under_its_key() {
    let mut world = World::with("answer-within=100ms");
    world.interval = "2s";
    let job = world.start(2);
    // Some may come just before a commit.
    let mut numbers = 0..0;
    let first = loop {
        numbers = numbers.end..numbers.end + 3;
        let reply = post(numbers.clone()).key(&numbers.end.to_string()).send(world.address).unwrap();
        if reply.status != 200 {
            break reply;
        }
    };
    assert_eq!((first.status, &*first.headers["retry-after"]), (503, "1"));
    assert!(first.detail().contains("was taken, and not committed within 100ms"), "{first:?}");
    let mut last = first;
    until("it is committed", || {
        last = post(numbers.clone()).key(&numbers.end.to_string()).send(world.address).unwrap();
        last.status == 200
    });
    assert_eq!(last.json()["repeated"], true);
    stop(job);
    world.has_each_once(0..numbers.end, "not in time");
}

/// Also what came shortly before the end is committed by it, and answered.
#[test]
fn a_job_that_is_stopped_answers_what_it_has_read() {
    let mut world = World::new();
    world.interval = "1h";
    let job = world.start(2);
    let mut waiting = Connection::open(world.address).unwrap();
    waiting.write(&post(0..3).bytes()).unwrap();
    wait(Duration::from_millis(700));
    stop(job);
    assert_eq!(waiting.reply().unwrap().status, 200);
    world.has_each_once(0..3, "before the end");
}

#[test]
fn what_happens_is_counted() {
    let world = World::new();
    let page = testkit::free_address();
    let job = world.started(world.job(2).args(["--http", &page.to_string()]));
    let send = |request: Post| request.send(world.address).unwrap().status;
    assert_eq!([send(post(0..2).key("k")), send(post(0..2).key("k")), send(post(0..1).key("k"))], [200, 200, 422]);
    assert_eq!([send(post(7..9)), send(Post::json("x"))], [200, 400]);
    let bytes = readings(0..2).len() + readings(7..9).len();
    let metrics = || {
        let get = Post::json("").line("GET /metrics HTTP/1.0").send(page).unwrap();
        assert_eq!(get.status, 200);
        get.body
    };
    let of = |name: &str, more: &str| format!("{name}{{operator=\"readings\",kind=\"source\",worker=\"0\"{more}}} ");
    let requests = |result, count| (of("tidemill_source_requests_total", &format!(",result=\"{result}\"")), count);
    let wanted = [
        requests("committed", 2),
        requests("repeated", 1),
        requests("refused", 2),
        requests("full", 0),
        requests("unauthorized", 0),
        requests("unanswered", 0),
        (of("tidemill_source_request_bytes_total", ""), bytes),
        (of("tidemill_source_idempotency_keys", ""), 1),
        (of("tidemill_source_waiting_requests", ""), 0),
        (of("tidemill_source_queued_bytes", ""), 0),
    ];
    let has = |text: &str, (name, value): &(String, usize)| {
        text.lines().any(|line| line.strip_prefix(name.as_str()).is_some_and(|found| found == value.to_string()))
    };
    let mut last = String::new();
    until("the metrics say so", || {
        last = metrics();
        let missing: Vec<_> = wanted.iter().filter(|wanted| !has(&last, wanted)).collect();
        if !missing.is_empty() {
            println!("{missing:?}");
        }
        missing.is_empty()
    });
    stop(job);
}
