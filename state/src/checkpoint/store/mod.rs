//! The stores that keep checkpoints: named files, a create-only put, and base snapshots.
//!
//! ```text
//! manifests/{epoch}.json                     the commit of an epoch, or a start's claim: created once, never changed
//! deltas/{epoch}-w{worker}-{incarnation}.delta
//! bases/{epoch}-w{worker}-{incarnation}/     a RocksDB checkpoint: SST files, CURRENT, MANIFEST-…
//! ```

mod contract;
mod hash;
mod local;
mod memory;

pub use contract::{BaseEntry, BaseFile, CheckpointStore};
pub use local::LocalStore;
pub use memory::MemoryStore;
