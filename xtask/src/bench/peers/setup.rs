//! Sets up the engines, each by its language's own client. One that cannot be had is missing, with the reason; the
//! others are measured without it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};

use super::programs::{Engine, Program};
use crate::{cache, cargo, check, debian, kafka, root, setup};

/// Memory of the Java machine: all of Flink is one process here.
const JAVA: [&str; 6] = [
    "-Xms4g",
    "-Xmx6g",
    "-XX:+UseParallelGC",
    "--add-opens=java.base/java.util=ALL-UNNAMED",
    "--add-opens=java.base/java.lang=ALL-UNNAMED",
    "--add-opens=java.base/java.time=ALL-UNNAMED",
];
/// With the linker's optimisation and one unit per crate, as the fastest loop is built. RocksDB is not among these.
const FASTEST: [&str; 4] = ["--config", "profile.release.lto=\"thin\"", "--config", "profile.release.codegen-units=1"];

/// Returns the folder of what is set up: `TIDEMILL_PEERS` if set, which may outlive a clone.
pub fn home() -> PathBuf {
    std::env::var_os("TIDEMILL_PEERS").map_or_else(|| cache("peers"), PathBuf::from)
}

/// Returns the folder of the programs' sources.
pub fn folder() -> PathBuf {
    root().join("bench/peers")
}

/// Returns the model of the job `fraud-score`.
pub fn model() -> PathBuf {
    folder().join("model.onnx")
}

/// The engines that are ready, or why they are not.
pub struct Ready {
    renoir: Result<PathBuf, String>,
    /// The class path.
    flink: Result<String, String>,
    bytewax: Result<PathBuf, String>,
}

impl Ready {
    /// Sets up what these programs need.
    pub fn new(programs: &[Program]) -> Result<Self> {
        let needs = |is: fn(&Engine) -> bool| programs.iter().any(|program| is(&program.engine));
        setup::run()?;
        build_peers()?;
        Ok(Self {
            renoir: tried("Renoir", needs(|engine| matches!(engine, Engine::Renoir)), renoir),
            flink: tried("Flink", needs(|engine| matches!(engine, Engine::Flink { .. })), flink),
            bytewax: tried("Bytewax", needs(|engine| matches!(engine, Engine::Bytewax { .. })), bytewax),
        })
    }

    pub fn renoir(&self) -> Result<Command> {
        self.renoir.as_ref().map(Command::new).map_err(|reason| anyhow!("{reason}"))
    }

    /// Returns a command of Java with Flink; the main class is the next argument.
    pub fn flink(&self) -> Result<Command> {
        let classes = self.flink.as_ref().map_err(|reason| anyhow!("{reason}"))?;
        let mut command = Command::new("java");
        command.args(JAVA).args(["-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-cp", classes]);
        Ok(command)
    }

    /// Returns a command of the Python that has Bytewax.
    pub fn bytewax(&self) -> Result<Command> {
        let mut command = self.bytewax.as_ref().map(Command::new).map_err(|reason| anyhow!("{reason}"))?;
        command.env("OMP_NUM_THREADS", "1");
        Ok(command)
    }
}

/// Sets up an engine if it is needed.
fn tried<T>(name: &str, is_needed: bool, set_up: fn() -> Result<T>) -> Result<T, String> {
    if !is_needed {
        return Err("not asked for".to_owned());
    }
    set_up().map_err(|error| {
        let reason = format!("{name} cannot be set up: {error:#}");
        eprintln!("{reason}");
        reason
    })
}

fn target() -> PathBuf {
    home().join("target")
}

/// Returns a command that runs a program of the package `peers`.
pub fn peer(name: &str) -> Command {
    Command::new(target().join("release").join(name))
}

/// Builds the programs of the package `peers`, which do without Tidemill.
pub fn build_peers() -> Result<()> {
    println!("setup: the limit and its like");
    let mut build = cargo();
    build.args(["build", "--release", "--package", "peers", "--bins"]).args(FASTEST);
    check(build.arg("--target-dir").arg(target()))
}

