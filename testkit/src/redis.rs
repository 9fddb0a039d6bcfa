//! Redis on loopback, from Debian's package `redis-server`, for tests.

use std::fs;
use std::io;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::free_address;
use crate::server_process::ServerProcess;

/// The program of the server.
pub const PROGRAM: &str = "redis-server";
/// Maximum time that a server may take to start, recovery included.
const START: Duration = Duration::from_secs(30);
/// What it writes is on the disk before it answers.
const DURABLE: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];

/// A running server, which is killed when this is dropped.
pub struct Redis {
    folder: PathBuf,
    port: u16,
    options: Vec<String>,
    process: Option<ServerProcess>,
}

/// Returns whether the server's program is here.
pub fn is_here() -> bool {
    Command::new(PROGRAM).arg("--version").output().is_ok_and(|output| output.status.success())
}

impl Redis {
    /// Starts an empty server on a free port, which keeps all that it confirms.
    pub fn start(folder: &Path) -> io::Result<Self> {
        Self::start_with(folder, &DURABLE)
    }

    /// Starts an empty server on a free port with these options; without any, it forgets all when it is killed.
    pub fn start_with(folder: &Path, options: &[&str]) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let (folder, port) = (fs::canonicalize(folder)?, free_address().port());
        let mut server = Self { folder, port, options, process: None };
        server.resume()?;
        Ok(server)
    }

    /// Starts the server, on the port and the data that it had before [`kill`](Self::kill).
    pub fn resume(&mut self) -> io::Result<()> {
        let mut command = Command::new(PROGRAM);
        command.args(["--bind", "127.0.0.1", "--port", &self.port.to_string(), "--save", "", "--dir"]);
        command.arg(&self.folder).args(&self.options);
        let address = ("127.0.0.1", self.port);
        let is_ready = || TcpStream::connect(address).is_ok();
        let log = self.folder.join("redis.log");
        self.process = Some(ServerProcess::start("Redis", &mut command, &log, START, is_ready)?);
        Ok(())
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns where the server is: `redis://127.0.0.1:PORT/0`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// Kills the server with SIGKILL.
    pub fn kill(&mut self) -> io::Result<()> {
        self.process.take().map_or(Ok(()), |mut process| process.kill())
    }

    /// Sends a signal of this name to the server: `STOP` has it hang, and `CONT` go on.
    pub fn signal(&self, name: &str) -> io::Result<()> {
        self.process.as_ref().map_or(Ok(()), |process| process.signal(name))
    }
}
