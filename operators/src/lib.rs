//! Windows, joins, rolling aggregates and inference, as plain logic above the engine's shell.

pub mod deduplicate;
pub mod infer;
pub mod join;
pub mod pattern;
pub mod pool;
pub mod rolling;
pub mod sample;
pub mod throttle;
pub mod window;
