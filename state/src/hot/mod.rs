//! State in memory, decoded: tables of values and of queues, timers, and records that wait for the watermark.

pub(crate) mod entry;
pub(crate) mod log;
pub(crate) mod memory;
#[cfg(test)]
mod packed_tests;
pub(crate) mod pending;
pub(crate) mod persistent;
pub(crate) mod table;
pub(crate) mod timers;
pub(crate) mod value;
