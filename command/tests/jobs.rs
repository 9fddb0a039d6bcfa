//! `tidemill job` and a running job, from its start until it is gone; and what answers that is no job.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use testkit::{Killed, example, free_address, project, publish_version};

struct Job {
    process: Killed,
    address: SocketAddr,
    folder: tempfile::TempDir,
}

#[expect(clippy::disallowed_methods, reason = "waits for another process")]
fn wait() {
    std::thread::sleep(Duration::from_millis(20));
}

impl Job {
    /// Starts a job that makes a checkpoint only when it is asked for one, and waits until it runs.
    fn start() -> Self {
        let (folder, address) = (tempfile::tempdir().expect("a scratch folder"), free_address());
        let (models, model) = (folder.path().join("models"), project().join("models/fraud_velocity.onnx"));
        (1..=2).for_each(|version| publish_version(&models, "fraud_velocity", version, &model).expect("a version"));
        let mut command = example("fraud_velocity");
        command.args(["--use-model", "fraud_velocity/1", "--models"]).arg(models);
        command.args(["--rate", "2000", "--count", "100000000", "--workers", "2", "--checkpoint-interval", "1h"]);
        command.args(["--http", &address.to_string(), "--checkpoint-dir"]).arg(folder.path().join("checkpoints"));
        command.arg("--predictions").arg(folder.path().join("predictions"));
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the job starts");
        let mut job = Self { process: Killed(process), address, folder };
        while TcpStream::connect(address).is_err() || job.ask(&["status"], 0)["job"]["state"] != "running" {
            assert!(job.process.try_wait().expect("a child").is_none(), "the job ended");
            wait();
        }
        job
    }

    fn token(&self) -> PathBuf {
        self.folder.path().join("checkpoints/http-token")
    }

    /// Runs an action without a token. Checks its exit code, and returns what it prints.
    fn say(&self, action: &[&str], code: i32) -> String {
        said(&tidemill(&[&["job"], action, &["--at", &self.address.to_string()]].concat()), code)
    }

    fn say_with_token(&self, action: &[&str], code: i32) -> String {
        let token = self.token();
        self.say(&[action, &["--token-file", &token.to_string_lossy()]].concat(), code)
    }

    fn ask(&self, action: &[&str], code: i32) -> Value {
        let text = self.say(&[action, &["--json"]].concat(), code);
        serde_json::from_str(&text).expect("a document of JSON")
    }
}

fn tidemill(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
    command.args(args).env_remove("TIDEMILL_HTTP_TOKEN").output().expect("the command starts")
}

/// Returns stdout of a command that has done what it should, and else stderr.
fn said(output: &Output, code: i32) -> String {
    let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{out}\n{errors}");
    assert_eq!(errors.is_empty(), code == 0, "{errors}");
    if code == 0 { out.into_owned() } else { errors.into_owned() }
}

fn listed(store: &Path) -> String {
    said(&tidemill(&["savepoint", "list", "--store", &store.to_string_lossy()]), 0)
}

#[test]
fn a_job_is_looked_at_told_what_to_do_and_gone_in_the_end() {
    let mut job = Job::start();
    let status = job.say(&["status"], 0);
    assert!(status.contains("fraud_velocity") && status.contains("2 in 1 process"), "{status}");
    assert!(status.contains("none yet, epoch none"), "{status}");
    let graph = job.say(&["graph"], 0);
    assert!(graph.starts_with("OPERATOR") && graph.contains("score"), "{graph}");
    assert!(job.ask(&["graph"], 0)["nodes"].as_array().is_some_and(|nodes| nodes.len() > 5));
    let top = job.say(&["top", "--count", "2", "--interval", "100ms", "--sort", "busy"], 0);
    assert_eq!(top.matches("OPERATOR").count(), 2, "{top}");
    let looks = job.say(&["top", "--count", "2", "--interval", "100ms", "--jsonl"], 0);
    for look in looks.lines() {
        let look: Value = serde_json::from_str(look).expect("JSON");
        assert!(look["operators"].as_array().is_some_and(|operators| operators.len() > 5), "{look}");
    }
    assert_eq!(looks.lines().count(), 2);
    assert_eq!(job.say(&["log"], 0), "", "nothing was wrong yet");

    let refused = job.say(&["checkpoint"], 5);
    assert!(refused.contains("--token-file FILE") && refused.contains("TIDEMILL_HTTP_TOKEN"), "{refused}");
    assert!(job.say(&["checkpoint", "--token-file", "/nowhere"], 2).contains("cannot read the token"));
    assert!(job.say_with_token(&["checkpoint"], 0).contains("is committed"));
    let store = job.folder.path().join("checkpoints");
    let take = |more: &[&str], code: i32| {
        let address = job.address.to_string();
        said(&tidemill(&[&["savepoint", "take", "--job", &address], more].concat()), code)
    };
    let token = job.token().to_string_lossy().into_owned();
    assert!(take(&["before-v2"], 5).contains("needs the header"));
    assert!(!store.join("savepoints").exists());
    let taken: Value = serde_json::from_str(&take(&["before-v2", "--token-file", &token, "--json"], 0)).expect("JSON");
    assert_eq!((&taken["name"], &taken["job"]), (&"before-v2".into(), &"fraud_velocity".into()), "{taken}");
    assert!(take(&["before-v2", "--token-file", &token], 5).contains("exists already"));
    assert!(take(&["--token-file", &token], 0).contains("took savepoint epoch-"));
    let list = listed(&store);
    assert!(list.contains("before-v2") && list.contains("epoch-"), "{list}");
    let savepoint = store.join("savepoints/before-v2");
    said(&tidemill(&["checkpoints", "verify", "--store", &savepoint.to_string_lossy()]), 0);

    // The epochs of this job are an hour long; a change ends the running one, and the next checkpoint has it.
    assert!(job.say(&["change", "roll-back"], 5).contains("needs the header"));
    let refused = |change: &[&str]| job.say_with_token(&[&["change"], change].concat(), 5);
    assert!(refused(&["roll-back"]).contains("no version before this one"));
    assert!(refused(&["switch", "fraud_velocity/7"]).contains("version 7 is not there"));
    assert!(job.say_with_token(&["change", "explode"], 2).contains("is no change; write one of: switch MODEL"));
    assert!(job.say_with_token(&["change", "promote", "--operator", "scoer"], 2).contains("these can: score"));
    let asked = job.say_with_token(&["change", "switch", "fraud_velocity/2", "--id", "v2", "--no-wait"], 0);
    assert!(asked.contains("the change v2 was asked for"), "{asked}");
    let of = |id: &str| {
        let changes = job.ask(&["changes"], 0)["changes"].as_array().cloned().unwrap_or_default();
        changes.into_iter().find(|change| change["id"] == id)
    };
    while of("v2").is_none_or(|change| change["committed"] != true) {
        wait();
    }
    assert!(job.say_with_token(&["change", "switch", "fraud_velocity/2", "--id", "v2"], 0).contains("as change v2"));
    let list = job.say(&["changes"], 0);
    assert!(list.starts_with("ASKED") && list.contains("from epoch") && list.contains("refused"), "{list}");

    assert!(job.say(&["stop"], 5).contains("needs the header"));
    assert!(job.say_with_token(&["stop"], 0).contains("it has ended; epoch"));
    assert!(job.process.wait().expect("a child").success());
    let gone = job.say(&["status"], 3);
    assert!(gone.contains("no job answers at") && gone.contains("tidemill checkpoints list"), "{gone}");
    for action in [&["graph"][..], &["top"], &["log"], &["checkpoint"], &["stop"]] {
        job.say(action, 3);
    }
}

