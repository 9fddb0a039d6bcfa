//! What a body may be, and how it may be sent.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::client::{Connection, Post};
use crate::job::{World, post, readings};
use testkit::objects;
use tests::crashes::stop;

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_record_an_array_and_lines_are_taken_packed_or_not_by_any_number_of_workers() {
    for workers in [1, 2] {
        let world = World::new();
        let job = world.start(workers);
        let array = readings(1..4).trim_end().replace('\n', ",");
        let packed = |encoding: &str, body| Post::lines(body).header("Content-Encoding", encoding);
        for (request, records) in [
            (Post::json(readings(0..1)), 1),
            (Post::json(format!(" [{array}]\n")), 3),
            (post(4..10), 6),
            (packed("gzip", gzip(readings(10..30).as_bytes())), 20),
            (packed("zstd", zstd::encode_all(readings(30..40).as_bytes(), 3).unwrap()), 10),
            (Post::json("[]"), 0),
            (Post::lines(""), 0),
        ] {
            let reply = request.send(world.address).unwrap();
            assert_eq!((reply.status, reply.json()["records"].as_u64()), (200, Some(records)), "{reply:?}");
        }
        stop(job);
        world.has_each_once(0..40, "all forms");
        assert_eq!(objects(&world.path("readings")).iter().filter(|row| row["hot"] == true).count(), 18);
    }
}

/// On one connection: pieces, a wait for the permission to send the body, requests behind one another, and the older protocol.
#[test]
fn requests_come_in_pieces_behind_one_another_and_by_the_older_protocol() {
    let world = World::new();
    let job = world.start(2);
    let mut connection = Connection::open(world.address).unwrap();
    let chunked = post(0..2).header("Transfer-Encoding", "chunked");
    let pieces: String = readings(0..2).as_bytes().chunks(7).map(piece).collect();
    connection.write(format!("{}\r\n{pieces}0\r\n\r\n", chunked.head()).as_bytes()).unwrap();
    assert_eq!(connection.reply().unwrap().status, 200);

    let expects = post(2..3).header("Expect", "100-continue").bytes();
    let body = expects.len() - readings(2..3).len();
    connection.write(&expects[..body]).unwrap();
    assert_eq!(connection.reply().unwrap().status, 100);
    connection.write(&expects[body..]).unwrap();
    assert_eq!(connection.reply().unwrap().status, 200);

    connection.write(&[post(3..5).bytes(), post(5..6).bytes()].concat()).unwrap();
    assert_eq!([(); 2].map(|()| connection.reply().unwrap().json()["records"].as_u64().unwrap()), [2, 1]);
    drop(connection);

    let old = post(6..7).line("POST /readings HTTP/1.0");
    let reply = old.send(world.address).unwrap();
    assert_eq!(reply.status, 200, "{reply:?}");
    stop(job);
    world.has_each_once(0..7, "in pieces");
}

fn piece(bytes: &[u8]) -> String {
    format!("{:x}\r\n{}\r\n", bytes.len(), std::str::from_utf8(bytes).unwrap())
}

/// A body that breaks off was not sent, whatever of it had come.
#[test]
fn nothing_is_taken_of_a_body_that_breaks_off() {
    let world = World::new();
    let job = world.start(1);
    let bytes = post(0..10).bytes();
    let mut connection = Connection::open(world.address).unwrap();
    connection.write(&bytes[..bytes.len() - 3]).unwrap();
    drop(connection);
    let mut connection = Connection::open(world.address).unwrap();
    let head = post(0..0).header("Transfer-Encoding", "chunked").head();
    connection.write(format!("{head}\r\n{}", piece(readings(0..3).as_bytes())).as_bytes()).unwrap();
    drop(connection);
    assert_eq!(post(20..21).send(world.address).unwrap().status, 200);
    stop(job);
    world.has_each_once(20..21, "after bodies that broke off");
}
