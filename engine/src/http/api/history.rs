//! `/api/v1/history`: a quarter of an hour, a row a second.

use serde::{Deserialize, Serialize};

use crate::http::sampler::{COLUMNS, Row};
use crate::http::shown::Shown;
use crate::locks::lock;

#[derive(Serialize)]
pub(in crate::http) struct History {
    interval_ms: u32,
    columns: [&'static str; COLUMNS.len()],
    pub(in crate::http) rows: Vec<Row>,
}

/// What another process's history is read for.
#[derive(Deserialize)]
pub(in crate::http) struct Rows {
    pub(in crate::http) rows: Vec<Row>,
}

/// Returns the rows after `since_ms`.
pub(in crate::http) fn history(shown: &Shown, since_ms: i64) -> History {
    let sampler = lock(&shown.sampler);
    let later = |row: &&Row| row[0].is_some_and(|time| time > since_ms as f64);
    let columns = COLUMNS.map(|(name, _)| name);
    History { interval_ms: 1000, columns, rows: sampler.rows.iter().filter(later).copied().collect() }
}
