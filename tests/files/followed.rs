//! Followed files in whole programs: rotation with crashes, and files that are silent or grow in bursts.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tidemill::prelude::*;
use tidemill::testing::{ProgramTest, TestSink};

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
struct Line {
    file: String,
    ts: i64,
}

fn append(path: &Path, times: impl IntoIterator<Item = i64>) -> Vec<Line> {
    // The lines of a rotated file have the same name as those of the file before.
    let file = path.file_name().unwrap().to_string_lossy().split('.').next().unwrap().to_owned();
    let lines: Vec<Line> = times.into_iter().map(|ts| Line { file: file.clone(), ts }).collect();
    let text: String = lines.iter().map(|line| serde_json::to_string(line).unwrap() + "\n").collect();
    OpenOptions::new().create(true).append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
    lines
}

/// Waits until `count` records have been emitted, and returns them sorted.
#[track_caller]
fn come<T: Data + Ord + Sync>(sink: &TestSink<T>, count: usize) -> Vec<T> {
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut found = sink.output();
    while found.len() < count && Instant::now() < deadline {
        found.extend(sink.output());
    }
    assert_eq!(found.len(), count, "{found:?}");
    found.sort();
    found
}

#[test]
fn a_file_that_is_rotated_in_any_way_is_read_once_through_crashes_with_other_workers() {
    let folder = tempfile::tempdir().unwrap();
    let (path, rotated) = (folder.path().join("a.jsonl"), folder.path().join("a.jsonl.1"));
    let mut test = ProgramTest::new();
    let (ticks, out) = (test.source::<u8>(), test.sink());
    let (to, from) = (out.clone(), path.clone());
    let mut expected = append(&path, 0..10);
    test.start(2, move |flow| {
        let source = FileSource::new([&from], |line: &Line| EventTime(line.ts)).follow();
        flow.source("ticks", &ticks)?.sink("ticks-out", &NullSink::default())?;
        flow.source("lines", &source)?.sink("out", &to)
    });
    assert_eq!(come(&out, 10), expected);

    // The file is copied and truncated, and then grows beyond the position to which it was read.
    fs::copy(&path, &rotated).unwrap();
    fs::write(&path, "").unwrap();
    expected = append(&path, 10..15);
    assert_eq!(come(&out, 5), expected);
    test.crash(3);
    expected = append(&path, 15..40);
    assert_eq!(come(&out, 25), expected);

    // The file is renamed, gets more lines under its new name, and another file is created.
    fs::rename(&path, &rotated).unwrap();
    expected = append(&rotated, 40..42);
    expected.extend(append(&path, 42..50));
    assert_eq!(come(&out, 10), expected);
    test.crash(1);
    // The file is removed and created again.
    fs::remove_file(&rotated).unwrap();
    expected = append(&path, 50..51);
    assert_eq!(come(&out, 1), expected);
    fs::remove_file(&path).unwrap();
    expected = append(&path, 51..60);
    assert_eq!(come(&out, 9), expected);
    // Nothing is read a second time.
    test.crash(2);
    append(&path, 60..61);
    come(&out, 1);
}

/// Two followed files, in one source or in a source each, whose lines are counted per second.
struct Bursts {
    test: ProgramTest,
    a: PathBuf,
    b: PathBuf,
    raw: TestSink<Line>,
    windows: TestSink<(i64, String, u64)>,
    late: TestSink<Line>,
    _folder: tempfile::TempDir,
}

impl Bursts {
    fn start(one: bool, workers: usize, bound_of_b: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a.jsonl"), folder.path().join("b.jsonl"));
        [&a, &b].into_iter().for_each(|path| fs::write(path, "").unwrap());
        let mut test = ProgramTest::new();
        let (ticks, raw, windows, late) = (test.source::<u8>(), test.sink(), test.sink(), test.sink());
        // An idle partition takes no part in event time.
        ticks.idle(0);
        let (to_raw, to_windows, to_late, paths) = (raw.clone(), windows.clone(), late.clone(), [a.clone(), b.clone()]);
        test.start(workers, move |flow| {
            let follow = |paths: &[PathBuf]| FileSource::new(paths, |line: &Line| EventTime(line.ts)).follow();
            flow.source("ticks", &ticks)?.sink("ticks-out", &NullSink::default())?;
            let lines = match one {
                true => flow.source("ab", &follow(&paths).max_out_of_orderness(bound_of_b))?,
                false => {
                    let a = flow.source("a", &follow(&paths[..1]))?;
                    a.union(flow.source("b", &follow(&paths[1..]).max_out_of_orderness(bound_of_b))?)
                }
            };
            lines.clone().sink("raw", &to_raw)?;
            let by_file = lines.key_by(|line: &Line| line.file.clone());
            let counts = by_file.window("second", Assigner::tumbling(secs(1))).aggregate(counting())?;
            counts.late.sink("late", &to_late)?;
            counts.results.map(|w| (w.window.start.0, w.key, w.value)).sink("windows", &to_windows)
        });
        Self { test, a, b, raw, windows, late, _folder: folder }
    }
}

#[test]
fn bursts_within_their_bound_are_not_late_and_a_silent_file_holds_nobody_for_longer_than_the_setting() {
    for (one, workers) in [(false, 1), (false, 2), (true, 1), (true, 2)] {
        let bursts = Bursts::start(one, workers, Duration::from_secs(10));
        append(&bursts.a, (1..=20).map(|n| n * 1_000));
        come(&bursts.raw, 20);
        assert!(bursts.windows.output().is_empty(), "b may have something yet");
        // After 5 s without lines, b is idle. The windows that end by the latest time minus the bound of b fire.
        bursts.test.clock(ProcessingTime(6_000));
        let emitted = come(&bursts.windows, 9);
        assert_eq!(emitted, (1..=9).map(|n| (n * 1_000, "a".to_owned(), 1)).collect::<Vec<_>>(), "{one}, {workers}");
        // The lines that b gets now are as far behind as its bound allows.
        append(&bursts.b, (10..=20).map(|n| n * 1_000));
        come(&bursts.raw, 11);
        append(&bursts.a, [40_000]);
        append(&bursts.b, [40_000]);
        come(&bursts.raw, 2);
        let emitted = come(&bursts.windows, 22);
        assert_eq!(emitted.iter().filter(|(_, key, _)| key == "b").count(), 11, "{one}, {workers}: {emitted:?}");
        assert!(bursts.late.output().is_empty(), "{one}, {workers}");
    }
}

#[test]
fn bursts_that_come_more_often_than_a_file_becomes_idle_are_never_late() {
    for (one, workers) in [(false, 1), (false, 2), (true, 1), (true, 2)] {
        let bursts = Bursts::start(one, workers, Duration::ZERO);
        for burst in 0..5i64 {
            let seconds = burst * 3 + 1..burst * 3 + 4;
            append(&bursts.a, seconds.clone().map(|n| n * 1_000));
            come(&bursts.raw, 3);
            bursts.test.clock(ProcessingTime((burst + 1) * 3_000));
            append(&bursts.b, seconds.map(|n| n * 1_000));
            come(&bursts.raw, 3);
        }
        let emitted = come(&bursts.windows, 28);
        assert!(emitted.iter().all(|(_, _, count)| *count == 1), "{emitted:?}");
        assert!(bursts.late.output().is_empty(), "{one}, {workers}");
    }
}
