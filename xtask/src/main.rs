//! The chores of Tidemill: `cargo xtask demo | test | bench | kafka | produce | consume | servers | models | layout | setup`.

mod bench;
mod bench_infer;
mod bench_kafka;
mod bench_nexmark;
mod broker;
mod demo;
mod kafka;
mod layout;
#[allow(dead_code, reason = "tests use the rest")]
mod model_server;
mod models;
mod servers;
mod setup;
mod test;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Parser;

/// The chores of Tidemill. Each does its own set-up.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
enum Chore {
    /// Watch transactions being scored, killed half way, and restored.
    Demo(demo::Args),
    /// Run every test.
    Test,
    /// Measure the examples against a plain loop without an engine.
    Bench(bench::Args),
    /// Run an Apache Kafka broker on loopback.
    Kafka(kafka::Args),
    /// Write an example's input to a topic, at a set rate.
    Produce(kafka::ProduceArgs),
    /// Print the committed messages of a topic.
    Consume(kafka::ConsumeArgs),
    /// Run model servers on loopback: Triton, MLServer, KServe, and one of TensorFlow Serving's protocol.
    Servers(servers::Args),
    /// Train the models that the examples ship with.
    Models(models::Args),
    /// How the source is laid out: files, circles of imports, long lines, crates compiled.
    Layout,
    /// Only the set-up: what has to be on the machine, ONNX Runtime.
    Setup,
}

fn main() -> Result<()> {
    match Chore::parse() {
        Chore::Demo(args) => demo::run(&args),
        Chore::Test => test::run(),
        Chore::Bench(args) => bench::run(&args),
        Chore::Kafka(args) => kafka::run(&args),
        Chore::Produce(args) => kafka::produce(&args),
        Chore::Consume(args) => kafka::consume(&args),
        Chore::Servers(args) => servers::run(&args),
        Chore::Models(args) => models::run(&args),
        Chore::Layout => layout::run(),
        Chore::Setup => setup::run(),
    }
}

/// The project's folder.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// A folder for what can be made again.
fn cache(name: &str) -> PathBuf {
    root().join(".cache").join(name)
}

/// An empty folder for what can be made again.
fn scratch(name: &str) -> Result<PathBuf> {
    let folder = cache(name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(folder)
}

fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Runs it in sight of the user; an error when it fails.
fn check(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {}", command.get_program().display()))?;
    if !status.success() {
        bail!("{command:?} failed: {status}");
    }
    Ok(())
}

/// Builds the examples, in sight of the user.
fn build_examples() -> Result<()> {
    println!(
        "building the examples (the first time RocksDB is compiled too, which takes a quarter of an hour on two cores)"
    );
    check(cargo().args(["build", "--release", "--examples"]))
}

/// An example, which lies beside this program.
fn example(name: &str) -> Result<Command> {
    let own = std::env::current_exe()?;
    let path = own.parent().context("a program lies in a folder")?.join("examples").join(name);
    let mut command = Command::new(path);
    command.current_dir(root());
    Ok(command)
}
