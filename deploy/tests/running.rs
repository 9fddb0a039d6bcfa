//! Jobs that run beside a test.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use testkit::free_address;
use tests::pause;
use tidemill::job::JobSetup;
use tidemill::prelude::*;

/// The file of lines that a job may read. It is empty at first.
pub const INPUT: &str = "input.jsonl";

/// A job that serves its metrics until it is ended.
pub struct Running {
    pub name: &'static str,
    pub address: SocketAddr,
    pub scratch: tempfile::TempDir,
    stop: Arc<AtomicBool>,
    job: JoinHandle<Result<Snapshot, JobError>>,
}

impl Running {
    /// Starts a job; `build` gets the folder of its files.
    pub fn start(
        name: &'static str,
        settings: JobSettings,
        build: impl Fn(&Flow<'_>, &PathBuf) -> Result<(), JobError> + Clone + Send + Sync + 'static,
    ) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let (folder, address) = (scratch.path().to_owned(), free_address());
        std::fs::write(folder.join(INPUT), "").unwrap();
        let settings = JobSettings {
            http: Some(address),
            checkpoint_dir: Some(folder.join("checkpoints")),
            checkpoint_interval: millis(100),
            ..settings
        };
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        let setup = JobSetup::from(settings).prepared_by(move || Ok(Arc::clone(&asked)));
        let job = std::thread::spawn(move || Job::new(name, setup).run(move |flow| build(flow, &folder)));
        Self { name, address, scratch, stop, job }
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Returns `/metrics`; `None` while nothing is served.
    pub fn metrics(&self) -> Option<String> {
        let mut answer = ureq::get(format!("http://{}/metrics", self.address)).call().ok()?;
        answer.body_mut().read_to_string().ok()
    }

    /// Returns `/metrics` when it is so.
    pub fn until(&self, is: impl Fn(&str) -> bool) -> String {
        loop {
            assert!(!self.job.is_finished(), "{} has ended", self.name);
            if let Some(text) = self.metrics().filter(|text| is(text)) {
                return text;
            }
            pause();
        }
    }

    /// Asks the job to stop, and returns how it ended.
    pub fn end(self) -> Result<Snapshot, JobError> {
        self.stop.store(true, Ordering::Relaxed);
        self.job.join().unwrap()
    }

    /// Returns how the job ended by itself.
    pub fn ended(self) -> Result<Snapshot, JobError> {
        self.job.join().unwrap()
    }
}
