//! A job of two processes looks like one, from either of them; a process that does not answer is marked.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value as Json;
use testkit::{Killed, example, free_address};
use tests::control::three_versions;

use super::client::get;

struct Two {
    processes: [Killed; 2],
    pages: [SocketAddr; 2],
}

impl Two {
    fn start(folder: &Path) -> Self {
        Self::start_with(&[], folder)
    }

    fn start_with(more: &[&str], folder: &Path) -> Self {
        let (hosts, pages) = ([free_address(), free_address()], [free_address(), free_address()]);
        let hosts = hosts.map(|host| host.to_string()).join(",");
        let start = |process: usize| {
            let mut command = example("fraud_velocity");
            command.args(["--rate", "2000", "--count", "100000000", "--workers", "2"]);
            command.args(["--checkpoint-interval", "200ms"]);
            command.args(["--hosts", &hosts, "--process", &process.to_string()]);
            command.args(["--http", &pages[process].to_string(), "--checkpoint-dir"]).arg(folder.join("checkpoints"));
            command.arg("--predictions").arg(folder.join("predictions")).args(more);
            Killed(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
        };
        Self { processes: [start(0), start(1)], pages }
    }

    /// Asks a process how all are, until that is as wanted.
    fn wait_until(&mut self, of: usize, wanted: impl Fn(&Json) -> bool) -> Json {
        self.wait_for("/api/v1/cluster", of, wanted)
    }

    /// Asks a process for a resource, until it is as wanted.
    #[expect(clippy::disallowed_methods, reason = "processes are looked at from outside")]
    fn wait_for(&mut self, path: &str, of: usize, wanted: impl Fn(&Json) -> bool) -> Json {
        loop {
            let is_served = std::net::TcpStream::connect(self.pages[of]).is_ok();
            let answer = is_served.then(|| get(self.pages[of], path).json()).filter(&wanted);
            if let Some(answer) = answer {
                return answer;
            }
            assert!(self.processes[of].try_wait().unwrap().is_none(), "the process has ended");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn signal(&self, process: usize, signal: &str) {
        let id = self.processes[process].id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }
}

fn states(of: &Json) -> Vec<&str> {
    of["processes"].as_array().unwrap().iter().map(|process| process["state"].as_str().unwrap()).collect()
}

fn operator<'a>(of: &'a Json, name: &str) -> &'a Json {
    of["operators"].as_array().unwrap().iter().find(|operator| operator["name"] == name).unwrap()
}

/// Checks that what one process says of the whole job has the parts of both.
fn have_the_parts_of_both(two: &mut Two, of: usize) {
    let numbers = |of: &Json, name: &str| -> BTreeSet<u64> {
        of.as_array().unwrap().iter().filter_map(|one| one[name].as_u64()).collect()
    };
    // Of a stream that nobody has looked at before there is nothing yet.
    two.wait_for("/api/v1/cluster/tail?stream=score", of, |tail| {
        numbers(&tail["records"], "process") == BTreeSet::from([0, 1])
    });
    let none = two.wait_for("/api/v1/cluster/tail?stream=score&filter=no-record-has-it", of, |_| true);
    assert!(none["records"].as_array().unwrap().is_empty(), "{none}");
    two.wait_for("/api/v1/cluster/checkpoints", of, |answer| {
        let checkpoints = answer["checkpoints"].as_array().unwrap();
        checkpoints.iter().any(|one| {
            one["result"] == "committed" && numbers(&one["phases"], "worker") == BTreeSet::from([0, 1, 2, 3])
        })
    });
    let state = |of: &Json| -> BTreeMap<i64, u64> {
        let rows = of["rows"].as_array().unwrap().iter();
        rows.map(|row| (row[0].as_f64().unwrap() as i64, row[6].as_f64().unwrap() as u64)).collect()
    };
    let whole = two.wait_for("/api/v1/cluster/history", of, |answer| answer["rows"].as_array().unwrap().len() > 3);
    let (whole, own) = (state(&whole), state(&get(two.pages[of], "/api/v1/history").json()));
    let same: Vec<(u64, u64)> = whole.iter().filter_map(|(time, whole)| Some((*whole, *own.get(time)?))).collect();
    assert!(same.iter().all(|(whole, own)| whole >= own) && same.iter().any(|(whole, own)| whole > own), "{same:?}");
    let logs = two.wait_for("/api/v1/cluster/logs", of, |_| true);
    assert!(logs["lines"].is_array(), "{logs}");
}

#[test]
fn two_processes_look_like_one_and_one_that_stands_still_is_marked() {
    let folder = tempfile::tempdir().unwrap();
    let mut two = Two::start(folder.path());
    let all_scored = |answer: &Json| {
        states(answer) == ["answers", "answers"]
            && answer["operators"].as_array().unwrap().iter().any(|one| one["name"] == "score" && one["workers"] == 4)
            && operator(answer, "score")["records_in"].as_u64() > Some(0)
            // Rates of a worker are there once it was looked at twice.
            && operator(answer, "score")["per_worker"].as_array().unwrap().len() == 4
    };
    for of in [0, 1] {
        let answer = two.wait_until(of, all_scored);
        let score = operator(&answer, "score");
        let workers: Vec<u64> =
            score["per_worker"].as_array().unwrap().iter().map(|one| one["worker"].as_u64().unwrap()).collect();
        assert_eq!(workers, [0, 1, 2, 3], "{score}");
        let jobs: Vec<&Json> = answer["processes"].as_array().unwrap().iter().map(|one| &one["job"]).collect();
        assert_eq!((&jobs[0]["process"], &jobs[1]["process"]), (&0.into(), &1.into()));
        let bytes = |job: &Json| job["state_bytes"].as_u64().unwrap();
        assert_eq!(bytes(&answer["job"]), bytes(jobs[0]) + bytes(jobs[1]));
    }
    for of in [0, 1] {
        have_the_parts_of_both(&mut two, of);
    }
    // The others do not notice a process that stands still.
    two.signal(1, "-STOP");
    let answer = two.wait_until(0, |answer| states(answer) == ["answers", "silent"]);
    assert!(answer["processes"][1]["problem"].as_str().unwrap().contains("did not answer within"), "{answer}");
    assert_eq!(operator(&answer, "score")["workers"], 2);
    two.signal(1, "-CONT");
    two.wait_until(0, |answer| states(answer) == ["answers", "answers"]);
    // With a process that was killed the job ends, and so do its pages.
    two.processes[1].kill().unwrap();
    assert!(!two.processes[0].wait().unwrap().success());
}

#[test]
fn drift_that_one_process_has_compared_is_shown_by_both() {
    let folder = tempfile::tempdir().unwrap();
    let (models, drift) = (folder.path().join("models"), folder.path().join("drift"));
    three_versions(&models);
    let [models, drift] = [models, drift].map(|path| path.display().to_string());
    let more = ["--models", &models, "--use-model", "fraud_velocity/1", "--drift", &drift, "--drift-window", "1h"];
    let mut two = Two::start_with(&more, folder.path());
    let versions = |answer: &Json| answer["operators"]["drift"].as_object().map_or(0, serde_json::Map::len);
    for of in [0, 1] {
        let answer = two.wait_for("/api/v1/cluster/drift", of, |answer| versions(answer) == 1);
        let (name, window) = answer["operators"]["drift"].as_object().unwrap().iter().next().unwrap();
        assert!(name.starts_with("fraud_velocity/1@"), "{name}");
        assert!(window["features"][0]["reason"].as_str().unwrap().contains("baseline.json"), "{window}");
    }
    let own = [0, 1].map(|of| versions(&get(two.pages[of], "/api/v1/drift").json()));
    assert_eq!(own.iter().sum::<usize>(), 1, "all windows of a version are compared on one worker");
}
