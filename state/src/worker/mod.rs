//! The state of one worker: opened or restored, registered by operators, sealed with each epoch.

mod config;
mod memory;
mod operator;
mod restore;
mod state;

pub use config::{RestoredWorker, StartPart, WorkerStateConfig};
pub use memory::MemoryCheckpoint;
pub use operator::OperatorStates;
pub use state::WorkerState;
