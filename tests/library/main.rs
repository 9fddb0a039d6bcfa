//! Every operator of the library is compared with a naive loop in memory, on random data: out of order, late, with
//! equal times, before 1970, at the limits of time; with crashes and restores to another number of workers in
//! between.
//!
//! Most cases run the logic in the test kit (`LogicTest`). Others run the whole engine, in a simulated world
//! (`Simulation`) or on real threads (`ProgramTest`).

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod changes;
mod connectors;
mod evolution;
mod habits;
mod joins;
mod kinds;
mod late;
mod lookup;
mod names;
mod pages;
mod parameters;
mod programs;
mod reference;
mod reference_kills;
mod rest;
mod rolling;
mod sample;
mod settings;
mod totals;
mod whole;
mod windows;
