//! The job, its input, and the check of its output.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use testkit::kinesalite::Kinesalite;
use testkit::{Killed, objects, small_example};

use crate::stream::{Stream, emulator};

/// An emulator with a stream, and the folder of a job that reads it.
pub struct World {
    pub folder: TempDir,
    pub emulator: Kinesalite,
    pub stream: Stream,
    pub options: String,
}

impl World {
    /// Starts an emulator with a stream of this number of shards.
    pub fn new(shards: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let emulator = emulator(&folder.path().join("kinesalite"));
        let stream = Stream::create(emulator.endpoint(), "readings", shards);
        Self { folder, emulator, stream, options: "discovery-interval=1s".to_owned() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn url(&self) -> String {
        format!("kinesis://us-east-1/{}?endpoint={}&{}", self.stream.name, self.stream.endpoint, self.options)
    }

    /// Returns the command of the job, with short epochs.
    pub fn job(&self, workers: usize) -> Command {
        job(&self.url(), &self.path("readings"), workers)
    }

    /// Starts the job. It is killed when the result is dropped.
    pub fn start(&self, workers: usize) -> Killed {
        Killed(self.job(workers).spawn().unwrap())
    }

    /// Waits until the job has written this many readings.
    pub fn until_written(&self, count: u64) {
        until_written(&self.path("readings"), count);
    }

    /// Checks that each reading below `end` was written once, and those of each key in their order.
    pub fn has_each_once(&self, end: u64, when: &str) {
        has_each_once(&self.path("readings"), end, when);
    }
}

/// Returns the command of the job that reads a URL.
pub fn job(url: &str, readings: &Path, workers: usize) -> Command {
    let mut command = small_example("kinesis");
    command.arg(url).arg(readings).args(["--checkpoint-interval", "50ms", "--log-level", "warn"]);
    command.args(["--workers", &workers.to_string()]);
    command.env("AWS_ACCESS_KEY_ID", "AKIDTEST").env("AWS_SECRET_ACCESS_KEY", "hunter2");
    command
}

/// Starts such a job. It is killed when the result is dropped.
pub fn start(url: &str, readings: &Path, workers: usize) -> Killed {
    Killed(job(url, readings, workers).spawn().unwrap())
}

pub fn until_written(readings: &Path, count: u64) {
    until_or(
        &format!("{count} readings are written"),
        || objects(readings).len() as u64 >= count,
        || format!("{} are", objects(readings).len()),
    );
}

pub fn has_each_once(readings: &Path, end: u64, when: &str) {
    let mut times: BTreeMap<u64, usize> = (0..end).map(|number| (number, 0)).collect();
    let mut last: BTreeMap<String, u64> = BTreeMap::new();
    for row in objects(readings) {
        let (number, key) = (row["n"].as_u64().unwrap(), row["machine"].as_str().unwrap().to_owned());
        *times.entry(number).or_default() += 1;
        let before = last.insert(key.clone(), number);
        assert!(before.is_none_or(|before| before < number), "{when}: of {key}, {number} came after {before:?}");
    }
    let wrong: Vec<_> = times.iter().filter(|(_, times)| **times != 1).take(8).collect();
    assert!(wrong.is_empty(), "{when}: of {} readings, these were written other than once: {wrong:?}", times.len());
}

/// Waits until the condition is true; `else_what` says how it is when it does not come true.
fn until_or(what: &str, mut is: impl FnMut() -> bool, else_what: impl Fn() -> String) {
    for _ in 0..1800 {
        if is() {
            return;
        }
        tests::crashes::wait(Duration::from_millis(50));
    }
    panic!("in 90 s it did not come true that {what}; {}", else_what());
}
