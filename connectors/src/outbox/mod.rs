//! The outbox: output that is staged in checkpoints and published exactly once, into any target that can move a marker
//! together with rows.
//!
//! ```text
//! writer ─ rows of the epoch ─▶ token in the delta (token.rs)
//! committed ─▶ publisher.rs: tries ─▶ Target::publish: one transaction moves the marker and writes the rows
//! a start ─▶ recovery.rs: take over the markers (fences the last run) ─▶ plan() ─▶ publish what is above them
//! leaves: marker.rs (what is marked, and what that means) · settings.rs · deadline.rs · target.rs (the trait)
//! ```
//! The marker is checked inside each transaction that moves it. So an attempt whose outcome is unknown is simply made
//! again: the marker says whether it is published.

#[cfg(feature = "postgres")]
mod deadline;
mod marker;
#[cfg(feature = "postgres")]
mod publisher;
#[cfg(feature = "postgres")]
mod recovery;
mod settings;
#[cfg(feature = "postgres")]
mod target;
mod token;

#[cfg(feature = "postgres")]
pub(crate) use deadline::within;
pub(crate) use marker::Marked;
#[cfg(feature = "kafka")]
pub(crate) use marker::{Recovery, plan};
#[cfg(feature = "postgres")]
pub(crate) use publisher::{Publisher, retried};
#[cfg(feature = "postgres")]
pub(crate) use recovery::{Staged, recover};
pub use settings::LostMarker;
#[cfg(feature = "postgres")]
pub(crate) use target::{Failure, Outbox, Published, Target};
#[cfg(feature = "kafka")]
pub(crate) use token::damaged;
pub(crate) use token::{decode, encode};
