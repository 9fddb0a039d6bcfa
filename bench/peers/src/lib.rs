//! What the loop without an engine and the program in plain timely dataflow share: records, state and output.
//!
//! ```text
//! lines ─▶ iot:   reading ─▶ windows of 10 s per machine ─▶ a line per window
//!      └─▶ fraud: transaction ─▶ by event time ─▶ velocity of the card ─▶ rule or model ─▶ a line per alert
//! ```
//! All of it is the fastest that is still plain: keys of one word, hash maps, sums that are not exact. Nothing here comes
//! from Tidemill.

pub mod alerts;
pub mod args;
pub mod cards;
pub mod examples;
pub mod iot;
pub mod lines;
pub mod model;
