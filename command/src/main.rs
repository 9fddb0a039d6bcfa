//! The `tidemill` command: what a person does with the checkpoint directory of a job, running or stopped.
//!
//! ```text
//! args ─▶ checkpoints/{list,show,verify,prune}, state ─▶ report: a table or JSON on stdout
//!                 └ tidemill-state reads; only `prune --yes` changes anything
//! ```
//! Data goes to stdout, errors go to stderr. The exit code is that of the error's kind, as for a job.

mod args;
mod checkpoints;
mod failure;
mod report;
mod state;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Topic};

fn main() -> ExitCode {
    let args = Args::parse();
    let done = match &args.topic {
        Topic::Checkpoints { action } => checkpoints::run(action),
        Topic::State { action } => state::run(action),
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
