//! A job whose webhook sink sends to another job's HTTP source: both are killed, and each record arrives once.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use testkit::{Killed, seed, times};
use tests::crashes::wait;
use tests::{short_epochs, until};
use tidemill::prelude::*;

use crate::job::{World, errors};
use tests::crashes::stop;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const FOLDER: &str = "TIDEMILL_PAIR_JOB";

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Reading {
    n: u64,
    celsius: f64,
}

/// The job that sends. It is a process of its own, since it is killed: this program, told to run this test alone, by a variable that
/// names the folder with what it needs.
#[test]
fn sender() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let task = std::fs::read_to_string(folder.join("task")).unwrap();
    let (count, url) = task.split_once(' ').unwrap();
    let reading = |n: u64| (EventTime(n as i64), Reading { n, celsius: 20.0 });
    let source = Generator::new(count.parse().unwrap(), reading).rate(1500.0);
    let sink = WebhookSink::new(url).secret_file(folder.join("secret")).json_lines(NonZeroUsize::new(40).unwrap());
    let settings = short_epochs(&folder.join("sender"));
    Job::new("sender", settings).run(move |flow| flow.source("numbers", &source)?.sink("out", &sink)).unwrap();
}

fn sending(world: &World) -> Killed {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "pair::sender", "--nocapture"]).env(FOLDER, world.folder.path());
    Killed(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
}

#[test]
fn a_webhook_sink_and_an_http_source_move_each_record_once_though_both_are_killed() {
    let mut world = World::new();
    world.options = format!("secret-file={}", world.path("secret").display());
    std::fs::write(world.path("secret"), SECRET).unwrap();
    let receiving = |workers| Killed(world.job(workers).spawn().unwrap());
    let mut chance = ChaCha8Rng::seed_from_u64(seed());
    let kills = 10 * times().min(20);
    let count = 600 * kills as u64;
    std::fs::write(world.path("task"), format!("{count} http://{}/readings", world.address)).unwrap();
    let (mut receiver, mut sender) = (receiving(2), sending(&world));
    for kill in 1..=kills {
        wait(Duration::from_millis(chance.random_range(200..900)));
        if chance.random_bool(0.5) {
            drop(receiver);
            wait(Duration::from_millis(chance.random_range(0..300)));
            receiver = receiving(chance.random_range(1..=3));
        } else {
            drop(sender);
            sender = sending(&world);
        }
        println!("{kill} kills, {} records", world.written().len());
    }
    until("all is sent", || sender.try_wait().unwrap().is_some());
    assert!(sender.wait().unwrap().success(), "{}", errors(&mut sender));
    stop(receiver);
    world.has_each_once(0..count, "both killed");
}
