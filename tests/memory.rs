//! State that is larger than its memory limit: RocksDB keeps the rest, and the answers are the same.

#![allow(clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tidemill::metrics::Snapshot;
use tidemill::prelude::*;

const KEYS: u64 = 200_000;
const RECORDS: u64 = 1_000_000;

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Seen {
    key: u64,
    value: u64,
}

/// Returns a record. Keys are scattered, and some occur much more often than others, like customers.
fn seen(index: u64) -> (EventTime, Seen) {
    let scattered = index.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let share = (scattered >> 11) as f64 / (1_u64 << 53) as f64;
    (EventTime((index / 10) as i64), Seen { key: (KEYS as f64 * share * share) as u64, value: index })
}

/// The state of a key: the number of its records, its last values, and the records of the last 5 s.
struct Profile {
    count: ValueState<u64, u64>,
    last: ListState<u64, u64>,
    recent: Rolling<u64>,
}

type Line = (u64, u64, u64, u64);

impl KeyedLogic for Profile {
    type Key = u64;
    type In = Seen;
    type Out = Line;
    type Side = ();

    fn on_record(&mut self, ctx: &mut Context<'_, u64, Line, ()>, record: Record<Seen>) -> Result<(), LogicError> {
        let Seen { key, value } = record.data;
        let count = self.count.update(
            ctx,
            || 0,
            |count| {
                *count += 1;
                *count
            },
        )?;
        let oldest = self.last.with(ctx, |last| {
            last.push_back(value);
            if last.len() > 10 { last.pop_front() } else { last.front().copied() }
        })?;
        let recent = self.recent.add(ctx, 1.0, |rolled| rolled.windows[0].count)?;
        ctx.emit((key, count, oldest.unwrap_or(0), recent));
        Ok(())
    }

    fn tie_break(seen: &Seen) -> u64 {
        seen.value
    }
}

/// Runs the job. Returns the last line of each key, a checksum of all lines, the report, and the time it took.
fn run(state_memory: Option<u64>) -> (BTreeMap<u64, Line>, u64, Snapshot, Duration) {
    let lines = CollectSink::default();
    let sink = lines.clone();
    let args = JobArgs {
        settings: JobSettings {
            state_memory,
            checkpoint_interval: Duration::from_millis(100),
            ..JobSettings::default()
        },
        log_level: "error".to_owned(),
        ..JobArgs::default()
    };
    let started = Instant::now();
    let report = Job::new("profiles", args).run(move |flow| {
        flow.source("seen", &Generator::new(RECORDS, seen))?
            .key_by(|seen| seen.key)
            .process("profile", Order::EventTime, |states| {
                let recent = Rolling::open(states, "recent", &[secs(5)])?;
                Ok(Profile { count: states.value("count")?, last: states.list("last")?, recent })
            })?
            .results
            .sink("lines", &sink)
    });
    let took = started.elapsed();
    let (mut of_keys, mut checksum) = (BTreeMap::new(), 0_u64);
    for line @ (key, count, oldest, recent) in lines.data() {
        of_keys.insert(key, line);
        let mixed = [key, count, oldest, recent].iter().fold(0_u64, |sum, n| sum.wrapping_mul(31).wrapping_add(*n));
        checksum = checksum.wrapping_add(mixed);
    }
    (of_keys, checksum, report.expect("a good end"), took)
}

#[test]
fn a_tenth_of_the_memory_gives_the_same_answers() {
    let (whole, checksum, report, took) = run(None);
    let all = report.state_bytes;
    assert!(all > 20 << 20, "only {all} bytes of state: the test means nothing");
    let (part, part_checksum, part_report, part_took) = run(Some(all / 10));
    println!(
        "{} keys, {} MiB of state; with a limit of {} MiB: {} MiB in the end, {:.1} times as long ({:.1} s, was {:.1} s)",
        whole.len(),
        all >> 20,
        (all / 10) >> 20,
        part_report.state_bytes >> 20,
        part_took.as_secs_f64() / took.as_secs_f64(),
        part_took.as_secs_f64(),
        took.as_secs_f64(),
    );
    assert!(checksum == part_checksum && whole == part, "other answers");
    assert!(part_report.state_bytes < all / 5, "{} bytes were kept of {all}", part_report.state_bytes);
}

/// Deduplicates ids that occur once each, 20 per millisecond of event time, with a horizon of 1000 ms. They are read as
/// fast as possible. Returns the memory of the state at the end.
fn deduplicate(interval: Duration, checkpoints: bool) -> u64 {
    let dir = tempfile::tempdir().expect("a folder");
    let args = JobArgs {
        settings: JobSettings {
            checkpoint_dir: checkpoints.then(|| dir.path().to_owned()),
            checkpoint_interval: interval,
            ..JobSettings::default()
        },
        log_level: "error".to_owned(),
        ..JobArgs::default()
    };
    let ids = Generator::new(400_000, |n| (EventTime(n as i64 / 20), n));
    let report = Job::new("ids", args).run(move |flow| {
        let output = flow.source("ids", &ids)?.key_by(|id| *id).deduplicate("unique", secs(1))?;
        output.duplicates.sink("again", &NullSink::default())?;
        output.results.sink("first", &NullSink::default())
    });
    let report = report.expect("a good end");
    let first = report.operator("first").map(|sink| sink.counter("records_in"));
    assert_eq!(first, Some(400_000), "some were taken for others");
    report.state_bytes
}

#[test]
fn what_has_expired_leaves_memory_whatever_the_rate_and_the_epochs() {
    // 20,000 keys are live. Expired ones may also be in memory until the delta of their epoch is written.
    for (interval, checkpoints) in [(3600, false), (3600, true), (1, true)] {
        let bytes = deduplicate(Duration::from_secs(interval), checkpoints);
        assert!(bytes < 8 << 20, "{bytes} bytes with epochs of {interval} s, checkpoints: {checkpoints}");
    }
}
