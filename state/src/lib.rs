//! Keyed state of Tidemill: hot tables, RocksDB behind them, deltas and the checkpoint store.
//!
//! ```text
//! operators ──▶ value · log · timers · held  (decoded, in memory)      worker thread
//!                 │ seal, once an epoch
//!                 ▼
//!               Delta ──▶ CheckpointStore (file)                       checkpoint thread
//!                 └─────▶ Db (RocksDB) ──▶ base snapshots
//!               Manifest names base and deltas of every worker = a checkpoint
//!
//! restore: changes (names) ─▶ rows (do the stored ones fit? shape, versions) ─▶ rewritten where they are older
//! ```

mod checkpoint;
mod codec;
mod error;
mod evolve;
mod hot;
mod ids;
mod key;
mod locks;
mod rows;
#[cfg(test)]
mod soak;
mod worker;

pub use checkpoint::claim::{Found, Starter};
pub use checkpoint::delta::{Delta, DeltaEntry, Elements, Op, Ops, blobs_of};
pub use checkpoint::inspection::{LostFile, Watch};
pub use checkpoint::manifest::{Manifest, WorkerEntry};
pub use checkpoint::plan::{RestoreFrom, RestorePlan, plan_restore};
pub use checkpoint::retention::{Pruning, Retention};
pub use checkpoint::store::{BaseEntry, BaseFile, CheckpointStore, LocalStore, MemoryStore};
pub use checkpoint::take_over::{Taken, follow, take_over};
pub use checkpoint::work_dir::Workplace;
pub use codec::hash_value;
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
pub use hot::table::Table;
pub use hot::timers::TimerTable;
pub use hot::value::{Single, ValueTable};
pub use ids::{DEFAULT_KEY_GROUPS, KeyGroup, KeyGroups};
pub use key::{Key, Value, hash_key};
pub use rows::db::Db;
pub use rows::snapshot::Snapshot;
pub use worker::{Backend, BackendConfig, MemoryCheckpoint, OperatorStates, RestoredWorker};
