//! Joins of two streams, and of a stream with a table, with a set of rules, or with an external service.
//!
//! ```text
//! window.rs     records in the same window           interval.rs   records within some time of each other
//! temporal.rs   a record with the version of a table row that was valid at the record's time
//! broadcast.rs  every record with all of a small, changing set (rules)
//! lookup.rs     a record with a row of an external service, through a cache
//! ```
//! All joins except the lookup follow event time: they have the same results in every replay, with any number of
//! workers. The exceptions are late records, and the order of two table versions or rules of the same time.

mod broadcast;
mod interval;
mod kind;
mod lookup;
mod operator;
mod temporal;
mod window;

pub use broadcast::{Broadcast, BroadcastExt, BroadcastJoinExt, BroadcastLogic, SLOTS};
pub use interval::{Between, IntervalJoinLogic, TimeOffset, earlier, later};
pub use kind::{JoinKind, Joined};
pub use lookup::{FetchRows, FetchSettings, LookupCache, LookupExt, LookupKey, LookupSettings};
pub use operator::{JoinExt, JoinOutput, PairsOutput, RowsOutput};
pub use temporal::{TemporalJoinLogic, TemporalTable};
pub use window::{Pairs, pairs};
