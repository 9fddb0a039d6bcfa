//! What the examples compute, in plain loops.

pub mod fraud;
pub mod iot;
