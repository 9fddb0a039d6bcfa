//! The stored rows of state, behind the hot tables: in RocksDB, or in maps if the job is simulated or built without
//! RocksDB.

mod above;
pub(crate) mod db;
pub(crate) mod figures;
mod maps;
#[cfg(feature = "rocksdb")]
mod options;
mod rewrite;
#[cfg(feature = "rocksdb")]
mod rocks;
pub(crate) mod snapshot;
mod sorted;
mod store;
#[cfg(feature = "rocksdb")]
mod transfer;

#[cfg(test)]
#[cfg(feature = "rocksdb")]
mod tests;
