//! The actions on savepoints.

mod copy;
mod delete;
mod find;
mod list;
mod restore;
mod take;

use tidemill_state::LocalStore;

use crate::args::savepoint::SavepointAction;
use crate::failure::Failure;

/// Does what was asked, and returns what goes to stdout. A program that is started takes the place of this process.
pub fn run(action: &SavepointAction) -> Result<String, Failure> {
    match action {
        SavepointAction::Take { name, epoch, common } => {
            take::run(&LocalStore::look_at(&common.store)?, name.as_ref(), *epoch, common)
        }
        SavepointAction::List(common) => list::run(common),
        SavepointAction::Copy { source, target, store } => copy::run(source, target, store.as_deref()),
        SavepointAction::Delete { name, yes, store } => delete::run(name, *yes, store),
        SavepointAction::Restore { savepoint, claim_mode, store, program } => {
            restore::run(savepoint, *claim_mode, store, program)
        }
    }
}
