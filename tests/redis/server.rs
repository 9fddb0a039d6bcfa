//! A server of a test, and what is in it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use redis::{Connection, FromRedisValue};
use tempfile::TempDir;
use testkit::redis::{Redis, is_here};
use tidemill::redis::RedisServer;

/// A running server and its folder, alone.
pub struct Running {
    pub server: Redis,
    pub scratch: TempDir,
    /// These tests run one at a time, since they kill processes and depend on real time.
    _alone: MutexGuard<'static, ()>,
}

/// Starts a server that keeps all that it confirms. Without Redis, the test prints that it did not run, and fails in CI.
pub fn server() -> Option<Running> {
    started(Redis::start)
}

/// Starts a server with these options.
pub fn server_with(options: &[&str]) -> Option<Running> {
    started(|folder| Redis::start_with(folder, options))
}

fn started(start: impl FnOnce(&std::path::Path) -> std::io::Result<Redis>) -> Option<Running> {
    static ALONE: Mutex<()> = Mutex::new(());
    if !is_here() {
        assert!(std::env::var_os("CI").is_none(), "CI must have Redis");
        eprintln!("NOT RUN: no Redis: `cargo xtask test` installs Debian's package redis-server");
        return None;
    }
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let scratch = tempfile::tempdir().unwrap();
    let server = start(&scratch.path().join("server")).unwrap();
    Some(Running { server, scratch, _alone: alone })
}

impl Running {
    pub fn at(&self) -> RedisServer {
        RedisServer::new("127.0.0.1").port(self.server.port())
    }

    pub fn connection(&self) -> Connection {
        connection(&self.server)
    }

    /// Sends a command, whose parts are separated by spaces.
    pub fn query<T: FromRedisValue>(&self, command: &str) -> T {
        query(&self.server, command)
    }
}

pub fn connection(server: &Redis) -> Connection {
    redis::Client::open(server.url()).unwrap().get_connection().unwrap()
}

/// Sends a command, whose parts are separated by spaces.
pub fn query<T: FromRedisValue>(server: &Redis, command: &str) -> T {
    let mut parts = command.split(' ');
    let mut sent = redis::cmd(parts.next().unwrap());
    parts.for_each(|part| {
        sent.arg(part);
    });
    sent.query(&mut connection(server)).unwrap()
}
