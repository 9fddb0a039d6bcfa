//! A broker that is away, at the start or for a while.

use std::time::Duration;

use testkit::mosquitto::Mosquitto;

use crate::job::{World, until};
use testkit::objects;
use tests::crashes::{end, errors, signal, stop, wait};

#[test]
fn a_broker_that_comes_late_or_goes_for_a_while_is_waited_for() {
    let mut world = World::with(Mosquitto::start_durable);
    // mosquitto 2.0.11 forgets shared subscriptions when it restarts, until the client is there again.
    world.options += "&one-session=true";
    world.broker.kill().unwrap();
    let job = world.start(1);
    wait(Duration::from_secs(1));
    world.broker.resume().unwrap();
    until("the session reads", || {
        world.publish(0..1);
        !objects(&world.path("readings")).is_empty()
    });
    for turn in 1..=2 {
        world.broker.kill().unwrap();
        wait(Duration::from_millis(700));
        world.broker.resume().unwrap();
        world.publish(turn..turn + 1);
        until("it is read again", || objects(&world.path("readings")).iter().any(|row| row["n"] == turn));
    }
    stop(job);
}

#[test]
fn the_job_ends_when_the_broker_is_away_for_longer_than_its_patience() {
    let mut world = World::new();
    world.options += "&patience=2s";
    let job = world.start(1);
    until("the session reads", || {
        world.publish(0..1);
        !objects(&world.path("readings")).is_empty()
    });
    world.broker.kill().unwrap();
    let output = end(job);
    let said = errors(&output);
    assert!(output.status.code() == Some(3) && said.contains("was away for longer than 2s"), "{said}");
    let output = end(world.start(1));
    let said = errors(&output);
    assert!(output.status.code() == Some(3) && said.contains("no broker answered at mqtt://127.0.0.1"), "{said}");
}

/// A job that is asked to stop while the broker is away does not wait for it.
#[test]
fn a_job_can_be_stopped_while_the_broker_is_away() {
    let mut world = World::new();
    let job = world.start(1);
    until("the session reads", || {
        world.publish(0..1);
        !objects(&world.path("readings")).is_empty()
    });
    world.broker.kill().unwrap();
    wait(Duration::from_millis(500));
    signal(&job, "TERM");
    let output = end(job);
    assert!(output.status.success(), "{}", errors(&output));
}
