//! The chores of Tidemill: `cargo xtask demo | test | soak | bench | kafka | produce | consume | servers | models |
//! layout | docs | deploy | new | package | python | rocksdb | vendor | setup`.

mod bench;
mod browser;
#[cfg(test)]
mod container;
mod debian;
mod demo;
mod deploy;
mod docs;
#[cfg(test)]
mod features;
mod kafka;
mod kinesalite;
mod layout;
mod models;
mod new;
mod npm;
mod package;
#[cfg(test)]
mod pages;
mod postgres;
mod programs;
mod prometheus;
mod python;
mod rocksdb;
mod rollout;
mod servers;
mod setup;
mod soak;
mod test;
mod tools;
mod vendor;

use anyhow::Result;
use clap::Parser;
use testkit::{broker, model_server};

use tools::{build_examples, build_measurements, cache, cargo, check, example, lock, measurement, root, scratch};

/// The chores of Tidemill. Each does its own set-up.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
enum Chore {
    /// Watch transactions being scored, killed half way, and restored.
    Demo(demo::Args),
    /// Run every test.
    Test,
    /// Run the long tests again and again, with other seeds each time, until the time is over.
    Soak(soak::Args),
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
    /// Build the documentation as a site.
    Docs,
    /// Write the alerts for Prometheus and the dashboards for Grafana.
    Deploy(deploy::Args),
    /// Make a project of your own: a program, a model and a simulated test.
    New(new::Args),
    /// Build RocksDB for this machine, and print how another project uses it.
    Rocksdb,
    /// Pack the crates that are published, and check what the packages contain.
    Package(package::Args),
    /// Check the Python package: its style, and its tests.
    Python,
    /// Compare the files of others that the page brings with the packages that they come from.
    Vendor,
    /// Only the set-up: what has to be on the machine, RocksDB, ONNX Runtime, promtool, the browser of the tests.
    Setup,
}

fn main() -> Result<()> {
    match Chore::parse() {
        Chore::Demo(demo::Args { other: Some(demo::Other::Models), .. }) => rollout::run(),
        Chore::Demo(args) => demo::run(&args),
        Chore::Test => test::run(),
        Chore::Soak(args) => soak::run(&args),
        Chore::Bench(args) => bench::run(&args),
        Chore::Kafka(args) => kafka::run(&args),
        Chore::Produce(args) => kafka::produce(&args),
        Chore::Consume(args) => kafka::consume(&args),
        Chore::Servers(args) => servers::run(&args),
        Chore::Models(args) => models::run(&args),
        Chore::Layout => layout::run(),
        Chore::Docs => docs::run(),
        Chore::Deploy(args) => deploy::run(&args),
        Chore::New(args) => new::run(&args),
        Chore::Rocksdb => rocksdb::run(),
        Chore::Package(args) => package::run(&args),
        Chore::Python => python::run(),
        Chore::Vendor => vendor::run(),
        Chore::Setup => setup::for_tests(),
    }
}
