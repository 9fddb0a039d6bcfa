//! The job or the server is killed with SIGKILL, at named places and at random moments.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use testkit::{seed, some, times};
use tests::crashes::{SIGKILL, errors, wait};

use crate::server::server_with;
use tests::until;

use super::job::World;
use tests::crashes::{end, stop};

/// Places to crash at, in the order in which an epoch passes them.
const PLACES: [&str; 5] = ["mid-epoch:3", "after-delta:3", "before-manifest:3", "after-manifest:3", "after-publish:3"];
const COUNT: u64 = 60_000;

#[test]
fn a_crash_at_any_place_leaves_each_entry_once_with_other_workers() {
    for (turn, place) in some(PLACES.into_iter().enumerate(), 3) {
        let Some(mut world) = World::new() else { return };
        let adding = world.adding(0..COUNT);
        let output = world.job(2).env("TIDEMILL_CRASH_AT", place).output().unwrap();
        assert_eq!(output.status.signal(), Some(SIGKILL), "it did not come to {place}: {}", errors(&output));
        adding.join().unwrap();
        let output = world.read_all(1 + turn % 3);
        assert!(output.status.success(), "{place}: {}", errors(&output));
        world.has_each_once(0..COUNT, place);
    }
}

/// The job is killed while entries are added, and started with other numbers of workers; twelve times, more in soak.
#[test]
fn random_kills_of_the_job_leave_each_entry_once() {
    let mut chance = ChaCha8Rng::seed_from_u64(seed());
    let Some(mut world) = World::new() else { return };
    let mut added = 0;
    for _ in 0..12 * times().min(17) {
        let more = chance.random_range(500..6000);
        let adding = world.adding(added..added + more);
        added += more;
        let job = world.start(chance.random_range(1..=4));
        wait(Duration::from_millis(chance.random_range(50..900)));
        drop(job);
        adding.join().unwrap();
    }
    let output = world.read_all(2);
    assert!(output.status.success(), "{}", errors(&output));
    world.has_each_once(0..added, "after all kills");
}

/// The server confirms only what is on its disk, is killed, and comes back: the job that runs reads on.
#[test]
fn kills_of_the_server_leave_each_entry_once() {
    let mut chance = ChaCha8Rng::seed_from_u64(seed());
    let Some(mut world) = World::new() else { return };
    let job = world.start(2);
    let mut added = 0;
    for _ in 0..4 * times().min(12) {
        let more = chance.random_range(500..6000);
        world.add(added..added + more);
        added += more;
        wait(Duration::from_millis(chance.random_range(0..200)));
        world.running.server.kill().unwrap();
        wait(Duration::from_millis(chance.random_range(0..500)));
        world.running.server.resume().unwrap();
    }
    world.until_written(added as usize);
    stop(job);
    world.has_each_once(0..added, "after all kills");
}

/// What was added meanwhile is there when the server goes on, which did not answer for a while.
#[test]
fn a_server_that_stands_still_is_waited_for() {
    let Some(world) = World::new() else { return };
    world.add(0..100);
    let job = world.start(1);
    world.until_written(100);
    world.running.server.signal("STOP").unwrap();
    wait(Duration::from_secs(2));
    world.running.server.signal("CONT").unwrap();
    world.add(100..200);
    world.until_written(200);
    stop(job);
    world.has_each_once(0..200, "after the pause");
}

/// While a server reads its files it refuses transactions, with a code that says no more than that.
#[test]
fn a_server_that_loads_its_data_for_a_while_is_waited_for() {
    let slow = ["--appendonly", "yes", "--appendfsync", "always", "--key-load-delay", "500"];
    let Some(mut world) = World::at(server_with(&slow)) else { return };
    world.add(0..6000);
    let job = world.start(1);
    world.until_written(6000);
    world.running.server.kill().unwrap();
    world.running.server.resume().unwrap();
    let mut loading = 0;
    until("the server has loaded its data", || {
        let answer = redis::cmd("PING").query::<String>(&mut world.running.connection());
        loading += usize::from(answer.is_err());
        answer.is_ok()
    });
    assert!(loading > 0, "it has loaded its data too soon for this test to mean anything");
    world.add(6000..6100);
    world.until_written(6100);
    stop(job);
    world.has_each_once(0..6100, "after it has loaded its data");
}

/// A server that stays away stops the job when patience ends, and what was read is committed.
#[test]
fn a_server_that_stays_away_stops_the_job_when_patience_ends() {
    let Some(mut world) = World::new() else { return };
    world.options = "&patience=1s".to_owned();
    world.add(0..100);
    let job = world.start(1);
    world.until_written(100);
    world.running.server.kill().unwrap();
    let output = end(job);
    let text = errors(&output);
    assert!(!output.status.success() && text.contains("for 1 s, and gave up"), "{text}");
    world.running.server.resume().unwrap();
    world.add(100..150);
    let output = world.read_all(1);
    assert!(output.status.success(), "{}", errors(&output));
    world.has_each_once(0..150, "after the server came back");
}
