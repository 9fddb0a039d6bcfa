//! PostgreSQL on loopback, from Debian's package `postgresql`, for tests.
//!
//! Known limit: when the process that started it is killed with SIGKILL, the server is left running.

use std::fs;
use std::io::{self, Error, Write};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::free_address;
use crate::server_process::ServerProcess;

/// Maximum time that a server may take to start, recovery included.
const START: Duration = Duration::from_secs(60);
/// Where Debian's packages are, each in a folder of its version.
const DEBIAN: &str = "/usr/lib/postgresql";

/// A running server, which is stopped when this is dropped.
pub struct Postgres {
    programs: PathBuf,
    folder: PathBuf,
    port: u16,
    /// The user and the group that it runs as: it refuses to run as root.
    runs_as: Option<(u32, u32)>,
    process: Option<ServerProcess>,
}

/// Returns the folder of the server's programs, the newest if there are several.
pub fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir(DEBIAN).into_iter().flatten().flatten().map(|version| version.path().join("bin"));
    versions.filter(|folder| folder.join("initdb").exists()).max_by_key(|folder| version_of(folder))
}

fn version_of(folder: &Path) -> u32 {
    let version = folder.parent().and_then(Path::file_name).and_then(|name| name.to_str());
    version.and_then(|version| version.parse().ok()).unwrap_or(0)
}

impl Postgres {
    /// Starts a server with an empty database, on a free port: user `tidemill`, database `postgres`, no password.
    pub fn start() -> io::Result<Self> {
        static SERVERS: AtomicU32 = AtomicU32::new(0);
        let programs = programs().ok_or_else(|| Error::other(format!("there is no PostgreSQL in {DEBIAN}")))?;
        let number = SERVERS.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("tidemill-postgres-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let runs_as = if is_root() { Some(postgres_user()?) } else { None };
        if let Some((user, group)) = runs_as {
            chown(&folder, Some(user), Some(group))?;
        }
        let mut server = Self { programs, folder, port: free_address().port(), runs_as, process: None };
        let initdb = ["-A", "trust", "-U", "tidemill", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8", "-D"];
        let output = server.program("initdb").args(initdb).arg(server.data()).output()?;
        if !output.status.success() {
            return Err(Error::other(format!("initdb failed: {}", String::from_utf8_lossy(&output.stderr))));
        }
        server.resume()?;
        Ok(server)
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        if let Some((user, group)) = self.runs_as {
            command.uid(user).gid(group);
        }
        command.current_dir(&self.folder).env_remove("PGPORT").stdin(Stdio::null());
        command
    }

    /// Starts the server again after [`kill`](Self::kill), on the same port and data.
    pub fn resume(&mut self) -> io::Result<()> {
        let (port, data) = (self.port.to_string(), self.data());
        let mut command = self.program("postgres");
        command
            .args(["-p", &port, "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-D"])
            .arg(data);
        let isready = self.programs.join("pg_isready");
        let is_ready = || {
            let asked = Command::new(&isready).args(["-q", "-h", "127.0.0.1", "-p", &port]).status();
            asked.is_ok_and(|status| status.success())
        };
        let log = self.folder.join("server.log");
        self.process = Some(ServerProcess::start("PostgreSQL", &mut command, &log, START, is_ready)?);
        Ok(())
    }

    /// Has the server encrypt connections, with this key and certificate, and let in whom these lines of `pg_hba.conf` say. It
    /// starts anew.
    pub fn encrypt(&mut self, key: &str, certificate: &str, access: &str) -> io::Result<()> {
        let data = self.data();
        for (from, name) in [(key, "server.key"), (certificate, "server.crt")] {
            let path = data.join(name);
            fs::copy(from, &path)?;
            // It refuses a key that others may read, and may not be root itself.
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
            if let Some((user, group)) = self.runs_as {
                chown(&path, Some(user), Some(group))?;
            }
        }
        fs::write(data.join("pg_hba.conf"), access)?;
        let mut settings = fs::OpenOptions::new().append(true).open(data.join("postgresql.conf"))?;
        writeln!(settings, "ssl = on")?;
        self.kill()?;
        self.resume()
    }

    /// Returns where the database is: `postgres://tidemill@127.0.0.1:PORT/postgres`.
    pub fn url(&self) -> String {
        format!("postgres://tidemill@127.0.0.1:{}/postgres", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Kills the server and all of its processes with SIGKILL.
    pub fn kill(&mut self) -> io::Result<()> {
        self.process = None;
        // Its processes may hold the port, and the shared memory, for a moment.
        while TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
            pause();
        }
        Ok(())
    }

    /// Sends a signal of this name to all processes of the server: `STOP` has it hang, and `CONT` go on.
    pub fn signal(&self, name: &str) -> io::Result<()> {
        self.process.as_ref().map_or(Ok(()), |process| process.signal(name))
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.process = None;
        drop(fs::remove_dir_all(&self.folder));
    }
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout.starts_with(b"0\n"))
}

/// Returns the user and the group that Debian's package made for the server.
fn postgres_user() -> io::Result<(u32, u32)> {
    let users = fs::read_to_string("/etc/passwd")?;
    let found = users.lines().find_map(|line| {
        let mut fields = line.strip_prefix("postgres:")?.split(':').skip(1);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    });
    found.ok_or_else(|| Error::other("there is no user postgres, and the server does not run as root"))
}

#[expect(clippy::disallowed_methods, reason = "a server that ends has no scheduler to report to")]
fn pause() {
    std::thread::sleep(Duration::from_millis(50));
}
