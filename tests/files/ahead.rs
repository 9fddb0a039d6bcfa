//! Events with a time in the future. With `max_ahead` each becomes a dead letter and no other record becomes late, at
//! any number of workers; without it the log says which record moved the watermark.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use tidemill::prelude::*;
use tidemill::stream::DeadLetter;

use testkit::{example, finish};

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Line {
    ts: i64,
    key: u8,
}

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

/// Runs a job that counts the lines of a file per minute. Returns the windows (start, count) in order, the number of
/// late records, and the dead letters.
fn run(
    path: &Path,
    workers: usize,
    args: JobArgs,
    max_ahead: Option<Duration>,
) -> (Vec<(i64, u64)>, usize, Vec<DeadLetter>) {
    let mut source = FileSource::new([path], |line: &Line| EventTime(line.ts));
    if let Some(bound) = max_ahead {
        source = source.max_ahead(bound);
    }
    let (out, late, letters) = (CollectSink::default(), CollectSink::default(), CollectSink::default());
    let (to, late_to, letters_to) = (out.clone(), late.clone(), letters.clone());
    let args = JobArgs {
        settings: JobSettings { workers, ..args.settings },
        log_level: "error".to_owned(),
        ..JobArgs::default()
    };
    let snapshot = Job::new("ahead", args)
        .run(move |flow| {
            let lines = flow.source("lines", &source)?.key_by(|line: &Line| line.key);
            let windows = lines.window("minute", Assigner::tumbling(minutes(1))).aggregate(counting())?;
            windows.late.sink("late", &late_to)?;
            windows.results.map(|w| (w.window.start.0, w.value)).sink("out", &to)?;
            flow.dead_letters().sink("letters", &letters_to)
        })
        .unwrap();
    let counted = |operator: &str, name: &str| snapshot.operator(operator).unwrap().counter(name);
    assert!(counted("minute", "late") >= late.data().len() as u64, "too late for a window is late for its operator");
    // A late record is counted by one operator only: the source has no counter of the same name.
    assert_eq!(counted("lines", "late"), 0);
    if workers == 1 {
        // Records in the same batch as the one that moves the watermark are behind it, but not late for the operator.
        assert!(counted("lines", "behind_watermark") >= counted("minute", "late"));
    }
    let mut windows = out.data();
    windows.sort_unstable();
    (windows, late.data().len(), letters.data())
}

/// Writes one record per second, up to an hour ago, and each record of `future` (position, time ahead of the clock) in
/// front of the record at its position.
fn write(path: &Path, count: usize, future: &[(usize, i64)]) {
    let now = Clock::system().processing_time().0;
    let start = (now - HOUR) / MINUTE * MINUTE - count as i64 * 1000;
    let mut text = b"ts,key\n".to_vec();
    for n in 0..count {
        for (_, ahead) in future.iter().filter(|(after, _)| *after == n) {
            writeln!(text, "{},0", now + ahead).unwrap();
        }
        writeln!(text, "{},0", start + n as i64 * 1000).unwrap();
    }
    fs::write(path, text).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// This holds however far ahead events are, wherever in the input they are, with any number of workers, and whether
    /// the job or the source sets the bound.
    #[test]
    fn the_future_is_set_aside_and_nothing_is_late(
        future in prop::collection::vec((0..9000usize, 2 * HOUR..100 * 365 * 24 * HOUR), 0..4),
        workers in 1..4usize, by_job: bool,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines.csv");
        write(&path, 9000, &future);
        let bound = Some(Duration::from_secs(3600));
        let (of_job, of_source) = if by_job { (bound, None) } else { (None, bound) };
        let settings = JobSettings { max_ahead: of_job, ..JobSettings::default() };
        let args = JobArgs { settings, ..JobArgs::default() };
        let (windows, late, letters) = run(&path, workers, args, of_source);
        prop_assert_eq!((windows.len(), late, letters.len()), (9000 / 60, 0, future.len()));
        prop_assert!(windows.iter().all(|(_, count)| *count == 60), "{:?}", windows);
        for letter in letters {
            prop_assert!(letter.reason.contains("ahead of the clock, and 3600 s are allowed (max_ahead)"), "{:?}", letter);
            prop_assert!(letter.origin.ends_with("lines.csv") && letter.content.contains("ts: "), "{:?}", letter);
        }
    }
}

/// Without a bound, such an event moves the watermark. An event within the bound does, too.
#[test]
fn without_a_bound_the_future_is_where_the_watermark_goes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lines.csv");
    write(&path, 9000, &[(100, 48 * HOUR)]);
    let (windows, late, letters) = run(&path, 1, JobArgs::default(), None);
    assert!(late > 0 && letters.is_empty(), "{late} late");
    assert_eq!(windows.iter().map(|(_, count)| count).sum::<u64>() as usize + late, 9001);
    let (windows, late, letters) = run(&path, 1, JobArgs::default(), Some(Duration::from_secs(72 * 3600)));
    assert!(late > 0 && letters.is_empty() && windows.last().unwrap().0 > Clock::system().processing_time().0);
}

#[test]
fn the_log_says_what_moved_the_watermark_and_that_most_are_late() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("readings.csv");
    let write = ["--machines", "200", "--seconds", "60", "--write-input"];
    finish(example("iot_window").args(write).arg(&path));
    let text = fs::read_to_string(&path).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let mut reading: Vec<&str> = text.lines().nth(300).unwrap().split(',').collect();
    reading[1] = "4070908800000";
    lines.insert(300, reading.join(","));
    fs::write(&path, lines.join("\n") + "\n").unwrap();

    let job = |out: &str| {
        let mut command = example("iot_window");
        command.arg("--input").arg(&path).arg("--predictions").arg(folder.path().join(out));
        command
    };
    let log = String::from_utf8(finish(&mut job("poisoned")).stderr).unwrap();
    for wanted in [
        "has moved the watermark far ahead of the clock",
        "most records are late: the watermark of this source made the largest step",
    ] {
        assert!(log.contains(wanted) && log.contains("2099-01-01T00:00:00Z"), "{wanted}: {log}");
    }
    let log = String::from_utf8(finish(job("bounded").args(["--max-ahead", "1day"])).stderr).unwrap();
    assert!(
        !log.contains("most records are late") && log.contains("ahead of the clock, and 86400 s are allowed"),
        "{log}"
    );
}
