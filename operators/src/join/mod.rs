//! Joins of two streams, and of a stream with a table, with rules, or with a service.
//!
//! ```text
//! window.rs     what falls into the same window      interval.rs   what is within some time of each other
//! temporal.rs   the version of a table row that held at the record's time
//! broadcast.rs  every record with all of a small, changing set (rules)
//! lookup.rs     rows of a service outside, through a cache
//! ```
//! All but the lookup keep to event time: the same pairs in any replay, at any number of workers, but for late records
//! and for which of two table versions or rules of the same time wins.

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
