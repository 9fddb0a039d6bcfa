//! What a job counts, from the first day: one [`OperatorMetrics`] per operator and worker.
//!
//! Operators hold counters and histograms and touch them once per batch; whoever looks (the status
//! page, `/metrics`, the report at the end) takes a [`Snapshot`] that adds the workers up.

mod lateness;
mod operator;
mod registry;
mod snapshot;
mod values;

pub use operator::OperatorMetrics;
pub use registry::Metrics;
pub use snapshot::{JobState, OperatorSnapshot, Snapshot};
pub use values::{Counter, Distribution, Gauge, Percentiles};
