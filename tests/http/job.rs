//! The job that is looked at: numbers from a file that grows, counted in windows, with letters among the numbers.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value as Json;
use tempfile::TempDir;
use testkit::free_address;
use tidemill::job::JobSetup;
use tidemill::prelude::*;

use super::client::ask;

/// A running job, which ends with this value.
pub struct Served {
    pub address: SocketAddr,
    pub scratch: TempDir,
    pub input: PathBuf,
    stop: Arc<AtomicBool>,
    job: Option<JoinHandle<Result<Snapshot, JobError>>>,
}

/// The settings of the job, at an address that was free a moment ago.
pub fn settings(scratch: &TempDir) -> JobSettings {
    let address = free_address();
    JobSettings {
        http: Some(address),
        workers: 2,
        checkpoint_dir: Some(scratch.path().join("checkpoints")),
        checkpoint_interval: millis(50),
        ..JobSettings::default()
    }
}

pub fn start() -> Served {
    let scratch = tempfile::tempdir().unwrap();
    let settings = settings(&scratch);
    start_with(scratch, settings)
}

/// Starts the job, and waits until it has committed an epoch.
pub fn start_with(scratch: TempDir, settings: JobSettings) -> Served {
    start_as(scratch, settings, &[])
}

/// Starts the job, which may be asked with these headers only.
pub fn start_as(scratch: TempDir, settings: JobSettings, headers: &[&str]) -> Served {
    let served = begin(scratch, settings);
    served.wait_as("/status", headers, |status| status["committed_epoch"].as_u64() > Some(0));
    served
}

/// Starts the job, and waits until it has read everything; nothing is committed before somebody asks for it.
pub fn start_with_no_commit(scratch: TempDir, settings: JobSettings) -> Served {
    let served = begin(scratch, settings);
    let read = |operators: &Json| operators["operators"][0]["records_in"].as_u64() >= Some(2000);
    served.wait_until("/api/v1/operators", read);
    served
}

/// Starts the job in a folder where it ran before, and asks it to stop as soon as it runs.
pub fn start_again(scratch: TempDir, settings: JobSettings) -> Snapshot {
    let served = begin(scratch, settings);
    served.wait_until("/api/v1/job", |job| job["state"] == "running");
    served.stop().1
}

fn begin(scratch: TempDir, settings: JobSettings) -> Served {
    let (input, output, refused) =
        (scratch.path().join("numbers.jsonl"), scratch.path().join("out"), scratch.path().join("refused"));
    if !input.exists() {
        let mut file = File::create(&input).unwrap();
        (0..2000).for_each(|n| writeln!(file, "{n}").unwrap());
        writeln!(file, "\"a letter\"").unwrap();
    }
    let mut address = settings.http.unwrap();
    address.set_ip([127, 0, 0, 1].into());
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&stop);
    let setup = JobSetup::from(settings).prepared_by(move || Ok(Arc::clone(&asked)));
    let numbers = FileSource::new([input.clone()], |n: &i64| EventTime(*n)).follow();
    let job = std::thread::spawn(move || {
        Job::new("numbers", setup).run(move |flow| {
            let read = flow.source("numbers", &numbers)?;
            let even = read.clone().filter(|n| n % 2 == 0);
            read.union(even)
                .key_by(|n| n % 7)
                .window("tens", Assigner::tumbling(millis(10)))
                .aggregate(counting())?
                .results
                .map(|window| window.value)
                .sink("counts", &FileSink::json_lines(output.clone()))?;
            flow.dead_letters().sink("refused", &FileSink::json_lines(refused.clone()))
        })
    });
    Served { address, scratch, input, stop, job: Some(job) }
}

impl Served {
    /// Asks for `path` until its answer is as wanted.
    pub fn wait_until(&self, path: &str, wanted: impl Fn(&Json) -> bool) -> Json {
        self.wait_as(path, &[], wanted)
    }

    #[expect(clippy::disallowed_methods, reason = "the test looks at a running job from outside")]
    fn wait_as(&self, path: &str, headers: &[&str], wanted: impl Fn(&Json) -> bool) -> Json {
        loop {
            let is_served = std::net::TcpStream::connect(self.address).is_ok();
            if let Some(answer) = is_served.then(|| ask(self.address, "GET", path, headers, "").json()).filter(&wanted)
            {
                return answer;
            }
            assert!(self.job.as_ref().is_some_and(|job| !job.is_finished()), "the job has ended");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The header with the token that the job has written beside its checkpoints.
    pub fn token(&self) -> String {
        let token = std::fs::read_to_string(self.scratch.path().join("checkpoints/http-token")).unwrap();
        format!("Authorization: Bearer {}", token.trim())
    }

    pub fn write(&self, lines: &str) {
        OpenOptions::new().append(true).open(&self.input).unwrap().write_all(lines.as_bytes()).unwrap();
    }

    /// Asks the job to stop. Returns its folder, and how it has ended.
    pub fn stop(mut self) -> (TempDir, Snapshot) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.job.take().unwrap().join().unwrap().unwrap();
        let nowhere = tempfile::tempdir().unwrap();
        (std::mem::replace(&mut self.scratch, nowhere), ended)
    }

    /// Waits until the job has ended by itself.
    pub fn ended(mut self) -> Result<Snapshot, JobError> {
        self.job.take().unwrap().join().unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(job) = self.job.take() {
            let result = job.join();
            if !std::thread::panicking() {
                result.unwrap().unwrap();
            }
        }
    }
}
