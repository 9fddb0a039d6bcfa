//! kinesalite, an emulator of Amazon Kinesis that keeps its streams in a folder, on loopback.
//!
//! Its known faults: answers with records have no `ChildShards`, say that they are at the end of the shard when they are not, and
//! it does not check signatures.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::free_address;
use crate::server_process::ServerProcess;

/// The package of npm, and its version.
pub const PACKAGE: (&str, &str) = ("kinesalite", "3.3.3");
/// Maximum time that it may take to start.
const START: Duration = Duration::from_secs(30);
/// Its own command line would listen on every interface. What AWS does in seconds, it does in this many milliseconds.
const PROGRAM: &str = "require('kinesalite')({ path: process.argv[1], createStreamMs: 20, updateStreamMs: 20, \
                       deleteStreamMs: 20 }).listen(Number(process.argv[2]), '127.0.0.1')";

/// A running emulator, which is killed when this is dropped.
pub struct Kinesalite {
    modules: PathBuf,
    folder: PathBuf,
    address: SocketAddr,
    process: Option<ServerProcess>,
}

/// Returns the folder of the modules of node, in the folder of all servers.
pub fn modules(servers: &Path) -> PathBuf {
    servers.join("kinesalite/node_modules")
}

/// Returns whether the emulator is in this folder of modules, and can be started.
pub fn is_here(modules: &Path) -> bool {
    let mut node = Command::new("node");
    node.env("NODE_PATH", modules).args(["-e", "require('kinesalite'); require('leveldown')"]);
    node.output().is_ok_and(|output| output.status.success())
}

impl Kinesalite {
    /// Starts an emulator on a free port, with the modules that are there.
    pub fn start(modules: &Path, folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let (modules, folder, address) = (modules.to_owned(), fs::canonicalize(folder)?, free_address());
        let mut emulator = Self { modules, folder, address, process: None };
        emulator.resume()?;
        Ok(emulator)
    }

    /// Returns its endpoint: `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Starts the emulator, on the port and the streams that it had before [`kill`](Self::kill).
    pub fn resume(&mut self) -> io::Result<()> {
        let mut command = Command::new("node");
        command.env("NODE_PATH", &self.modules).args(["-e", PROGRAM]);
        command.arg(self.folder.join("streams")).arg(self.address.port().to_string());
        let (address, log) = (self.address, self.folder.join("kinesalite.log"));
        let is_ready = || TcpStream::connect(address).is_ok();
        self.process = Some(ServerProcess::start("kinesalite", &mut command, &log, START, is_ready)?);
        Ok(())
    }

    /// Kills the emulator with SIGKILL.
    pub fn kill(&mut self) -> io::Result<()> {
        self.process.take().map_or(Ok(()), |mut process| process.kill())
    }
}
