//! Running a job: its settings, its processes and workers, and what happens between start and end.
//!
//! ```text
//! job.rs  what a program calls     settings.rs  what can be set     http.rs  the page to watch
//! mesh/   how processes find each other     cluster.rs  what is said when one is lost
//! coordinator.rs  one worker's end of the checkpoint protocol
//! ```

mod cluster;
mod coordinator;
mod http;
mod job;
mod mesh;
mod settings;

pub use job::Job;
pub(crate) use job::World;
pub use settings::JobArgs;
