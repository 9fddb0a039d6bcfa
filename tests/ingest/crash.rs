//! The job is killed with SIGKILL, at named places and at random moments, while clients send.

use std::ops::Range;
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use testkit::{Killed, seed, some, times};
use tests::crashes::{SIGKILL, wait};
use tests::until;

use crate::job::{World, errors, post};
use tests::crashes::stop;

/// Places to crash at, in the order in which an epoch passes them.
const PLACES: [&str; 5] = ["mid-epoch:3", "after-delta:3", "before-manifest:3", "after-manifest:3", "after-publish:3"];
/// Records in a request.
const EACH: u64 = 5;
const CLIENTS: usize = 6;

/// Sends a request again and again until it is answered with 200.
fn sent(world: &World, number: u64, with_key: bool) {
    let request = post(number * EACH..(number + 1) * EACH);
    let request = if with_key { request.key(&format!("request-{number}")) } else { request };
    let begun = Instant::now();
    loop {
        match request.send(world.address) {
            Ok(reply) if reply.status == 200 => return,
            Ok(reply) => assert_eq!(reply.status, 503, "{reply:?}"),
            // The job is not there, or was killed.
            Err(_) => assert!(begun.elapsed() < Duration::from_secs(90), "request {number} has no answer"),
        }
        wait(Duration::from_millis(10));
    }
}

/// Ends clients, also when the test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Has clients send numbers while `act` goes on, and waits until each request is answered. Returns the numbers.
fn with_clients(world: &World, with_keys: bool, act: impl FnOnce()) -> Range<u64> {
    let (next, over) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let send = || {
            while !over.load(Ordering::Relaxed) {
                sent(world, next.fetch_add(1, Ordering::Relaxed), with_keys);
            }
        };
        let ends = Over(&over);
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(send)).collect();
        act();
        drop(ends);
        let job = world.start(2);
        clients.into_iter().for_each(|client| client.join().unwrap());
        stop(job);
    });
    0..next.into_inner() * EACH
}

#[test]
fn a_crash_at_any_place_leaves_each_record_once_if_requests_have_keys() {
    for (turn, place) in some(PLACES.into_iter().enumerate(), 3) {
        let world = World::new();
        let sent = with_clients(&world, true, || {
            let mut job = world.started(world.job(2).env("TIDEMILL_CRASH_AT", place));
            until("it crashes", || job.try_wait().unwrap().is_some());
            assert_eq!(job.wait().unwrap().signal(), Some(SIGKILL), "it did not come to {place}: {}", errors(&mut job));
            let next = world.start(1 + turn % 3);
            world.until_written(100);
            drop(next);
        });
        world.has_each_once(sent, place);
    }
}

/// Kills the job again and again, which starts by other numbers of workers.
fn killed_at_random(world: &World, with_keys: bool, kills: usize) -> Range<u64> {
    let mut chance = ChaCha8Rng::seed_from_u64(seed());
    with_clients(world, with_keys, || {
        for kill in 1..=kills {
            let job = Killed(world.job(chance.random_range(1..=3)).spawn().unwrap());
            wait(Duration::from_millis(chance.random_range(50..900)));
            drop(job);
            println!("{kill} kills, {} records", world.written().len());
        }
    })
}

#[test]
fn random_kills_leave_each_record_once_if_requests_have_keys() {
    let world = World::new();
    let sent = killed_at_random(&world, true, 10 * times().min(20));
    assert!(sent.end > 60, "{sent:?}");
    world.has_each_once(sent, "random kills");
}

#[test]
fn random_kills_lose_nothing_if_requests_have_no_keys() {
    let world = World::new();
    let sent = killed_at_random(&world, false, 6 * times().min(20));
    let written = world.written();
    let lost: Vec<u64> = sent.clone().filter(|number| !written.contains_key(number)).take(8).collect();
    assert!(lost.is_empty() && sent.end > 60, "of {sent:?}, these are lost: {lost:?}");
    assert!(written.keys().all(|number| sent.contains(number)));
    let again: usize = written.values().map(|times| times - 1).sum();
    println!("{again} of {} records are there more than once", sent.end);
}
