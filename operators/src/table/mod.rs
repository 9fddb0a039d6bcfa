//! Tables: keyed changelogs as collections of differential dataflow, in the same graph and on the same time.
//!
//! ```text
//! upserts ─▶ changelog.rs: rows by key, ±1 ─▶ view.rs: filter · map · join · reduce · count · distinct · top n · iterate
//!                └ keyed state: each row, and versions     └▶ emitted.rs: what was emitted of a view ─▶ upserts, changes
//!                  that a view may still be asked for            └ keyed state, compared with after a restore
//! ```
//! What can be done with rows is in `relation.rs`, for tables and for loops; `reduction.rs` reduces them by key.
//!
//! Differential dataflow itself is not in a checkpoint. After a restore it is given the rows of the base tables again
//! and computes every view anew; `emitted.rs` emits nothing of that, and goes on where it was. For that the base
//! tables keep, beside the row that holds, those that held since the slowest reader's watermark (`readers.rs`).
//!
//! Known limits: a view is in memory, on all workers; differential's exchanges are not charged to the budget of
//! records in flight; two outputs of one view compute it once each, unless they share a [`Table`] that is cloned.

mod changelog;
mod emitted;
mod readers;
mod reduction;
mod relation;
mod view;

pub use changelog::{Changelog, ChangelogLogic, TableExt, TableOutput, Versioned};
pub use emitted::{Change, ChangesLogic, RowsEmitted, UpsertsLogic};
pub use readers::Readers;
pub use reduction::DataflowTime;
pub use relation::Relation;
pub use view::Table;

use serde::{Deserialize, Serialize};
use tidemill_engine::Data;
use tidemill_state::Key;

/// What keys and rows of tables are.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a key or row of a table",
    note = "rows are compared, hashed, stored and sent between workers: derive Clone, Debug, Hash, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize; keep amounts as integers, or wrap floats in a type with a total order"
)]
pub trait Row: Key + Data {}

#[diagnostic::do_not_recommend]
impl<T: Key + Data> Row for T {}

/// A change of a row of a table: what it is from now on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Upsert<K, V> {
    /// Whose row.
    pub key: K,
    /// The row; `None`: there is none.
    pub row: Option<V>,
}

impl<K, V> Upsert<K, V> {
    /// The row of `key` is `row` from now on.
    pub fn put(key: K, row: V) -> Self {
        Self { key, row: Some(row) }
    }

    /// There is no row of `key` any more.
    pub fn delete(key: K) -> Self {
        Self { key, row: None }
    }
}
