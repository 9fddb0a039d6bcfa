//! Tables: keyed changelogs as collections of differential dataflow, in the same graph and on the same time.
//!
//! ```text
//! upserts ─▶ changelog.rs: rows by key, ±1 ─▶ view.rs: filter · map · join · reduce · count · distinct · top n · iterate
//!                └ keyed state: each row, and versions     └▶ emitted.rs: what a view has emitted ─▶ upserts, changes
//!                  that a view may still need                    └ keyed state, which a restore compares with
//! ```
//! The operations on rows are in `relation.rs`, for tables and for loops; `reduction.rs` reduces rows by key.
//!
//! The state of differential dataflow itself is not in a checkpoint. After a restore it gets the rows of the base
//! tables again and computes every view anew; `emitted.rs` emits none of these results again, and continues where it
//! was. For that, base tables keep not only the current row of a key but also those that were valid since the
//! watermark of the slowest reader (`readers.rs`).
//!
//! Known limits: a view is in memory, on all workers; differential's exchanges do not count towards the maximum number
//! of records in flight; two outputs of one view compute it once each, unless they share a [`Table`] that is cloned.

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

/// A key or a row of a table. The trait is implemented for every type that meets its bounds.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a key or row of a table",
    note = "rows are compared, hashed, stored and sent between workers: derive Clone, Debug, Hash, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize; keep amounts as integers, or wrap floats in a type with a total order"
)]
pub trait Row: Key + Data {}

#[diagnostic::do_not_recommend]
impl<T: Key + Data> Row for T {}

/// A change of the row of a key: the row that is valid from now on, or its deletion.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Upsert<K, V> {
    /// The key of the row.
    pub key: K,
    /// The row; `None` if it is deleted.
    pub row: Option<V>,
}

impl<K, V> Upsert<K, V> {
    /// Returns a change that makes `row` the row of `key`.
    pub fn put(key: K, row: V) -> Self {
        Self { key, row: Some(row) }
    }

    /// Returns a change that deletes the row of `key`.
    pub fn delete(key: K) -> Self {
        Self { key, row: None }
    }
}
