//! Requests that come again under their key.

use serde_json::json;

use crate::client::Post;
use crate::job::{World, post, readings};
use tests::crashes::stop;

/// Also after the job was killed, and by another number of workers.
#[test]
fn a_request_that_comes_again_under_its_key_is_answered_and_not_taken_again() {
    let world = World::new();
    let job = world.start(2);
    let send = |request: Post| request.send(world.address).unwrap();
    assert_eq!(send(post(0..5).key("one")).json(), json!({ "records": 5 }));
    assert_eq!(send(post(5..6)).status, 200);
    let again = json!({ "records": 5, "repeated": true });
    assert_eq!(send(post(0..5).key("one")).json(), again);
    assert_eq!(send(post(0..5).key("\"one\"")).json(), again, "the draft has the key in quotation marks");
    let other = send(post(7..8).key("one"));
    assert!(
        other.status == 422 && other.detail().contains("another body came under this Idempotency-Key"),
        "{other:?}"
    );
    drop(job);
    for workers in [3, 1, 2] {
        let job = world.start(workers);
        assert_eq!(send(post(0..5).key("one")).json(), again, "{workers} workers");
        assert_eq!(send(post(7..8).key("one")).status, 422);
        drop(job);
    }
    let job = world.start(2);
    assert_eq!(send(post(6..7).key("two")).json(), json!({ "records": 1 }));
    stop(job);
    world.has_each_once(0..7, "under keys");
}

/// A key of a request that was refused is free.
#[test]
fn a_request_that_was_refused_may_come_corrected_under_its_key() {
    let world = World::new();
    let job = world.start(1);
    let wrong = format!("{}oops", readings(0..2));
    assert_eq!(Post::lines(wrong).key("k").send(world.address).unwrap().status, 400);
    assert_eq!(post(0..2).key("k").send(world.address).unwrap().json(), json!({ "records": 2 }));
    stop(job);
    world.has_each_once(0..2, "corrected");
}

#[test]
fn the_oldest_keys_are_forgotten_when_there_are_too_many() {
    let world = World::with("remembered-keys=2");
    let job = world.start(1);
    let send = |n: u64| post(n..n + 1).key(&n.to_string()).send(world.address).unwrap().json()["repeated"] == true;
    assert!([0, 1, 2].iter().all(|n| !send(*n)));
    assert!(send(1) && send(2) && !send(0), "what came again counts once");
    stop(job);
    assert_eq!(world.written()[&0], 2);
}
