//! What sources share that acknowledge what they have read once its epoch is committed (MQTT; other queues later).
//!
//! ```text
//! poller thread ── arrived ─▶ Inbox: queue, bounded in bytes ── take ─▶ reader ─▶ records of the epoch
//!        ▲                      └─ ledger: ids and fingerprints of what is not known to be acknowledged
//!        └── acknowledgements ◀───── commit of the epoch ◀── engine
//! ```
//! The ledger decides which of the messages that come again are known already, and which may be acknowledged; there is no
//! I/O in it. `split` is the watermark and the idleness of one split, which Kafka's partitions have, too.

#[cfg(feature = "mqtt")]
mod ledger;
#[cfg(feature = "mqtt")]
mod queue;
mod split;

#[cfg(feature = "mqtt")]
pub(crate) use ledger::{Delivery, Ledger};
#[cfg(feature = "mqtt")]
pub(crate) use queue::{Inbox, Taken};
pub(crate) use split::SplitProgress;
#[cfg(any(feature = "kinesis", feature = "mqtt", feature = "redis"))]
pub(crate) use split::promise;
