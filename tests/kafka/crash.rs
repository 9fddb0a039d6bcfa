//! The job or the broker is killed with SIGKILL, at every named place and at random moments.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::cluster::{Cluster, alone, cluster};
use crate::job::{self, SIGKILL, dies_at, exactly_once_and_in_order, expected, job, transactions, wait};
use testkit::broker::Broker;
use testkit::{finish, free_addresses, is_error, seed, some};

/// So many that a job does not read them all before the third epoch ends.
const COUNT: usize = 200_000;

/// Places to crash at, in the order in which an epoch passes them. At `after-commit:3:0`, worker 0 has published epoch
/// 3, and the other worker may not have.
pub const PLACES: [&str; 11] = [
    "mid-epoch:3",
    "after-delta:3",
    "before-manifest:3",
    "after-manifest:3",
    "mid-produce:3",
    "before-marker:3",
    "after-marker:3",
    "before-commit:3",
    "after-commit:3:0",
    "after-commit:3:1",
    "after-publish:3",
];

#[test]
fn a_crash_at_any_place_leaves_each_prediction_once() {
    let _alone = alone();
    let Some(cluster) = cluster() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let (input, expected) = (transactions(&cluster, COUNT, 4), expected(COUNT, scratch.path()));
    for place in some(PLACES, 4) {
        let (output, checkpoints) = (cluster.topic("predictions", 3), scratch.path().join(place));
        dies_at(&mut job(&input, &output.url(), &checkpoints, 2), place);
        // Another number of workers completes what the crash left unfinished.
        finish(&mut job(&input, &output.url(), &checkpoints, 2 + place.len() % 2));
        exactly_once_and_in_order(&output.committed(), &expected, place);
    }
}

/// Returns addresses for two processes.
fn hosts() -> String {
    free_addresses::<2>().unwrap().map(|address| address.to_string()).join(",")
}

/// Runs both processes of the job, one of which may kill itself at a place. Returns whether both succeeded.
fn run_two(command: impl Fn() -> Command, dies: Option<(usize, &str)>) -> bool {
    let hosts = hosts();
    let children = [0, 1].map(|process| {
        let mut command = command();
        command.args(["--hosts", &hosts, "--process", &process.to_string()]);
        if let Some((_, place)) = dies.filter(|(victim, _)| *victim == process) {
            command.env("TIDEMILL_CRASH_AT", place);
        }
        command.spawn().unwrap()
    });
    let outputs = children.map(|child| child.wait_with_output().unwrap());
    for (process, output) in outputs.iter().enumerate() {
        let errors = job::errors(output);
        match dies {
            Some((victim, place)) if victim == process => {
                assert_eq!(output.status.signal(), Some(SIGKILL), "it did not come to {place}: {errors}");
            }
            Some(_) => assert!(is_error(output.status), "it does not notice that the other is gone: {errors}"),
            None => assert!(output.status.success(), "{errors}"),
        }
    }
    outputs.iter().all(|output| output.status.success())
}

#[test]
fn of_two_processes_either_may_crash_at_any_place() {
    let _alone = alone();
    let Some(cluster) = cluster() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let (input, expected) = (transactions(&cluster, COUNT, 4), expected(COUNT, scratch.path()));
    for (turn, place) in some(PLACES.into_iter().enumerate(), 3) {
        // Process 0 writes the manifests; a place that names a worker is reached in its process.
        let victim = match place.rsplit(':').next() {
            Some("0") => 0,
            Some("1") => 1,
            _ if place.contains("manifest") => 0,
            _ => turn % 2,
        };
        let (output, checkpoints) = (cluster.topic("predictions", 3), scratch.path().join(place));
        let command = || job(&input, &output.url(), &checkpoints, 1);
        run_two(command, Some((victim, place)));
        assert!(run_two(command, None));
        exactly_once_and_in_order(&output.committed(), &expected, &format!("{place} in process {victim}"));
    }
}

/// Returns the folder of Kafka's jars. Without one, the test prints that it did not run, and fails in CI.
pub fn kafka_libs() -> Option<PathBuf> {
    let libs = std::env::var_os("TIDEMILL_KAFKA_LIBS").map(PathBuf::from);
    if libs.is_none() {
        assert!(std::env::var_os("CI").is_none(), "TIDEMILL_KAFKA_LIBS is not set, and CI must have Kafka");
        eprintln!("NOT RUN: `cargo xtask test` sets TIDEMILL_KAFKA_LIBS to the folder of Kafka's jars");
    }
    libs
}

/// Starts a broker that belongs to the test, which may kill it.
pub fn own_broker(folder: &Path) -> Option<Broker> {
    Some(Broker::start(&kafka_libs()?, folder).unwrap())
}

/// The number of kills is `TIDEMILL_KILLS`: by default 4, over 300,000 transactions; from 100 on, over a million
/// transactions.
#[test]
fn random_kills_of_job_and_broker_leave_each_prediction_once() {
    let _alone = alone();
    let scratch = tempfile::tempdir().unwrap();
    let Some(mut broker) = own_broker(&scratch.path().join("broker")) else { return };
    let kills = std::env::var("TIDEMILL_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(4);
    let count = if kills >= 100 { 1_000_000 } else { 300_000 };
    let mut chance = ChaCha8Rng::seed_from_u64(seed());
    let cluster = Cluster { address: broker.address.clone() };
    let (input, expected) = (transactions(&cluster, count, 4), expected(count, scratch.path()));
    let output = cluster.topic("predictions", 3);
    let command = |workers: usize| {
        let mut command = job(&input, &output.url(), &scratch.path().join("checkpoints"), workers);
        // The job is slow enough to be killed often.
        command.args(["--max-in-flight", "2000"]);
        command
    };
    let (mut job_kills, mut broker_kills, mut workers) = (0, 0, 2);
    while job_kills + broker_kills < kills {
        if chance.random_bool(0.3) {
            workers = chance.random_range(1..=3);
        }
        let mut child = command(workers).spawn().unwrap();
        // A start first takes over the old transactions. Some kills hit it meanwhile, most afterwards.
        wait(Duration::from_millis(chance.random_range(100..2000)));
        if chance.random_bool(0.3) && child.try_wait().unwrap().is_none() {
            broker.kill().unwrap();
            wait(Duration::from_millis(chance.random_range(0..1500)));
            broker.resume().unwrap();
            broker_kills += 1;
            wait(Duration::from_millis(chance.random_range(500..2500)));
        }
        child.kill().unwrap();
        let ended = child.wait_with_output().unwrap();
        let killed = ended.status.signal() == Some(SIGKILL);
        // A job that starts while the broker is down gives up after half a minute and reports that.
        let gave_up = job::errors(&ended).contains("no broker answered");
        assert!(killed || gave_up || ended.status.success(), "{}", job::errors(&ended));
        job_kills += usize::from(killed);
        println!("{job_kills} kills of the job, {broker_kills} of the broker");
        if ended.status.success() {
            break;
        }
    }
    assert!(job_kills + broker_kills >= kills / 2, "it was over too soon for this to mean much");
    finish(&mut command(2));
    exactly_once_and_in_order(&output.committed(), &expected, "random kills");
}
