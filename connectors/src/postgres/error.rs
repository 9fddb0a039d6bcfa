//! What an error of the server or of the connection means: try again, or stop with all that the server says.

use postgres::Error;
use postgres::error::DbError;
use tidemill_engine::{ConnectorError, ErrorKind};

use crate::retry::Failure;

/// The classes and codes of SQLSTATE after which the same may succeed later: connection, resources, intervention of an
/// operator, deadlock, lock, system; a standby that is about to be the primary; a time-out of a session that was suspended.
const LATER: [&str; 12] =
    ["08", "53", "57P", "57014", "40001", "40P01", "55P03", "58", "XX000", "25006", "25P03", "25P04"];

/// Sorts an error. `what` is what was tried.
pub(super) fn failure(what: &str, error: Error) -> Failure {
    let Some(db) = error.as_db_error() else {
        // Of the connection, if not of this program; an encryption that fails may be another server's, during a switch.
        let message = format!("could not {what}");
        return Failure::Retry(ConnectorError::caused(ErrorKind::Unavailable, message, error));
    };
    let code = db.code().code();
    if LATER.iter().any(|prefix| code.starts_with(prefix)) {
        return Failure::Retry(ConnectorError::caused(ErrorKind::Unavailable, format!("could not {what}"), error));
    }
    Failure::Fatal(ConnectorError::new(kind_of(code), format!("could not {what}: {}", said(db))))
}

fn kind_of(code: &str) -> ErrorKind {
    match code.get(..2) {
        // Data that do not fit, and constraints.
        Some("22" | "23") => ErrorKind::Data,
        // Names, privileges, passwords: the user has to do something.
        _ => ErrorKind::Invalid,
    }
}

/// Returns what the server says, with table, column and row where it names them.
fn said(db: &DbError) -> String {
    let mut said = format!("{} (SQLSTATE {}", db.message(), db.code().code());
    for (name, value) in [
        ("table", db.table()),
        ("column", db.column()),
        ("constraint", db.constraint()),
        ("detail", db.detail()),
        ("where", db.where_()),
        ("hint", db.hint()),
    ] {
        if let Some(value) = value {
            said += &format!(", {name}: {value}");
        }
    }
    said + ")"
}