#[test]
fn a_log_that_is_followed_ends_with_the_job() {
    let mut job = Job::start();
    let address = job.address.to_string();
    let mut log = Command::new(env!("CARGO_BIN_EXE_tidemill"));
    log.args(["job", "log", "--follow", "--jsonl", "--at", &address]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let log = log.spawn().expect("the command starts");
    wait();
    job.say_with_token(&["stop"], 0);
    job.process.wait().expect("a child");
    let output = log.wait_with_output().expect("a child ends");
    // It may have come too late to hear that the job stops.
    assert!([Some(0), Some(3)].contains(&output.status.code()), "{output:?}");

    let mut job = Job::start();
    let log = Command::new(env!("CARGO_BIN_EXE_tidemill"))
        .args(["job", "log", "--follow", "--at", &job.address.to_string()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    wait();
    job.process.kill().expect("a child can be killed");
    job.process.wait().expect("a child");
    said(&log.wait_with_output().expect("a child ends"), 3);
}

/// The job is killed at another moment each time: before its checkpoint, while it copies, or when the savepoint is there.
#[test]
fn a_job_that_is_killed_leaves_a_whole_savepoint_or_none() {
    let mut taken = 0;
    for round in 0..6 {
        let mut job = Job::start();
        let (address, token) = (job.address.to_string(), job.token());
        let mut take = Command::new(env!("CARGO_BIN_EXE_tidemill"));
        take.args(["savepoint", "take", "one", "--job", &address, "--token-file"]).arg(token);
        let take = take.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the command starts");
        let store = job.folder.path().join("checkpoints");
        // From the third round on, until something of it is there; then a little more in each.
        while round > 2 && !store.join("savepoints").exists() {
            wait();
        }
        (0..round).for_each(|_| wait());
        job.process.kill().expect("a child can be killed");
        job.process.wait().expect("a child");
        let told = take.wait_with_output().expect("a child ends");
        let list = listed(&store);
        let is_there = store.join("savepoints/one").exists();
        assert_eq!(list.contains("one "), is_there, "{list}");
        assert!(is_there || told.status.code() == Some(3), "{told:?}");
        if is_there {
            taken += 1;
            let place = store.join("savepoints/one");
            said(&tidemill(&["checkpoints", "verify", "--store", &place.to_string_lossy()]), 0);
        }
    }
    assert!(taken > 0, "no savepoint was ever there");
}

/// Answers the first request with `answer`, or never.
fn stranger(answer: Option<&'static str>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().expect("a client");
        drop(socket.read(&mut [0; 4096]));
        match answer {
            Some(answer) => drop(socket.write_all(answer.as_bytes())),
            None => std::thread::park(),
        }
    });
    address
}

#[test]
fn what_is_no_job_is_told_apart_from_a_job_that_does_not_answer() {
    let asked = |answer: Option<&'static str>, code: i32| {
        let address = stranger(answer).to_string();
        said(&tidemill(&["job", "graph", "--at", &address, "--timeout", "300ms"]), code)
    };
    assert!(asked(None, 3).contains("it said nothing for 300ms"));
    assert!(asked(Some(""), 3).contains("no job answers at"));
    for page in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
    ] {
        assert!(asked(Some(page), 2).contains("is no job of Tidemill"), "{page}");
    }
    let wrong = said(&tidemill(&["job", "status", "--at", "https://127.0.0.1:1"]), 2);
    assert!(wrong.contains("a job has no TLS"), "{wrong}");
    assert!(said(&tidemill(&["savepoint", "take"]), 2).contains("--store <DIR>"));
    assert!(said(&tidemill(&["savepoint", "take", "--job", "a:1", "--store", "x"]), 2).contains("cannot be used with"));
}
