//! The test programs, and the servers that they need.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::broker::Broker;
use crate::model_server::Kind;
use crate::{cargo, kafka, root, scratch, servers};

/// Returns a cargo command with the checks that tests have and other builds do not have.
pub fn checked_cargo(args: &[&str]) -> Command {
    let mut command = cargo();
    command.args(["--config", "xtask/checked.toml"]).args(args);
    command
}

/// A test program.
pub struct Program {
    /// Path of its source, relative to the project's folder.
    pub name: String,
    path: PathBuf,
    /// Folder of its package, where cargo starts tests.
    folder: PathBuf,
}

/// Builds all test programs, and the examples that they run.
pub fn build() -> Result<Vec<Program>> {
    println!("building the tests");
    let args = ["test", "--release", "--workspace", "--all-features", "--no-run"];
    let mut child =
        checked_cargo(&args).arg("--message-format=json-render-diagnostics").stdout(Stdio::piped()).spawn()?;
    let mut programs = Vec::new();
    for line in child.stdout.take().into_iter().flat_map(|out| BufReader::new(out).lines()) {
        let message: Value = serde_json::from_str(&line?)?;
        let Some(path) = message["executable"].as_str().filter(|_| message["profile"]["test"] == true) else {
            continue;
        };
        let manifest = Path::new(message["manifest_path"].as_str().context("an artifact of cargo has no manifest")?);
        let folder = manifest.parent().unwrap_or(root()).to_owned();
        let source = Path::new(message["target"]["src_path"].as_str().context("a target of cargo has no source file")?);
        let name = source.strip_prefix(root()).unwrap_or(source).display().to_string();
        programs.push(Program { name, path: path.into(), folder });
    }
    if !child.wait()?.success() {
        bail!("the tests do not build");
    }
    programs.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(programs)
}

impl Program {
    /// Returns a command that runs the program's tests and reports the time of each.
    pub fn command(&self, servers: &Servers) -> Command {
        let mut command = Command::new(&self.path);
        command.current_dir(&self.folder).env("CARGO_MANIFEST_DIR", &self.folder);
        // The harness reports the times of tests only as an unstable option, which these settings allow.
        command.env("RUSTC_BOOTSTRAP", "1").args(["-Z", "unstable-options", "--report-time", "--show-output"]);
        servers.configure(&mut command);
        command
    }
}

/// The servers that tests connect to.
pub struct Servers {
    broker: Broker,
    libs: PathBuf,
    /// The servers that tests start themselves.
    names: Vec<&'static str>,
    /// Messages why some of them could not be set up.
    pub missing: Vec<String>,
}

impl Servers {
    /// Sets up the model servers and these others, and starts the broker. In CI no server may be missing.
    pub fn start(others: &[&'static str]) -> Result<Self> {
        let names = [&Kind::ALL.map(Kind::name)[..], others].concat();
        let missing = servers::set_up(&names)?;
        if !missing.is_empty() && std::env::var_os("CI").is_some() {
            bail!("CI must have every server: {}", missing.join("\n"));
        }
        let libs = kafka::libs()?;
        let broker = Broker::start(&libs, &scratch("kafka-test")?)?;
        Ok(Self { broker, libs, names, missing })
    }

    /// Passes the places of the servers to a command, in environment variables.
    pub fn configure(&self, command: &mut Command) {
        command.env("TIDEMILL_KAFKA", &self.broker.address).env("TIDEMILL_KAFKA_LIBS", &self.libs);
        command.env("TIDEMILL_SERVERS", servers::venvs());
    }

    /// Prints which servers there were.
    pub fn print(&self) {
        println!("servers: Apache Kafka at {}, and others that tests killed", self.broker.address);
        println!("servers from PyPI, for the tests that start them: {}", self.names.join(", "));
    }
}

/// Returns the number of tests that passed or failed (`what`), summed over all lines `test result: …` of a text.
pub fn counted(text: &str, what: &str) -> u64 {
    let results = text.lines().filter(|line| line.starts_with("test result:"));
    let number = |line: &str| line.split(what).next()?.trim_end().rsplit(' ').next()?.parse::<u64>().ok();
    results.filter_map(number).sum()
}
