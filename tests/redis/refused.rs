//! What cannot work is refused before the first record, with both sides in the message.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidemill::job::JobSettings;
use tidemill::prelude::*;
use tidemill::redis::{RedisServer, RedisWrite};

use crate::faults::{Numbered, checkpoints, ids, numbered, settings, stream};
use crate::server::{Running, server, server_with};

const COUNT: u64 = 20;

pub fn run(sink: RedisSink<Numbered>, settings: JobSettings) -> Result<(), JobError> {
    let source = Generator::new(COUNT, numbered);
    Job::new("refused", settings).run(move |flow| flow.source("numbers", &source)?.sink("out", &sink)).map(drop)
}

fn refused(sink: RedisSink<Numbered>) -> String {
    let scratch = tempfile::tempdir().unwrap();
    run(sink.patience(Duration::from_secs(5)), settings(scratch.path())).unwrap_err().report()
}

pub fn contains(error: &str, parts: &[&str]) {
    assert!(parts.iter().all(|part| error.contains(part)), "{error}");
}

#[test]
fn a_server_that_could_lose_the_marker_alone_is_refused() {
    let Some(running) = server() else { return };
    running.query::<()>("CONFIG SET maxmemory-policy allkeys-lru");
    contains(&refused(stream(running.at())), &["has maxmemory-policy allkeys-lru", "evict the marker", "volatile-*"]);
    // A policy that evicts only keys with a TTL is accepted: markers have none.
    running.query::<()>("CONFIG SET maxmemory-policy volatile-lru");
    run(stream(running.at()), settings(&checkpoints(&running))).unwrap();
    assert_eq!(running.query::<Vec<String>>("KEYS tidemill:marker:*").len(), 2);
    assert_eq!(running.query::<i64>("TTL tidemill:marker:numbers.out:0"), -1);
}

#[test]
fn a_cluster_is_refused_with_the_reason() {
    // Its own port for other nodes would be 10,000 above, which may be none.
    let others = testkit::free_address().port().to_string();
    let options = ["--cluster-enabled", "yes", "--cluster-port", &others];
    let Some(running) = server_with(&options) else { return };
    contains(&refused(stream(running.at())), &["is a node of a cluster (cluster_enabled:1)", "CROSSSLOT"]);
}

/// A password is asked for: none, a wrong one, the right one of a user without the right to write, and of one who has it.
#[test]
fn who_may_not_write_is_refused_with_what_the_server_says() {
    let Some(running) = server() else { return };
    let folder = running.scratch.path();
    let password = |text: &str| {
        let file = folder.join(text);
        std::fs::write(&file, format!("{text}\n")).unwrap();
        file
    };
    running.query::<()>("ACL SETUSER reader on >hunter2 ~* &* +@read +info +auth");
    running.query::<()>("ACL SETUSER other on >hunter2 ~other:* ~tidemill:* &* +@all");
    running.query::<()>("ACL SETUSER writer on >hunter2 ~* resetchannels -@all +info +eval +type +hmget +hset +hdel +xinfo|stream +xadd");
    // From here on, no connection is let in without a password.
    running.query::<()>("ACL SETUSER default resetpass >admin");
    let user = |user: &str, text: &str| running.at().user(user).password_file(password(text));
    contains(&refused(stream(running.at())), &["NOAUTH", "no password was given"]);
    contains(&refused(stream(running.at().password_file(password("wrong")))), &["WRONGPASS", "is not right"]);
    contains(&refused(stream(user("nobody", "hunter2"))), &["WRONGPASS"]);
    contains(&refused(stream(running.at().user("writer"))), &["\"writer\" needs a password"]);
    contains(&refused(stream(user("reader", "hunter2"))), &["NOPERM", "lacks a right"]);
    contains(&refused(stream(user("other", "hunter2"))), &["NOPERM"]);
    let missing = running.at().password_file(folder.join("nowhere"));
    contains(&refused(stream(missing)), &["could not read the file with the password"]);
    // The rights that the page lists suffice, and no message has a password in it.
    run(stream(user("writer", "hunter2")), settings(&checkpoints(&running))).unwrap();
    for text in [refused(stream(user("nobody", "hunter2"))), format!("{:?}", user("writer", "hunter2"))] {
        assert!(!text.contains("hunter2\"") || text.contains("password: File"), "{text}");
    }
}