fn renoir() -> Result<PathBuf> {
    println!("setup: Renoir");
    let mut build = cargo();
    build.args(["build", "--release", "--locked", "--manifest-path"]).arg(folder().join("renoir/Cargo.toml"));
    check(build.arg("--target-dir").arg(target()))?;
    Ok(target().join("release/renoir_peer"))
}

/// Fetches Flink and ONNX Runtime's jar with Maven and compiles the jobs. Returns the class path.
fn flink() -> Result<String> {
    kafka::java()?;
    if Command::new("javac").arg("-version").output().is_err() {
        println!("setup: the Java compiler is not here; installing it");
        debian::install(&["openjdk-17-jdk-headless"])?;
    }
    let (sources, home) = (folder().join("flink"), home().join("flink"));
    let libs = home.join("libs");
    let pom = sources.join("pom.xml");
    make_once(&libs, &fs::read(&pom)?, || {
        println!("setup: fetching Flink with Maven");
        let mut maven = Command::new("mvn");
        maven.args(["-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime"]);
        check(maven.arg(format!("-DoutputDirectory={}", libs.display())).arg("-f").arg(&pom))
    })?;
    let jars = entries(&libs, "jar")?.into_iter().map(|path| path.display().to_string());
    let classes = home.join("classes");
    fs::create_dir_all(&classes)?;
    let path = jars.chain([classes.display().to_string()]).collect::<Vec<_>>().join(":");
    let mut javac = Command::new("javac");
    javac.args(["-nowarn", "-Xlint:none", "-cp", &path, "-d"]).arg(&classes);
    check(javac.args(entries(&sources, "java")?))?;
    Ok(path)
}

/// Installs Bytewax in an environment of its own. Returns its Python.
fn bytewax() -> Result<PathBuf> {
    let (venv, requirements) = (home().join("bytewax"), folder().join("bytewax/requirements.txt"));
    let python = venv.join("bin/python");
    make_once(&venv, &fs::read(&requirements)?, || {
        println!("setup: Bytewax");
        check(Command::new("python3").args(["-m", "venv"]).arg(&venv))
            .context("Python 3 with its venv module is needed (Debian: python3-venv)")?;
        check(Command::new(&python).args(["-m", "pip", "install", "--quiet", "-r"]).arg(&requirements))
    })?;
    Ok(python)
}

/// Returns the folder with an input of this many records, and what the programs have to write for it.
pub fn input(name: &str, records: u64) -> Result<PathBuf> {
    let data = home().join(name);
    let made_from = [folder().join("src/bin/peer_inputs.rs"), folder().join("oracle.py"), model()];
    let mut key = records.to_le_bytes().to_vec();
    for path in &made_from {
        key.extend(fs::read(path).with_context(|| format!("cannot read {}", path.display()))?);
    }
    make_once(&data, &key, || {
        println!("setup: the input of {records} records, and what has to come out");
        let mut generator = peer("peer_inputs");
        check(generator.arg("--out").arg(&data).args(["--count", &records.to_string()]))?;
        let mut oracle = Command::new(setup::python()?);
        check(oracle.arg(folder().join("oracle.py")).arg(&data).arg("--model").arg(model()))
    })?;
    Ok(data)
}

/// Makes a folder if it is not the one that was made from `key`. The key is written when all is there, because an
/// incomplete folder would look like a complete one.
fn make_once(made: &PathBuf, key: &[u8], make: impl FnOnce() -> Result<()>) -> Result<()> {
    let done = made.join("made-from");
    if fs::read(&done).is_ok_and(|found| found == key) {
        return Ok(());
    }
    if made.exists() {
        fs::remove_dir_all(made).with_context(|| format!("cannot empty {}", made.display()))?;
    }
    make()?;
    fs::create_dir_all(made)?;
    fs::write(done, key)?;
    Ok(())
}

/// Returns the files of a folder that have this extension, in the order of their names.
fn entries(folder: &PathBuf, extension: &str) -> Result<Vec<PathBuf>> {
    let mut found: Vec<PathBuf> = fs::read_dir(folder)?.flatten().map(|entry| entry.path()).collect();
    found.retain(|path| path.extension().is_some_and(|found| found == extension));
    if found.is_empty() {
        bail!("{} has no .{extension} file", folder.display());
    }
    found.sort();
    Ok(found)
}
