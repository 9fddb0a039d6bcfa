//! The outbox: output that is staged in checkpoints and published exactly once, into any target that can move a marker
//! together with rows.
//!
//! ```text
//! writer ─ rows of the epoch (epoch_rows.rs) ─▶ token in the delta (token.rs)
//! committed ─▶ publisher.rs: tries ─▶ Target::publish: one transaction moves the marker and writes the rows
//! a start ─▶ recovery.rs: take over the markers (fences the last run) ─▶ plan() ─▶ publish what is above them
//! leaves: marker.rs (what is marked, and what that means) · settings.rs · deadline.rs · target.rs (the trait)
//! ```
//! The marker is checked inside each transaction that moves it. So an attempt whose outcome is unknown is simply made
//! again: the marker says whether it is published. A target that cannot have a marker (a webhook) uses the token, the
//! deadline and the retries (`crate::retry`) only.

#[cfg(any(feature = "postgres", feature = "redis", feature = "webhook"))]
mod deadline;
#[cfg(any(feature = "postgres", feature = "redis"))]
mod epoch_rows;
#[cfg(any(feature = "kafka", feature = "postgres", feature = "redis"))]
mod marker;
#[cfg(any(feature = "postgres", feature = "redis"))]
mod publisher;
#[cfg(any(feature = "postgres", feature = "redis"))]
mod recovery;
#[cfg(any(feature = "kafka", feature = "postgres", feature = "redis"))]
mod settings;
#[cfg(any(feature = "postgres", feature = "redis"))]
mod target;
mod token;

#[cfg(any(feature = "postgres", feature = "redis", feature = "webhook"))]
pub(crate) use deadline::within;
#[cfg(any(feature = "postgres", feature = "redis"))]
pub(crate) use epoch_rows::EpochRows;
#[cfg(any(feature = "kafka", feature = "postgres", feature = "redis"))]
pub(crate) use marker::Marked;
#[cfg(feature = "kafka")]
pub(crate) use marker::{Recovery, plan};
#[cfg(any(feature = "postgres", feature = "redis"))]
pub(crate) use publisher::Publisher;
#[cfg(any(feature = "postgres", feature = "redis"))]
pub(crate) use recovery::{Staged, recover};
#[cfg(any(feature = "kafka", feature = "postgres", feature = "redis"))]
pub use settings::LostMarker;
#[cfg(any(feature = "postgres", feature = "redis"))]
pub(crate) use target::{Outbox, Published, Target};
#[cfg(any(feature = "kafka", feature = "redis", feature = "webhook"))]
pub(crate) use token::damaged;
pub(crate) use token::{decode, encode};
