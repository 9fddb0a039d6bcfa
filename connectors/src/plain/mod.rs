//! Fast parsers for plain text. They take what nearly all files and messages consist of and refuse the rest, which
//! other parsers then read: `serde_json`, and `csv`'s deserialiser of records.
//!
//! ```text
//! text ─▶ plain ─┬─ taken: the value is the one that the other parser would return
//!                └─ refused: the other parser decides, also on what the error is
//! ```
//! So a parser here must never take what the other one refuses, nor return another value; that it refuses costs time
//! only. The tests compare both on random and damaged text.

pub(crate) mod csv;
pub(crate) mod json;
mod number;
mod refused;
mod scan;
mod tries;

pub(crate) use tries::Tries;
