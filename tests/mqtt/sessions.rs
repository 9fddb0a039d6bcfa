//! Sessions: what is acknowledged, what a lost session means, and what happens when two programs have the same one.

use std::fs;
use std::time::Duration;

use crate::job::{World, until};
use testkit::objects;
use tests::crashes::{end, errors, stop, wait};

#[test]
fn each_message_is_written_once_and_all_are_acknowledged_at_the_end() {
    for workers in [1, 2] {
        let world = World::new();
        let job = subscribed(&world, workers);
        world.publish(0..2000);
        until("2,000 readings are written", || of_interest(&world) >= 2000);
        stop(job);
        world.has_each_once(0..2004, &format!("{workers} workers"));
        // A job that knows nothing of what was read gets nothing: the last epoch was acknowledged, too.
        let other = testkit::Killed(world.job_to("again", workers).spawn().unwrap());
        world.publish(2004..2008);
        until("the other job has written what is new", || objects(&world.path("again")).len() >= 4);
        wait(Duration::from_millis(500));
        stop(other);
        assert_eq!(objects(&world.path("again")).len(), 4, "messages that were committed came again");
    }
}

fn of_interest(world: &World) -> usize {
    objects(&world.path("readings")).iter().filter(|row| row["n"].as_u64().unwrap() < 2000).count()
}

/// Starts the job, and waits until it reads. Readings 2000 to 2003 are published for that.
fn subscribed(world: &World, workers: usize) -> testkit::Killed {
    let job = world.start(workers);
    // Without a subscription a message goes nowhere, so the same one is published until the session is there: it is
    // retained nowhere, and the first that arrives ends this.
    until("the sessions have subscribed", || {
        let log = fs::read_to_string(world.path("broker/mosquitto.log")).unwrap_or_default();
        (0..workers).all(|number| log.contains(&format!("as readings-{number} ")))
    });
    wait(Duration::from_millis(500));
    world.publish(2000..2004);
    world.until_written(4);
    job
}

/// What the broker may send before it waits for acknowledgements is less than an epoch's messages: it gets on all the same.
#[test]
fn an_epoch_with_more_messages_than_the_receive_maximum_does_not_block() {
    let mut world = World::new();
    world.options += "&receive-maximum=10";
    let job = subscribed(&world, 2);
    world.publish(0..500);
    until("500 readings are written", || objects(&world.path("readings")).len() >= 504);
    stop(job);
    let mut times = [0; 500];
    let of_interest =
        objects(&world.path("readings")).into_iter().filter_map(|row| row["n"].as_u64()).filter(|n| *n < 500);
    of_interest.for_each(|n| times[n as usize] += 1);
    assert!(times.iter().all(|times| *times == 1), "{times:?}");
}

#[test]
fn a_session_that_was_lost_while_the_job_was_down_is_refused_until_it_is_accepted() {
    let mut world = World::new();
    stop(subscribed(&world, 1));
    world.broker.end_session("readings-0").unwrap();
    for start in 1..=2 {
        let output = end(world.start(1));
        let said = errors(&output);
        assert_eq!(output.status.code(), Some(4), "start {start}: {said}");
        assert!(said.contains("no longer has session \"readings-0\"") && said.contains("lost_session"), "{said}");
    }
    world.options += "&lost-session=accept";
    let job = world.start(1);
    until("the new session reads", || {
        world.publish(0..1);
        objects(&world.path("readings")).len() > 4
    });
    stop(job);
}

/// lensesio/stream-reactor#419: after the broker had lost its sessions the source read nothing, for ever.
#[test]
fn a_broker_that_has_lost_its_sessions_is_subscribed_to_again_or_stops_the_job() {
    let mut world = World::new();
    let refusing = subscribed(&world, 1);
    world.broker.kill().unwrap();
    world.broker.resume().unwrap();
    let output = end(refusing);
    assert!(errors(&output).contains("no longer has session"), "{}", errors(&output));
    world.options += "&lost-session=accept";
    let accepting = world.start(1);
    until("the job reads again", || {
        world.publish(0..1);
        objects(&world.path("readings")).len() > 4
    });
    world.broker.kill().unwrap();
    world.broker.resume().unwrap();
    until("the job reads again after the second loss", || {
        world.publish(1..2);
        objects(&world.path("readings")).iter().any(|row| row["n"] == 1)
    });
    stop(accepting);
}

/// eclipse-mosquitto/mosquitto#631 and others: two clients of one name throw each other out, again and again.
#[test]
fn a_second_start_of_the_job_takes_over_and_the_first_one_stops() {
    let world = World::new();
    let first = subscribed(&world, 1);
    wait(Duration::from_secs(1));
    let second = testkit::Killed(world.job_to("second", 1).spawn().unwrap());
    let output = end(first);
    assert!(errors(&output).contains("another client has connected as \"readings-0\""), "{}", errors(&output));
    world.publish(0..10);
    until("the second job reads on", || objects(&world.path("second")).len() >= 10);
    stop(second);
}

/// Retained messages come to a subscription that is not shared, once: not again at each start.
#[test]
fn one_session_reads_what_was_retained_once() {
    let mut world = World::new();
    world.options += "&one-session=true";
    let retain = ["-r", "-t", "sensors/old", "-m", "{\"n\": 7, \"celsius\": 1}"];
    assert!(world.broker.client("mosquitto_pub").args(retain).status().unwrap().success());
    for start in 0..2 {
        let job = world.start(2);
        let new = 8 + start;
        until("both kinds are written", || {
            if start > 0 || !objects(&world.path("readings")).is_empty() {
                world.publish(new..new + 1);
            }
            objects(&world.path("readings")).iter().any(|row| row["n"] == new)
        });
        stop(job);
    }
    let retained = objects(&world.path("readings")).iter().filter(|row| row["n"] == 7).count();
    assert_eq!(retained, 1);
}
