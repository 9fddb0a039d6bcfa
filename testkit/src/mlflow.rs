//! MLflow's server on loopback, with its registry in a file of SQLite and its artifacts in a folder.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::free_addresses;
use crate::server_process::ServerProcess;

/// The name of its requirements and of its virtual environment.
pub const NAME: &str = "mlflow";
/// Maximum time that it may take to start: two processes import Python's packages, one after the other.
const START: Duration = Duration::from_secs(180);
/// Maximum time for an answer about its health.
const HEALTH: Duration = Duration::from_secs(5);

/// A running server of MLflow, which is stopped when this is dropped.
pub struct Mlflow {
    /// The virtual environment.
    venv: PathBuf,
    /// The folder that the server writes to.
    folder: PathBuf,
    address: SocketAddr,
    process: Option<ServerProcess>,
}

impl Mlflow {
    /// Starts a server on a free port, with its virtual environment in `venvs`. It writes to `folder`.
    pub fn start(venvs: &Path, folder: &Path) -> io::Result<Self> {
        let [address] = free_addresses()?;
        fs::create_dir_all(folder.join("artifacts"))?;
        let mut server = Self { venv: venvs.join(NAME), folder: fs::canonicalize(folder)?, address, process: None };
        server.resume()?;
        Ok(server)
    }

    /// Returns the address of the registry: `http://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the server's log, which has a line for each request.
    pub fn log(&self) -> io::Result<String> {
        fs::read_to_string(self.log_file())
    }

    fn log_file(&self) -> PathBuf {
        self.folder.join("server.log")
    }

    /// Starts the server again after [`kill`](Self::kill), on the same port and data.
    pub fn resume(&mut self) -> io::Result<()> {
        let mut command = Command::new(self.venv.join("bin/mlflow"));
        command.args(["server", "--serve-artifacts", "--workers", "1", "--host", "127.0.0.1"]);
        command.arg("--port").arg(self.address.port().to_string());
        command.arg("--backend-store-uri").arg(format!("sqlite:///{}", self.folder.join("mlflow.db").display()));
        command.arg("--artifacts-destination").arg(self.folder.join("artifacts"));
        // Otherwise it starts eight more processes, which run its jobs.
        command.env("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false").env("MLFLOW_DISABLE_TELEMETRY", "true");
        command.current_dir(&self.folder);
        let is_ready = || is_healthy(self.address).unwrap_or(false);
        self.process = Some(ServerProcess::start(NAME, &mut command, &self.log_file(), START, is_ready)?);
        Ok(())
    }

    /// Kills the server with SIGKILL, and the processes that it started.
    pub fn kill(&mut self) -> io::Result<()> {
        self.process.take().map_or(Ok(()), |mut process| process.kill())
    }
}

/// Returns whether the server says that it is well.
fn is_healthy(address: SocketAddr) -> io::Result<bool> {
    let mut server = TcpStream::connect(address)?;
    server.set_read_timeout(Some(HEALTH))?;
    write!(server, "GET /health HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    server.read_to_string(&mut answer)?;
    Ok(answer.starts_with("HTTP/1.1 200"))
}
