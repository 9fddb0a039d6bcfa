//! Runs the long tests again and again, with other seeds each time, until the time is over.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::programs::{self, Program, Servers};
use crate::setup;
use testkit::mlflow;

/// A group of tests that find more faults the longer they run, or that take too long for `cargo xtask test`.
struct Marathon {
    name: &'static str,
    program: &'static str,
    /// Parts of the tests' names; if empty, all tests of the program are run.
    tests: &'static [&'static str],
    /// A server from PyPI that only these tests need and that is slow to start. They are marked `#[ignore]`, and run
    /// once, since they find no more when they are repeated.
    once_with: Option<&'static str>,
}

const MARATHONS: &[Marathon] = &[
    of("operators", "tests/library/main.rs", &["joins::", "rest::", "rolling::", "windows::", "totals::"]),
    of("programs", "tests/library/main.rs", &["programs::", "whole::"]),
    of("kills", "tests/crash.rs", &[]),
    of("evolution", "tests/library/main.rs", &["evolution::"]),
    of("take-overs", "state/src/lib.rs", &["take_over::", "manifest::", "table::"]),
    of("references", "tests/library/main.rs", &["reference"]),
    of("inference", "tests/infer/main.rs", &["simulated::", "live::", "poison::", "finite::", "exact::", "types::"]),
    of("brokers", "tests/kafka/main.rs", &["crash::", "brokers::"]),
    of("lookups", "tests/library/main.rs", &["lookup::"]),
    of("tables", "tests/tables/main.rs", &[]),
    of("files", "connectors/src/lib.rs", &["file::"]),
    of("nexmark", "tests/nexmark/main.rs", &[]),
    of("streams", "tests/kinesis/main.rs", &["crash::", "reshard::"]),
    of("sessions", "tests/mqtt/main.rs", &["crash::"]),
    of("rows", "tests/postgres/main.rs", &["crash::"]),
    of("keys", "tests/redis/main.rs", &["crash::", "loss::"]),
    of("posts", "tests/ingest/main.rs", &["crash::"]),
    of("requests", "tests/webhook/main.rs", &["crash::"]),
    of("topics", "tests/kafka/main.rs", &["recreated::", "tombstones::"]),
    of("processes", "tests/cluster.rs", &[]),
    of("worlds", "engine/src/lib.rs", &["simulation::", "mesh::", "checkpoint::"]),
    of("oracle", "tests/oracle.rs", &[]),
    of("drift", "tests/drift/main.rs", &["worlds::"]),
    of("labels", "tests/labels/main.rs", &["worlds::"]),
    once_with(mlflow::NAME, "registry", "tests/servers/main.rs", &["mlflow::"]),
];

const fn of(name: &'static str, program: &'static str, tests: &'static [&'static str]) -> Marathon {
    Marathon { name, program, tests, once_with: None }
}

const fn once_with(
    server: &'static str,
    name: &'static str,
    program: &'static str,
    tests: &'static [&'static str],
) -> Marathon {
    Marathon { name, program, tests, once_with: Some(server) }
}

/// Minimum time for a marathon: with less time left, no further one is begun.
const LEAST: Duration = Duration::from_secs(45);

#[derive(clap::Args)]
pub struct Args {
    /// Time for all long tests together. A run that is not done by then, or that takes more than twice its share, is
    /// killed and reported as such.
    #[arg(long = "for", default_value = "2h", value_parser = humantime::parse_duration, value_name = "DURATION")]
    time: Duration,
    /// Runs only the long tests whose names contain this text.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Any text, which decides the test that comes first. With a commit's hash, short runs begin at different ones.
    #[arg(long, value_name = "TEXT")]
    from: Option<String>,
    /// Number of cases in one run of a test, as a multiple of those in `cargo xtask test`.
    #[arg(long, default_value_t = 10, value_name = "TIMES")]
    times: u32,
    /// Number of random kills in the test that kills a job and its broker.
    #[arg(long, default_value_t = 200, value_name = "N")]
    kills: u32,
}

pub fn run(args: &Args) -> Result<()> {
    let mut chosen: Vec<&Marathon> =
        MARATHONS.iter().filter(|one| args.only.as_ref().is_none_or(|name| one.name.contains(name))).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = MARATHONS.iter().map(|one| one.name).collect();
        bail!("no long test has that name; there are: {}", names.join(", "));
    }
    if let Some(text) = &args.from {
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        let first = hasher.finish() % chosen.len() as u64;
        chosen.rotate_left(first as usize);
    }
    setup::run()?;
    setup::mosquitto()?;
    let programs = programs::build()?;
    let more: Vec<&str> = chosen.iter().filter_map(|marathon| marathon.once_with).collect();
    let servers = Servers::start(&more)?;
    let end = Instant::now() + args.time;
    let mut lines = Vec::new();
    let mut failed = Vec::new();
    for (at, marathon) in chosen.iter().enumerate() {
        let left = end.saturating_duration_since(Instant::now());
        if left < LEAST && at > 0 {
            break;
        }
        let share = (left / (chosen.len() - at) as u32).max(LEAST);
        let got = marathon.run(args, &programs, &servers, share, end)?;
        if got.failed > 0 {
            failed.push(marathon.name);
        }
        lines.push(got.line(marathon.name));
        println!("{}", lines[at]);
    }
    println!("\n{} of {} long tests had their turn:\n{}", lines.len(), chosen.len(), lines.join("\n"));
    servers.print();
    servers.missing.iter().for_each(|reason| println!("NOT RUN: {reason}"));
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

