//! Whole programs in a simulated world: one seed, one run.
//!
//! ```text
//! run.rs         the test's handle · seeds.rs: many of them       outside.rs   calls that are slow or fail
//! schedule.rs    whose turn it is, and what time (threads.rs is the door) · table.rs: who waits for what
//! faults.rs     what is drawn, within settings.rs
//! ```

mod faults;
mod outside;
mod run;
mod schedule;
mod seeds;
mod settings;
mod table;
#[cfg(test)]
mod tests;

pub use outside::{Outside, OutsideError};
pub use run::{Simulation, SimulationReport};
pub use seeds::FailingSeed;
pub use settings::SimulationSettings;
