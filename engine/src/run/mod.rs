//! Running a job: its settings, its processes and workers, and its course from start to end.
//!
//! ```text
//! job.rs  what a program calls     settings.rs, setup.rs  what can be set
//! mesh/   how processes find each other     cluster.rs  the error when one is lost
//! execution.rs  one run of the job in this process     workers.rs, worker.rs  all of its workers, and one of them
//! exposition.rs  the answer of /metrics     health.rs  the probes     phase.rs  the state that both say
//! coordinator.rs  one worker's end of the checkpoint protocol
//! ```

mod cluster;
mod coordinator;
mod epoch_spans;
mod execution;
#[cfg(feature = "http")]
mod exposition;
#[cfg(feature = "http")]
mod health;
mod job;
mod mesh;
#[cfg(all(feature = "http", target_os = "linux"))]
mod operating_system;
#[cfg(feature = "http")]
mod phase;
mod settings;
mod setup;
mod worker;
mod workers;

pub use job::Job;
#[cfg(any(test, feature = "testing"))]
pub(crate) use job::World;
pub use settings::JobSettings;
pub use setup::JobSetup;
