//! The metrics of a job: one [`OperatorMetrics`] per operator and worker.
//!
//! Operators own counters and histograms and update them once per batch. The status page and the report at the end take
//! a [`Snapshot`], which adds the workers up; `/metrics` shows each worker by itself.
//!
//! ```text
//! operator.rs, registry.rs  what operators update    values.rs, histogram.rs, activity.rs, reasons.rs, partitions.rs  its parts
//! user.rs  the counters of a program's logic
//! snapshot.rs  the sums over workers                  lateness.rs  why records are late
//! hot_keys.rs  the keys with most records, which are never labels
//! list.rs  all families of /metrics     own.rs  which family shows an operator's own metric
//! exposition.rs, samples.rs  the samples of an answer     format.rs, text.rs, protobuf.rs, native.rs  how they are written
//! ```

mod activity;
#[cfg(feature = "http")]
mod exposition;
mod family;
#[cfg(feature = "http")]
mod format;
mod histogram;
#[cfg(feature = "http")]
mod hot_keys;
mod lateness;
pub(crate) mod list;
mod native;
mod operator;
#[cfg(feature = "http")]
mod own;
mod partitions;
#[cfg(feature = "http")]
mod protobuf;
mod reasons;
mod registry;
#[cfg(feature = "http")]
mod samples;
mod slow;
mod snapshot;
#[cfg(feature = "http")]
mod text;
mod topology;
mod user;
mod values;

pub(crate) use activity::Activity;
pub use family::{Family, Kind};
#[cfg(feature = "http")]
pub(crate) use format::Format;
#[cfg(feature = "http")]
pub(crate) use hot_keys::{HotKeysOf, SHOWN, is_worth_naming};
pub use list::FAMILIES;
pub use operator::OperatorMetrics;
pub use partitions::{PartitionMetrics, PartitionState};
pub use registry::Metrics;
#[cfg(feature = "http")]
pub(crate) use samples::Samples;
pub use snapshot::{JobState, OperatorSnapshot, PartitionSnapshot, Snapshot, WorkerSnapshot};
pub(crate) use topology::{Topology, Wiring};
#[cfg(test)]
pub(crate) use topology::{TopologyEdge, TopologyNode};
pub(crate) use user::UserCounters;
pub use values::{Counter, Distribution, Gauge, Percentiles};
