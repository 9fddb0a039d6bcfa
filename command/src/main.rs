//! The `tidemill` command: what a person does with a job, and with its checkpoint directory.
//!
//! ```text
//! args ─▶ checkpoints/…, savepoint/…, state/…, job/…, parity/… ─▶ report: a table or JSON on stdout
//!             │                                └ the API of a running job
//!             └ tidemill-state reads and copies; only `--yes` has it delete anything
//! ```
//! Data goes to stdout, errors go to stderr. The exit code is that of the error's kind, as for a job.

mod args;
mod checkpoints;
mod completions;
mod failure;
mod job;
mod parity;
mod progress;
mod report;
mod savepoint;
mod scratch;
mod state;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Topic};

fn main() -> ExitCode {
    let args = Args::parse();
    let done = match &args.topic {
        Topic::Checkpoints { action } => checkpoints::run(action),
        Topic::Savepoint { action } => savepoint::run(action),
        Topic::Job { action } => job::run(action),
        Topic::State { action } => state::run(action),
        Topic::Parity(asked) => parity::run(asked),
        Topic::Completions { shell } => Ok(completions::run(*shell)),
    };
    match done {
        Ok(text) => report::print(&text),
        Err(failure) => {
            let printed = report::print(&failure.output);
            eprintln!("error: {failure}");
            if printed == ExitCode::SUCCESS { failure.code() } else { printed }
        }
    }
}
