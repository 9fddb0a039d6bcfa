//! Every test, and plainly what was run.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::programs::{self, Servers};
use crate::setup;

/// How many of the slowest tests are named at the end.
const SLOWEST: usize = 10;

pub fn run() -> Result<()> {
    setup::run()?;
    let programs = programs::build()?;
    let servers = Servers::start()?;
    let mut report = Report::default();
    for program in &programs {
        report.run(&program.name, &mut program.command(&servers))?;
    }
    let mut docs = programs::checked_cargo(&["test", "--release", "--workspace", "--doc"]);
    servers.tell(&mut docs);
    report.run("examples in the documentation", &mut docs)?;
    report.print();
    servers.print();
    report.not_run.extend(servers.missing.iter().map(|reason| format!("NOT RUN: {reason}")));
    if report.not_run.is_empty() {
        println!("nothing was skipped");
    } else {
        println!("{} tests were NOT RUN:\n{}", report.not_run.len(), report.not_run.join("\n"));
    }
    if !report.failures.is_empty() {
        bail!("failed: {}", report.failures.join(", "));
    }
    Ok(())
}

/// What was run.
#[derive(Default)]
struct Report {
    passed: u64,
    failed: u64,
    /// Programs and what they took.
    programs: Vec<(String, Duration)>,
    /// Tests and what they took.
    tests: Vec<(String, f64)>,
    not_run: Vec<String>,
    failures: Vec<String>,
}

impl Report {
    /// Runs a test program in sight of the user.
    fn run(&mut self, name: &str, command: &mut Command) -> Result<()> {
        println!("\n     Running {name}");
        let begun = Instant::now();
        let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot start {name}"))?;
        for line in child.stdout.take().into_iter().flat_map(|out| BufReader::new(out).lines()) {
            let line = line?;
            writeln!(std::io::stdout(), "{line}")?;
            self.read(name, &line);
        }
        if !child.wait()?.success() {
            self.failures.push(name.to_owned());
        }
        self.programs.push((name.to_owned(), begun.elapsed()));
        Ok(())
    }

    fn read(&mut self, program: &str, line: &str) {
        self.passed += programs::counted(line, "passed");
        self.failed += programs::counted(line, "failed");
        if line.contains("NOT RUN:") {
            self.not_run.push(line.to_owned());
        } else if let Some(test) = timed(line) {
            self.tests.push((format!("{program}: {}", test.0), test.1));
        }
    }

    fn print(&mut self) {
        self.programs.sort_by_key(|(_, took)| std::cmp::Reverse(*took));
        self.tests.sort_by(|a, b| b.1.total_cmp(&a.1));
        println!("\nTime of each program:");
        for (name, took) in &self.programs {
            println!("{:8.1} s  {name}", took.as_secs_f64());
        }
        println!("\nThe slowest tests:");
        for (name, seconds) in self.tests.iter().take(SLOWEST) {
            println!("{seconds:8.1} s  {name}");
        }
        let (passed, failed, programs) = (self.passed, self.failed, self.programs.len());
        println!("\n{passed} tests passed and {failed} failed, in {programs} test programs");
    }
}

/// The name of a test and the seconds that it took, of a line `test NAME ... ok <1.234s>`.
fn timed(line: &str) -> Option<(&str, f64)> {
    let (name, rest) = line.strip_prefix("test ")?.split_once(" ... ")?;
    let seconds = rest.rsplit_once('<')?.1.strip_suffix("s>")?;
    Some((name, seconds.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use crate::root;

    fn sources(folder: &Path, text: &mut String) {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                sources(&path, text);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                text.push_str(&fs::read_to_string(&path).unwrap());
            }
        }
    }

    /// The page says what tests hold: a row whose test is gone, or has another name, is only a claim.
    #[test]
    fn each_row_of_bad_input_names_a_test_that_is_there() {
        let mut code = String::new();
        ["tests", "connectors/src", "engine/src", "operators/src", "state/src"]
            .iter()
            .for_each(|folder| sources(&root().join(folder), &mut code));
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