/// The results of a marathon.
#[derive(Default)]
struct Got {
    runs: u32,
    passed: u64,
    failed: u64,
    cut_off: bool,
    took: Duration,
}

impl Got {
    fn line(&self, name: &str) -> String {
        let cut_off = if self.cut_off { ", and one that was cut off" } else { "" };
        let seconds = self.took.as_secs_f64();
        format!("{seconds:8.1} s  {name}: {} runs{cut_off}; {} passed, {} failed", self.runs, self.passed, self.failed)
    }
}

impl Marathon {
    /// Runs the marathon again and again until its share of the time is over. A run that has begun by then gets the
    /// same time once more, but at most until `end`.
    fn run(&self, args: &Args, programs: &[Program], servers: &Servers, share: Duration, end: Instant) -> Result<Got> {
        let program = programs.iter().find(|program| program.name == self.program);
        let program = program.with_context(|| format!("{} is not a test program", self.program))?;
        let (begun, mut got) = (Instant::now(), Got::default());
        let end = end.min(begun + share * 2);
        let how = match self.once_with {
            Some(server) => format!("once, with {server}"),
            None => format!("for {}", humantime::format_duration(share.max(LEAST))),
        };
        println!("\n{} ({}): {how}", self.name, self.program);
        let is_over = |got: &Got| begun.elapsed() >= share || self.once_with.is_some() && got.runs > 0;
        while !is_over(&got) && !got.cut_off && got.failed == 0 {
            let mut command = program.command(servers);
            command.args(self.tests).args(self.once_with.map(|_| "--ignored"));
            command.env("TIDEMILL_SOAK", args.times.to_string()).env("TIDEMILL_KILLS", args.kills.to_string());
            let (text, ended) = until(end, &mut command)?;
            let [passed, failed] = ["passed", "failed"].map(|what| programs::counted(&text, what));
            got.passed += passed;
            got.failed += failed + u64::from(ended == Some(false) && failed == 0);
            match ended {
                None => {
                    got.cut_off = true;
                    // A run that was cut off has no line of results, so the passed tests are counted.
                    got.passed +=
                        text.lines().filter(|line| line.starts_with("test ") && line.contains(" ... ok")).count()
                            as u64;
                    got.failed += text.lines().filter(|line| line.contains(" ... FAILED")).count() as u64;
                }
                Some(_) if passed + failed == 0 => bail!("{text}\n{} names no test", self.name),
                Some(_) => got.runs += 1,
            }
            if got.failed > 0 {
                println!("{text}");
            }
            text.lines().filter(|line| line.contains("NOT RUN:")).for_each(|line| println!("{line}"));
        }
        got.took = begun.elapsed();
        Ok(got)
    }
}

/// Runs a program until it ends or, at the latest, until `end`, when it is killed. Returns its output and whether it
/// succeeded, or `None` if it was killed.
fn until(end: Instant, command: &mut Command) -> Result<(String, Option<bool>)> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let mut output = child.stdout.take().context("the output of a test program is not piped")?;
    let (to, from) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = output.read_to_end(&mut bytes);
        // Sending fails if the time is over, because the receiver has stopped waiting.
        to.send(()).ok();
        read.map(|_| String::from_utf8_lossy(&bytes).into_owned())
    });
    let over = from.recv_timeout(end.saturating_duration_since(Instant::now())) == Err(RecvTimeoutError::Timeout);
    if over {
        for id in with_children(child.id()) {
            Command::new("kill").args(["-KILL", &id.to_string()]).stderr(Stdio::null()).status()?;
        }
    }
    let status = child.wait()?;
    let text = reader.join().map_err(|_| anyhow::anyhow!("the output could not be read"))??;
    Ok((text, (!over).then_some(status.success())))
}

/// Returns the ids of a process and of all processes below it. All must be killed, because jobs and brokers of a test
/// keep its output open.
fn with_children(id: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten();
    let children = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let children: Vec<u32> =
        children.flat_map(|text| text.split(' ').filter_map(|id| id.parse().ok()).collect::<Vec<_>>()).collect();
    [id].into_iter().chain(children.into_iter().flat_map(with_children)).collect()
}
