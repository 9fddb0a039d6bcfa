//! The typed graph that a user builds, and the ports that its operators are made of.
//!
//! ```text
//! Flow ── source ─▶ Stream ── map, filter, … (stateless.rs) ─▶ Stream ── key_by (keyed.rs) ─▶ KeyedStream ── process ─▶ …
//! ```
//! Under it are packets of records between nodes of timely (`node.rs`), which do not know the types of a program. A method that has an operator of its own is defined beside that operator: `source` in `source/operator.rs`,
//! `process` in `keyed/operator.rs`, `batch` in `batch/operator.rs`, `sink` in `sink/operator.rs`.

mod changes;
mod keyed;
mod node;
mod port;
mod stateless;
mod stream;
#[cfg(feature = "tables")]
pub mod updates;
mod wires;

pub use keyed::{Either, KeyedStream};
pub(crate) use node::{Input, Node, Output, Packets, Split};
pub(crate) use port::Port;
pub use stream::{Flow, Stream};
