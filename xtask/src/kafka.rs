//! A real Apache Kafka on loopback, from Maven Central, with commands to use it by hand.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::{build_examples, cache, check, debian, example, setup};
use testkit::broker::{self, Broker};

const VERSION: &str = "4.1.0";

#[derive(clap::Args)]
pub struct Args {
    /// The broker's port; its controller takes the next one.
    #[arg(long, default_value_t = 9092)]
    port: u16,
    /// Topics to create, with their numbers of partitions.
    #[arg(long, value_delimiter = ',', default_value = "transactions:4,predictions:4,alerts:1,dead-letters:1")]
    topics: Vec<String>,
}

#[derive(clap::Args)]
pub struct ProduceArgs {
    /// The example whose input is written: fraud_velocity or iot_window.
    example: String,
    /// The topic to write to: kafka://host:port/topic.
    topic: String,
    /// More flags of the example: --count, --rate, --seed, --input FILE.csv.gz, …
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    more: Vec<String>,
}

#[derive(clap::Args)]
pub struct ConsumeArgs {
    /// The topic to read: kafka://host:port/topic.
    topic: String,
}

/// Runs a broker until it is interrupted. Its data are removed then.
pub fn run(args: &Args) -> Result<()> {
    let libs = libs()?;
    let folder = crate::scratch("kafka-broker")?;
    let mut broker = Broker::start_on(&libs, &folder, args.port, args.port + 1)?;
    for topic in &args.topics {
        let (name, partitions) = topic.split_once(':').context("--topics must be NAME:PARTITIONS")?;
        let create = ["org.apache.kafka.tools.TopicCommand", "--bootstrap-server", &broker.address, "--create"];
        check(broker.java("256m").args(create).args(["--topic", name, "--partitions", partitions]))?;
    }
    println!("Kafka {VERSION} runs at {}; Ctrl-C stops it", broker.address);
    broker.wait()?;
    Ok(())
}

/// Writes an example's input to a topic.
pub fn produce(args: &ProduceArgs) -> Result<()> {
    setup::run()?;
    build_examples()?;
    check(example(&args.example)?.args(["--write-input", &args.topic]).args(&args.more))
}

/// Prints the committed messages of a topic, from the first one on, until the program is interrupted.
pub fn consume(args: &ConsumeArgs) -> Result<()> {
    let rest = args.topic.strip_prefix("kafka://").context("the topic must be kafka://host:port/topic")?;
    let (brokers, topic) = rest.split_once('/').context("the topic must be kafka://host:port/topic")?;
    let tool = ["org.apache.kafka.tools.consumer.ConsoleConsumer", "--isolation-level", "read_committed"];
    let more = ["--from-beginning", "--bootstrap-server", brokers, "--topic", topic];
    check(broker::java(&libs()?, "256m").args(tool).args(more))
}

/// Returns the folder of Kafka's jars, which Maven fetches the first time.
pub fn libs() -> Result<PathBuf> {
    java()?;
    let folder = cache("kafka");
    let libs = folder.join(format!("libs-{VERSION}"));
    if libs.exists() {
        return Ok(libs);
    }
    println!("setup: fetching Apache Kafka {VERSION} with Maven");
    fs::create_dir_all(&folder)?;
    let pom = folder.join("pom.xml");
    fs::write(&pom, POM.replace("VERSION", VERSION))?;
    // This file is written once everything is fetched, because an incomplete folder would look like a complete one.
    let fetched = folder.join("fetched");
    let goal = ["-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime"];
    check(Command::new("mvn").args(goal).arg(format!("-DoutputDirectory={}", fetched.display())).arg("-f").arg(&pom))?;
    fs::rename(&fetched, &libs)?;
    Ok(libs)
}

/// Installs Java and Maven if they are missing.
pub fn java() -> Result<()> {
    let has = |program: &str| {
        let asked = Command::new(program).arg("-version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        asked.is_ok_and(|status| status.success())
    };
    if has("java") && has("mvn") {
        return Ok(());
    }
    println!("setup: Java or Maven is not here; installing them");
    debian::install(&["openjdk-17-jre-headless", "maven"])?;
    if has("java") && has("mvn") { Ok(()) } else { bail!("Java and Maven were installed, but do not run") }
}

const POM: &str = r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>tidemill</groupId>
  <artifactId>broker</artifactId>
  <version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>VERSION</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>VERSION</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
"#;
