//! Messages that cannot be decoded.

use crate::job::{World, until};
use testkit::objects;
use tests::crashes::stop;

/// A message that cannot be decoded is a dead letter with its place, and is acknowledged like any other: it would come for
/// ever otherwise.
#[test]
fn an_undecodable_message_is_one_dead_letter_and_does_not_come_again() {
    let mut world = World::new();
    world.options += "&one-session=true";
    let job = world.start(1);
    until("the session reads", || {
        world.publish(0..1);
        !objects(&world.path("readings")).is_empty()
    });
    world.broker.publish("sensors/pump", &["no JSON".to_owned()]).unwrap();
    world.publish(1..2);
    until("what is behind it is written", || objects(&world.path("readings")).iter().any(|row| row["n"] == 1));
    stop(job);
    let dead = objects(&world.path("readings.dead"));
    assert_eq!(dead.len(), 1, "{dead:?}");
    let origin = dead[0]["origin"].as_str().unwrap();
    assert!(origin.starts_with("sensors/pump@readings-0/") && dead[0]["content"] == "no JSON", "{dead:?}");
    let job = world.start(1);
    world.publish(2..3);
    until("the next start reads on", || objects(&world.path("readings")).iter().any(|row| row["n"] == 2));
    stop(job);
    assert_eq!(objects(&world.path("readings.dead")).len(), 1);
}
