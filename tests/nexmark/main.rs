//! The Nexmark queries, compared with SQLite: each result appears equally often, at any number of workers, also when
//! the program is killed at named places and continues with another number of workers. Each run has different events
//! (`TIDEMILL_SEED`).

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../examples/nexmark/events.rs"]
#[allow(dead_code, reason = "the source is the program's")]
mod events;
mod processing_time;
#[path = "../../examples/nexmark/queries/mod.rs"]
#[allow(dead_code, unused_imports, reason = "most are tested as programs")]
mod queries;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use clap::Parser;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{example, finish, lines, same_lines, seed};

use events::EventArgs;

const SIGKILL: i32 = 9;
/// Number of events. About 3,300 auctions close.
const EVENTS: usize = 60_000;
/// Events per second of event time. With one event per 5 ms there are thirty tumbling windows, 150 sliding ones, and
/// bids in the very millisecond in which a session ends; with two per millisecond, there are bids in the very
/// millisecond in which their auction opens or closes.
const EVENT_RATES: [u32; 2] = [200, 2_000];

/// The flags of the program that select the events.
#[derive(Parser)]
struct EventFlags {
    #[command(flatten)]
    args: EventArgs,
}

/// A file of events, and the results of SQLite for them.
struct Expected {
    folder: TempDir,
    flags: Vec<String>,
}

impl Expected {
    /// Writes the events to a file, without the engine, and runs all queries on them in SQLite.
    fn new(event_rate: u32, seed: u64) -> Self {
        let flags = [
            ("--events", EVENTS.to_string()),
            ("--event-rate", event_rate.to_string()),
            ("--out-of-order-group", "400".to_owned()),
            ("--seed", (seed as u32).to_string()),
        ];
        let flags: Vec<String> = flags.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect();
        let folder = tempfile::tempdir().unwrap();
        let args = EventFlags::parse_from(std::iter::once("nexmark").chain(flags.iter().map(String::as_str))).args;
        let mut text = String::new();
        for event in args.generator().take(EVENTS) {
            writeln!(text, "{}", serde_json::to_string(&event).unwrap()).unwrap();
        }
        fs::write(folder.path().join("events.jsonl"), text).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("nexmark/expected.py");
        finish(Command::new("python3").arg(script).arg(folder.path()));
        Self { folder, flags }
    }

    /// Returns the rows of a query according to SQLite.
    fn rows(&self, query: &str) -> Vec<String> {
        let rows = fs::read_to_string(self.folder.path().join(format!("{query}.jsonl"))).unwrap();
        let rows = canonical(rows.lines().map(str::to_owned));
        assert!(!rows.is_empty(), "{query} gives nothing on these events: the test would mean nothing");
        rows
    }

    fn program(&self, query: &str, workers: usize, output: &Path) -> Command {
        let mut command = example("nexmark");
        command.args(["--query", query, "--workers", &workers.to_string()]).args(&self.flags);
        command.arg("--output").arg(output);
        command
    }
}

/// Returns the seed and the events of this test run, of each rate. They are the same for all queries.
fn expected() -> &'static (u64, [Expected; 2]) {
    static EXPECTED: OnceLock<(u64, [Expected; 2])> = OnceLock::new();
    EXPECTED.get_or_init(|| {
        let seed = seed();
        (seed, EVENT_RATES.map(|event_rate| Expected::new(event_rate, seed)))
    })
}

/// Returns the rows sorted and in one notation, because SQLite writes blanks differently.
fn canonical(rows: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut rows: Vec<String> =
        rows.into_iter().map(|row| serde_json::from_str::<Value>(&row).unwrap().to_string()).collect();
    rows.sort_unstable();
    rows
}

/// Checks that the program's rows in `output`, converted by `of`, are those of SQLite.
fn compare(what: &str, expected: &[String], output: &Path, of: impl Fn(Vec<String>) -> Vec<String>) {
    let rows = lines(output);
    println!("{what}: {} rows, SQLite has {}", rows.len(), expected.len());
    let scratch = tempfile::tempdir().unwrap();
    let [expected_rows, found] = [("SQLite", expected), ("program", &canonical(of(rows)))].map(|(name, rows)| {
        let folder = scratch.path().join(name);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("part-0.jsonl"), rows.join("\n")).unwrap();
        folder
    });
    same_lines(&expected_rows, &found);
}

