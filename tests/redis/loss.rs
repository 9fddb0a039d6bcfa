//! What the server has confirmed and lost, as it may without an append-only file that is on the disk: it is noticed.

use std::collections::BTreeSet;
use std::time::Duration;

use tests::until;
use tidemill::redis::LostMarker;

use crate::faults::{ids, start, start_with, stream};
use crate::refused::contains;
use crate::server::{server, server_with};

const PATIENT: Duration = Duration::from_mins(5);

#[test]
fn a_server_that_forgets_all_stops_the_job_that_runs() {
    let Some(mut running) = server_with(&[]) else { return };
    let job = start(&running, u64::MAX, 1000.0, PATIENT);
    until("entries are there", || running.query::<u64>("XLEN numbers") > 0);
    running.server.kill().unwrap();
    running.server.resume().unwrap();
    let error = job.join().unwrap().unwrap_err().report();
    contains(&error, &["the marker \"numbers.out\" of worker", "was deleted or lost while the job ran"]);
    assert_eq!(running.query::<u64>("XLEN numbers"), 0, "nothing is written beside a hole");
}

/// The server comes back with the data of some time ago: the job that runs notices it, and so does the next start.
#[test]
fn a_server_that_has_lost_its_last_epochs_is_noticed_by_the_run_and_by_the_next_one() {
    const COUNT: u64 = 6_000;
    let Some(mut running) = server() else { return };
    let job = start(&running, COUNT, 1000.0, PATIENT);
    until("entries are there", || running.query::<u64>("XLEN numbers") > 0);
    // What the append-only file has now is what is left of it later.
    let folder = running.scratch.path().join("server/appendonlydir");
    let files = std::fs::read_dir(&folder).unwrap().flatten().map(|entry| entry.path());
    let file = files.into_iter().find(|path| path.to_string_lossy().ends_with(".incr.aof")).unwrap();
    let kept = std::fs::metadata(&file).unwrap().len();
    let before: u64 = running.query("XLEN numbers");
    until("more entries are there", || running.query::<u64>("XLEN numbers") > before + 500);
    running.server.kill().unwrap();
    std::fs::File::options().write(true).open(&file).unwrap().set_len(kept).unwrap();
    running.server.resume().unwrap();
    let error = job.join().unwrap().unwrap_err().report();
    contains(&error, &["the server had confirmed epoch", "it has lost the output in between", "lost_marker"]);
    let left: u64 = running.query("XLEN numbers");
    // The next run knows it from what is staged, and goes on without when it is told to.
    let next = |sink| start_with(sink, &running, COUNT, 1e6).join().unwrap();
    let error = next(stream(running.at())).unwrap_err().report();
    contains(&error, &["the server had confirmed epoch", "set lost_marker to publish to go on without"]);
    assert_eq!(running.query::<u64>("XLEN numbers"), left);
    next(stream(running.at()).lost_marker(LostMarker::Publish)).unwrap();
    let (found, once) = (ids(&running.server), BTreeSet::from_iter(ids(&running.server)));
    assert!(found.len() == once.len() && found.len() < COUNT as usize - 400, "{} of {COUNT}", found.len());
    assert_eq!(once.last(), Some(&(COUNT as i64 - 1)));
}

/// Staged output, and no marker: `lost_marker` says what happens.
#[test]
fn a_marker_that_is_gone_is_refused_or_as_lost_marker_says() {
    const COUNT: u64 = 4_000;
    for policy in [LostMarker::Publish, LostMarker::Skip] {
        let Some(running) = server() else { return };
        let job = start(&running, COUNT, 1000.0, Duration::from_millis(500));
        until("entries are there", || running.query::<u64>("XLEN numbers") > 0);
        running.server.signal("STOP").unwrap();
        job.join().unwrap().unwrap_err();
        running.server.signal("CONT").unwrap();
        for worker in 0..2 {
            running.query::<()>(&format!("DEL tidemill:marker:numbers.out:{worker}"));
        }
        let next = |sink| start_with(sink, &running, COUNT, 1e6).join().unwrap();
        let error = next(stream(running.at())).unwrap_err().report();
        contains(&error, &["the marker \"numbers.out\" of worker", "is gone", "set lost_marker"]);
        next(stream(running.at()).lost_marker(policy)).unwrap();
        let (found, once) = (ids(&running.server), BTreeSet::from_iter(ids(&running.server)));
        match policy {
            LostMarker::Publish => assert_eq!(once.len(), COUNT as usize, "nothing is lost"),
            _ => assert_eq!(once.len(), found.len(), "nothing is there twice"),
        }
    }
}
