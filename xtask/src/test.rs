//! Runs every test, and reports which tests were run and which were not.

use std::collections::VecDeque;
use std::io::Read;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use crate::programs::{self, Program, Servers};
use crate::{lock, new, setup};

/// Number of slowest tests that are listed at the end.
const SLOWEST: usize = 10;
/// Time after which a program is killed: a test that waits for what does not come fails with its name.
const LIMIT: Duration = Duration::from_mins(20);
/// Number of programs that run side by side. It is above one, because many tests wait for brokers, for jobs that they
/// killed, and for timeouts.
const SIDE_BY_SIDE: usize = 2;
/// Number of lines repeated at the end of a program that failed without a list of its failed tests.
const LINES_OF_FAILURE: usize = 40;
/// The programs that are started first, because they take longest.
const FIRST: [&str; 5] = [
    "tests/kafka/main.rs",
    "tests/library/main.rs",
    "tests/servers/main.rs",
    "tests/expected.rs",
    "tests/tables/main.rs",
];

pub fn run() -> Result<()> {
    setup::for_tests()?;
    let mut programs = programs::build()?;
    new::compile_dependencies()?;
    let servers = Servers::start(&[])?;
    let begun = Instant::now();
    let place = |program: &Program| FIRST.iter().position(|name| *name == program.name).unwrap_or(FIRST.len());
    programs.sort_by_key(place);
    let all: Mutex<VecDeque<Program>> = Mutex::new(programs.into());
    let report = Mutex::new(Report::default());
    let next = || lock(&all).pop_front();
    std::thread::scope(|scope| {
        let lane = || {
            while let Some(program) = next() {
                println!("{} begins", program.name);
                run_one(&program.name, &mut program.command(&servers), &report)?;
            }
            anyhow::Ok(())
        };
        let lanes: Vec<_> = (0..SIDE_BY_SIDE).map(|_| scope.spawn(lane)).collect();
        lanes.into_iter().try_for_each(|lane| lane.join().map_err(|_| anyhow!("a panic while tests ran"))?)
    })?;
    let mut docs = programs::checked_cargo(&["test", "--release", "--workspace", "--all-features", "--doc"]);
    servers.configure(&mut docs);
    run_one("examples in the documentation", &mut docs, &report)?;
    let mut report = report.into_inner().unwrap_or_else(PoisonError::into_inner);
    report.print(begun.elapsed());
    servers.print();
    report.not_run.extend(servers.missing.iter().map(|reason| format!("NOT RUN: {reason}")));
    if report.not_run.is_empty() {
        println!("nothing was skipped");
    } else {
        println!("{} tests were NOT RUN:\n{}", report.not_run.len(), report.not_run.join("\n"));
    }
    if report.failures.is_empty() {
        return Ok(());
    }
    // What failed is said once more, since often only the end of a long output is kept.
    report.failures.iter().for_each(|(name, text)| println!("\n     Failed: {name}\n{text}"));
    let names: Vec<&str> = report.failures.iter().map(|(name, _)| &**name).collect();
    bail!("failed: {}", names.join(", "))
}

/// Runs a test program. The output of its tests is shown if one of them fails.
fn run_one(name: &str, command: &mut Command, report: &Mutex<Report>) -> Result<()> {
    let begun = Instant::now();
    let (text, status) = output_within(LIMIT, command).with_context(|| format!("cannot run {name}"))?;
    let well = status.is_some_and(|status| status.success());
    let mut report = lock(report);
    println!("\n     Running {name}");
    text.lines().filter(|line| !well || line.starts_with("test ")).for_each(|line| println!("{line}"));
    match status {
        Some(status) if !well => println!("{name}: {status}"),
        Some(_) => {}
        None => println!("{name}: it had not ended after {} minutes and was killed", LIMIT.as_secs() / 60),
    }
    report.add(name, &text, begun.elapsed(), well);
    Ok(())
}

