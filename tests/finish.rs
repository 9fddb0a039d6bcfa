//! A job that fails after its last commit, before the output of that commit is published: the output is recovered
//! when the job runs again.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{Arc, Mutex};

use tidemill::prelude::*;
use tidemill::sink::{Sink, SinkContext, SinkWriter, Staged, StagedToken};
use tidemill::{
    error::{ConnectorError, ErrorKind},
    time::Epoch,
};

/// A sink that stages the number of records, cannot publish, and records what it is asked to recover.
#[derive(Clone, Default)]
struct Unpublished {
    recovered: Arc<Mutex<Vec<u8>>>,
}

struct Writer(u8);

impl Sink for Unpublished {
    type Item = u64;
    type Writer = Writer;

    fn open(&self, _: SinkContext) -> Result<Writer, ConnectorError> {
        Ok(Writer(0))
    }

    fn recover(&self, _: &SinkContext, tokens: Vec<StagedToken>) -> Result<(), ConnectorError> {
        self.recovered.lock().unwrap().extend(tokens.into_iter().flat_map(|token| token.token));
        Ok(())
    }
}

impl SinkWriter for Writer {
    type Item = u64;

    fn write(&mut self, _: &Record<u64>) -> Result<(), ConnectorError> {
        self.0 += 1;
        Ok(())
    }

    fn stage(&mut self, _: Epoch) -> Result<Option<Staged>, ConnectorError> {
        let publish = || Err(ConnectorError::new(ErrorKind::Unavailable, "the power is out"));
        Ok(Some(Staged { token: vec![self.0], flush: Box::new(|| Ok(())), publish: Box::new(publish) }))
    }
}

#[test]
fn a_finished_job_that_had_not_published_does_so_when_it_is_run_again() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Unpublished::default();
    let run = |sink: Unpublished| {
        let args = JobArgs {
            settings: JobSettings { checkpoint_dir: Some(folder.path().to_owned()), ..JobSettings::default() },
            log_level: "error".to_owned(),
            ..JobArgs::default()
        };
        let source = Generator::new(7, |n| (EventTime(n as i64), n));
        Job::new("finish", args).run(move |flow| flow.source("numbers", &source)?.sink("out", &sink))
    };
    let error = run(sink.clone()).unwrap_err().report();
    assert!(error.contains("the power is out"), "{error}");
    assert!(sink.recovered.lock().unwrap().is_empty());
    run(sink.clone()).unwrap();
    assert_eq!(*sink.recovered.lock().unwrap(), [7], "what was staged was not given to be published");
}