#[test]
fn a_record_or_settings_that_do_not_fit_are_refused() {
    let Some(running) = server() else { return };
    let sink = |key: &str, write: RedisWrite| refused(RedisSink::new(running.at(), key, write));
    let hset = |ttl: Option<u64>| RedisWrite::Hset { ttl: ttl.map(Duration::from_secs) };
    contains(&sink("card:{card}", hset(None)), &["no field \"card\" (the record has: id, name)"]);
    contains(&sink("card:{id", hset(None)), &["has a { without its }"]);
    contains(&sink("", hset(None)), &["the key is empty"]);
    contains(&sink("a", hset(Some(0))), &["must be from 1 ms"]);
    let zadd = RedisWrite::Zadd { member: "id".to_owned(), score: "rank".to_owned() };
    contains(&sink("a", zadd), &["no field \"rank\""]);
    let no_checkpoints = JobSettings { checkpoint_dir: None, ..settings(Path::new("")) };
    let error = run(stream(running.at()), no_checkpoints).unwrap_err().report();
    contains(&error, &["exactly once only with checkpoint_dir"]);
    let scratch = tempfile::tempdir().unwrap();
    let source = Generator::new(1, |n| (EventTime(0), n));
    let sink = RedisSink::new(running.at(), "n", hset(None));
    let job = Job::new("no struct", settings(scratch.path()));
    let error = job.run(move |flow| flow.source("numbers", &source)?.sink("out", &sink)).unwrap_err().report();
    contains(&error, &["must be a struct with named fields"]);
    assert_eq!(running.query::<u64>("DBSIZE"), 0);
}

/// A key of another type stops the job, before anything of its batch is written; the job goes on once it is gone.
#[test]
fn a_key_that_holds_another_type_is_named_and_nothing_of_its_batch_is_written() {
    let Some(running) = server() else { return };
    running.query::<()>("SET n:7 mine");
    let sink = || RedisSink::new(running.at(), "n:{id}", RedisWrite::Hset { ttl: None });
    let one = || JobSettings { workers: 1, ..settings(&checkpoints(&running)) };
    for _ in 0..2 {
        let error = run(sink(), one()).unwrap_err().report();
        contains(&error, &["the key \"n:7\" holds a string, and a hash is to be written (WRONGTYPE)"]);
        assert_eq!(running.query::<Vec<String>>("KEYS n:*"), ["n:7"]);
        assert_eq!(running.query::<String>("GET n:7"), "mine");
    }
    running.query::<()>("DEL n:7");
    run(sink(), one()).unwrap();
    assert_eq!(running.query::<Vec<String>>("KEYS n:*").len(), COUNT as usize);
    // A marker is a hash, too.
    running.query::<()>("DEL tidemill:marker:n:{id}.out:0");
    running.query::<()>("SET tidemill:marker:n:{id}.out:0 x");
    let error = run(sink(), one()).unwrap_err().report();
    contains(&error, &["read the marker \"tidemill:marker:n:{id}.out:0\"", "WRONGTYPE"]);
}

/// A stream that takes no entry any more is found before an entry of its batch is in another stream.
#[test]
fn a_stream_at_its_last_id_is_named_and_no_entry_is_twice() {
    let Some(running) = server() else { return };
    running.query::<()>("XADD s:9 18446744073709551615-18446744073709551615 id 0");
    let sink = || RedisSink::new(running.at(), "s:{id}", RedisWrite::Xadd { max_len: None });
    let one = || JobSettings { workers: 1, ..settings(&checkpoints(&running)) };
    for _ in 0..2 {
        contains(&run(sink(), one()).unwrap_err().report(), &["the stream \"s:9\" has the last id"]);
        assert_eq!(running.query::<Vec<String>>("KEYS s:*"), ["s:9"]);
    }
    running.query::<()>("DEL s:9");
    run(sink(), one()).unwrap();
    for id in 0..COUNT {
        assert_eq!(running.query::<u64>(&format!("XLEN s:{id}")), 1);
    }
}

