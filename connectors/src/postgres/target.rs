//! The table as a target of the outbox: marker and rows in one transaction.
//!
//! ```text
//! begin ─ update tidemill_marker … where incarnation = mine and epoch < e   (0 rows: published before, or not mine)
//!       ─ append: copy into the table       upsert: copy into a temporary table ─ insert … on conflict …
//!       ─ commit
//! ```

use std::fmt;
use std::io::Write;

use postgres::error::SqlState;
use postgres::{Client, Transaction};
use tidemill_engine::{ConnectorError, Epoch, ErrorKind, crash};

use super::database::Database;
use super::error::failure;
use super::table::{Column, quoted, quoted_table};
use crate::outbox::{Marked, Outbox, Published, Target};
use crate::retry::Failure;

/// The number of a row in the temporary table: of rows that are the same to an index, the last one counts.
const NUMBER: &str = "tidemill_number";
const ROWS: &str = "tidemill_rows";
/// Number of bytes that are sent at once.
const PIECE: usize = 1 << 16;

/// A table that rows are written to.
#[derive(Debug)]
pub(super) struct TableTarget {
    pub(super) database: Database,
    pub(super) table: String,
    pub(super) marker_table: String,
    pub(super) columns: Vec<Column>,
    /// The columns by which rows replace others; none if rows are appended.
    pub(super) keys: Vec<String>,
}

impl fmt::Display for TableTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "table \"{}\" of {}", self.table, self.database)
    }
}

impl TableTarget {
    fn names(columns: impl Iterator<Item = impl AsRef<str>>) -> String {
        columns.map(|column| quoted(column.as_ref())).collect::<Vec<_>>().join(", ")
    }

    fn columns(&self) -> String {
        Self::names(self.columns.iter().map(|column| &column.name))
    }

    /// Returns the statements that create the temporary table, and that empty it into the table.
    fn upsert(&self) -> (String, String) {
        let (table, columns, keys) = (quoted_table(&self.table), self.columns(), Self::names(self.keys.iter()));
        let create = format!(
            "create temporary table if not exists {ROWS} on commit delete rows as select {columns} from {table} with no data; \
             alter table pg_temp.{ROWS} add column if not exists {NUMBER} bigint generated always as identity"
        );
        let others = self.columns.iter().filter(|column| !self.keys.contains(&column.name));
        let changes: Vec<String> =
            others.map(|column| quoted(&column.name)).map(|c| format!("{c} = excluded.{c}")).collect();
        let action = match changes.is_empty() {
            true => "nothing".to_owned(),
            false => format!("update set {}", changes.join(", ")),
        };
        // In the order of the keys, so that two workers lock rows in the same order.
        let insert = format!(
            "insert into {table} ({columns}) select {columns} from (select distinct on ({keys}) * from pg_temp.{ROWS} \
             order by {keys}, {NUMBER} desc) latest order by {keys} on conflict ({keys}) do {action}"
        );
        (create, insert)
    }

    fn copy(transaction: &mut Transaction<'_>, into: &str, columns: &str, rows: &[u8]) -> Result<(), postgres::Error> {
        let mut writer = transaction.copy_in(&format!("copy {into} ({columns}) from stdin"))?;
        for piece in rows.chunks(PIECE) {
            if writer.write_all(piece).is_err() {
                // The error of the server comes with the end.
                break;
            }
        }
        writer.finish().map(drop)
    }

    fn write(&self, transaction: &mut Transaction<'_>, rows: &[u8]) -> Result<(), postgres::Error> {
        let columns = self.columns();
        if self.keys.is_empty() {
            return Self::copy(transaction, &quoted_table(&self.table), &columns, rows);
        }
        let (create, insert) = self.upsert();
        transaction.batch_execute(&create)?;
        Self::copy(transaction, &format!("pg_temp.{ROWS}"), &columns, rows)?;
        transaction.batch_execute(&insert)
    }

    fn marked(&self, transaction: &mut Transaction<'_>, outbox: &Outbox) -> Result<Option<Marked>, postgres::Error> {
        let marker = quoted_table(&self.marker_table);
        let read = format!("select epoch, incarnation from {marker} where sink = $1 and worker = $2 for update");
        let row = transaction.query_opt(&read, &[&outbox.name, &worker(outbox)])?;
        Ok(row.map(|row| Marked {
            epoch: Epoch(unsigned(row.get(0))),
            begun: None,
            incarnation: Some(unsigned(row.get(1))),
        }))
    }

