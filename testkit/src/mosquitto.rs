//! The MQTT broker mosquitto on loopback, with its sessions in a folder, and its clients.

use std::fs;
use std::io::{self, Error, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::free_addresses;
use crate::server_process::ServerProcess;

/// Maximum time that it may take to start.
const START: Duration = Duration::from_secs(20);

/// A running broker, which is killed when this is dropped.
pub struct Mosquitto {
    folder: PathBuf,
    address: SocketAddr,
    process: Option<ServerProcess>,
}

impl Mosquitto {
    /// Starts a broker on a free port. What it knows is lost when it is killed.
    pub fn start(folder: &Path) -> io::Result<Self> {
        Self::start_with(folder, "allow_anonymous true\n")
    }

    /// Starts a broker that writes its sessions to `folder` after each change: it takes some milliseconds for each.
    pub fn start_durable(folder: &Path) -> io::Result<Self> {
        Self::start_with(folder, "allow_anonymous true\nautosave_on_changes true\nautosave_interval 1\n")
    }

    /// Starts a broker with these lines in its configuration, which say who may connect.
    pub fn start_with(folder: &Path, more: &str) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let (folder, [address]) = (fs::canonicalize(folder)?, free_addresses()?);
        // `user root`: as root, it would become a user who may not write here; as another user, it is ignored.
        let text = format!(
            "listener {} 127.0.0.1\npersistence true\npersistence_location {}/\n\
             max_inflight_messages 0\nmax_queued_messages 0\nuser root\n{more}",
            address.port(),
            folder.display()
        );
        fs::write(folder.join("mosquitto.conf"), text)?;
        let mut broker = Self { folder, address, process: None };
        broker.resume()?;
        Ok(broker)
    }

    /// Returns `127.0.0.1:port`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Starts the broker, on the port and the sessions that it had before [`kill`](Self::kill).
    pub fn resume(&mut self) -> io::Result<()> {
        let mut command = Command::new(program("mosquitto"));
        command.arg("-c").arg(self.folder.join("mosquitto.conf"));
        let log = self.folder.join("mosquitto.log");
        let address = self.address;
        let is_ready = || TcpStream::connect(address).is_ok();
        self.process = Some(ServerProcess::start("mosquitto", &mut command, &log, START, is_ready)?);
        Ok(())
    }

    /// Kills the broker with SIGKILL.
    pub fn kill(&mut self) -> io::Result<()> {
        self.process.take().map_or(Ok(()), |mut process| process.kill())
    }

    /// Returns a command of one of its clients (`mosquitto_pub`, `mosquitto_sub`), by MQTT 5 and with QoS 1.
    pub fn client(&self, name: &str) -> Command {
        let mut command = Command::new(program(name));
        command.args(["-V", "5", "-q", "1", "-h", "127.0.0.1", "-p"]).arg(self.address.port().to_string());
        command
    }

    /// Starts to publish each of `lines` to `topic`, as a message of its own.
    pub fn publishing(&self, topic: &str, lines: &[String]) -> io::Result<Child> {
        let mut child = self.client("mosquitto_pub").args(["-l", "-t", topic]).stdin(Stdio::piped()).spawn()?;
        let mut to = child.stdin.take().ok_or_else(|| Error::other("mosquitto_pub has no input"))?;
        let text: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
        std::thread::spawn(move || to.write_all(text.as_bytes()));
        Ok(child)
    }

    /// Publishes each of `lines` to `topic`, and waits until the broker has all of them.
    pub fn publish(&self, topic: &str, lines: &[String]) -> io::Result<()> {
        let status = self.publishing(topic, lines)?.wait()?;
        if status.success() { Ok(()) } else { Err(Error::other(format!("mosquitto_pub ended with {status}"))) }
    }

    /// Ends the session of a client: the broker forgets it.
    pub fn end_session(&self, client: &str) -> io::Result<()> {
        let status = self.client("mosquitto_sub").args(["-i", client, "-t", "none", "-E"]).status()?;
        if status.success() { Ok(()) } else { Err(Error::other(format!("mosquitto_sub ended with {status}"))) }
    }
}

/// Returns where a program of the broker is: Debian installs the broker where not every user's path goes.
pub fn program(name: &str) -> PathBuf {
    let system = Path::new("/usr/sbin").join(name);
    if system.exists() { system } else { name.into() }
}
