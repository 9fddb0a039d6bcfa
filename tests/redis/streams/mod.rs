//! The source of streams: each entry is read once, whatever is killed and whenever; what is gone before it was read is noticed.

mod crash;
mod gone;
mod job;
mod refused;
mod reports;
