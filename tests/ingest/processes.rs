//! A job of two processes: the first one listens.

use testkit::{Killed, free_addresses};

use crate::job::{World, errors, post};
use tests::crashes::signal;
use tests::until;

#[test]
fn of_two_processes_the_first_one_listens_for_both() {
    let world = World::new();
    let hosts = free_addresses::<2>().unwrap().map(|address| address.to_string()).join(",");
    let job = |process: usize| {
        let mut job = world.job(2);
        job.args(["--hosts", &hosts, "--process", &process.to_string()]);
        job
    };
    let mut second = Killed(job(1).spawn().unwrap());
    let mut first = world.started(&mut job(0));
    for n in 0..10 {
        let reply = post(n * 3..n * 3 + 3).key(&n.to_string()).send(world.address).unwrap();
        assert_eq!(reply.status, 200, "{reply:?}");
    }
    [&first, &second].into_iter().for_each(|process| signal(process, "TERM"));
    for process in [&mut first, &mut second] {
        until("the job ends", || process.try_wait().unwrap().is_some());
        assert!(process.wait().unwrap().success(), "{}", errors(process));
    }
    world.has_each_once(0..30, "of two processes");
}
