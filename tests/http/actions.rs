//! What a request can have the job do, and who may.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use tidemill::job::JobState;
use tidemill::prelude::*;

use super::client::{ask, get};
use super::job;

#[test]
fn a_job_stops_when_somebody_with_the_token_asks() {
    let job = job::start();
    let stop = |headers: &[&str], body: &str| ask(job.address, "POST", "/api/v1/stop", headers, body);
    for wrong in [&[][..], &["Authorization: Bearer 0123456789abcdef0123456789abcdef"], &["Authorization: Basic eDp5"]]
    {
        let refused = stop(wrong, "");
        assert_eq!(refused.headers["www-authenticate"], "Bearer");
        assert!(refused.problem(401).contains("token"), "{wrong:?}");
    }
    let token = job.token();
    assert!(stop(&[&token], "{\"drain\":true}").problem(422).contains("drained"));
    assert!(stop(&[&token], "{\"drian\":true}").problem(400).contains("drian"));
    assert_eq!(get(job.address, "/api/v1/job").json()["state"], "running");
    let page = format!("Origin: http://{}", job.address);
    let stopped = stop(&[&token, &page], "{\"drain\":false}");
    assert_eq!((stopped.status, stopped.json()), (202, serde_json::json!({ "state": "stopping" })));
    assert_eq!(job.ended().unwrap().state, JobState::Stopped);
}

#[test]
fn a_checkpoint_comes_when_it_is_asked_for() {
    let scratch = tempfile::tempdir().unwrap();
    let settings = JobSettings { checkpoint_interval: hours(1), ..job::settings(&scratch) };
    let job = job::start_with(scratch, settings);
    let asked = ask(job.address, "POST", "/api/v1/checkpoint", &[&job.token()], "");
    let epoch = asked.json()["epoch"].as_u64().unwrap();
    assert_eq!((asked.status, &*asked.headers["location"]), (202, "/api/v1/job"));
    job.wait_until("/api/v1/job", |job| job["committed_epoch"].as_u64() >= Some(epoch));
}

#[test]
fn only_the_owner_can_read_the_token() {
    let job = job::start();
    let file = job.scratch.path().join("checkpoints/http-token");
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn beyond_loopback_a_job_has_a_token_of_its_own_or_does_not_start() {
    let scratch = tempfile::tempdir().unwrap();
    let at = |token: Option<&str>| {
        let http_token_file = token.map(|token| {
            let file = scratch.path().join("token");
            fs::write(&file, token).unwrap();
            file
        });
        JobSettings { http: "0.0.0.0:0".parse().ok(), http_token_file, ..JobSettings::default() }
    };
    for (token, why) in [(None, "http is 0.0.0.0:"), (Some("short"), "it has 5 characters")] {
        let error = Job::new("exposed", at(token)).run(|_| Ok(())).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
        assert!(error.remedies().contains(&tidemill::error::Remedy::Setting("http_token_file")), "{error:?}");
    }
}

#[test]
fn beyond_loopback_reading_needs_the_token_too() {
    let scratch = tempfile::tempdir().unwrap();
    let token = scratch.path().join("token");
    fs::write(&token, "a token of my own\n".replace(' ', "-")).unwrap();
    let mut settings = JobSettings { http_token_file: Some(token), ..job::settings(&scratch) };
    settings.http.as_mut().unwrap().set_ip([0, 0, 0, 0].into());
    let own = "Authorization: Bearer a-token-of-my-own";
    let job = job::start_as(scratch, settings, &[own]);
    for path in ["/status", "/metrics", "/api/v1/job", "/no/such/page"] {
        get(job.address, path).problem(401);
    }
    for path in ["/livez", "/", "/app/main.js"] {
        assert_eq!(get(job.address, path).status, 200, "{path}");
    }
    assert_eq!(ask(job.address, "GET", "/metrics", &[own], "").status, 200);
}
