//! An Apache Kafka broker (KRaft, with its own controller) on loopback, for tests, the README and the benchmarks.
//!
//! Known limit: when the process that started it is killed with SIGKILL, the broker is left running.

use std::fs;
use std::io::{self, Error};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::free_addresses;

/// Maximum time that a broker may take to start.
const START: Duration = Duration::from_secs(90);
/// The identifier of the cluster. It can be constant, because the folder is new each time.
const CLUSTER_ID: &str = "dGlkZW1pbGwtdGVzdHMtMQ";

/// A running broker, which is stopped when this is dropped.
pub struct Broker {
    libs: PathBuf,
    folder: PathBuf,
    /// Address of the broker, as `127.0.0.1:port`.
    pub address: String,
    child: Option<Child>,
}

impl Broker {
    /// Starts a broker with Kafka's jars in `libs` and its data in `folder`, on free ports.
    pub fn start(libs: &Path, folder: &Path) -> io::Result<Self> {
        let [port, controller] = free_addresses()?.map(|address| address.port());
        Self::start_on(libs, folder, port, controller)
    }

    /// Starts a broker on given ports, for clients and for the controller.
    pub fn start_on(libs: &Path, folder: &Path, port: u16, controller: u16) -> io::Result<Self> {
        Self::start_with(libs, folder, [port, controller], "", &[])
    }

    /// Starts a broker with additional properties, which override the default ones, and additional arguments for the
    /// storage tool's `format`.
    pub fn start_with(
        libs: &Path,
        folder: &Path,
        [port, controller]: [u16; 2],
        more: &str,
        format: &[&str],
    ) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let address = format!("127.0.0.1:{port}");
        fs::write(folder.join("server.properties"), properties(folder, &address, controller) + more)?;
        let mut broker = Self { libs: libs.to_owned(), folder: folder.to_owned(), address, child: None };
        if !folder.join("data/meta.properties").exists() {
            let settings = folder.join("server.properties");
            let arguments = ["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c"];
            let output = broker.java("64m").args(arguments).arg(settings).args(format).output()?;
            if !output.status.success() {
                return Err(Error::other(format!(
                    "Kafka's storage tool failed: {}",
                    String::from_utf8_lossy(&output.stderr)
                )));
            }
        }
        broker.resume()?;
        Ok(broker)
    }

    /// Returns a command that runs Java with Kafka's jars.
    pub fn java(&self, heap: &str) -> Command {
        java(&self.libs, heap)
    }

    /// Starts the broker again after [`kill`](Self::kill), on the same port and data.
    pub fn resume(&mut self) -> io::Result<()> {
        let log = fs::File::options().create(true).append(true).open(self.folder.join("broker.log"))?;
        let settings = self.folder.join("server.properties");
        let mut command = self.java("768m");
        command.arg("kafka.Kafka").arg(settings).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.child = Some(command.spawn()?);
        let started = Instant::now();
        while TcpStream::connect(&self.address).is_err() {
            let ended = self.child.as_mut().map(Child::try_wait).transpose()?.flatten();
            if ended.is_some() || started.elapsed() > START {
                let log = fs::read_to_string(self.folder.join("broker.log")).unwrap_or_default();
                return Err(Error::other(format!("Kafka did not start ({ended:?}): {log}")));
            }
            pause();
        }
        Ok(())
    }

    /// Kills the broker with SIGKILL.
    pub fn kill(&mut self) -> io::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Waits until the broker ends by itself.
    pub fn wait(&mut self) -> io::Result<()> {
        self.child.as_mut().map(Child::wait).transpose().map(drop)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        drop(self.kill());
    }
}

/// Returns a command that runs Java with the jars in `libs`.
pub fn java(libs: &Path, heap: &str) -> Command {
    let mut java = Command::new("java");
    java.arg(format!("-Xmx{heap}")).arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn");
    java.arg("-cp").arg(libs.join("*"));
    java
}

#[expect(clippy::disallowed_methods, reason = "a broker that starts has no scheduler to report to")]
fn pause() {
    std::thread::sleep(Duration::from_millis(100));
}

fn properties(folder: &Path, address: &str, controller: u16) -> String {
    let data = folder.join("data");
    format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://{address},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://{address}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={}
num.partitions=4
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
# A transaction that timed out is given up soon: tests wait for it.
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
group.initial.rebalance.delay.ms=0
",
        data.display()
    )
}
