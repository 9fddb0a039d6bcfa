//! Each error that stops a job says what the user should do about it, whichever way it stopped the job.

use tidemill::error::{ConnectorError, ErrorKind};
use tidemill::infer::ModelError;
use tidemill::prelude::*;

/// Returns the error with which a job over three numbers ends that is built by `build`.
fn ends<F>(build: F) -> JobError
where
    F: for<'s> Fn(Stream<'s, u64>) -> Result<Stream<'s, u64>, JobError> + Send + Sync + 'static,
{
    let source = vec_source(vec![(EventTime(1), 1), (EventTime(2), 2), (EventTime(3), 3)]);
    let job = Job::new("kinds", JobSettings::default());
    let result = job.run(move |flow| build(flow.source("numbers", &source)?)?.sink("out", &NullSink::default()));
    result.map(|report| report.state).expect_err("it does not run")
}

#[test]
fn what_stops_the_setup_is_of_its_own_kind() {
    for kind in [ErrorKind::Invalid, ErrorKind::Unavailable, ErrorKind::Data, ErrorKind::Fenced, ErrorKind::Internal] {
        let error = ends(move |_| Err(JobError::setup(ConnectorError::new(kind, "it is so"))));
        assert_eq!(error.kind(), kind, "{}", error.report());
        assert!(error.report().ends_with("because: it is so"), "{}", error.report());
    }
    assert_eq!(ends(|_| Err(JobError::setup("a table without rows"))).kind(), ErrorKind::Invalid);
}

#[test]
fn a_model_that_cannot_be_used_is_of_the_kind_of_its_error() {
    let read = |kind: std::io::ErrorKind| ModelError::Read { path: "m.onnx".into(), source: kind.into() };
    let missing = ends(move |_| Err(read(std::io::ErrorKind::NotFound).into()));
    assert_eq!(missing.kind(), ErrorKind::Invalid, "{}", missing.report());
    let slow = ends(move |_| Err(read(std::io::ErrorKind::TimedOut).into()));
    assert_eq!(slow.kind(), ErrorKind::Unavailable, "{}", slow.report());
}

#[test]
fn an_operator_says_what_it_asks_for() {
    let load = || Err::<Vec<(u64, Option<u64>)>, _>(std::io::Error::from(std::io::ErrorKind::ConnectionRefused));
    let error = ends(move |numbers| {
        let cache = LookupSettings::default().preloaded(load);
        let found = numbers.lookup_join(
            "rows",
            cache,
            |n| *n,
            |keys: &[u64]| Ok::<_, std::io::Error>(keys.iter().map(|n| Some(*n)).collect::<Vec<_>>()),
        )?;
        Ok(found.map(|(n, _)| n))
    });
    assert!(matches!(&error, JobError::Operator { operator, .. } if operator == "rows"), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.report());
}

#[test]
fn a_panic_of_the_programs_own_is_a_bug() {
    let error = ends(|numbers| Ok(numbers.map(|n| if n == 2 { std::panic::panic_any("two") } else { n })));
    assert_eq!(error.kind(), ErrorKind::Internal, "{}", error.report());
}