    fn another(&self, outbox: &Outbox, marked: Option<&Marked>) -> Failure {
        let Outbox { name, worker } = outbox;
        let error = match marked {
            Some(marked) => ConnectorError::new(
                ErrorKind::Fenced,
                format!(
                    "another run has taken over the marker \"{name}\" of worker {worker} in {self}, at epoch {}: this one stops",
                    marked.epoch
                ),
            ),
            None => ConnectorError::new(
                ErrorKind::Data,
                format!("the marker \"{name}\" of worker {worker} was deleted from {self} while the job ran"),
            ),
        };
        Failure::Fatal(error)
    }
}

fn worker(outbox: &Outbox) -> i32 {
    i32::try_from(outbox.worker).unwrap_or(i32::MAX)
}

/// Epochs and incarnations are kept as bigint, bit by bit.
fn unsigned(stored: i64) -> u64 {
    stored as u64
}

fn stored(value: u64) -> i64 {
    value as i64
}

impl Target for TableTarget {
    type Connection = Client;

    fn connect(&self) -> Result<Client, Failure> {
        self.database.connect()
    }

    fn take_over(
        &self,
        client: &mut Client,
        outbox: &Outbox,
        incarnation: u64,
        accept: &mut dyn FnMut(Option<Marked>) -> Result<Epoch, ConnectorError>,
    ) -> Result<(), Failure> {
        let what = format!("take over the marker of {self}");
        let failed = |error| failure(&what, error);
        // Another job has made the table, or the row, at the same moment.
        let raced = |error: postgres::Error| match error.code().map(SqlState::code) {
            Some("23505" | "42P07") => {
                Failure::Retry(ConnectorError::caused(ErrorKind::Unavailable, format!("could not {what}"), error))
            }
            _ => failure(&what, error),
        };
        let marker = quoted_table(&self.marker_table);
        // Without the right to create tables an existing one is used.
        let exists = client.query_one("select to_regclass($1) is not null", &[&marker]).map_err(failed)?;
        if !exists.get::<_, bool>(0) {
            let create = format!(
                "create table if not exists {marker} (sink text, worker int, epoch bigint not null, incarnation bigint not null, primary key (sink, worker))"
            );
            client.batch_execute(&create).map_err(raced)?;
        }
        let mut transaction = client.transaction().map_err(failed)?;
        let marked = self.marked(&mut transaction, outbox).map_err(failed)?;
        let is_new = marked.is_none();
        let epoch = accept(marked).map_err(Failure::Fatal)?;
        let take = if is_new {
            format!("insert into {marker} (sink, worker, incarnation, epoch) values ($1, $2, $3, {})", stored(epoch.0))
        } else {
            format!("update {marker} set incarnation = $3 where sink = $1 and worker = $2")
        };
        let arguments: [&(dyn postgres::types::ToSql + Sync); 3] =
            [&outbox.name, &worker(outbox), &stored(incarnation)];
        transaction.execute(&take, &arguments).map_err(raced)?;
        transaction.commit().map_err(failed)
    }

    fn publish(
        &self,
        client: &mut Client,
        outbox: &Outbox,
        incarnation: u64,
        epoch: Epoch,
        rows: &[u8],
    ) -> Result<Published, Failure> {
        let what = format!("publish epoch {epoch} of worker {} to {self}", outbox.worker);
        let failed = |error| failure(&what, error);
        let marker = quoted_table(&self.marker_table);
        let mut transaction = client.transaction().map_err(failed)?;
        let advance = format!(
            "update {marker} set epoch = $4 where sink = $1 and worker = $2 and incarnation = $3 and epoch < $4"
        );
        let arguments: [&(dyn postgres::types::ToSql + Sync); 4] =
            [&outbox.name, &worker(outbox), &stored(incarnation), &stored(epoch.0)];
        if transaction.execute(&advance, &arguments).map_err(failed)? == 0 {
            let marked = self.marked(&mut transaction, outbox).map_err(failed)?;
            return match &marked {
                Some(marked) if marked.incarnation == Some(incarnation) => Ok(Published::Before),
                marked => Err(self.another(outbox, marked.as_ref())),
            };
        }
        crash::point("after-marker", epoch, outbox.worker);
        if !rows.is_empty() {
            self.write(&mut transaction, rows).map_err(failed)?;
        }
        crash::point("before-commit", epoch, outbox.worker);
        // If the answer is lost, the next attempt finds the marker where this one has put it, or not.
        transaction.commit().map_err(failed)?;
        Ok(Published::Now)
    }
}