/// Runs `query` on all events with 1, 2 and 3 workers, and once more on some of them, killed twice.
fn check(query: &str, of: impl Fn(Vec<String>) -> Vec<String>) {
    let (seed, expected) = expected();
    let scratch = tempfile::tempdir().unwrap();
    for (given, event_rate) in expected.iter().zip(EVENT_RATES) {
        let rows = given.rows(query);
        for workers in 1..=3 {
            let what = format!("{query}, {event_rate} events a second, {workers} workers");
            let output = scratch.path().join(&what);
            finish(&mut given.program(query, workers, &output));
            compare(&what, &rows, &output, &of);
        }
    }

    // Each query is killed at different places.
    let number: u64 = query.trim_start_matches('q').parse().unwrap();
    let mut chance = ChaCha8Rng::seed_from_u64(seed.wrapping_add(number));
    let given = &expected[chance.random_range(0..expected.len())];
    let output = scratch.path().join("killed");
    let job = |workers| {
        // The run takes a second, so that there are epochs in which to kill it.
        let mut command = given.program(query, workers, &output);
        command.args(["--rate", "60000", "--checkpoint-interval", "40ms"]);
        command.arg("--checkpoint-dir").arg(scratch.path().join("checkpoints"));
        command
    };
    let places = ["mid-epoch", "after-delta", "before-manifest", "after-manifest"];
    for (workers, epochs) in [(2, 2..6), (3, 6..10)] {
        let place = format!("{}:{}", places[chance.random_range(0..places.len())], chance.random_range(epochs));
        println!("{query}, {workers} workers: killed at {place}");
        let ended = job(workers).env("TIDEMILL_CRASH_AT", &place).output().unwrap();
        let errors = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.signal(), Some(SIGKILL), "{query} was to be killed at {place}: {errors}");
    }
    finish(&mut job(1));
    compare(&format!("{query}, killed twice"), &given.rows(query), &output, of);
}

/// Returns the rows unchanged.
fn rows(rows: Vec<String>) -> Vec<String> {
    rows
}

/// Returns the number of bids of each bidder, summed over its windows. Checks that each window is valid and was emitted
/// once.
fn bids_of_bidders(rows: Vec<String>) -> Vec<String> {
    let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
    let mut windows = Vec::new();
    for row in rows {
        let row: Value = serde_json::from_str(&row).unwrap();
        let [bidder, count] = ["bidder", "bid_count"].map(|name| row[name].as_u64().unwrap());
        let [start, end] = ["starttime", "endtime"].map(|name| row[name].as_i64().unwrap());
        assert!(start % 10_000 == 0 && end == start + 10_000 && count > 0, "{row}");
        *counts.entry(bidder).or_default() += count;
        windows.push((bidder, start));
    }
    let emitted = windows.len();
    windows.sort_unstable();
    windows.dedup();
    assert_eq!(windows.len(), emitted, "a window was emitted twice");
    counts
        .into_iter()
        .map(|(bidder, bid_count)| json!({ "bidder": bidder, "bid_count": bid_count }).to_string())
        .collect()
}

macro_rules! queries {
    ($($query:ident: $of:ident),+ $(,)?) => { $(
        #[test]
        fn $query() {
            check(stringify!($query), $of);
        }
    )+ };
}

queries! {
    q0: rows, q1: rows, q2: rows, q3: rows, q4: rows, q5: rows, q6: rows, q7: rows, q8: rows, q11: rows,
    q12: bids_of_bidders, q13: rows,
}

#[test]
fn a_group_that_cannot_be_permuted_is_refused() {
    let mut command = example("nexmark");
    let said = testkit::fail(command.args(["--query", "q0", "--events", "10", "--out-of-order-group", "1906"]));
    assert!(said.contains("--out-of-order-group is 1906"), "{said}");
}

#[test]
fn a_checkpoint_of_other_events_is_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let run = |seed: &str| {
        let mut command = example("nexmark");
        command.args(["--query", "q0", "--events", "100", "--seed", seed, "--checkpoint-dir"]).arg(scratch.path());
        command
    };
    finish(&mut run("1"));
    let said = testkit::fail(&mut run("2"));
    assert!(said.contains("nexmark-q0-10000-1-1") && said.contains("nexmark-q0-10000-1-2"), "{said}");
}
