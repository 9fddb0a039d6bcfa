//! The actions on a running job, which go through its API.
//!
//! ```text
//! status, graph, top, stop, checkpoint, change, log ─▶ client.rs ─▶ /api/v1 of the job
//! ```
//! No request waits for what it asks for: the job says what to look at, and the command looks until it is there.

mod change;
mod checkpoint;
mod client;
mod gathered;
mod graph;
mod log;
mod operators;
mod savepoint;
mod screen;
mod status;
mod stop;
mod top;
mod wait;

pub use savepoint::take;

use crate::args::job::JobAction;
use crate::failure::Failure;

/// Does what was asked, and returns what goes to stdout at its end.
pub fn run(action: &JobAction) -> Result<String, Failure> {
    match action {
        JobAction::Status { at, json } => status::run(at, *json),
        JobAction::Graph { at, json } => graph::run(at, *json),
        JobAction::Top(asked) => top::run(asked),
        JobAction::Stop { at, no_wait } => stop::run(at, *no_wait),
        JobAction::Checkpoint { at, no_wait, json } => checkpoint::run(at, *no_wait, *json),
        JobAction::Change { at, wanted } => change::run(at, wanted),
        JobAction::Changes { at, json } => change::list(at, *json),
        JobAction::Log { at, follow, jsonl } => log::run(at, *follow, *jsonl),
    }
}
