//! The PostgreSQL sink: rows into a table, exactly once through any crash.
//!
//! ```text
//! sink ─ crate::fields (of the record) ─ table (columns, keys) ─ encode ─ value (what a column takes) ─▶ rows in the token
//!      └ target: marker and rows in one transaction ─ database (connection) ─ error (what a SQLSTATE means)
//! url: all of it in one text
//! ```
//! The outbox (`crate::outbox`) makes it exactly once. `docs/connectors/postgres.md` has the guarantees.

mod database;
mod encode;
mod error;
mod sink;
mod table;
mod target;
mod url;
mod value;

pub use database::Database;
pub use sink::{PostgresSink, PostgresWriter};
pub use url::{PostgresUrl, PostgresUrlError};

pub use crate::outbox::LostMarker;