/// Published output is not taken back, and is not written twice.
#[test]
fn a_marker_that_is_ahead_or_gone_or_damaged_is_refused_with_both_sides() {
    let Some(running) = server() else { return };
    let (first, second) = (checkpoints(&running), running.scratch.path().join("second"));
    let sink = || stream(running.at());
    run(sink(), settings(&first)).unwrap();
    let error = run(sink(), settings(&second)).unwrap_err().report();
    contains(&error, &["has output of worker 0 up to epoch", "by \"numbers.out\"", "this run starts anew"]);
    assert_eq!(ids(&running.server).len(), COUNT as usize);
    // Under another name it is there twice, as the message says.
    run(sink().marker("again"), settings(&second)).unwrap();
    assert_eq!(ids(&running.server).len(), 2 * COUNT as usize);
    running.query::<()>("HSET tidemill:marker:numbers.out:0 epoch soon");
    let error = run(sink(), settings(&first)).unwrap_err().report();
    contains(&error, &["marker \"numbers.out\" of worker 0", "has \"soon\" where a number was"]);
    running.query::<()>("HDEL tidemill:marker:numbers.out:0 epoch");
    contains(&run(sink(), settings(&first)).unwrap_err().report(), &["lacks its epoch or its incarnation"]);
}

/// A part of an epoch is there, and the run starts from an older checkpoint, whose next epoch would be another one.
#[test]
fn an_epoch_that_is_there_in_part_is_no_other_run_s_to_complete() {
    let Some(running) = server() else { return };
    run(stream(running.at()), settings(&checkpoints(&running))).unwrap();
    running.query::<()>("HSET tidemill:marker:numbers.out:0 begun 99999 rows 3");
    let error = run(stream(running.at()), settings(&checkpoints(&running))).unwrap_err().report();
    contains(&error, &["has output of worker 0 up to epoch 99999", "this run goes on from epoch"]);
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Scored {
    id: Option<u32>,
    score: f64,
}

fn scored(running: &Running, server: RedisServer, key: &str, write: RedisWrite, record: Scored) -> String {
    let scratch = tempfile::tempdir_in(running.scratch.path()).unwrap();
    let source = Generator::new(1, move |_| (EventTime(0), record.clone()));
    let sink = RedisSink::new(server, key, write);
    let job = Job::new("values", settings(scratch.path()));
    job.run(move |flow| flow.source("records", &source)?.sink("out", &sink)).unwrap_err().report()
}

#[test]
fn a_value_that_redis_cannot_take_stops_the_job_before_the_commit() {
    let Some(running) = server() else { return };
    let (hset, zadd) =
        (RedisWrite::Hset { ttl: None }, RedisWrite::Zadd { member: "id".into(), score: "score".into() });
    let of = |key, write: &RedisWrite, record| scored(&running, running.at(), key, write.clone(), record);
    let error = of("card:{id}", &hset, Scored { id: None, score: 0.0 });
    contains(&error, &["field \"id\" is null, and the key \"card:{id}\" needs it", "Scored { id: None"]);
    let error = of("top", &zadd, Scored { id: Some(7), score: f64::NAN });
    contains(&error, &["field \"score\" is NaN", "Scored { id: Some(7)"]);
    contains(&of("top", &zadd, Scored { id: None, score: 0.0 }), &["is the member of a sorted set"]);
    let error = of("tidemill:marker:{id}", &hset, Scored { id: Some(7), score: 0.0 });
    contains(&error, &["the key \"tidemill:marker:7\" is one of a marker"]);
    let markers: Vec<String> = running.query("KEYS *");
    assert!(markers.iter().all(|key| key.starts_with("tidemill:marker:") && key != "tidemill:marker:7"), "{markers:?}");
}
