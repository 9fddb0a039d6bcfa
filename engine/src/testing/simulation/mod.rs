//! Simulations of whole programs: each seed determines one run.
//!
//! ```text
//! run.rs         the test's handle · seeds.rs: many seeds         outside.rs   calls that are slow or fail
//! schedule.rs    whose turn it is, and what time (called through threads.rs) · table.rs: what each thread waits for
//! faults.rs      the random choices, within settings.rs
//! ```

mod faults;
mod outside;
mod run;
mod schedule;
mod seeds;
mod settings;
#[cfg(test)]
mod slow_sinks;
mod table;
#[cfg(test)]
mod tests;

pub use outside::{Outside, OutsideError};
pub use run::{Simulation, SimulationReport};
pub use seeds::FailingSeed;
pub use settings::SimulationSettings;
