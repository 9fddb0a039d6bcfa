//! Savepoints that are taken of a running job by whoever has its token.

use std::fs;

use serde_json::{Value as Json, json};
use tidemill::job::{JobState, RestoreFrom};
use tidemill::prelude::*;

use super::client::{Answer, ask, get};
use super::job::{self, Served};

const PATH: &str = "/api/v1/savepoints";

fn take(job: &Served, token: &[&str], body: &Json) -> Answer {
    ask(job.address, "POST", PATH, token, &body.to_string())
}

/// Waits until the newest savepoint is taken or has failed, and returns it.
fn ended(job: &Served) -> Json {
    let is_over =
        |list: &Json| ["taken", "failed"].contains(&list["savepoints"][0]["state"].as_str().unwrap_or_default());
    job.wait_until(PATH, is_over)["savepoints"][0].clone()
}

#[test]
fn a_savepoint_is_taken_of_the_next_checkpoint_while_the_job_runs_and_is_restored() {
    let scratch = tempfile::tempdir().unwrap();
    // No checkpoint comes by itself while this test runs.
    let settings = JobSettings { checkpoint_interval: hours(1), ..job::settings(&scratch) };
    let job = job::start_with_no_commit(scratch, settings);
    assert_eq!(get(job.address, PATH).json(), json!({ "savepoints": [] }));
    assert!(take(&job, &[], &json!({})).problem(401).contains("token"));
    let token: &[&str] = &[&job.token()];
    let begun = take(&job, token, &json!({ "name": "before-v2" }));
    assert_eq!((begun.status, &*begun.headers["location"]), (202, PATH), "{begun:?}");
    let taken = ended(&job);
    assert_eq!((&taken["state"], &taken["name"], &taken["id"]), (&"taken".into(), &"before-v2".into(), &1.into()));
    assert!(taken["epoch"].as_u64() >= begun.json()["epoch"].as_u64() && taken["bytes"].as_u64() > Some(0), "{taken}");
    // It goes on, and a name is given once.
    assert_eq!(get(job.address, "/api/v1/job").json()["state"], "running");
    assert!(take(&job, token, &json!({ "name": "before-v2" })).problem(409).contains("exists already"));
    assert_eq!(take(&job, token, &json!({ "name": "" })).status, 202);
    let other = ended(&job);
    assert_eq!(other["name"], format!("epoch-{}", other["epoch"]));

    // A start reads every byte of the savepoint, and goes on from it.
    let settings =
        JobSettings { restore: "savepoint:before-v2".parse::<RestoreFrom>().unwrap(), ..job::settings(&job.scratch) };
    let (scratch, ended) = job.stop();
    assert_eq!(ended.state, JobState::Stopped);
    // Output that was published since then is in the way of a start that goes back.
    ["out", "refused"].iter().for_each(|folder| drop(fs::remove_dir_all(scratch.path().join(folder))));
    let again = job::start_again(scratch, settings);
    assert_eq!(again.restored_epoch, taken["epoch"].as_u64());
}

#[test]
fn what_cannot_be_taken_is_refused_and_leaves_nothing() {
    let job = job::start();
    let token: &[&str] = &[&job.token()];
    for (body, status, why) in [
        (json!({ "name": "../x" }), 400, "is no name of a savepoint"),
        (json!({ "name": ".hidden" }), 400, "is no name of a savepoint"),
        (json!({ "nmae": "x" }), 400, "nmae"),
    ] {
        assert!(take(&job, token, &body).problem(status).contains(why), "{body}");
    }
    assert!(!job.scratch.path().join("checkpoints/savepoints").exists());
    // Where the folder should be is a file.
    fs::write(job.scratch.path().join("checkpoints/savepoints"), "").unwrap();
    assert_eq!(take(&job, token, &json!({ "name": "nowhere" })).status, 202);
    let failed = ended(&job);
    assert_eq!(failed["state"], "failed", "{failed}");
    assert!(failed["error"].as_str().unwrap().contains("savepoints"), "{failed}");
    assert_eq!(get(job.address, "/api/v1/job").json()["state"], "running");
}

#[test]
fn a_job_that_stops_completes_the_savepoint_first() {
    let job = job::start();
    let token: &[&str] = &[&job.token()];
    assert_eq!(take(&job, token, &json!({ "name": "last" })).status, 202);
    assert_eq!(ask(job.address, "POST", "/api/v1/stop", token, "").status, 202);
    let (scratch, ended) = job.stop();
    assert_eq!(ended.state, JobState::Stopped);
    let place = scratch.path().join("checkpoints/savepoints");
    let names: Vec<_> = fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["last"]);
    assert_eq!(fs::read_dir(place.join("last/manifests")).unwrap().count(), 1);
}
