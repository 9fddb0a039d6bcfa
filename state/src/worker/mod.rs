//! What one worker has of all state: opened or restored, registered by operators, sealed with each epoch.

mod backend;
mod config;
mod memory;
mod operator;
mod restore;

pub use backend::Backend;
pub use config::{BackendConfig, RestoredWorker};
pub use memory::MemoryCheckpoint;
pub use operator::OperatorStates;
