//! A sink whose server hangs, and files beside it, to which the same records go.

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use tidemill::job::JobSettings;
use tidemill::prelude::*;
use tidemill::sink::Sink;

use crate::until;

pub struct Beside {
    folder: PathBuf,
    job: JoinHandle<Result<(), JobError>>,
}

impl Beside {
    /// Starts a job whose records go to a sink, and to files in a folder.
    pub fn start<T: Data>(
        settings: JobSettings,
        source: Generator<T>,
        sink: impl Sink<Item = T> + 'static,
        folder: &Path,
    ) -> Self {
        let (job, files) = (Job::new("hangs", settings), FileSink::json_lines(folder));
        let job = std::thread::spawn(move || {
            job.run(move |flow| {
                let records = flow.source("records", &source)?;
                records.clone().sink("out", &sink)?;
                records.sink("files", &files)
            })
            .map(drop)
        });
        Self { folder: folder.to_owned(), job }
    }

    /// Returns how many records the files have.
    pub fn lines(&self) -> usize {
        lines(&self.folder)
    }

    /// Waits until the files have so many records more, of many epochs.
    pub fn goes_on(&self, more: usize) {
        let before = self.lines();
        until("the files go on", || self.lines() > before + more);
    }

    /// Waits for the end of the job, and returns how many records the files have.
    pub fn ended(self) -> usize {
        self.job.join().unwrap().unwrap();
        lines(&self.folder)
    }
}

fn lines(folder: &Path) -> usize {
    let parts = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|part| part.path());
    let parts = parts.filter(|part| part.extension().is_some_and(|end| end == "jsonl"));
    parts.map(|part| std::fs::read_to_string(part).unwrap().lines().count()).sum()
}