/// Returns what a program prints and how it ends; no status if it was killed because it had not ended in time.
#[expect(clippy::disallowed_methods, reason = "it is watched from outside")]
fn output_within(limit: Duration, command: &mut Command) -> Result<(String, Option<ExitStatus>)> {
    let deadline = Instant::now() + limit;
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let mut from = child.stdout.take().context("it has no output")?;
    let printed = Arc::new(Mutex::new(Vec::new()));
    let to = Arc::clone(&printed);
    let reader = std::thread::spawn(move || {
        let mut piece = [0; 1 << 12];
        while let Ok(count @ 1..) = from.read(&mut piece) {
            lock(&to).extend_from_slice(&piece[..count]);
        }
    });
    let status = loop {
        // What the program has started may print after its end.
        if let Some(status) = child.try_wait()?.filter(|_| reader.is_finished()) {
            break Some(status);
        }
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            break None;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    let text = String::from_utf8_lossy(&lock(&printed)).into_owned();
    Ok((text, status))
}

/// The results of all tests.
#[derive(Default)]
struct Report {
    passed: u64,
    failed: u64,
    /// Each program, with the time that it took.
    programs: Vec<(String, Duration)>,
    /// Each test, with the seconds that it took.
    tests: Vec<(String, f64)>,
    not_run: Vec<String>,
    /// Each program that failed, with what it said of it.
    failures: Vec<(String, String)>,
}

impl Report {
    fn add(&mut self, program: &str, text: &str, took: Duration, well: bool) {
        self.passed += programs::counted(text, "passed");
        self.failed += programs::counted(text, "failed");
        self.not_run.extend(text.lines().filter(|line| line.contains("NOT RUN:")).map(str::to_owned));
        let times = text.lines().filter_map(timed);
        self.tests.extend(times.map(|(test, seconds)| (format!("{program}: {test}"), seconds)));
        self.programs.push((program.to_owned(), took));
        if !well {
            self.failures.push((program.to_owned(), said_of_failures(text)));
        }
    }

    fn print(&mut self, took: Duration) {
        self.programs.sort_by_key(|(_, took)| std::cmp::Reverse(*took));
        self.tests.sort_by(|a, b| b.1.total_cmp(&a.1));
        println!("\nTime of each program, {SIDE_BY_SIDE} side by side:");
        for (name, took) in &self.programs {
            println!("{:8.1} s  {name}", took.as_secs_f64());
        }
        println!("\nThe slowest tests:");
        for (name, seconds) in self.tests.iter().take(SLOWEST) {
            println!("{seconds:8.1} s  {name}");
        }
        let (passed, failed, programs) = (self.passed, self.failed, self.programs.len());
        let seconds = took.as_secs_f64();
        println!("\n{passed} tests passed and {failed} failed, in {programs} test programs, in {seconds:.0} s");
    }
}

/// Returns what a test program prints of its failed tests, below the lines of all tests; the last lines of a program
/// that ended before it printed that.
fn said_of_failures(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let begin = lines.iter().position(|line| *line == "failures:");
    let begin = begin.unwrap_or_else(|| lines.len().saturating_sub(LINES_OF_FAILURE));
    lines[begin..].join("\n")
}

/// Returns the name of a test and the seconds that it took, from a line `test NAME ... ok <1.234s>`.
fn timed(line: &str) -> Option<(&str, f64)> {
    let (name, rest) = line.strip_prefix("test ")?.split_once(" ... ")?;
    let seconds = rest.rsplit_once('<')?.1.strip_suffix("s>")?;
    Some((name, seconds.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;
    use std::time::Duration;

    use super::{output_within, said_of_failures};
    use crate::root;
    use crate::tools::rust_files;

    #[test]
    fn a_program_that_does_not_end_is_killed_and_what_it_printed_is_there() {
        let mut stuck = Command::new("sh");
        stuck.args(["-c", "echo begun; exec sleep 1000"]);
        let (text, status) = output_within(Duration::from_secs(1), &mut stuck).unwrap();
        assert_eq!((text.as_str(), status), ("begun\n", None));
        let (text, status) = output_within(Duration::from_mins(10), Command::new("echo").arg("all")).unwrap();
        assert!(text == "all\n" && status.unwrap().success());
    }

    #[test]
    fn what_a_program_said_of_its_failures_is_found() {
        let text = "test a ... ok\ntest b ... FAILED\n\nfailures:\n\n---- b stdout ----\nleft: 1\n\nfailures:\n    b\n";
        assert!(said_of_failures(text).starts_with("failures:\n\n---- b stdout ----\nleft: 1\n"));
        assert_eq!(said_of_failures("begun\nAborted"), "begun\nAborted");
    }

    /// Each row of the page names the test that proves it. A row whose test is gone or renamed would be only a claim.
    #[test]
    fn each_row_of_bad_input_names_a_test_that_is_there() {
        let mut sources = Vec::new();
        ["tests", "connectors/src", "engine/src", "operators/src", "state/src"]
            .iter()
            .for_each(|folder| rust_files(&root().join(folder), &mut sources).unwrap());
        let code: String = sources.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
        let page = fs::read_to_string(root().join("docs/operate/bad-input.md")).unwrap();
        let rows = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| Input"));
        let (mut missing, mut count) = (Vec::new(), 0);
        for row in rows {
            let test = row.trim_end_matches([' ', '|']).rsplit("| ").next().unwrap_or_default().trim_matches('`');
            count += 1;
            if test.is_empty() || !code.contains(&format!("fn {test}(")) {
                missing.push(row);
            }
        }
        assert!(missing.is_empty() && count > 40, "{count} rows, of which without a test: {missing:#?}");
    }
}
