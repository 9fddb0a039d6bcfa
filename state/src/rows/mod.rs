//! The rows of state behind what is in memory: in RocksDB, or in maps where a job is simulated.

pub(crate) mod db;
mod maps;
mod options;
mod rewrite;
mod rocks;
pub(crate) mod snapshot;
mod store;

#[cfg(test)]
mod tests;
