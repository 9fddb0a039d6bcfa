//! What is refused, with which status and reason; nothing of it is taken.

use crate::client::{Connection, Post};
use crate::job::{World, post, readings};
use testkit::objects;
use tests::crashes::stop;

#[test]
fn what_cannot_be_taken_is_refused_with_the_reason_and_nothing_of_it_is_taken() {
    let world = World::with("max-request-bytes=2000&max-request-records=20");
    let job = world.start(2);
    let large = Post::lines("x".repeat(2001));
    let bomb = Post::lines(crate::bodies::gzip(&b" ".repeat(1 << 20))).header("Content-Encoding", "gzip");
    for (request, status, reason) in [
        (
            Post::lines("{\"n\": 1, \"celsius\": 2}\n{\"n\": 2}\n"),
            400,
            "line 2 cannot be decoded, so nothing of the request was taken: missing field `celsius`",
        ),
        (Post::json("[{\"n\": 1, \"celsius\": 2}, 7]"), 400, "record 2 cannot be decoded"),
        (Post::json(""), 400, "the body is empty"),
        (Post::json("[{\"n\": 1"), 400, "the array has no end"),
        (post(0..1).header("Content-Encoding", "gzip"), 400, "the body is not gzip, or not all of it"),
        (post(0..1).header("Content-Encoding", "br"), 415, "Content-Encoding is \"br\", and can be gzip or zstd"),
        (Post::of("text/plain", "7"), 415, "Content-Type is \"text/plain\": send application/json"),
        (post(0..1).line("POST /other HTTP/1.1"), 404, "records are sent to /readings"),
        (post(0..1).line("POST /readings/ HTTP/1.1"), 404, "records are sent to /readings"),
        (post(0..1).line("GET /readings HTTP/1.1"), 405, "records are sent by POST"),
        (post(0..1).line("PUT /readings HTTP/1.1"), 405, "records are sent by POST"),
        (large, 413, "more than 2000 bytes"),
        (bomb, 413, "more than 2000 bytes when it is unpacked"),
        (post(0..21), 413, "more than 20 records"),
        (post(0..1).key(""), 400, "Idempotency-Key has 0 bytes"),
        (post(0..1).key("a").key("b"), 400, "several Idempotency-Keys"),
    ] {
        let reply = request.send(world.address).unwrap();
        assert_eq!(reply.status, status, "{reply:?}");
        assert!(reply.detail().contains(reason), "{reply:?}");
        match status {
            405 => assert_eq!(reply.headers["allow"], "POST"),
            415 => assert_eq!(reply.headers["accept-post"], "application/json, application/x-ndjson"),
            _ => {}
        }
    }
    // A body without a length is measured as it comes.
    let mut connection = Connection::open(world.address).unwrap();
    let head = Post::lines("").header("Transfer-Encoding", "chunked").head();
    connection.write(format!("{head}\r\n7d1\r\n{}\r\n", " ".repeat(2001)).as_bytes()).unwrap();
    assert_eq!(connection.reply().unwrap().status, 413);
    assert_eq!(post(0..20).send(world.address).unwrap().status, 200);
    stop(job);
    world.has_each_once(0..20, "after refusals");
}

#[test]
fn malformed_records_are_dead_letters_if_that_is_wanted() {
    let world = World::with("malformed=dead-letters");
    let job = world.start(2);
    let body = format!("{}nonsense\n{}", readings(0..2), readings(2..3));
    let reply = Post::lines(body).key("seven").send(world.address).unwrap();
    assert_eq!((reply.status, reply.json()["records"].as_u64()), (200, Some(4)), "{reply:?}");
    stop(job);
    world.has_each_once(0..3, "beside a dead letter");
    let dead = objects(&world.path("readings.dead"));
    assert_eq!(dead.len(), 1);
    let (source, origin) = (dead[0]["operator"].as_str().unwrap(), dead[0]["origin"].as_str().unwrap());
    assert!(source == "readings" && origin.ends_with(", key \"seven\", record 3"), "{origin}");
}
