//! A server of a test, and what is in its tables.

use std::sync::{Mutex, MutexGuard, PoisonError};

use postgres::{Client, NoTls, Row};
use testkit::postgres::{Postgres, programs};
use tidemill::postgres::Database;

/// Returns a lock that lets these tests run one at a time, since they kill processes and depend on real time.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a server. Without PostgreSQL, the test prints that it did not run, and fails in CI.
pub fn server() -> Option<Postgres> {
    if programs().is_none() {
        assert!(std::env::var_os("CI").is_none(), "CI must have PostgreSQL");
        eprintln!("NOT RUN: no PostgreSQL: `cargo xtask test` installs Debian's package postgresql");
        return None;
    }
    Some(Postgres::start().unwrap())
}

pub fn database(server: &Postgres) -> Database {
    Database::new("127.0.0.1", "postgres").port(server.port()).user("tidemill")
}

pub fn client(server: &Postgres) -> Client {
    Client::connect(&server.url(), NoTls).unwrap()
}

/// Executes statements.
pub fn execute(server: &Postgres, statements: &str) {
    client(server).batch_execute(statements).unwrap();
}

/// Returns the rows of a query.
pub fn query(server: &Postgres, query: &str) -> Vec<Row> {
    client(server).query(query, &[]).unwrap()
}

/// Returns the first column of a query, which is a bigint.
pub fn numbers(server: &Postgres, sql: &str) -> Vec<i64> {
    query(server, sql).iter().map(|row| row.get(0)).collect()
}
