//! The metrics of a job: one [`OperatorMetrics`] per operator and worker.
//!
//! Operators own counters and histograms and update them once per batch. The status page, `/metrics`
//! and the report at the end take a [`Snapshot`], which adds the workers up.

mod lateness;
mod operator;
mod registry;
mod snapshot;
mod topology;
mod values;

pub use operator::OperatorMetrics;
pub use registry::Metrics;
pub use snapshot::{JobState, OperatorSnapshot, Snapshot};
pub(crate) use topology::{Topology, Wiring};
#[cfg(test)]
pub(crate) use topology::{TopologyEdge, TopologyNode};
pub use values::{Counter, Distribution, Gauge, Percentiles};
