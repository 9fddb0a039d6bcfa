//! The job that reads streams, what is added to them, and the check of its output.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use redis::Connection;
use testkit::redis::Redis;
use testkit::{Killed, objects, small_example};
use tests::until;

use crate::server::{Running, connection, server};

/// The streams, to which entries are added in turn.
const STREAMS: [&str; 3] = ["s:0", "s:1", "s:2"];

/// A server and the folder of a job that reads from it.
pub struct World {
    pub running: Running,
    /// More options of the URL, each with its `&`.
    pub options: String,
}

impl World {
    pub fn new() -> Option<Self> {
        Self::at(server())
    }

    pub fn at(running: Option<Running>) -> Option<Self> {
        running.map(|running| Self { running, options: String::new() })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.running.scratch.path().join(name)
    }

    pub fn url(&self) -> String {
        let streams: Vec<String> = STREAMS.iter().map(|stream| format!("stream={stream}")).collect();
        format!("{}?{}{}", self.running.server.url(), streams.join("&"), self.options)
    }

    /// Returns the command of the job, with short epochs.
    pub fn job(&self, workers: usize) -> Command {
        let mut command = small_example("redis_stream");
        command.arg(self.url()).arg(self.path("readings")).args([
            "--checkpoint-interval",
            "50ms",
            "--log-level",
            "warn",
        ]);
        command.args(["--workers", &workers.to_string()]);
        command
    }

    /// Starts the job. It is killed when the result is dropped.
    pub fn start(&self, workers: usize) -> Killed {
        Killed(self.job(workers).spawn().unwrap())
    }

    /// Runs the job to the end that the streams have now.
    pub fn read_all(&mut self, workers: usize) -> Output {
        let before = self.options.len();
        self.options.push_str("&until-end=true");
        let output = self.job(workers).output().unwrap();
        self.options.truncate(before);
        output
    }

    /// Adds readings, a hundred at a time.
    pub fn add(&self, numbers: Range<u64>) {
        add(&mut self.running.connection(), numbers);
    }

    /// Adds readings from another thread.
    pub fn adding(&self, numbers: Range<u64>) -> std::thread::JoinHandle<()> {
        let mut connection = self.running.connection();
        std::thread::spawn(move || add(&mut connection, numbers))
    }

    /// Waits until the job has written this many readings.
    pub fn until_written(&self, count: usize) {
        until(&format!("{count} readings are written"), || numbers(&self.path("readings")).len() >= count);
    }

    /// Checks that each of these readings was written once, and those of a stream in their order.
    pub fn has_each_once(&self, wanted: impl IntoIterator<Item = u64>, when: &str) {
        let mut times: BTreeMap<u64, usize> = wanted.into_iter().map(|number| (number, 0)).collect();
        for number in numbers(&self.path("readings")) {
            *times.entry(number).or_default() += 1;
        }
        let wrong: Vec<_> = times.iter().filter(|(_, times)| **times != 1).take(8).collect();
        assert!(wrong.is_empty(), "{when}: of {} readings, these were written other than once: {wrong:?}", times.len());
    }
}

/// Returns the stream of a reading.
pub fn stream_of(number: u64) -> &'static str {
    STREAMS[number as usize % STREAMS.len()]
}

fn add(connection: &mut Connection, numbers: Range<u64>) {
    let all: Vec<u64> = numbers.collect();
    for some in all.chunks(100) {
        let mut pipeline = redis::pipe();
        for number in some {
            let celsius = (80 + number % 20).to_string();
            let mut add = redis::cmd("XADD");
            add.arg(stream_of(*number)).arg("*").arg("n").arg(*number).arg("celsius").arg(celsius);
            pipeline.add_command(add);
        }
        pipeline.query::<Vec<String>>(connection).unwrap();
    }
}

fn numbers(folder: &Path) -> Vec<u64> {
    objects(folder).iter().map(|row| row["n"].as_u64().unwrap()).collect()
}

/// Sends a command, whose parts are separated by spaces, and forgets its answer.
pub fn tell(server: &Redis, command: &str) {
    let mut parts = command.split(' ');
    let mut sent = redis::cmd(parts.next().unwrap());
    sent.arg(parts.collect::<Vec<_>>());
    sent.exec(&mut connection(server)).unwrap();
}
