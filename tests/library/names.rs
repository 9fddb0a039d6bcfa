//! Programs in which operators, sources, sinks and states were renamed or removed since the checkpoint: `--renamed`
//! and `--drop-state`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tidemill::prelude::*;
use tidemill::sink::{Sink, SinkContext, SinkWriter, Staged, StagedToken};
use tidemill::testing::{ProgramTest, TestSink, TestSource};
use tidemill::{
    error::{ConnectorError, ErrorKind, Remedy},
    time::Epoch,
};

use crate::changes::{Input, Kept, New, Old, Open, Output, Tally, args, plain, says, with_best};
use testkit::script::sorted;

/// The input and the output of the programs in these tests.
#[derive(Clone)]
pub struct Ends {
    pub source: TestSource<Input>,
    pub sink: TestSink<Output>,
}

pub fn ends(test: &ProgramTest) -> Ends {
    Ends { source: test.source(), sink: test.sink() }
}

/// Returns a program with these names of its source, operator and sink.
fn tally<V: Kept + Default>(
    ends: &Ends,
    [from, name, to]: [&'static str; 3],
    open: Open<V>,
) -> impl for<'s> Fn(&Flow<'s>) -> Result<(), JobError> + Send + Sync + 'static {
    let Ends { source, sink } = ends.clone();
    move |flow| {
        let inputs = flow.source(from, &source)?.key_by(|input| input.0);
        inputs.process(name, Order::EventTime, open)?.results.sink(to, &sink)
    }
}

const NAMES: [&str; 3] = ["in", "tally", "out"];

/// Runs the first program until there are a base, deltas after it, timers, and pending records.
pub fn first_run(test: &mut ProgramTest, ends: &Ends, workers: usize) {
    test.start(workers, tally(ends, NAMES, plain::<Old>));
    (0..40).for_each(|key| ends.source.push(0, (key, 10)));
    ends.source.watermark(50);
    test.settle();
    test.crash(workers);
    test.settle(); // the first checkpoint after a restore is a base, the next ones are deltas
    ends.source.push(60, (1, 1));
    ends.source.push(200, (2, 2));
    ends.source.watermark(61);
    let emitted = sorted(ends.sink.output());
    let expected = (0..40).map(|key| (key, 10, 0)).chain([(1, 11, 0)]).collect();
    assert_eq!(emitted, sorted(expected));
}

/// Checks the remaining output of any program that has all state of the first one: timers at 100 and 160, and the
/// pending record.
fn rest_of(test: &mut ProgramTest, ends: &Ends) {
    ends.source.push(300, (3, 3));
    test.finish();
    let at_100 = (0..40).map(|key| (key, if key == 1 { 11 } else { 10 }, 0));
    let expected = at_100.chain([(1, 11, 0), (2, 12, 0), (2, 12, 0), (3, 13, 0), (3, 13, 0)]).collect();
    assert_eq!(sorted(ends.sink.output()), sorted(expected));
}

#[test]
fn an_operator_a_source_and_a_sink_get_other_names() {
    for workers in [2, 3] {
        let mut test = ProgramTest::new();
        let ends = ends(&test);
        first_run(&mut test, &ends, 2);
        let named = || tally(&ends, ["input", "sums", "output"], plain::<Old>);
        let refused = test.refused(workers, named());
        let error = refused.report();
        says(
            &error,
            &["state \"tally/kept\", state \"tally/pending\"", "state \"tally/timers\", the position of source \"in\""],
        );
        let remedies = refused.remedies();
        assert!(remedies.starts_with(&[Remedy::Rename, Remedy::DropState("tally/kept".to_owned())]), "{remedies:?}");
        assert!(remedies.contains(&Remedy::DropState("in".to_owned())), "{remedies:?}");

        test.changes(&[("in", "input"), ("tally", "sums"), ("out", "output")], &[]);
        test.upgrade(workers, named());
        if workers == 3 {
            // A restart with the same flags, after the change has been made.
            test.settle();
            test.crash(2);
        }
        rest_of(&mut test, &ends);
    }
}

