//! Windows, joins, tables, rolling aggregates and inference, as plain logic above the engine's shell.

pub mod deduplicate;
pub mod fold;
pub mod infer;
pub mod join;
mod length;
pub mod pattern;
pub mod pool;
pub mod rolling;
pub mod sample;
mod search;
mod sum;
#[cfg(feature = "tables")]
pub mod table;
pub mod throttle;
pub mod window;

/// Differential dataflow as tables are made of: for what [`table::Table`] has no method for.
#[cfg(feature = "tables")]
pub use differential_dataflow as differential;
