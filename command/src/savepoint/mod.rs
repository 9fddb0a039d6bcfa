//! The actions on savepoints.

mod copy;
mod delete;
mod find;
mod list;
mod restore;
mod take;

use tidemill_state::{ErrorKind, LocalStore};

use crate::args::Common;
use crate::args::savepoint::SavepointAction;
use crate::failure::Failure;
use crate::job;

/// Does what was asked, and returns what goes to stdout. A program that is started takes the place of this process.
pub fn run(action: &SavepointAction) -> Result<String, Failure> {
    match action {
        SavepointAction::Take(asked) => match (&asked.job, &asked.store) {
            (Some(job), _) => job::take(job, &asked.how, asked.name.as_ref(), asked.json),
            (None, Some(store)) => {
                let common = Common { store: store.clone(), json: asked.json };
                take::run(&LocalStore::look_at(store)?, asked.name.as_ref(), asked.epoch, &common)
            }
            // Clap asks for one of them.
            (None, None) => Err(Failure::new(ErrorKind::Invalid, "name the checkpoint directory, with --store DIR")),
        },
        SavepointAction::List(common) => list::run(common),
        SavepointAction::Copy { source, target, store } => copy::run(source, target, store.as_deref()),
        SavepointAction::Delete { name, yes, store } => delete::run(name, *yes, store),
        SavepointAction::Restore { savepoint, claim_mode, store, program } => {
            restore::run(savepoint, *claim_mode, store, program)
        }
    }
}