#[test]
fn a_state_gets_another_name_and_another_version_at_once() {
    let mut test = ProgramTest::new();
    let ends = ends(&test);
    first_run(&mut test, &ends, 2);
    test.changes(&[("tally/kept", "tally/sums")], &[]);
    let open: Open<New> = |states| Ok(Tally(states.evolving("sums", &Versions::first().then(with_best))?));
    test.upgrade(1, tally(&ends, NAMES, open));
    ends.source.push(300, (3, 3));
    test.crash(4);
    test.finish();
    let at_100 = (0..40).map(|key| (key, if key == 1 { 11 } else { 10 }, -1));
    let expected = at_100.chain([(1, 11, -1), (2, 12, 2), (2, 12, 2), (3, 13, 3), (3, 13, 3)]).collect();
    assert_eq!(sorted(ends.sink.output()), sorted(expected));
}

#[test]
fn a_name_that_would_mean_two_things_is_refused() {
    let mut test = ProgramTest::new();
    let ends = ends(&test);
    first_run(&mut test, &ends, 1);
    let mut refused = |renamed: &[(&str, &str)], dropped: &[&str], parts: &[&str]| {
        test.changes(renamed, dropped);
        says(&test.refused(1, tally(&ends, NAMES, plain::<Old>)).report(), parts);
    };
    refused(&[("tally", "in")], &[], &["has both \"tally\" and \"in\""]);
    refused(&[("tally", "a/b")], &[], &["an operator's name on one side"]);
    refused(&[("tally", "sums")], &[], &["state \"sums/kept\""]);
    refused(
        &[],
        &["sums"],
        &["drop_state sums", "nothing of that name", "there are: in, ", "tally, tally/kept, tally/pending"],
    );
    refused(&[], &["tally/kept"], &["state \"tally/kept\" is in drop_state, but this program declares it"]);
    refused(&[], &["in"], &["\"in\" is in drop_state, but this program declares it"]);
    test.changes(&[], &[]);
    test.crash(1);
    rest_of(&mut test, &ends);
}

#[test]
fn what_was_removed_is_given_up_by_name_only() {
    let mut test = ProgramTest::new();
    let (kept, gone) = (ends(&test), ends(&test));
    let both = {
        let (kept, gone) =
            (tally(&kept, NAMES, plain::<Old>), tally(&gone, ["gone in", "gone", "gone out"], plain::<Old>));
        move |flow: &Flow<'_>| kept(flow).and_then(|()| gone(flow))
    };
    test.start(2, both);
    kept.source.push(0, (1, 5));
    gone.source.push(0, (1, 7));
    [&kept, &gone].iter().for_each(|ends| ends.source.watermark(10));
    assert_eq!((kept.sink.output(), gone.sink.output()), (vec![(1, 5, 0)], vec![(1, 7, 0)]));
    // Two checkpoints later all output is known to be published, so removing the sink loses nothing.
    (0..2).for_each(|_| test.settle());
    gone.source.remove();
    gone.sink.remove();
    let without = || tally(&kept, NAMES, plain::<Old>);
    let lost =
        ["state \"gone/kept\", state \"gone/pending\"", "state \"gone/timers\", the position of source \"gone in\""];
    says(&test.refused(2, without()).report(), &lost);
    test.changes(&[], &["gone"]);
    let error = test.refused(2, without()).report();
    says(&error, &["the position of source \"gone in\""]);
    assert!(!error.contains("state \"gone"), "{error}");
    test.changes(&[], &["gone/kept", "gone in"]);
    let left = [
        "no operator of this program declares: state \"gone/pending\", state \"gone/processing-timers\", state \"gone/timers\";",
    ];
    says(&test.refused(1, without()).report(), &left);
    test.changes(&[], &["gone", "gone in"]);
    test.upgrade(3, without());
    kept.source.push(20, (1, 1));
    kept.source.watermark(30);
    assert_eq!(kept.sink.output(), [(1, 6, 0)]);
    // The next checkpoints do not have it any more, so to name it again is an error.
    says(&test.refused(1, without()).report(), &["drop_state gone", "nothing of that name"]);
    test.changes(&[], &[]);
    test.upgrade(1, without());
    test.finish();
    assert_eq!(kept.sink.output(), [(1, 6, 0), (1, 6, 0)]);
}

/// A sink that can be made to fail after the commit, before its output is published.
#[derive(Clone, Default)]
struct Fragile(Arc<Mutex<Shelf>>);

#[derive(Default)]
struct Shelf {
    staged: BTreeMap<u64, Vec<i64>>,
    published: Vec<i64>,
    breaks: bool,
}

struct FragileWriter(Fragile, Vec<i64>);

