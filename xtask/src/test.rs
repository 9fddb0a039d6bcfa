//! Every test, and plainly what was run.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use anyhow::{Result, bail};

use crate::broker::Broker;
use crate::model_server::Kind;
use crate::{build_examples, cargo, kafka, scratch, servers, setup};

pub fn run() -> Result<()> {
    setup::run()?;
    build_examples()?;
    let no_server = servers::set_up(&Kind::ALL)?;
    if !no_server.is_empty() && std::env::var_os("CI").is_some() {
        bail!("CI must have every model server: {}", no_server.join("\n"));
    }
    let libs = kafka::libs()?;
    let broker = Broker::start(&libs, &scratch("kafka-test")?)?;
    // Tests of whole programs each want the machine for themselves: kills and timings are theirs.
    let tests = ["test", "--release", "--workspace", "--no-fail-fast", "--", "--show-output"];
    let mut command = cargo();
    command.env("TIDEMILL_KAFKA", &broker.address).env("TIDEMILL_KAFKA_LIBS", &libs);
    command.env("TIDEMILL_SERVERS", servers::venvs());
    let mut child = command.args(tests).stdout(Stdio::piped()).spawn()?;
    let (mut passed, mut failed, mut programs, mut not_run) = (0, 0, 0, Vec::new());
    for line in child.stdout.take().into_iter().flat_map(|out| BufReader::new(out).lines()) {
        let line = line?;
        writeln!(std::io::stdout(), "{line}")?;
        let number = |what: &str| -> u64 {
            let before = line.split(what).next().unwrap_or_default().trim_end();
            before.rsplit(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0)
        };
        if line.starts_with("test result:") {
            passed += number("passed");
            failed += number("failed");
            programs += 1;
        } else if line.contains("NOT RUN:") {
            not_run.push(line);
        }
    }
    let status = child.wait()?;
    println!("\n{passed} tests passed and {failed} failed, in {programs} test programs");
    println!("servers: Apache Kafka at {}, and others that tests killed", broker.address);
    println!("model servers: {}, started by their tests", Kind::ALL.map(Kind::name).join(", "));
    not_run.extend(no_server.into_iter().map(|reason| format!("NOT RUN: {reason}")));
    if not_run.is_empty() {
        println!("nothing was skipped");
    } else {
        println!("{} tests were NOT RUN:\n{}", not_run.len(), not_run.join("\n"));
    }
    if !status.success() {
        bail!("tests failed");
    }
    Ok(())
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
