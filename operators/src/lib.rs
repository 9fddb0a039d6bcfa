//! Operators for keyed streams: windows, joins, tables, rolling aggregates, patterns and inference. Each is plain
//! logic that the engine's shell runs.

// docs.rs, which sets `docsrs` and compiles with nightly, shows the feature that each item needs.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod buckets;
pub mod deduplicate;
pub mod drift;
pub mod fold;
pub mod infer;
pub mod join;
pub mod labels;
mod length;
pub mod pattern;
pub mod pool;
mod ranked;
pub mod rolling;
pub mod sample;
mod search;
mod sum;
#[cfg(feature = "tables")]
pub mod table;
pub mod throttle;
pub mod window;

/// The version of differential dataflow that tables are made of. It is for operations that [`table::Table`] does not
/// have.
#[cfg(feature = "tables")]
pub use differential_dataflow as differential;
