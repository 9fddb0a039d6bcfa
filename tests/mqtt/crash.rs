//! The job or the broker is killed with SIGKILL, at named places and at random moments.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use testkit::mosquitto::Mosquitto;
use testkit::{Killed, seed, some, times};

use crate::job::{WARM, World, readings, until};
use testkit::objects;
use tests::crashes::{SIGKILL, end, errors, stop, wait};

/// Places to crash at, in the order in which an epoch passes them.
const PLACES: [&str; 5] = ["mid-epoch:3", "after-delta:3", "before-manifest:3", "after-manifest:3", "after-publish:3"];
const COUNT: u64 = 3000;

/// vector#21967: acknowledged on arrival, a message is lost with the process. Another number of workers goes on.
#[test]
fn a_crash_at_any_place_leaves_each_message_once() {
    for (turn, place) in some(PLACES.into_iter().enumerate(), 3) {
        let world = World::new();
        // The sessions are there before anything is published: what nobody has subscribed to goes nowhere.
        stop_when_subscribed(&world, 2);
        let mut publisher = world.broker.publishing("sensors/m", &readings(0..COUNT)).unwrap();
        let mut job = world.job(2);
        let job = Killed(job.env("TIDEMILL_CRASH_AT", place).spawn().unwrap());
        let output = end(job);
        assert_eq!(output.status.signal(), Some(SIGKILL), "it did not come to {place}: {}", errors(&output));
        let job = world.start(1 + turn % 3);
        assert!(publisher.wait().unwrap().success());
        world.until_written(COUNT as usize);
        stop(job);
        world.has_each_once(0..COUNT, place);
    }
}

/// Runs the job until its sessions have subscribed, so that what is published from now on waits there.
fn stop_when_subscribed(world: &World, workers: usize) {
    let job = world.start(workers);
    until("each session has got something", || {
        world.broker.publish("sensors/warm", &readings(WARM)).unwrap();
        objects(&world.path("readings")).len() >= workers * 4
    });
    stop(job);
}

/// Twelve kills of the job while messages are published, and restarts with other numbers of workers.
#[test]
fn random_kills_of_the_job_leave_each_message_once() {
    let mut chance = ChaCha8Rng::seed_from_u64(seed());
    let world = World::new();
    stop_when_subscribed(&world, 2);
    let mut published = 0;
    for kill in 1..=12 * times().min(20) {
        let more = chance.random_range(500..3000);
        let mut publisher = world.broker.publishing("sensors/m", &readings(published..published + more)).unwrap();
        published += more;
        killed_after(&world, chance.random_range(1..=3), chance.random_range(50..900));
        assert!(publisher.wait().unwrap().success());
        println!("{kill} kills, {published} messages");
    }
    all_are_there_once(&world, published);
}

/// Eight kills of the broker while the job reads, of which some are followed by one of the job. The publisher is done before
/// the broker is killed: one that has acknowledged a message may lose it. One session, since mosquitto 2.0.11 forgets shared
/// subscriptions.
#[test]
fn random_kills_of_the_broker_leave_each_message_once() {
    let mut chance = ChaCha8Rng::seed_from_u64(seed());
    let mut world = World::with(Mosquitto::start_durable);
    world.options += "&one-session=true";
    stop_when_subscribed(&world, 1);
    let mut published = 0;
    for kill in 1..=8 * times().min(20) {
        let more = chance.random_range(50..250);
        world.publish(published..published + more);
        published += more;
        // The broker writes what it has acknowledged to its file at the end of its turn.
        wait(Duration::from_millis(300));
        let job = world.start(1 + kill % 2);
        wait(Duration::from_millis(chance.random_range(100..900)));
        world.broker.kill().unwrap();
        wait(Duration::from_millis(chance.random_range(0..500)));
        if chance.random_bool(0.5) {
            drop(job);
            world.broker.resume().unwrap();
        } else {
            world.broker.resume().unwrap();
            wait(Duration::from_millis(chance.random_range(0..900)));
            drop(job);
        }
        println!("{kill} kills, {published} messages");
    }
    all_are_there_once(&world, published);
}

fn killed_after(world: &World, workers: usize, milliseconds: u64) {
    let mut job = world.start(workers);
    wait(Duration::from_millis(milliseconds));
    job.kill().unwrap();
    let output = end(job);
    assert_eq!(output.status.signal(), Some(SIGKILL), "{}", errors(&output));
}

fn all_are_there_once(world: &World, published: u64) {
    let job = world.start(2);
    world.publish(published..published + 1);
    world.until_written(published as usize + 1);
    stop(job);
    world.has_each_once(0..published + 1, "random kills");
}