impl Sink for Fragile {
    type Item = i64;
    type Writer = FragileWriter;

    fn open(&self, _: SinkContext) -> Result<FragileWriter, ConnectorError> {
        Ok(FragileWriter(self.clone(), Vec::new()))
    }

    fn recover(&self, _: &SinkContext, tokens: Vec<StagedToken>) -> Result<(), ConnectorError> {
        let mut shelf = self.0.lock().unwrap();
        for StagedToken { token, .. } in tokens {
            let output = shelf.staged.remove(&u64::from_le_bytes(token.try_into().unwrap()));
            shelf.published.extend(output.unwrap_or_default());
        }
        Ok(())
    }
}

impl SinkWriter for FragileWriter {
    type Item = i64;

    fn write(&mut self, record: &Record<i64>) -> Result<(), ConnectorError> {
        self.1.push(record.data);
        Ok(())
    }

    fn stage(&mut self, epoch: Epoch) -> Result<Option<Staged>, ConnectorError> {
        if self.1.is_empty() {
            return Ok(None);
        }
        self.0.0.lock().unwrap().staged.insert(epoch.0, std::mem::take(&mut self.1));
        let shelf = Arc::clone(&self.0.0);
        let publish = move || {
            let mut shelf = shelf.lock().unwrap();
            if shelf.breaks {
                return Err(ConnectorError::new(ErrorKind::Unavailable, "it broke"));
            }
            let output = shelf.staged.remove(&epoch.0).unwrap_or_default();
            shelf.published.extend(output);
            Ok(())
        };
        Ok(Some(Staged {
            token: epoch.0.to_le_bytes().to_vec(),
            flush: Box::new(|| Ok(())),
            publish: Box::new(publish),
        }))
    }
}

#[test]
fn output_of_a_removed_sink_is_neither_lost_unseen_nor_out_of_reach() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Fragile::default();
    let run = |name: &'static str, args: JobArgs| {
        let sink = sink.clone();
        let numbers: Vec<(EventTime, i64)> = (1..4).map(|n| (EventTime(n), n)).collect();
        Job::new("job", args).run(move |flow| flow.source("in", &vec_source(numbers.clone()))?.sink(name, &sink))
    };
    sink.0.lock().unwrap().breaks = true;
    says(&run("out", args(folder.path())).unwrap_err().report(), &["it broke"]);
    assert!(sink.0.lock().unwrap().published.is_empty());

    says(
        &run("other", args(folder.path())).unwrap_err().report(),
        &["output of sink \"out\" of epoch", "which may not have been published", "drop_state"],
    );
    let dropped = || JobArgs {
        settings: JobSettings { drop_state: vec!["out".to_owned()], ..args(folder.path()).settings },
        ..args(folder.path())
    };
    says(&run("out", dropped()).unwrap_err().report(), &["\"out\" is in drop_state, but this program declares it"]);
    run("other", dropped()).unwrap();
    assert!(sink.0.lock().unwrap().published.is_empty());
    let renamed = JobArgs {
        settings: JobSettings { renamed: vec!["out=other".parse().unwrap()], ..args(folder.path()).settings },
        ..args(folder.path())
    };
    run("other", renamed).unwrap();
    assert_eq!(sink.0.lock().unwrap().published, [1, 2, 3]);
}

#[test]
fn flags_without_a_checkpoint_are_refused_or_do_nothing() {
    let run = |args: JobArgs| {
        let numbers: Vec<(EventTime, i64)> = (1..4).map(|n| (EventTime(n), n)).collect();
        let job = Job::new("job", args).renamed("old", "in");
        job.run(move |flow| flow.source("in", &vec_source(numbers.clone()))?.sink("out", &NullSink::default()))
    };
    let folder = tempfile::tempdir().unwrap();
    let dropping = |args: JobArgs| JobArgs {
        settings: JobSettings { drop_state: vec!["gone".to_owned()], ..args.settings },
        ..args
    };
    for args in [args(folder.path()), JobArgs { log_level: "error".into(), ..JobArgs::default() }] {
        says(&run(dropping(args.clone())).unwrap_err().report(), &["drop_state gone", "there is no checkpoint"]);
        run(args).unwrap();
    }
    let bad = Job::new("job", JobArgs::default()).renamed("a", "b/c").run(|_| Ok(()));
    says(&bad.unwrap_err().report(), &["renamed", "an operator's name on one side"]);
}
