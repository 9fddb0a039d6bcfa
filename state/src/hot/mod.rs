//! State in memory, decoded: tables of values and of queues, timers, and records that wait for the watermark.

pub(crate) mod persistent;
