//! The job, and what it has written.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::path::PathBuf;
use std::process::Command;

use serde_json::json;
use tempfile::TempDir;
use testkit::{Killed, free_address, objects, small_example};
use tests::until;

use crate::client::Post;

/// The folder of a job, and where it listens.
pub struct World {
    pub folder: TempDir,
    pub address: SocketAddr,
    /// Options of the URL.
    pub options: String,
    pub interval: &'static str,
}

impl World {
    pub fn new() -> Self {
        Self::with("")
    }

    pub fn with(options: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder, address: free_address(), options: options.to_owned(), interval: "50ms" }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn url(&self) -> String {
        format!("http+ingest://{}/readings?{}", self.address, self.options)
    }

    /// Returns the command of the job, with short epochs.
    pub fn job(&self, workers: usize) -> Command {
        self.job_at("warn", workers)
    }

    /// Returns the command of the job with a log of this level.
    pub fn job_at(&self, level: &str, workers: usize) -> Command {
        let mut command = small_example("ingest");
        command.arg(self.url()).arg(self.path("readings")).args(["--log-level", level]);
        command.args(["--checkpoint-interval", self.interval, "--workers", &workers.to_string()]);
        command
    }

    /// Starts the job, which is killed when the result is dropped, and waits until it listens.
    pub fn start(&self, workers: usize) -> Killed {
        self.started(&mut self.job(workers))
    }

    pub fn started(&self, job: &mut Command) -> Killed {
        let mut job = Killed(job.spawn().unwrap());
        until("the job listens", || {
            assert!(job.try_wait().unwrap().is_none(), "it has ended: {}", errors(&mut job));
            TcpStream::connect(self.address).is_ok()
        });
        job
    }

    /// Returns how often each number was written.
    pub fn written(&self) -> BTreeMap<u64, usize> {
        let mut times = BTreeMap::new();
        for row in objects(&self.path("readings")) {
            *times.entry(row["n"].as_u64().unwrap()).or_default() += 1;
        }
        times
    }

    pub fn until_written(&self, count: usize) {
        until(&format!("{count} readings are written"), || self.written().values().sum::<usize>() >= count);
    }

    /// Checks that each of these readings was written once, and nothing else.
    pub fn has_each_once(&self, wanted: Range<u64>, when: &str) {
        let mut times: BTreeMap<u64, usize> = wanted.map(|number| (number, 0)).collect();
        self.written().into_iter().for_each(|(number, found)| *times.entry(number).or_default() += found);
        let wrong: Vec<_> = times.iter().filter(|(_, times)| **times != 1).take(8).collect();
        assert!(wrong.is_empty(), "{when}: of {} readings, these were written other than once: {wrong:?}", times.len());
    }
}

/// Returns lines for the example.
pub fn readings(numbers: Range<u64>) -> String {
    numbers.map(|n| json!({ "n": n, "celsius": 80 + n % 20 }).to_string() + "\n").collect()
}

/// Returns a request with these readings.
pub fn post(numbers: Range<u64>) -> Post {
    Post::lines(readings(numbers))
}

/// Returns what a job that has ended has said.
pub fn errors(job: &mut Killed) -> String {
    let mut text = String::new();
    job.stderr.take().into_iter().for_each(|mut stderr| drop(stderr.read_to_string(&mut text)));
    text
}
