//! The job or the service is killed with SIGKILL, at named places and at random moments.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use testkit::{Killed, seed, some, times};
use tests::crashes::{SIGKILL, dies_at, errors, wait};

use crate::job::World;
use tests::crashes::{end, stop};

/// Places to crash at, in the order in which an epoch passes them.
const PLACES: [&str; 5] = ["mid-epoch:3", "after-delta:3", "before-manifest:3", "after-manifest:3", "after-publish:3"];
const COUNT: u64 = 3000;

/// Another number of workers goes on.
#[test]
fn a_crash_at_any_place_leaves_each_record_once() {
    for (turn, place) in some(PLACES.into_iter().enumerate(), 3) {
        let world = World::new(3);
        world.stream.put(0..COUNT);
        dies_at(&mut world.job(2), place);
        let job = world.start(1 + turn % 3);
        world.until_written(COUNT);
        stop(job);
        world.has_each_once(COUNT, place);
    }
}

/// Twelve kills of the job while records are put and the stream is split and merged, and restarts with other numbers of workers.
#[test]
fn random_kills_of_the_job_while_the_stream_is_resharded_leave_each_record_once() {
    let mut chance = ChaCha8Rng::seed_from_u64(seed());
    let world = World::new(2);
    let (mut put, mut shards) = (0, 2);
    for kill in 1..=12 * times().min(20) {
        let job = world.start(chance.random_range(1..=3));
        for _ in 0..chance.random_range(1..4) {
            let more = chance.random_range(50..700);
            world.stream.put(put..put + more);
            put += more;
            wait(Duration::from_millis(chance.random_range(0..300)));
            match chance.random_range(0..4) {
                0 if shards < 6 => {
                    world.stream.split(chance.random_range(0..shards));
                    shards += 1;
                }
                1 if shards > 1 => {
                    world.stream.merge(chance.random_range(0..shards));
                    shards -= 1;
                }
                _ => {}
            }
        }
        killed(job);
        println!("{kill} kills, {put} records, {shards} open shards");
    }
    all_are_there_once(&world, put);
}

/// Six kills of the service while the job reads, of which some are followed by one of the job. Records are put before it is
/// killed: whether it has a record that it did not confirm, nobody knows.
#[test]
fn random_kills_of_the_service_leave_each_record_once() {
    let mut chance = ChaCha8Rng::seed_from_u64(seed());
    let mut world = World::new(2);
    let mut put = 0;
    let mut job = Some(world.start(2));
    for kill in 1..=6 * times().min(20) {
        let more = chance.random_range(100..1000);
        world.stream.put(put..put + more);
        put += more;
        if chance.random_bool(0.3) {
            world.stream.split(chance.random_range(0..2));
        }
        wait(Duration::from_millis(chance.random_range(0..500)));
        world.emulator.kill().unwrap();
        if chance.random_bool(0.4)
            && let Some(job) = job.take()
        {
            killed(job);
        }
        wait(Duration::from_millis(chance.random_range(0..500)));
        world.emulator.resume().unwrap();
        if job.is_none() {
            job = Some(world.start(chance.random_range(1..=2)));
        }
        println!("{kill} kills, {put} records");
    }
    world.until_written(put);
    job.into_iter().for_each(stop);
    world.has_each_once(put, "kills of the service");
}

fn killed(mut job: Killed) {
    job.kill().unwrap();
    let output = end(job);
    assert_eq!(output.status.signal(), Some(SIGKILL), "{}", errors(&output));
}

fn all_are_there_once(world: &World, put: u64) {
    let job = world.start(2);
    world.stream.put(put..put + 1);
    world.until_written(put + 1);
    stop(job);
    world.has_each_once(put + 1, "random kills");
}
