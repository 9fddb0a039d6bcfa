//! Keyed state of Tidemill: hot tables, RocksDB behind them, deltas and the checkpoint store.
//!
//! ```text
//! worker/      all state of one worker: opened or restored, registered, sealed, evicted
//! inspect/     rows of a checkpoint as JSON, without the program's types
//! hot/         state in memory, decoded: value · log · timers · pending
//! rows/        the rows behind it: RowStore (RocksDB, or maps in a simulation), and the deltas on their way into it
//! checkpoint/  delta · manifest · store · retention · savepoint · take_over · work_dir
//! evolve/      the name and shape of a state, and how stored state of an older version becomes the newest
//! packed · lengths · ids · key · codec · error · remedy · locks
//! ```
//! Each module uses only the modules below it. An epoch takes this way:
//!
//! ```text
//! operators ──▶ value · log · timers · pending  (decoded, in memory)   worker thread
//!                 │ seal, once an epoch
//!                 ▼
//!               Delta ──▶ CheckpointStore (file)                       checkpoint thread
//!                 └─────▶ Db (RowStore) ──▶ base snapshots
//!               Manifest names base and deltas of every worker = a checkpoint
//!
//! restore: changes (names) ─▶ fit (are the stored rows as the program reads them? shape, versions) ─▶ rewritten where older
//! ```
//! This crate is internal. Programs meet a few of its types ([`Ttl`], [`Versions`], [`Key`], [`Value`], …), which take
//! lengths of time as `Duration`s. The calls by which the engine drives the crate are in whole milliseconds
//! ([`OperatorStates::pass`]), as event time is stored.

// docs.rs, which sets `docsrs` and compiles with nightly, shows the feature that each item needs.
#![cfg_attr(docsrs, feature(doc_cfg))]

/// Whether state may be larger than memory, which is so when this crate is built with RocksDB.
pub const SPILLS: bool = cfg!(feature = "rocksdb");

mod checkpoint;
mod codec;
mod error;
mod evolve;
mod hot;
mod ids;
mod inspect;
mod key;
mod lengths;
#[doc(hidden)]
pub mod locks;
mod packed;
mod remedy;
mod rows;
#[cfg(test)]
mod soak;
mod threads;
mod worker;

#[doc(hidden)]
pub use checkpoint::catalog::{Catalogued, Contents, catalogue};
pub use checkpoint::claim::{ManifestFile, Starter};
pub use checkpoint::delta::{Delta, DeltaEntry, EncodedElements, Op, Ops, blobs_of};
#[doc(hidden)]
pub use checkpoint::examine::{Examination, Fault, Finding, Notice, examine};
pub use checkpoint::inspection::{MissingFile, Watch};
pub use checkpoint::manifest::{ControlEntry, Manifest, NamedFile, WorkerEntry};
pub use checkpoint::plan::{RestoreFrom, RestorePlan, plan_restore};
pub use checkpoint::retention::{Pruning, Retention};
pub use checkpoint::savepoint::ClaimMode;
#[doc(hidden)]
pub use checkpoint::savepoint::{
    ListedSavepoint, Savepoint, SavepointName, Sharing, savepoint_place, savepoints, take_savepoint,
    take_savepoint_unless_removed,
};
pub use checkpoint::store::{BaseEntry, BaseFile, CheckpointStore, LocalStore, MemoryStore};
pub use checkpoint::take_over::{Takeover, follow, take_over};
pub use checkpoint::work_dir::WorkDir;
pub use codec::{decode_message, encode_message, hash_value};
pub use error::{ErrorKind, StateError};
pub use evolve::changes::{Changes, Rename};
pub use evolve::parameters::Parameters;
pub use evolve::shape::{Layout, Shape};
pub use evolve::spec::{StateEntry, StateName, StateSpec, Ttl, TtlClock};
pub use evolve::versions::Versions;
pub use hot::entry::Entry;
pub use hot::log::{Log, LogTable, Queue};
pub use hot::memory::MemoryUse;
pub use hot::pending::{HashOf, OrderBuffer};
pub use hot::persistent::Persistent;
pub use hot::table::HotTable;
pub use hot::timers::TimerTable;
pub use hot::value::{Single, ValueTable};
pub use ids::{DEFAULT_KEY_GROUPS, KeyGroup, KeyGroups};
#[doc(hidden)]
pub use inspect::{Column, ColumnType, Compared, StateDifference, StateSize, columns, compare, count, dump};
pub use key::{Key, Value, hash_key};
pub use remedy::Remedy;
pub use rows::db::Db;
pub use rows::figures::RowFigures;
pub use rows::snapshot::RowSnapshot;
pub use worker::{MemoryCheckpoint, OperatorStates, RestoredWorker, StartPart, WorkerState, WorkerStateConfig};
