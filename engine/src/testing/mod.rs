//! A kit for tests: logic, or a whole program, on virtual time, with crashes and restores.
//!
//! ```text
//! LogicTest    one keyed operator, no threads, no files, microseconds a step     logic.rs
//! ProgramTest  a whole job on the real engine, some 10 ms a look at its output   program.rs · source.rs · sink.rs
//! Simulation   a whole job in a world that a seed decides everything of          simulation/
//! ```
//! The first two are driven by the same verbs: [`push`](LogicTest::push) records, move the [`watermark`](LogicTest::watermark)
//! and the [`clock`](LogicTest::clock), take a checkpoint, crash (also to another number of workers), look at the
//! output. Output is what is committed, so a crash neither loses nor doubles any of it; what was pushed since
//! the last checkpoint is pushed again by itself, as a source would.
//!
//! Everything here panics where a job would stop with an error: that is how a test fails.

#![expect(clippy::panic, reason = "a test fails by panicking")]

mod logic;
mod must;
mod program;
mod simulation;
mod sink;
mod source;
mod stage;

pub use logic::LogicTest;
pub use program::ProgramTest;
pub use simulation::{FailingSeed, Outside, OutsideError, Simulation, SimulationReport, SimulationSettings};
pub use sink::TestSink;
pub use source::TestSource;
