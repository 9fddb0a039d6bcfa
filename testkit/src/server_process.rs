//! The process of a server that a test starts: its log, the wait until it answers, and its end.
//!
//! Known limit: when the process that started it is killed with SIGKILL, the server is left running.

use std::fs::{self, File};
use std::io::{self, Error};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Number of lines at the end of a log that say why a server did not start.
const LAST: usize = 30;

/// A running server, which is killed when this is dropped.
pub struct ServerProcess(Child);

impl ServerProcess {
    /// Starts a server that writes to the end of `log`, and waits until it is ready. If it ends before, or is not ready
    /// within this time, the error has the end of its log.
    pub fn start(
        name: &str,
        command: &mut Command,
        log: &Path,
        within: Duration,
        is_ready: impl Fn() -> bool,
    ) -> io::Result<Self> {
        let to = File::options().create(true).append(true).open(log)?;
        let mut process = Self(command.stdin(Stdio::null()).stdout(to.try_clone()?).stderr(to).spawn()?);
        let started = Instant::now();
        while !is_ready() {
            let ended = process.0.try_wait()?;
            if ended.is_some() || started.elapsed() > within {
                let log = fs::read_to_string(log).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                let last = lines[lines.len().saturating_sub(LAST)..].join("\n");
                return Err(Error::other(format!("{name} did not start ({ended:?}): {last}")));
            }
            pause();
        }
        Ok(process)
    }

    /// Kills the server with SIGKILL, and the processes that it started: they would not always notice.
    pub fn kill(&mut self) -> io::Result<()> {
        if self.0.try_wait()?.is_some() {
            // Its id may be another process's by now.
            return Ok(());
        }
        let its_own = started_by(self.0.id());
        self.0.kill()?;
        self.0.wait()?;
        if !its_own.is_empty() {
            // Most of them have ended by themselves by now, so `kill` may fail to find them.
            Command::new("kill").arg("-KILL").args(its_own).stderr(Stdio::null()).status()?;
        }
        Ok(())
    }

    /// Returns the ids of the server and of the processes that it started.
    fn ids(&self) -> Vec<String> {
        let id = self.0.id();
        [vec![id.to_string()], started_by(id)].concat()
    }

    /// Sends a signal of this name to the server and the processes that it started: `STOP` has it hang, and `CONT` go on.
    pub fn signal(&self, name: &str) -> io::Result<()> {
        // Those of connections that have just been closed may be gone.
        let sent = Command::new("kill").arg(format!("-{name}")).args(self.ids()).stderr(Stdio::null()).status();
        sent.map(drop)
    }

    /// Waits until the server ends by itself.
    pub fn wait(&mut self) -> io::Result<()> {
        self.0.wait().map(drop)
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        drop(self.kill());
    }
}

/// Returns the ids of the processes that a process started.
fn started_by(id: u32) -> Vec<String> {
    let threads = fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten();
    let children = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    children.flat_map(|ids| ids.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[expect(clippy::disallowed_methods, reason = "a server that starts has no scheduler to report to")]
fn pause() {
    std::thread::sleep(Duration::from_millis(100));
}
