//! The job that the page shows: the example `fraud_velocity`, as a process of its own.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use testkit::{example, free_address};

use crate::browser::{Browser, wait_for};

/// A running job. It is killed when this is dropped.
pub struct Job(Child);

impl Drop for Job {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Job {
    /// Starts the job over the checkpoints in `folder`, and waits until it listens. Its transactions do not end while a test runs.
    pub fn start(address: SocketAddr, folder: &Path) -> Self {
        let mut command = example("fraud_velocity");
        command.args(["--rate", "2000", "--count", "100000000", "--workers", "2"]);
        command.args(["--checkpoint-interval", "200ms", "--http", &address.to_string()]);
        command.arg("--checkpoint-dir").arg(folder.join("checkpoints"));
        Self::begin(command, address, folder)
    }

    /// Starts a process of a job of two.
    pub fn start_one_of_two(process: usize, hosts: &str, address: SocketAddr, folder: &Path) -> Self {
        let mut command = example("fraud_velocity");
        command.args(["--rate", "2000", "--count", "100000000", "--workers", "2", "--hosts", hosts]);
        command.args(["--process", &process.to_string(), "--checkpoint-interval", "200ms"]);
        command.args(["--http", &address.to_string()]).arg("--checkpoint-dir").arg(folder.join("checkpoints"));
        Self::begin(command, address, folder)
    }

    fn begin(mut command: Command, address: SocketAddr, folder: &Path) -> Self {
        command.arg("--predictions").arg(folder.join("predictions")).arg("--alerts").arg(folder.join("alerts"));
        let mut job = Self(command.stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().unwrap());
        let answers = wait_for(|| {
            assert_eq!(job.0.try_wait().unwrap(), None, "the job has ended");
            TcpStream::connect(address).ok()
        });
        assert!(answers.is_some(), "the job does not listen");
        job
    }

    /// Has the process stand still, or go on.
    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.0.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Kills the job as an operating system does that is out of memory.
    pub fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Asks the job to end, and waits for its end.
    pub fn stop(mut self) {
        let asked = Command::new("kill").arg(self.0.id().to_string()).status().unwrap();
        assert!(asked.success());
        self.0.wait().unwrap();
    }
}

/// A job in a folder of its own, and a browser beside it.
pub struct Scene {
    pub folder: TempDir,
    pub address: SocketAddr,
    pub job: Job,
    pub browser: Browser,
}

impl Scene {
    pub fn begin() -> Self {
        let (folder, address) = (tempfile::tempdir().unwrap(), free_address());
        Self { job: Job::start(address, folder.path()), browser: Browser::start(), folder, address }
    }
}
