//! The job, its input, and the check of its output.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use testkit::mosquitto::Mosquitto;
use testkit::{Killed, objects, small_example};

/// Readings that are published until a session has subscribed: they do not count.
pub const WARM: Range<u64> = 1_000_000..1_000_004;
/// Maximum time for anything to come true.
const LIMIT: Duration = Duration::from_secs(90);

/// A broker and the folder of a job that reads from it.
pub struct World {
    pub folder: TempDir,
    pub broker: Mosquitto,
    /// `mqtt`, or `mqtts` for TLS.
    pub scheme: &'static str,
    /// Options of the URL.
    pub options: String,
    pub topic: &'static str,
}

impl World {
    /// Starts a broker that knows nothing any more when it was killed.
    pub fn new() -> Self {
        Self::with(Mosquitto::start)
    }

    pub fn with(start: impl FnOnce(&Path) -> std::io::Result<Mosquitto>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let broker = start(&folder.path().join("broker")).unwrap();
        Self { folder, broker, scheme: "mqtt", options: "qos=1&session=readings".to_owned(), topic: "sensors/#" }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn url(&self) -> String {
        format!("{}://{}/{}?{}", self.scheme, self.broker.address(), self.topic, self.options)
    }

    /// Returns the command of the job, with short epochs.
    pub fn job(&self, workers: usize) -> Command {
        self.job_to("readings", workers)
    }

    /// Returns the command of a job that has output and checkpoints of this name.
    pub fn job_to(&self, name: &str, workers: usize) -> Command {
        let mut command = small_example("mqtt");
        command.arg(self.url()).arg(self.path(name)).args(["--checkpoint-interval", "50ms", "--log-level", "warn"]);
        command.args(["--workers", &workers.to_string()]);
        command
    }

    /// Starts the job. It is killed when the result is dropped.
    pub fn start(&self, workers: usize) -> Killed {
        Killed(self.job(workers).spawn().unwrap())
    }

    pub fn publish(&self, numbers: Range<u64>) {
        self.broker.publish("sensors/m", &readings(numbers)).unwrap();
    }

    /// Waits until the job has written this many readings.
    pub fn until_written(&self, count: usize) {
        let is_wanted = |number: &u64| *number < WARM.start;
        let written = || numbers(&self.path("readings")).into_iter().filter(is_wanted).count();
        until(&format!("{count} readings are written"), || written() >= count);
    }

    /// Checks that each of these readings was written once.
    pub fn has_each_once(&self, wanted: Range<u64>, when: &str) {
        let mut times: BTreeMap<u64, usize> = wanted.map(|number| (number, 0)).collect();
        for number in numbers(&self.path("readings")).into_iter().filter(|number| *number < WARM.start) {
            *times.entry(number).or_default() += 1;
        }
        let wrong: Vec<_> = times.iter().filter(|(_, times)| **times != 1).take(8).collect();
        assert!(wrong.is_empty(), "{when}: of {} readings, these were written other than once: {wrong:?}", times.len());
    }
}

/// Returns messages for the example.
pub fn readings(numbers: Range<u64>) -> Vec<String> {
    numbers.map(|n| format!("{{\"n\": {n}, \"celsius\": {}}}", 80 + n % 20)).collect()
}

fn numbers(folder: &Path) -> Vec<u64> {
    objects(folder).iter().map(|row| row["n"].as_u64().unwrap()).collect()
}

/// Waits until the condition is true.
pub fn until(what: &str, mut is: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is() {
        assert!(begun.elapsed() < LIMIT, "in {LIMIT:?} it did not come true that {what}");
        tests::crashes::wait(Duration::from_millis(50));
    }
}
