//! Tools for tests of logic or of a whole program, on virtual time, with crashes and restores.
//!
//! ```text
//! LogicTest    one keyed operator, no threads, no files, microseconds per step        logic.rs
//! ProgramTest  a whole job on the real engine, some 10 ms for reading its output      program.rs · source.rs · sink.rs
//! Simulation   a whole job in a simulated world, which is determined by a seed        simulation/
//! ```
//! The first two are driven in the same way: [`push`](LogicTest::push) records, move the
//! [`watermark`](LogicTest::watermark) and the [`clock`](LogicTest::clock), take a checkpoint, crash (also to
//! another number of workers), and read the output. Output is what has been committed, so a crash neither loses
//! nor duplicates any of it; records that were pushed since the last checkpoint are pushed again automatically, as
//! a source would do.
//!
//! Everything here panics where a job would stop with an error: that is how a test fails.

#![expect(clippy::panic, reason = "a test fails by panicking")]

mod exchange;
mod logic;
mod must;
mod program;
mod simulation;
mod sink;
mod source;
mod stage;

#[doc(hidden)] // for benchmarks
pub use exchange::Exchange;
pub use logic::LogicTest;
pub use program::ProgramTest;
pub use simulation::{FailingSeed, Outside, OutsideError, Simulation, SimulationReport, SimulationSettings};
pub use sink::TestSink;
pub use source::TestSource;
