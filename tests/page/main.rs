//! The page, as a person sees it: a real job in a real browser. What is there, what a screen reader and a keyboard find,
//! what happens when the job is killed and started again, and what is saved for the incident ticket.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod browser;
mod cluster;
mod drift;
mod job;
mod modules;
mod picture;
mod watch;
