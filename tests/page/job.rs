//! The job that the page shows: the example `fraud_velocity`, as a process of its own.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;
use testkit::{Killed, example, free_address};
use tests::control::three_versions;

use crate::browser::{Browser, wait_for};

/// A running job. It is killed when this is dropped.
pub struct Job(Killed);

impl Job {
    /// Starts the job over the checkpoints in `folder`, and waits until it listens. Its transactions do not end while a test runs.
    pub fn start(address: SocketAddr, folder: &Path) -> Self {
        Self::begin(&[], address, folder)
    }

    /// Starts a process of a job of two.
    pub fn start_one_of_two(process: usize, hosts: &str, address: SocketAddr, folder: &Path) -> Self {
        Self::begin(&["--hosts", hosts, "--process", &process.to_string()], address, folder)
    }

    fn begin(more: &[&str], address: SocketAddr, folder: &Path) -> Self {
        let models = folder.join("models");
        // The processes of a job share the folder.
        if !models.exists() {
            three_versions(&models);
        }
        let mut command = example("fraud_velocity");
        command.args(["--use-model", "fraud_velocity/1", "--models"]).arg(models);
        command.args(["--rate", "2000", "--count", "100000000", "--workers", "2"]);
        command.args(["--checkpoint-interval", "200ms", "--http", &address.to_string()]).args(more);
        command.arg("--checkpoint-dir").arg(folder.join("checkpoints"));
        command.arg("--predictions").arg(folder.join("predictions")).arg("--alerts").arg(folder.join("alerts"));
        let process = command.stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().unwrap();
        let mut job = Self(Killed(process));
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
